"""After a start: do the cards really carry what the engine says, and what was planned?

The engine's log tells what it took, telemetry what the cards hold; only both together show a
card that stayed empty, a process on the wrong card, and weights that went to the computer's RAM.
"""

from collections.abc import Collection
from dataclasses import dataclass

from splitrig.core.engine import EngineKind, EngineStatus, Phase
from splitrig.core.engine_machine import HOST
from splitrig.core.engine_words import engine_name
from splitrig.core.gpu import GpuSample, Note, Rig, Severity
from splitrig.core.units import MIB, gib_text, mib_text

NOTABLE_BYTES = 96 * MIB
"""Less than a context of CUDA, with which a program touches a card without using it."""
SHARE_SEEN = 0.5
"""Of what a card should carry, so much must be seen as new memory in use."""
NEARLY_FULL_BYTES = 128 * MIB
"""A card with less room than this may already put allocations elsewhere."""


@dataclass(frozen=True, slots=True)
class _Card:
    """One card of the plan: what it should carry, and what came onto it since the start."""

    gpu_id: str
    name: str
    planned_bytes: int
    grown_bytes: int | None
    sample: GpuSample | None

    @property
    def empty(self) -> bool:
        """Little of what it should carry is seen on it."""
        notable = self.planned_bytes >= NOTABLE_BYTES
        return (
            notable
            and self.grown_bytes is not None
            and self.grown_bytes < SHARE_SEEN * self.planned_bytes
        )


def verify(
    status: EngineStatus, before: Rig | None, now: Rig, pids: Collection[int] = ()
) -> tuple[Note, ...]:
    """Everything that is not as it should be, the gravest first; empty when all is well.

    Args:
        status: The engine, ready.
        before: The cards right before its start; without it memory is not compared.
        now: The cards now.
        pids: The engine's process and all below it; empty when it is not ours.

    Returns:
        Notes with the ids `one-card-loaded`, `card-stayed-empty`, `wrong-card`,
        `no-process-on-card`, `spilled-to-ram` and `card-full`.
    """
    if status.phase is not Phase.READY or status.plan is None or now.demo:
        return _spill(status) if status.phase is Phase.READY else ()
    cards = _cards(status, before, now)
    empty = [card for card in cards if card.empty]
    carrying = [card for card in cards if card.planned_bytes >= NOTABLE_BYTES and not card.empty]
    notes: list[Note] = []
    if empty and len(carrying) == 1:
        notes.append(_one_card(status, carrying[0], empty))
    else:
        notes += [_stayed_empty(status, card) for card in empty]
    notes += _wrong_cards(status, cards, now, pids)
    notes += _without_process(status, cards, pids)
    notes += _spill(status)
    notes += [note for card in cards for note in _full(card)]
    return tuple(notes)


def _cards(status: EngineStatus, before: Rig | None, now: Rig) -> list[_Card]:
    cards = []
    for device in status.plan.devices if status.plan is not None else ():
        sample = now.samples.get(device.id)
        first = before.samples.get(device.id) if before is not None else None
        grown = None
        if sample is not None and first is not None:
            used, was = sample.vram_used_bytes, first.vram_used_bytes
            grown = used - was if used is not None and was is not None else None
        cards.append(
            _Card(
                gpu_id=device.id,
                name=device.name,
                planned_bytes=device.model_bytes + device.kv_bytes,
                grown_bytes=grown,
                sample=sample,
            )
        )
    return cards


def _one_card(status: EngineStatus, full: _Card, empty: list[_Card]) -> Note:
    """Several cards were planned and one is loaded: what is the likely cause?"""
    others = " and ".join(card.name for card in empty)
    return Note(
        id="one-card-loaded",
        severity=Severity.DANGER,
        message=f"Only {full.name} is loaded; {others} stayed empty.",
        detail=_cause(status),
        gpu_ids=tuple(card.gpu_id for card in empty),
    )


def _cause(status: EngineStatus) -> str:
    request = status.request
    used = [device.name for device in status.log.used]
    if len(used) == 1 and len(status.device_names) > 1:
        return (
            f"The engine sees one device, {used[0]}: it may be built for one make of card, "
            "or the driver hides the others."
        )
    if request is not None and request.plan.split_mode == "none":
        return "Split mode 'none' uses the first card only; choose 'layer'."
    if request is not None and request.engine in (EngineKind.OLLAMA, EngineKind.OLLAMA_ATTACHED):
        return (
            "Ollama keeps a model that fits on one card there; OLLAMA_SCHED_SPREAD=1 spreads it, "
            "which SplitRig sets for an Ollama of its own."
        )
    if request is not None and request.plan.n_gpu_layers >= 0:
        return f"Only {request.plan.n_gpu_layers} layers were to lie on cards at all."
    return "Another program may have freed memory meanwhile; compare with the engine's own figures."


def _stayed_empty(status: EngineStatus, card: _Card) -> Note:
    return Note(
        id="card-stayed-empty",
        severity=Severity.WARNING,
        message=(
            f"{card.name} should carry {gib_text(card.planned_bytes)} GiB, but only "
            f"{mib_text(max(card.grown_bytes or 0, 0))} MiB came onto it."
        ),
        detail=f"{engine_name(status)} may have put its share elsewhere; its log names the place.",
        gpu_ids=(card.gpu_id,),
    )


def _wrong_cards(
    status: EngineStatus, cards: list[_Card], now: Rig, pids: Collection[int]
) -> list[Note]:
    """Our processes on cards that are no part of the plan."""
    planned = {card.gpu_id for card in cards}
    notes = []
    for gpu in now.gpus:
        sample = now.samples.get(gpu.id)
        if gpu.id in planned or sample is None or sample.processes is None:
            continue
        held = sum(p.vram_bytes or 0 for p in sample.processes if p.pid in pids)
        if held >= NOTABLE_BYTES:
            notes.append(
                Note(
                    id="wrong-card",
                    severity=Severity.WARNING,
                    message=f"{gpu.short_name} holds {gib_text(held)} GiB of this engine, but is "
                    "not part of the split.",
                    detail=f"{engine_name(status)} chose it by itself; look at the devices its "
                    "log names.",
                    gpu_ids=(gpu.id,),
                )
            )
    return notes


def _without_process(status: EngineStatus, cards: list[_Card], pids: Collection[int]) -> list[Note]:
    """Cards that should carry something and on which none of our processes is."""
    if not pids or (status.request is not None and status.request.rpc):
        return []
    return [
        Note(
            id="no-process-on-card",
            severity=Severity.WARNING,
            message=f"No process of the engine is on {card.name}.",
            detail="The driver lists none there; the engine may be using another card instead.",
            gpu_ids=(card.gpu_id,),
        )
        for card in cards
        if card.planned_bytes >= NOTABLE_BYTES
        and card.sample is not None
        and card.sample.processes
        and not any(process.pid in pids for process in card.sample.processes)
    ]


def _spill(status: EngineStatus) -> tuple[Note, ...]:
    """Weights or cache in RAM that were planned for the cards."""
    host = status.actual.get(HOST)
    if host is None or status.plan is None:
        return ()
    more = (host.model_bytes or 0) + (host.kv_bytes or 0)
    more -= status.plan.host.model_bytes + status.plan.host.kv_bytes
    if more < NOTABLE_BYTES:
        return ()
    return (
        Note(
            id="spilled-to-ram",
            severity=Severity.WARNING,
            message=f"{gib_text(more)} GiB more than planned lie in the computer's RAM.",
            detail="Each token waits for them: shorten the context, or keep fewer layers on the "
            "fullest card.",
        ),
    )


def _full(card: _Card) -> tuple[Note, ...]:
    free = card.sample.vram_free_bytes if card.sample is not None else None
    if free is None or free >= NEARLY_FULL_BYTES:
        return ()
    return (
        Note(
            id="card-full",
            severity=Severity.WARNING,
            message=f"{card.name} has {mib_text(free)} MiB left.",
            detail="A driver that moves memory to RAM begins about here, and answers become slow; "
            "move a layer to another card.",
            gpu_ids=(card.gpu_id,),
        ),
    )
