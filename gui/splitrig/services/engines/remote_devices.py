"""The cards of RPC servers as this machine's engine sees them, before a start."""

from collections.abc import Sequence

from splitrig.core.errors import EngineError
from splitrig.core.remote import RemoteCard, RemoteEndpoint, RemoteServer, engine_use, unusable
from splitrig.services.engines.llama_server import LlamaServer
from splitrig.services.engines.probe import Cancelled, ProbeTimeoutError, never
from splitrig.services.engines.rpc_probe import probe


def remote_servers(
    llama: LlamaServer, endpoints: Sequence[RemoteEndpoint], cancelled: Cancelled = never
) -> tuple[RemoteServer, ...]:
    """Look at servers that an engine is to use, and make sure that it can.

    Blocks for 0.2 to some seconds. Never call this while one of them is in use.

    Raises:
        EngineError: One is not there, serves somebody else, lends nothing, or speaks another
            protocol than the engine.
        ProbeCancelledError: It was given up.
    """
    servers = []
    for endpoint in endpoints:
        server = probe(endpoint, rates=False, cancelled=cancelled)
        if not server.usable:
            raise unusable(endpoint, server)
        servers.append(server)
    cards = all_cards(servers)
    use = engine_use(cards, servers)
    try:
        listed = llama.list_devices(use.rpc, cancelled)
    except ProbeTimeoutError as error:
        raise EngineError(
            f"The engine gets no answer from {' or '.join(use.rpc)}.",
            "A ggml-rpc-server serves one client at a time; another may have come first.",
        ) from error
    known = {(device.description, device.name) for device in listed}
    for card in cards:
        if (str(card.endpoint), use.names[card.id]) not in known:
            server = next(s for s in servers if s.endpoint == card.endpoint)
            raise EngineError(
                f"{card.endpoint} speaks RPC protocol {server.protocol}, but this machine's engine "
                f"does not find its card {card.number}.",
                "Use the same llama.cpp on both machines.",
            )
    return tuple(servers)


def all_cards(servers: Sequence[RemoteServer]) -> tuple[RemoteCard, ...]:
    """The cards of several servers, in order."""
    return tuple(card for server in servers for card in server.cards)
