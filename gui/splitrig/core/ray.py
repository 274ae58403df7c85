"""A Ray cluster, which joins the cards of several machines for vLLM, as values and words."""

from dataclasses import dataclass

from splitrig.core.vllm import Cluster

WARNING = (
    "Ray lets everyone who reaches its port run programs on all its machines: use it only in a "
    "network you trust."
)
DEFAULT_PORT = 6379
"""What `ray start --head` listens on if it is not told otherwise."""


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
        nodes: Its living machines.
        n_free: Cards nobody has taken.
    """

    nodes: tuple[RayNode, ...]
    n_free: int

    def others(self, host_ip: str) -> tuple[RayNode, ...]:
        """Its machines with cards, without the one at `host_ip`."""
        return tuple(node for node in self.nodes if node.ip != host_ip and node.n_cards)


def join_command(cluster: Cluster) -> str:
    """What to run on every other machine, in vLLM's environment there, for copying."""
    return f"ray start --address={cluster.host_ip}:{cluster.port} --block"


def holds_text(state: RayState) -> str:
    """`6 cards on 2 machines, 5 free: 2 on 192.168.1.5, 4 on 192.168.1.7`."""
    total = sum(node.n_cards for node in state.nodes)
    where = ", ".join(f"{node.n_cards} on {node.ip}" for node in state.nodes)
    machines = f"{len(state.nodes)} machine{'' if len(state.nodes) == 1 else 's'}"
    cards = f"{total} card{'' if total == 1 else 's'}"
    return f"{cards} on {machines}, {state.n_free} free: {where}"
