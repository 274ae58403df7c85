"""`splitrig lend`: lend this machine's cards to another one's llama.cpp, until stopped."""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

from splitrig.cli.options import stored_settings, whole
from splitrig.cli.serve import stop_on_signals
from splitrig.core.errors import EngineError
from splitrig.core.lending import LendPhase, LendRequest, LendStatus
from splitrig.core.remote import DEFAULT_PORT
from splitrig.core.remote_words import exposure_warning
from splitrig.core.units import gib_text
from splitrig.services.engines.helpers import Kept
from splitrig.services.engines.lender import Lender
from splitrig.services.engines.llama_server import LlamaServer, find_llama_server
from splitrig.services.mailbox import Mailbox
from splitrig.services.store.settings import log_dir


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = commands.add_parser("lend", help="lend this machine's cards over llama.cpp's RPC")
    parser.add_argument(
        "--devices",
        metavar="NAME,…",
        help="the engine's names, such as CUDA0; all its cards when none is named",
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="address to listen on; this machine alone when none is given",
    )
    parser.add_argument("--port", type=whole(0, 65_535), default=DEFAULT_PORT, help="0: a free one")
    parser.add_argument(
        "--on-network",
        action="store_true",
        help="mean it: everyone there can use and crash this machine",
    )
    parser.add_argument("--cache", action="store_true",
                        help="keep large tensors on this machine's disk")  # fmt: skip
    parser.add_argument("--threads", type=whole(1, 4096), metavar="N",
                        help="of a processor that is lent")  # fmt: skip
    parser.add_argument("--llama-server", type=Path, metavar="FILE", help="the binary to use")
    parser.add_argument("--json", action="store_true", help="print JSON, one object a line")


def run(options: argparse.Namespace) -> int:
    """Lend until Ctrl-C, SIGTERM, or the end of the server; 1 if it failed."""
    say = _say_json if options.json else _say_text
    lender = Lender(Mailbox(), Kept(log_dir=log_dir()))
    with stop_on_signals() as stopped:
        try:
            chosen = options.llama_server or stored_settings().engine.llama_server
            server = find_llama_server(chosen)
            request = LendRequest(
                devices=_devices(options.devices, server, lambda: bool(stopped)),
                host="127.0.0.1" if options.host == "localhost" else options.host,
                port=options.port,
                on_network=options.on_network,
                cache=options.cache,
                n_threads=options.threads,
            )
            lender.start(server, request)
            return _watch(lender, say, stopped)
        finally:
            lender.close()


def _devices(
    named: str | None, server: LlamaServer, cancelled: Callable[[], bool]
) -> tuple[str, ...]:
    """What to lend: what is named, else all cards the engine sees.

    Raises:
        EngineError: It sees none.
    """
    if named is not None:
        return tuple(part.strip() for part in named.split(",") if part.strip())
    names = tuple(device.name for device in server.list_devices(cancelled=cancelled))
    if not names:
        raise EngineError(
            "The engine sees no card to lend.", "--devices CPU lends the processor instead."
        )
    return names


def _watch(lender: Lender, say: Callable[[LendStatus], None], stopped: list[int]) -> int:
    """Tell each change until the end."""
    told: LendStatus | None = None
    while True:
        status = lender.status
        if told is None or _differs(told, status):
            told = status
            say(status)
        if not status.phase.active:
            return 1 if status.phase is LendPhase.FAILED else 0
        if stopped:
            lender.stop()
        time.sleep(0.05)


def _differs(told: LendStatus, now: LendStatus) -> bool:
    """Something worth a line; the many short connections of a load are not."""
    return (told.phase, told.client) != (now.phase, now.client)


def _say_json(status: LendStatus) -> None:
    news: dict[str, object] = {"event": status.phase.value}
    if status.phase in (LendPhase.LISTENING, LendPhase.SERVING):
        news |= {
            "endpoint": status.endpoint,
            "protocol": str(status.protocol) if status.protocol else None,
            "pid": status.pid,
            "client": status.client,
            "devices": [
                {
                    "name": device.name,
                    "description": device.description,
                    "total_bytes": device.total_bytes,
                    "free_bytes": device.free_bytes,
                }
                for device in status.devices
            ],
            "warning": _warning(status),
        }
    if (failure := status.failure) is not None:
        news |= {
            "message": failure.message,
            "hint": failure.hint,
            "exit_code": failure.exit_code,
            "log_tail": list(failure.log_tail),
        }
    print(json.dumps(news), flush=True)


def _say_text(status: LendStatus) -> None:
    match status.phase:
        case LendPhase.LISTENING if status.n_clients == 0:
            print(f"Lending at {status.endpoint}, protocol {status.protocol}:")
            for device in status.devices:
                free = gib_text(device.free_bytes)
                print(f"  {device.name}: {device.description}, {free} GiB free")
            if warning := _warning(status):
                print(warning)
            print("Ctrl-C stops it.", flush=True)
        case LendPhase.LISTENING:
            print("Free again.", flush=True)
        case LendPhase.SERVING:
            print(f"In use by {status.client or 'a client'}.", flush=True)
        case LendPhase.FAILED if status.failure is not None:
            print(f"{status.failure.message} {status.failure.hint}", flush=True)
        case LendPhase.STOPPED:
            print("Stopped.", flush=True)
        case _:
            print(f"{status.phase.value.capitalize()} …", flush=True)


def _warning(status: LendStatus) -> str:
    host = status.request.host if status.request is not None else None
    return exposure_warning(host, lending=True)
