"""Planned against actual as values: what stands in the table once an engine is ready."""

from dataclasses import dataclass

from splitrig.core.attached import is_attached, is_unloaded
from splitrig.core.engine import Buffers, EngineStatus
from splitrig.core.engine_placement import (
    HOST,
    LOG_STEP_BYTES,
    allowed_bytes,
    divides_by_itself,
    is_shared,
)
from splitrig.core.ollama import divided_by_itself
from splitrig.core.plan import DevicePlan
from splitrig.core.told_together import NOT_TOLD
from splitrig.core.units import GIB, MIB, MISSING, number_text, size_text
from splitrig.views.launch.wording import layers_text
from splitrig.views.theme import KIND_NAMES, Kind

NOT_REPORTED = "not reported"
UNLOADED = "Ollama has let go of the model; the next question loads it again."


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedRow:
    """One kind of memory on one card; `None` where it was not planned or not reported.

    Attributes:
        kind: Which memory; `None` for the sum.
        planned_bytes: As planned.
        actual_bytes: As the engine says.
        drifted: It lies otherwise than planned (weights and KV only; compute is an estimate).
    """

    kind: Kind | None
    planned_bytes: int | None
    actual_bytes: int | None
    drifted: bool = False

    @property
    def label(self) -> str:
        """Its name in the table."""
        return "Engine in all" if self.kind is None else KIND_NAMES[self.kind]

    @property
    def difference_bytes(self) -> int | None:
        """Actual − planned."""
        if self.planned_bytes is None or self.actual_bytes is None:
            return None
        return self.actual_bytes - self.planned_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedCard:
    """One card of the table.

    Attributes:
        id: Its key.
        name: Its name.
        planned_layers: Layers in words.
        loaded_layers: Layers the engine placed, in words.
        drifted: Another number of layers than planned.
        rows: Weights, KV cache, compute, and the sum.
    """

    id: str
    name: str
    planned_layers: str
    loaded_layers: str
    drifted: bool
    rows: tuple[PlacedRow, ...]


def placed_cards(status: EngineStatus) -> tuple[PlacedCard, ...]:
    """Every card of the plan with what it carries."""
    if status.plan is None:
        return ()
    cards = []
    by_itself = divides_by_itself(status)  # then what was planned are shares by free memory
    for index, device in enumerate(status.plan.devices):
        name = status.device_names[index] if index < len(status.device_names) else device.name
        actual = status.actual.get(name, Buffers())
        loaded = status.layers.get(name)
        drifted = loaded is not None and loaded != device.n_layers and not by_itself
        cards.append(
            PlacedCard(
                id=device.id,
                name=device.name,
                planned_layers=layers_text(device),
                loaded_layers=_loaded_text(device, loaded),
                drifted=drifted,
                rows=_rows(
                    device,
                    actual,
                    exact=not is_shared(status.actual) and not by_itself,
                    tolerance=status.plan.tolerance,
                ),
            )
        )
    return tuple(cards)


def host_row(status: EngineStatus) -> PlacedRow | None:
    """Weights in the computer's memory."""
    if status.plan is None:
        return None
    actual = status.actual.get(HOST, Buffers())
    return PlacedRow(
        kind="weights",
        planned_bytes=status.plan.host.model_bytes,
        actual_bytes=actual.model_bytes,
    )


def _loaded_text(device: DevicePlan, loaded: int | None) -> str:
    if loaded is None:
        return NOT_REPORTED
    if loaded == device.n_layers:
        return layers_text(device)
    return f"{loaded or 'no'} layer{'' if loaded == 1 else 's'}"


def _rows(
    device: DevicePlan, actual: Buffers, *, exact: bool, tolerance: float
) -> tuple[PlacedRow, ...]:
    rows = [
        _row("weights", device.model_bytes, actual.model_bytes, exact=exact, tolerance=tolerance),
        _row("kv", device.kv_bytes, actual.kv_bytes, exact=exact, tolerance=tolerance),
        _row(
            "compute", device.compute_bytes, actual.compute_bytes, exact=False, tolerance=tolerance
        ),
    ]
    planned = [row.planned_bytes for row in rows if row.planned_bytes is not None]
    found = [row.actual_bytes for row in rows if row.actual_bytes is not None]
    whole = len(planned) == len(rows) and len(found) == len(rows)
    rows.append(
        PlacedRow(
            kind=None,
            planned_bytes=sum(planned) if whole else None,
            actual_bytes=sum(found) if found else None,
        )
    )
    return tuple(rows)


def _row(
    kind: Kind, planned: int | None, actual: int | None, *, exact: bool, tolerance: float
) -> PlacedRow:
    drifted = (
        exact
        and planned is not None
        and actual is not None
        and abs(actual - planned) > allowed_bytes(planned, tolerance)
    )
    return PlacedRow(kind=kind, planned_bytes=planned, actual_bytes=actual, drifted=drifted)


def placed_verdict(status: EngineStatus) -> tuple[bool, str, str]:
    """As planned or not, with a title and a sentence."""
    if is_shared(status.actual):
        return True, "Loaded, divided within the layers", NOT_TOLD
    if is_unloaded(status):
        return False, "Not loaded any more", UNLOADED
    if divides_by_itself(status) and status.build is not None:
        return True, "Loaded, divided by Ollama", divided_by_itself(status.build)
    if (placed := status.log.placed) is not None:
        on_cards = placed.on_cards_bytes >= placed.total_bytes
        where = (
            "all on the cards"
            if on_cards
            else (f"{size_text(placed.on_cards_bytes)} of it on the cards, the rest in RAM")
        )
        return on_cards, "Loaded by Ollama", f"{size_text(placed.total_bytes)}, {where}."
    if is_attached(status):
        return True, "Loaded by Ollama", "It tells of no memory for it."
    cards = placed_cards(status)
    drifted = [card for card in cards if card.drifted or any(row.drifted for row in card.rows)]
    if status.mismatches or drifted:
        said = list(status.mismatches) or [
            f"{card.name} carries {card.loaded_layers}, planned were {card.planned_layers}."
            for card in drifted
        ]
        more = f" {len(said) - 1} more below." if len(said) > 1 else ""
        return False, "Loaded otherwise than planned", said[0] + more
    differences = [
        (abs(row.difference_bytes), row)
        for card in cards
        for row in card.rows
        if row.kind is not None and row.difference_bytes is not None
    ]
    detail = "Every card carries the layers that were planned."
    if len(cards) == 2:
        detail = "Both cards carry the layers that were planned."
    if len(cards) == 1:
        detail = "The card carries the layers that were planned."
    largest = max(differences, key=lambda pair: pair[0], default=None)
    if largest is not None and largest[0] >= MIB / 20:
        size = number_text(largest[0] / MIB, 1 if largest[0] < 10 * MIB else 0)
        detail = f"Largest difference: {size} MiB of {largest[1].label.lower()}. {detail}"
    return True, "Loaded as planned", detail


def placed_unit(status: EngineStatus) -> tuple[str, int]:
    """GiB, or MiB where every card holds less than one GiB."""
    planned = status.plan.devices if status.plan is not None else ()
    largest = max((device.used_bytes - device.overhead_bytes for device in planned), default=0)
    return ("GiB", GIB) if largest >= GIB else ("MiB", MIB)


def amount_text(n_bytes: int | None, unit_bytes: int) -> str:
    """Two decimals in the table's unit."""
    return MISSING if n_bytes is None else number_text(n_bytes / unit_bytes, 2)


def difference_texts(row: PlacedRow, unit_bytes: int) -> tuple[str, str]:
    """The difference in MiB and in per cent, with their signs."""
    difference = row.difference_bytes
    if difference is None:
        return MISSING, MISSING
    if abs(difference) <= LOG_STEP_BYTES:
        difference = 0
    decimals = 0 if unit_bytes == GIB or not difference else 2
    mib = _signed(difference / MIB, decimals)
    if not row.planned_bytes:
        return mib, MISSING if difference else "0.0 %"
    return mib, f"{_signed(100 * difference / row.planned_bytes, 1)} %"


def _signed(value: float, decimals: int) -> str:
    text = number_text(value, decimals)
    return f"+{text}" if value > 0 and any(c in "123456789" for c in text) else text
