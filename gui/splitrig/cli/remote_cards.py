"""Remote cards for the headless commands: as JSON, and as part of a start."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from splitrig.cli.options import in_order, rig_devices, unusable
from splitrig.core.engine import EngineKind
from splitrig.core.errors import EngineError
from splitrig.core.gpu import Rig
from splitrig.core.plan import PlanDevice
from splitrig.core.remote import Protocol, RemoteCard, RemoteEndpoint, RemoteServer, engine_use
from splitrig.core.remote_cost import LinkCost
from splitrig.core.remote_words import cost_text, exposure_warning, protocol_warning
from splitrig.services.engines.engines import Engines
from splitrig.services.engines.remote_devices import all_cards, remote_servers


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The devices of a start that uses remote cards.

    Attributes:
        devices: For the plan, this machine's cards first.
        names: What the engine calls them.
        rpc: Addresses for `--rpc`.
        servers: What was found at them.
    """

    devices: tuple[PlanDevice, ...]
    names: tuple[str, ...]
    rpc: tuple[str, ...]
    servers: tuple[RemoteServer, ...]

    @property
    def cards(self) -> dict[str, RemoteCard]:
        """Remote cards by the ids of the plan."""
        return {card.id: card for card in all_cards(self.servers)}


def choose_remote(
    engines: Engines,
    endpoints: Sequence[RemoteEndpoint],
    cancelled: Callable[[], bool],
    *,
    local: tuple[Rig, Path] | None = None,
    only: Sequence[str] | None = None,
) -> Chosen:
    """All cards of these servers, behind this machine's own if they are wanted too.

    Args:
        engines: The engines of this machine.
        endpoints: The servers.
        cancelled: Asked meanwhile whether to give up.
        local: The rig, and a model to tell its cards apart with; `None` leaves them out.
        only: Those of this machine's cards to use, in this order; `None` takes all.

    Raises:
        EngineError: A server cannot be used, or the engine has no card of this machine.
    """
    own: tuple[PlanDevice, ...] = ()
    own_names: tuple[str, ...] = ()
    if local is not None:
        own, own_names = _own_cards(engines, *local, only, cancelled)
    servers = remote_servers(engines.llama_server(), endpoints, cancelled)
    cards = all_cards(servers)
    use = engine_use(cards, servers)
    return Chosen(
        devices=(*own, *(card.plan_device() for card in cards)),
        names=(*own_names, *(use.names[card.id] for card in cards)),
        rpc=use.rpc,
        servers=servers,
    )


def _own_cards(
    engines: Engines,
    rig: Rig,
    model: Path,
    only: Sequence[str] | None,
    cancelled: Callable[[], bool],
) -> tuple[tuple[PlanDevice, ...], tuple[str, ...]]:
    """This machine's cards that the engine can use, and their names."""
    found: list[tuple[PlanDevice, str]] = []
    if rig.gpus and not rig.demo:
        device_map = engines.ask_devices(EngineKind.LLAMA_CPP, rig, model, cancelled)
        for planned in in_order(rig_devices(rig, device_map), only):
            if (device := device_map.device(planned.id)) is not None:
                found.append((planned, device.name))
            elif only is not None:
                raise unusable(rig, device_map, planned.id)
    if not found:
        raise EngineError(
            "This machine has no card of its own that the engine could use beside those lent.",
            "Leave --local-cards out.",
        )
    return tuple(device for device, _ in found), tuple(name for _, name in found)


def warnings_for(server: RemoteServer, engine: Protocol | None) -> list[str]:
    """What to know before a server is used."""
    said = (exposure_warning(server.address), protocol_warning(server, engine))
    return [text for text in said if text]


def server_json(server: RemoteServer, engine: Protocol | None = None) -> dict[str, Any]:
    """A server as JSON; `null` for what it did not say or was not measured."""
    return {
        "endpoint": str(server.endpoint),
        "address": server.address,
        "state": server.state.value,
        "usable": server.usable,
        "protocol": str(server.protocol) if server.protocol else None,
        "latency_ms": server.link.latency_ms,
        "up_mb_s": server.link.up_mb_s,
        "down_mb_s": server.link.down_mb_s,
        "cards": [_card_json(card) for card in server.cards],
        "message": server.message,
        "hint": server.hint,
        "notes": list(server.notes),
        "warnings": warnings_for(server, engine),
    }


def _card_json(card: RemoteCard) -> dict[str, Any]:
    return {
        "name": card.name,
        "number": card.number,
        "total_bytes": card.total_bytes,
        "free_bytes": card.free_bytes,
        "pads_rows": card.pads_rows,
    }


def cost_lines(servers: Sequence[RemoteServer], costs: Sequence[LinkCost]) -> list[str]:
    """What the links of a plan cost and what to beware of, one sentence a line."""
    names = {card.id: card.name for card in all_cards(servers)}
    lines = [f"{names[cost.card_id]} {cost_text(cost)}." for cost in costs]
    warned = dict.fromkeys(text for server in servers for text in warnings_for(server, None))
    return [*lines, *warned]
