"""A Ray cluster, which joins the cards of several machines for vLLM, as values and words."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, replace

from splitrig.core.errors import EngineError
from splitrig.core.share import LOOPBACK
from splitrig.core.vllm import Cluster
from splitrig.core.words import listed

WARNING = (
    "Ray lets everyone who reaches its port run programs on all its machines: use it only in a "
    "network you trust."
)
DEFAULT_PORT = 6379
"""What `ray start --head` listens on if it is not told otherwise."""
MEMORY = "Ray does not tell how much memory the other machines' cards have."
MEMORY_DETAIL = (
    "Each is planned like the smallest card of this machine that takes part; with less, vLLM "
    "refuses to start."
)
_FAR = "ray-"


@dataclass(frozen=True, slots=True)
class RayNode:
    """One machine of a cluster.

    Attributes:
        ip: Its address.
        n_cards: Cards it lends.
        kinds: What Ray calls them.
    """

    ip: str
    n_cards: int
    kinds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RayState:
    """What a cluster holds now.

    Attributes:
        nodes: Its living machines: this one first, the others as vLLM counts its stages.
        n_free: Cards nobody has taken.
        here: This machine's address as Ray has it; empty where it is no part of the cluster.
    """

    nodes: tuple[RayNode, ...]
    n_free: int
    here: str = ""

    def others(self, host_ip: str) -> tuple[RayNode, ...]:
        """Its machines with cards, without the one at `host_ip`."""
        return tuple(node for node in self.nodes if node.ip != host_ip and node.n_cards)

    @property
    def n_cards(self) -> int:
        """Cards of all machines, taken ones counted."""
        return sum(node.n_cards for node in self.nodes)


def settled(cluster: Cluster, state: RayState) -> Cluster:
    """The cluster with this machine's address as Ray has it.

    On a machine with a network Ray takes the address there for a loopback one.
    """
    return replace(cluster, host_ip=state.here or cluster.host_ip)


@dataclass(frozen=True, slots=True)
class FarCard:
    """A card of another machine, which Ray hands out.

    Attributes:
        id: Its key in plans and requests.
        name: How it is shown.
    """

    id: str
    name: str


def far_cards(state: RayState, host_ip: str) -> tuple[FarCard, ...]:
    """The cards of all machines but the one at `host_ip`, in the order of vLLM's stages."""
    return tuple(
        FarCard(f"{_FAR}{node.ip}-{number}", f"{node.ip} · card {number}")
        for node in state.others(host_ip)
        for number in range(node.n_cards)
    )


def is_far(card_id: str) -> bool:
    """Whether a card is one of another machine, which Ray hands out."""
    return card_id.startswith(_FAR)


def parse_head(text: str, own: Sequence[str]) -> Cluster:
    """Read `192.168.1.5` or `192.168.1.5:6379`, where Ray's head is on this machine.

    Args:
        text: What the user wrote.
        own: Addresses of this machine on its networks.

    Raises:
        EngineError: It is no such address, or one of another machine.
    """
    host, colon, port = text.strip().partition(":")
    example = f"Write one of this machine, such as {(*own, LOOPBACK)[0]}:{DEFAULT_PORT}."
    number = int(port) if port.isascii() and port.isdecimal() and len(port) <= 5 else 0
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        number, colon = 0, ":"
    if colon and not 0 < number < 65_536:
        raise EngineError(f"'{text.strip()[:80]}' is no IPv4 address of Ray's head.", example)
    if host not in (*own, LOOPBACK):
        raise EngineError(
            f"{host} is not this machine, whose addresses are {listed((*own, LOOPBACK))}.",
            "Ray's head has to run where vLLM is started: start SplitRig there, or start a head "
            "here.",
        )
    return Cluster(host_ip=host, port=number or DEFAULT_PORT)


def join_command(cluster: Cluster) -> str:
    """What to run on every other machine, in vLLM's environment there, for copying."""
    return f"ray start --address={cluster.host_ip}:{cluster.port} --block"


def holds_text(state: RayState) -> str:
    """`6 cards on 2 machines, 5 free: 2 on 192.168.1.5, 4 on 192.168.1.7`."""
    total = state.n_cards
    where = ", ".join(f"{node.n_cards} on {node.ip}" for node in state.nodes)
    machines = f"{len(state.nodes)} machine{'' if len(state.nodes) == 1 else 's'}"
    cards = f"{total} card{'' if total == 1 else 's'}"
    return f"{cards} on {machines}, {state.n_free} free: {where}"
