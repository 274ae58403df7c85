"""Which cards of other machines take part in the next start; knows no widgets."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from splitrig.core.gpu import Note, Severity
from splitrig.core.model import Model
from splitrig.core.plan import Plan, PlanRequest
from splitrig.core.remote import (
    RemoteCard,
    RemoteEndpoint,
    RemoteServer,
    RemoteState,
    RemoteUse,
    engine_use,
)
from splitrig.core.remote_cost import LinkCost, link_costs
from splitrig.core.remote_words import cost_text, exposure_warning, link_text, short_link_text
from splitrig.core.units import number_text
from splitrig.views.launch.card_choice import CardChoice

LOOKING = "looking"
NOTABLE_LOAD_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteEntry:
    """One line of the list.

    Attributes:
        endpoint: Where its server listens.
        card: The card; `None` for a server of which none is known.
        first: It is the first line of its server.
        state: One or two words.
        trouble: Why it cannot be used, with the way out; empty when it can.
        link: Latency and rate.
        link_details: The same, both ways.
        cost: What it adds to every token; empty while the card takes no part.
    """

    endpoint: RemoteEndpoint
    card: CardChoice | None
    first: bool
    state: str
    trouble: str
    link: str = ""
    link_details: str = ""
    cost: str = ""


class RemoteChoice:
    """The servers the user named, what was found at them, and which cards are switched on."""

    def __init__(self) -> None:
        self._servers: dict[RemoteEndpoint, RemoteServer | None] = {}
        self._looking: set[RemoteEndpoint] = set()
        self._on: set[str] = set()
        self._users: Mapping[str, str] = {}
        self._costs: dict[str, LinkCost] = {}

    @property
    def endpoints(self) -> tuple[RemoteEndpoint, ...]:
        """The servers, in the order they were named."""
        return tuple(self._servers)

    def know(self, endpoints: Iterable[RemoteEndpoint]) -> None:
        """Offer these, of which nothing is known yet."""
        for endpoint in endpoints:
            self._servers.setdefault(endpoint, None)

    def forget(self, endpoint: RemoteEndpoint) -> None:
        """Offer a server no longer."""
        server = self._servers.pop(endpoint, None)
        self._looking.discard(endpoint)
        if server is not None:
            self._on.difference_update(card.id for card in server.cards)

    def show_looking(self, endpoints: Collection[RemoteEndpoint]) -> None:
        """These are being looked at."""
        self._looking.update(endpoint for endpoint in endpoints if endpoint in self._servers)

    def show_server(self, server: RemoteServer) -> None:
        """Take over what was found; nothing new where an engine of ours kept it from a look."""
        if server.endpoint not in self._servers:
            return  # forgotten meanwhile
        self._looking.discard(server.endpoint)
        before = self._servers[server.endpoint]
        if server.state is not RemoteState.IN_USE or before is None:
            self._servers[server.endpoint] = server

    def set_in_use(self, users: Mapping[str, str]) -> None:
        """Cards that other engines use, by id, with who does; their servers take no second one."""
        self._users = {
            str(card.endpoint): users[card.id] for card in self._cards() if card.id in users
        }

    def switch(self, card_id: str, *, on: bool) -> None:
        """Use a card or leave it out."""
        (self._on.add if on else self._on.discard)(card_id)

    def _cards(self) -> list[RemoteCard]:
        return [card for server in self._servers.values() if server for card in server.cards]

    def card(self, card_id: str) -> RemoteCard | None:
        """A card by its key."""
        return next((card for card in self._cards() if card.id == card_id), None)

    def entries(self, first_number: int, closed: str = "") -> tuple[RemoteEntry, ...]:
        """Every card, and every server without one.

        Args:
            first_number: Of the first card's chip; the numbers go on after this machine's.
            closed: Why the engine chosen can use none of them; empty when it can.
        """
        found: list[RemoteEntry] = []
        number = first_number
        for endpoint, server in self._servers.items():
            state = self._state(endpoint, server)
            cards = server.cards if server is not None else ()
            trouble = self._trouble(endpoint, server)
            if not cards:
                found.append(
                    RemoteEntry(
                        endpoint=endpoint, card=None, first=True, state=state, trouble=trouble
                    )
                )
            for card in cards:
                link = short_link_text(card.link)
                found.append(
                    RemoteEntry(
                        endpoint=endpoint,
                        card=self._choice(card, number, trouble or closed, link),
                        first=card is cards[0],
                        state=state,
                        trouble=trouble,
                        link=link,
                        link_details=link_text(card.link),
                        cost=self._cost(card.id),
                    )
                )
                number += 1
        return tuple(found)

    def _choice(self, card: RemoteCard, number: int, reason: str, note: str) -> CardChoice:
        if not reason and not card.free_bytes:
            reason = "It has no free memory."
        return CardChoice(
            id=card.id,
            number=number,
            name=card.name,
            free_bytes=card.free_bytes,
            total_bytes=card.total_bytes,
            on=card.id in self._on,
            reason=reason,
            note=note,
        )

    def _cost(self, card_id: str) -> str:
        cost = self._costs.get(card_id)
        if cost is None or cost.token_ms is None or card_id not in self._on:
            return ""
        return cost_text(cost).removesuffix(" at this link")

    def _state(self, endpoint: RemoteEndpoint, server: RemoteServer | None) -> str:
        if endpoint in self._looking:
            return LOOKING
        if str(endpoint) in self._users:
            return self._users[str(endpoint)]
        return server.state.value if server is not None else "not looked at yet"

    def _trouble(self, endpoint: RemoteEndpoint, server: RemoteServer | None) -> str:
        if user := self._users.get(str(endpoint)):
            return f"It is {user}, and serves one at a time."
        return f"{server.message} {server.hint}".strip() if server is not None else ""

    # What follows for a start

    def waiting_for(self, card_ids: Collection[str]) -> str:
        """Why a start with these cards has to wait; empty when it need not."""
        for card_id in card_ids:
            card = self.card(card_id)
            if card is not None and card.endpoint in self._looking:
                return f"{card.endpoint} is being looked at."
        return ""

    def use(self, card_ids: Sequence[str], *, first: int = 0) -> RemoteUse:
        """What the engine is given for these cards.

        Args:
            card_ids: Keys; those of this machine's cards are left out.
            first: Devices of a server that is named before theirs.

        Raises:
            EngineError: A server cannot be used, or two names mean the same one.
        """
        cards = [card for card in map(self.card, card_ids) if card is not None]
        servers = [server for server in self._servers.values() if server is not None]
        return engine_use(cards, servers, first=first)

    def warnings(self) -> tuple[str, ...]:
        """What to know about the network while cards are switched on."""
        servers = [server for server in self._servers.values() if server is not None]
        used = [s for s in servers if any(card.id in self._on for card in s.cards)]
        said = dict.fromkeys(exposure_warning(server.address) for server in used)
        return tuple(text for text in said if text)

    def notes(self, model: Model, plan: Plan, request: PlanRequest) -> list[Note]:
        """What the links of a plan cost, and what else was found at their servers.

        The entries of its cards tell the cost from then on.
        """
        cards = {card.id: card for card in self._cards()}
        costs = link_costs(model, plan, request, cards)
        self._costs = {cost.card_id: cost for cost in costs}
        found = [
            Note(
                id="remote-cost",
                severity=Severity.INFO,
                message=f"{cards[cost.card_id].name} {cost_text(cost)}.",
                detail=_load_sentence(cost),
            )
            for cost in costs
        ]
        used = {cards[d.id].endpoint for d in plan.devices if d.id in cards}
        for server in self._servers.values():
            if server is not None and server.endpoint in used:
                found += [
                    Note(id="remote-note", severity=Severity.INFO, message=text)
                    for text in server.notes
                ]
        return found


def _load_sentence(cost: LinkCost) -> str:
    if cost.load_s is None or cost.load_s < NOTABLE_LOAD_S:
        return ""
    seconds = cost.load_s
    words = f"{number_text(seconds)} s" if seconds < 120 else f"{number_text(seconds / 60)} min"
    return f"Its weights take about {words} over the link."
