"""Cards of other machines for vLLM, joined by Ray; knows no widgets."""

from collections.abc import Sequence
from dataclasses import replace

from splitrig.core.gpu import Note, Severity
from splitrig.core.ray import MEMORY, MEMORY_DETAIL, RayState, far_cards
from splitrig.core.vllm import Cluster
from splitrig.views.launch.card_choice import CardChoice


class RayChoice:
    """The cluster that was looked at, and whether its other machines take part.

    Attributes:
        on: Their cards are wanted.
        cluster: Where the head is; `None` before one was found.
        state: What it holds.
    """

    def __init__(self) -> None:
        self.on = False
        self.cluster: Cluster | None = None
        self.state: RayState | None = None

    def show(self, cluster: Cluster, state: RayState | None) -> None:
        """Take over what was found; without a state there is no cluster."""
        self.cluster, self.state = (cluster, state) if state is not None else (None, None)

    def choices(self, own: Sequence[CardChoice], first_number: int) -> tuple[CardChoice, ...]:
        """The cards of the other machines, whose memory Ray does not tell.

        Each is counted like the smallest of this machine's that takes part: vLLM takes the same
        share of every card, and checks the memory of the others itself when it starts.

        Args:
            own: This machine's cards that take part.
            first_number: Of the first card's chip.
        """
        if self.cluster is None or self.state is None or not own:
            return ()
        least = min(own, key=lambda card: card.free_bytes or 0)
        return tuple(
            CardChoice(
                id=far.id,
                number=first_number + at,
                name=far.name,
                free_bytes=least.free_bytes,
                total_bytes=least.total_bytes,
                on=self.on,
            )
            for at, far in enumerate(far_cards(self.state, self.cluster.host_ip))
        )

    def notes(self) -> list[Note]:
        """What the plan assumes of the other machines."""
        if self.joined(0) is None:
            return []
        return [
            Note(
                id="ray-memory",
                severity=Severity.WARNING,
                message=MEMORY,
                detail=MEMORY_DETAIL,
            )
        ]

    def joined(self, n_cards: int) -> Cluster | None:
        """What vLLM is given; `None` where this machine works alone.

        Args:
            n_cards: Cards of all machines that take part.
        """
        if not self.on or self.cluster is None or self.state is None:
            return None
        if not self.state.others(self.cluster.host_ip):
            return None
        return replace(self.cluster, n_cards=n_cards)
