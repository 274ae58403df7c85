"""What is said of remote cards: warnings, and the figures of a server as text."""

from dataclasses import dataclass, replace

from splitrig.core.remote import (
    Protocol,
    Reach,
    RemoteCard,
    RemoteLink,
    RemoteServer,
    RemoteState,
    reach_of,
)
from splitrig.core.remote_cost import LinkCost
from splitrig.core.units import MISSING, gib_text, number_text

NO_PROTECTION = (
    "llama.cpp's RPC has no authentication and no encryption: everyone on that network can read "
    "what passes, and can crash or misuse the machine that lends."
)


def exposure_warning(address: str | None, *, lending: bool = False) -> str:
    """What to know about the network before RPC is used over it; empty for this machine alone.

    Args:
        address: The numeric address; `None` if it is not known.
        lending: This machine lends at that address, instead of using what lies there.
    """
    reach = Reach.PRIVATE if address is None else reach_of(address)
    who = "This machine would lend" if lending else "It lies"
    match reach:
        case Reach.THIS_MACHINE:
            return ""
        case Reach.PRIVATE:
            return f"{NO_PROTECTION} Use it in a network you trust."
        case Reach.PUBLIC:
            return (
                f"{who} at {address}, a public address of the internet. {NO_PROTECTION} "
                "Do not do this without a VPN or an SSH tunnel."
            )
        case Reach.EVERYWHERE:
            return (
                f"{who} on every network it has, the internet included if one leads there. "
                f"{NO_PROTECTION} Choose the address of a network you trust."
            )


def protocol_warning(server: RemoteServer, engine: Protocol | None) -> str:
    """Why an engine and a server do not go together; empty if they do or it is not known."""
    if server.protocol is None or engine is None or server.protocol.serves(engine):
        return ""
    return (
        f"{server.endpoint} speaks protocol {server.protocol}, this machine's engine {engine}: "
        "use the same llama.cpp on both."
    )


def judged(server: RemoteServer, engine: Protocol | None) -> RemoteServer:
    """The server, not usable where an engine that speaks `engine` could not talk to it."""
    warning = protocol_warning(server, engine)
    if not warning or not server.usable:
        return server
    message, _, hint = warning.partition(": ")
    return replace(
        server,
        state=RemoteState.OTHER_PROTOCOL,
        message=f"{message}.",
        hint=f"{hint[:1].upper()}{hint[1:]}",
    )


def short_link_text(link: RemoteLink) -> str:
    """`0.31 ms · 110 MB/s`: latency and the slower way; empty where nothing was measured."""
    rates = [rate for rate in (link.up_mb_s, link.down_mb_s) if rate is not None]
    parts = [f"{latency_text(link.latency_ms)} ms"] if link.latency_ms is not None else []
    if rates:
        parts.append(f"{rate_text(min(rates))} MB/s")
    return " · ".join(parts)


def link_text(link: RemoteLink) -> str:
    """`0.31 ms · 112 MB/s there · 110 MB/s back`, or `–` for what was not measured."""
    return " · ".join(
        (
            f"{latency_text(link.latency_ms)} ms",
            f"{rate_text(link.up_mb_s)} MB/s there",
            f"{rate_text(link.down_mb_s)} MB/s back",
        )
    )


def latency_text(latency_ms: float | None) -> str:
    """Milliseconds without the unit, with as many digits as tell something."""
    if latency_ms is None:
        return MISSING
    return number_text(latency_ms, 2 if latency_ms < 1 else 1 if latency_ms < 100 else 0)


def rate_text(mb_s: float | None) -> str:
    """MB/s without the unit, with as many digits as tell something."""
    if mb_s is None:
        return MISSING
    return number_text(mb_s, 2 if mb_s < 1 else 1 if mb_s < 10 else 0)


def cost_text(cost: LinkCost) -> str:
    """`adds ~1.2 ms per token at this link`; what the link costs one card."""
    if cost.token_ms is None:
        return "its link was not measured"
    return f"adds ~{latency_text(cost.token_ms)} ms per token at this link"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteRow:
    """One line of a list of remote cards.

    Attributes:
        id: Card id, or the endpoint for a server without cards.
        name: As shown.
        memory: Free of total, GiB.
        link: Latency and rates.
        state: One or two words.
        trouble: Why it cannot be used, with the way out; empty when it can.
        usable: It can be chosen.
    """

    id: str
    name: str
    memory: str
    link: str
    state: str
    trouble: str
    usable: bool


def server_rows(server: RemoteServer) -> tuple[RemoteRow, ...]:
    """The cards of a server as lines; one line of its own for a server without any."""
    trouble = f"{server.message} {server.hint}".strip()
    if not server.cards:
        return (
            RemoteRow(
                id=str(server.endpoint),
                name=str(server.endpoint),
                memory=MISSING,
                link=MISSING,
                state=server.state.value,
                trouble=trouble,
                usable=False,
            ),
        )
    return tuple(
        RemoteRow(
            id=card.id,
            name=card.name,
            memory=memory_text(card),
            link=link_text(server.link),
            state=server.state.value,
            trouble=trouble,
            usable=server.usable,
        )
        for card in server.cards
    )


def memory_text(card: RemoteCard) -> str:
    """`22.9 of 24.0 GiB free`."""
    return f"{gib_text(card.free_bytes)} of {gib_text(card.total_bytes)} GiB free"
