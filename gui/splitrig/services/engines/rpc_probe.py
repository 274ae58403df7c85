"""Looks at an RPC server: is it free, what does it lend, what does the way there cost.

A server serves one client at a time, and a second one can end it, so that it is only asked when
it is free and no engine of ours uses it.
"""

from collections.abc import Collection

from splitrig.core.remote import (
    Protocol,
    RemoteCard,
    RemoteEndpoint,
    RemoteLink,
    RemoteServer,
    RemoteState,
)
from splitrig.services.clock import now_s
from splitrig.services.engines.probe import Cancelled, never
from splitrig.services.engines.rpc_client import (
    ANSWER_S,
    NEWEST_MAJOR,
    OLDEST_MAJOR,
    Command,
    Memory,
    RpcClient,
)
from splitrig.services.engines.rpc_wire import (
    AbsurdError,
    ForeignError,
    GoneError,
    RefusedError,
    SilentError,
    Wire,
    WireError,
    resolve,
)


def probe(
    endpoint: RemoteEndpoint,
    *,
    in_use: Collection[str] = (),
    rates: bool = True,
    cancelled: Cancelled = never,
) -> RemoteServer:
    """Look at one RPC server; blocks for a fraction of a second, and for some 12 s at most.

    Args:
        endpoint: Where it listens.
        in_use: Addresses that engines of ours use, as they stand in `--rpc`; those are not asked.
        rates: Measure how fast bytes pass as well, with up to 8 MiB each way.
        cancelled: Asked meanwhile whether to give up.

    Returns:
        What was found; `state` and `message` say why that is not more.

    Raises:
        ProbeCancelledError: It was given up.
    """
    try:
        address = resolve(endpoint.host)
    except WireError as error:
        return _without(endpoint, RemoteState.UNKNOWN_HOST, error.message, error.hint)
    if _taken(endpoint, address, in_use):
        return _without(
            endpoint,
            RemoteState.IN_USE,
            f"An engine of yours uses {endpoint}, so it is not asked now.",
            "It serves one client at a time; look again when that engine has stopped.",
            address,
        )
    try:
        with Wire(address, endpoint.port, cancelled) as knock:
            if not knock.is_served():
                # left by an exception, it is reset: the server must not answer it later
                raise SilentError("busy")
    except WireError as error:
        return _unreached(endpoint, address, error)
    return _asked(endpoint, address, cancelled, rates=rates)


def require_free(endpoint: RemoteEndpoint, cancelled: Cancelled = never) -> None:
    """Make sure that a server can take an engine; blocks for a round trip, or some 5 s at most.

    Raises:
        EngineError: It is not there, or serves somebody else.
    """
    address = resolve(endpoint.host)
    try:
        with Wire(address, endpoint.port, cancelled) as knock:
            if knock.is_served():
                return
            raise SilentError("busy")
    except WireError as error:
        found = _unreached(endpoint, address, error)
    raise WireError(found.message, found.hint)


def _taken(endpoint: RemoteEndpoint, address: str, in_use: Collection[str]) -> bool:
    """Whether one of ours uses this server, under whatever name."""
    if str(endpoint) in in_use or f"{address}:{endpoint.port}" in in_use:
        return True
    for other in in_use:
        host, _, port = other.rpartition(":")
        if port == str(endpoint.port):
            try:
                if resolve(host) == address:
                    return True
            except WireError:
                continue
    return False


def _unreached(endpoint: RemoteEndpoint, address: str, error: WireError) -> RemoteServer:
    """Why a server could not even be asked whether it is free."""
    match error:
        case RefusedError():
            return _without(
                endpoint,
                RemoteState.ABSENT,
                f"Nothing answers at {endpoint}.",
                "Start ggml-rpc-server there, and let it listen on that address.",
                address,
            )
        case ForeignError():
            return _foreign(endpoint, address)
        case SilentError(message="busy"):
            return _without(
                endpoint,
                RemoteState.BUSY,
                f"{endpoint} takes connections but does not answer: it is busy.",
                "A ggml-rpc-server serves one client at a time; stop the other one, or wait. "
                "It may be another program, too.",
                address,
            )
    return _without(
        endpoint,
        RemoteState.SILENT,
        f"{endpoint} does not answer.",
        "Check that the machine is on, that its firewall lets this port pass, that ggml-rpc-server "
        "listens on that address, and that nobody else uses it.",
        address,
    )


def _asked(
    endpoint: RemoteEndpoint, address: str, cancelled: Cancelled, *, rates: bool
) -> RemoteServer:
    """Ask a server that is free."""
    try:
        with Wire(address, endpoint.port, cancelled) as wire:
            client = RpcClient(wire)
            try:
                protocol = client.hello()
            except (GoneError, ForeignError):
                return _old_or_foreign(endpoint, address, cancelled)
            if not OLDEST_MAJOR <= protocol.major <= NEWEST_MAJOR:
                return _unknown(endpoint, address, protocol)
            return _described(endpoint, address, client, protocol, rates=rates)
    except SilentError:
        return _without(
            endpoint,
            RemoteState.FOREIGN,
            f"{endpoint} stopped answering while it was asked.",
            "It may be another program, or a network that loses much; try again.",
            address,
        )
    except GoneError:
        return _without(
            endpoint,
            RemoteState.FOREIGN,
            f"{endpoint} ended the connection while it was asked.",
            "Look at its output: it may have stopped.",
            address,
        )
    except AbsurdError as error:
        return _foreign(endpoint, address, error.message)
    except WireError:
        return _foreign(endpoint, address)


def _described(
    endpoint: RemoteEndpoint,
    address: str,
    client: RpcClient,
    protocol: Protocol,
    *,
    rates: bool,
) -> RemoteServer:
    count = client.device_count()
    memories = [client.memory(number) for number in range(count)]
    latency_ms = client.latency_ms()
    padded = [client.pads_rows(number) for number in range(count)]
    up = down = None
    if rates and memories:
        up, down = client.rates_mb_s(memories[0].free_bytes, latency_ms)
    link = RemoteLink(latency_ms=latency_ms, up_mb_s=up, down_mb_s=down)
    cards = tuple(
        RemoteCard(
            endpoint=endpoint,
            number=number,
            total_bytes=memory.total_bytes or None,
            free_bytes=memory.free_bytes,
            pads_rows=pads,
            link=link,
        )
        for number, (memory, pads) in enumerate(zip(memories, padded, strict=True))
    )
    return RemoteServer(
        endpoint=endpoint,
        state=RemoteState.FREE,
        address=address,
        protocol=protocol,
        cards=cards,
        link=link,
        seen_s=now_s(),
        message="" if cards else f"The server at {endpoint} lends no device.",
        hint="" if cards else "Look at its output.",
        notes=_notes(memories, measured=up is not None or not rates or not memories),
    )


def _notes(memories: list[Memory], *, measured: bool) -> tuple[str, ...]:
    notes = []
    whole = [m for m in memories if m.total_bytes and m.free_bytes == m.total_bytes]
    if whole:
        alone = len(whole) == 1
        notes.append(
            f"{'Its card says' if alone else 'Its cards say'} that all memory is free: a processor "
            f"does, whatever is in use{'' if alone else ', and several devices then share it'}."
        )
    if not measured:
        notes.append("It has no memory free to measure how fast bytes pass.")
    return tuple(notes)


def _old_or_foreign(endpoint: RemoteEndpoint, address: str, cancelled: Cancelled) -> RemoteServer:
    """Up to protocol 3 a greeting was empty, and its answer three bytes."""
    try:
        with Wire(address, endpoint.port, cancelled) as wire:
            answer = wire.ask(Command.HELLO, answer_bytes=3, timeout_s=ANSWER_S)
    except WireError:
        return _foreign(endpoint, address)
    return _unknown(endpoint, address, Protocol(*answer))


def _unknown(endpoint: RemoteEndpoint, address: str, protocol: Protocol) -> RemoteServer:
    newer = protocol.major > NEWEST_MAJOR
    return RemoteServer(
        endpoint=endpoint,
        state=RemoteState.UNKNOWN_PROTOCOL,
        address=address,
        protocol=protocol,
        message=f"{endpoint} speaks protocol {protocol}; SplitRig knows {OLDEST_MAJOR} to "
        f"{NEWEST_MAJOR}.",
        hint="A newer SplitRig may know it."
        if newer
        else "Use a newer llama.cpp there, the same as on this machine.",
    )


def _foreign(endpoint: RemoteEndpoint, address: str, why: str = "") -> RemoteServer:
    return _without(
        endpoint,
        RemoteState.FOREIGN,
        f"{endpoint} answers, but not as an RPC server should." + (f" {why}" if why else ""),
        "Another program may listen on that port.",
        address,
    )


def _without(
    endpoint: RemoteEndpoint,
    state: RemoteState,
    message: str,
    hint: str,
    address: str | None = None,
) -> RemoteServer:
    return RemoteServer(endpoint=endpoint, state=state, address=address, message=message, hint=hint)
