"""RPC servers as a look finds them, for the tests of the Launch page."""

from splitrig.core.remote import (
    Protocol,
    RemoteCard,
    RemoteEndpoint,
    RemoteLink,
    RemoteServer,
    RemoteState,
)
from splitrig.core.units import GIB

WORKSHOP = RemoteEndpoint("workshop", 50052)
ATTIC = RemoteEndpoint("attic", 50052)
LAN = RemoteLink(latency_ms=0.4, up_mb_s=112.0, down_mb_s=110.0)


def free_server(
    endpoint: RemoteEndpoint = WORKSHOP,
    *free_gib: float,
    address: str = "192.168.1.7",
    link: RemoteLink = LAN,
) -> RemoteServer:
    """A server that lends cards of 24 GiB with so much free."""
    cards = tuple(
        RemoteCard(
            endpoint=endpoint,
            number=number,
            total_bytes=24 * GIB,
            free_bytes=round(free * GIB),
            pads_rows=True,
            link=link,
        )
        for number, free in enumerate(free_gib or (22.9,))
    )
    return RemoteServer(
        endpoint=endpoint,
        state=RemoteState.FREE,
        address=address,
        protocol=Protocol(4, 0, 3),
        cards=cards,
        link=link,
        seen_s=1.0,
    )


def absent_server(endpoint: RemoteEndpoint = ATTIC) -> RemoteServer:
    """A machine on which no server runs."""
    return RemoteServer(
        endpoint=endpoint,
        state=RemoteState.ABSENT,
        address="192.168.1.9",
        message=f"Nothing answers at {endpoint}.",
        hint="Start ggml-rpc-server there, and let it listen on that address.",
    )
