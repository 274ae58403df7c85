"""`splitrig remote`: what RPC servers lend, and what the way to them costs."""

import argparse
import json

from splitrig.cli.options import stored_settings
from splitrig.cli.remote_cards import server_json, warnings_for
from splitrig.cli.serve import stop_on_signals
from splitrig.cli.table import table
from splitrig.core.errors import SplitRigError
from splitrig.core.remote import Protocol, RemoteServer, parse_endpoints
from splitrig.core.remote_words import link_text, memory_text, protocol_warning
from splitrig.services.engines.lender import engine_protocol
from splitrig.services.engines.llama_server import find_llama_server
from splitrig.services.engines.probe import ProbeCancelledError
from splitrig.services.engines.rpc_probe import probe


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = commands.add_parser("remote", help="say what RPC servers on other machines lend")
    parser.add_argument(
        "endpoint",
        nargs="*",
        metavar="HOST:PORT",
        help="servers to look at; those of the settings when none is named",
    )
    parser.add_argument("--no-rates", action="store_true", help="do not measure MB/s")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    """Print what each server lends; 0 when all of them can be used."""
    settings = stored_settings()
    named = options.endpoint or settings.remote_endpoints
    if not named:
        raise SplitRigError(
            "No server is named, and the settings know none.", "Write HOST:PORT behind 'remote'."
        )
    endpoints = parse_endpoints(",".join(named))
    with stop_on_signals() as stopped:
        try:
            servers = [
                probe(endpoint, rates=not options.no_rates, cancelled=lambda: bool(stopped))
                for endpoint in endpoints
            ]
        except ProbeCancelledError as error:
            raise SplitRigError("The look was stopped.") from error
    engine = _engine_protocol() if any(server.protocol for server in servers) else None
    if options.json:
        print(json.dumps({"servers": [server_json(s, engine) for s in servers]}, indent=2))
    else:
        print("\n\n".join(_page(server, engine) for server in servers))
    fit = all(server.usable and not protocol_warning(server, engine) for server in servers)
    return 0 if fit else 1


def _engine_protocol() -> Protocol | None:
    """What this machine's own engine speaks; `None` where there is none to ask."""
    try:
        return engine_protocol(find_llama_server(stored_settings().engine.llama_server))
    except SplitRigError:
        return None


def _page(server: RemoteServer, engine: Protocol | None) -> str:
    lines = [f"{server.endpoint}  {server.state.value}"]
    if server.protocol is not None:
        lines.append(f"  protocol {server.protocol} · {link_text(server.link)}")
    if server.cards:
        rows = [[f"  card {card.number}", memory_text(card)] for card in server.cards]
        lines.append(table(["  card", "memory"], rows))
    if server.message:
        lines.append(f"  {server.message} {server.hint}".rstrip())
    lines += [f"  {text}" for text in (*server.notes, *warnings_for(server, engine))]
    return "\n".join(lines)
