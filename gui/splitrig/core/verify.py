"""After a start: do the cards really carry what the engine says, and what was planned?

The engine's log tells what it took, telemetry what the cards hold; only both together show a
card that stayed empty, a process on the wrong card, and weights that went to the computer's RAM.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace

from splitrig.core.attached import placement_notes
from splitrig.core.engine import Buffers, EngineKind, EngineStatus, Phase
from splitrig.core.engine_log import TOGETHER
from splitrig.core.engine_placement import (
    HOST,
    divides_by_itself,
)
from splitrig.core.engine_remarks import note_of
from splitrig.core.engine_words import engine_name
from splitrig.core.gpu import GpuSample, Note, Rig, Severity
from splitrig.core.told_together import NOT_TOLD, told_together
from splitrig.core.units import MIB, gib_text, mib_text

NOTABLE_BYTES = 96 * MIB
"""Less than a context of CUDA, with which a program touches a card without using it."""
SHARE_SEEN = 0.5
"""Of what a card should carry, so much must be seen as new memory in use."""
NEARLY_FULL_BYTES = 128 * MIB
"""A card with less room than this may already put allocations elsewhere."""
FIRST_PROOF = 3
"""Readings of the cards, counted from the engine's being ready, before it is judged by them."""


class FirstReadings:
    """The cards right after each engine became ready, and right before it was started again.

    What comes onto a card or leaves it later is the doing of others.
    """

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self._rigs: dict[int, Rig] = {}
        self._last: dict[int, tuple[Rig, EngineStatus]] = {}
        self._waiting: set[int] = set()
        self._before: dict[int, Rig] = {}

    def add(self, rig: Rig, engines: Iterable[EngineStatus]) -> None:
        """Take a reading of the cards, and the engines that run."""
        for status in engines:
            if _is_between(status):
                before = self._before.get(status.slot)
                self._before[status.slot] = rig if before is None else _lowest(before, rig)
            if status.phase is not Phase.READY:
                continue
            # a reading that was taken before it was ready proves nothing
            count = self._counts[status.slot] = self._counts.get(status.slot, 0) + 1
            if count == FIRST_PROOF:
                self._rigs[status.slot] = rig
            if count >= FIRST_PROOF:
                self._last[status.slot] = (rig, status)

    def follow(self, status: EngineStatus) -> None:
        """Forget what was seen of an engine that is not ready any more."""
        slot = status.slot
        if status.phase is Phase.READY:
            return
        self._counts.pop(slot, None)
        self._rigs.pop(slot, None)
        last = self._last.pop(slot, None)
        if not status.restart:
            self._before.pop(slot, None)
        elif _is_between(status) and slot not in self._waiting:
            # what it held may be freed only later, and others have moved since its first start
            self._before.pop(slot, None)
            if last is not None:
                self._before[slot] = _without(*last)
        if _is_between(status):
            self._waiting.add(slot)
        else:
            self._waiting.discard(slot)

    def of(self, slot: int) -> Rig | None:
        """The cards after an engine became ready; `None` when it is too early to tell."""
        return self._rigs.get(slot)

    def before(self, slot: int) -> Rig | None:
        """The cards before an engine was started again after a crash, without its own part.

        `None` for one that was started by hand.
        """
        return self._before.get(slot)


def _is_between(status: EngineStatus) -> bool:
    """It crashed, and its next process does not exist yet."""
    return status.phase is Phase.STARTING and bool(status.restart) and status.pid is None


def _without(rig: Rig, status: EngineStatus) -> Rig:
    """The cards as they would be without what an engine holds on them."""
    devices = status.plan.devices if status.plan is not None else ()
    told = {
        device.id: status.actual.get(name, Buffers())
        for name, device in zip(status.device_names, devices, strict=False)
    }
    return _with_used(
        rig,
        lambda gpu_id, sample, used: max(
            used - (_held(sample, status.pids) or _sum(told.get(gpu_id, Buffers()))), 0
        ),
    )


def _lowest(before: Rig, rig: Rig) -> Rig:
    """The cards with the less memory in use of two readings."""

    def lower(gpu_id: str, _sample: GpuSample, used: int) -> int:
        other = before.samples.get(gpu_id)
        was = other.vram_used_bytes if other is not None else None
        return used if was is None else min(used, was)

    return _with_used(rig, lower)


def _with_used(rig: Rig, used: Callable[[str, GpuSample, int], int]) -> Rig:
    samples = {
        gpu_id: sample
        if sample.vram_used_bytes is None
        else replace(sample, vram_used_bytes=used(gpu_id, sample, sample.vram_used_bytes))
        for gpu_id, sample in rig.samples.items()
    }
    return replace(rig, samples=samples)


def _sum(buffers: Buffers) -> int:
    parts = (buffers.model_bytes, buffers.kv_bytes, buffers.compute_bytes)
    return sum(part or 0 for part in parts)


@dataclass(frozen=True, slots=True)
class _Card:
    """One card of the plan: what it should carry, and what came onto it since the start."""

    gpu_id: str
    name: str
    planned_bytes: int
    grown_bytes: int | None
    held_bytes: int | None
    sample: GpuSample | None

    @property
    def empty(self) -> bool:
        """Little of what it should carry is seen on it."""
        notable = self.planned_bytes >= NOTABLE_BYTES
        return (
            notable
            and self.grown_bytes is not None
            and self.grown_bytes < SHARE_SEEN * self.planned_bytes
            # others may have freed as much meanwhile
            and (self.held_bytes or 0) < SHARE_SEEN * self.planned_bytes
        )


def verify(
    status: EngineStatus,
    before: Rig | None,
    now: Rig,
    pids: Collection[int] = (),
    *,
    after: Rig | None = None,
) -> tuple[Note, ...]:
    """Everything that is not as it should be, the gravest first; empty when all is well.

    Args:
        status: The engine, ready.
        before: The cards right before its start; without it memory is not compared.
        now: The cards now.
        pids: The engine's process and all below it; empty when it is not ours.
        after: The cards right after it became ready; without it those now.

    Returns:
        Notes with the ids `one-card-loaded`, `card-stayed-empty`, `wrong-card`,
        `no-process-on-card`, `spilled-to-ram`, `card-full`, `told-together`, `unmetered` and
        `placed`, and the engine's own remarks.
    """
    after = after or now
    remarks = (*_together(status), *map(note_of, status.log.remarks), *_unmetered(status))
    if status.phase is not Phase.READY or status.plan is None or now.demo:
        return (*_spill(status), *remarks) if status.phase is Phase.READY else ()
    remarks = (*placement_notes(status, before, after), *remarks)
    cards = _cards(status, before, after, now, pids)
    empty = [card for card in cards if card.empty]
    carrying = [card for card in cards if card.planned_bytes >= NOTABLE_BYTES and not card.empty]
    notes: list[Note] = []
    if empty and len(carrying) == 1:
        notes.append(_one_card(status, carrying[0], empty))
    elif not divides_by_itself(status):
        notes += [_stayed_empty(status, card) for card in empty]
    notes += _wrong_cards(status, cards, now, pids)
    notes += _without_process(status, cards, now, pids)
    notes += _spill(status)
    notes += [note for card in cards for note in _full(card)]
    return (*notes, *remarks)


def _cards(
    status: EngineStatus, before: Rig | None, after: Rig, now: Rig, pids: Collection[int]
) -> list[_Card]:
    cards = []
    for device in status.plan.devices if status.plan is not None else ():
        sample, last = now.samples.get(device.id), after.samples.get(device.id)
        first = before.samples.get(device.id) if before is not None else None
        grown = None
        if last is not None and first is not None:
            used, was = last.vram_used_bytes, first.vram_used_bytes
            grown = used - was if used is not None and was is not None else None
        cards.append(
            _Card(
                gpu_id=device.id,
                name=device.name,
                planned_bytes=device.model_bytes + device.kv_bytes,
                grown_bytes=grown,
                held_bytes=_held(sample, pids),
                sample=sample,
            )
        )
    return cards


def _held(sample: GpuSample | None, pids: Collection[int]) -> int | None:
    """Bytes our processes hold on a card; `None` where the driver does not tell."""
    listed = sample.processes if sample is not None else None
    if listed is None:
        return None
    return sum(process.vram_bytes or 0 for process in listed if process.pid in pids)


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
    used = [device.name for device in status.log.used if device.name != TOGETHER]
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
        held = _held(sample, pids) or 0
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


def _without_process(
    status: EngineStatus, cards: list[_Card], now: Rig, pids: Collection[int]
) -> list[Note]:
    """Cards that should carry something and on which none of our processes is."""
    if not pids or (status.request is not None and status.request.rpc):
        return []
    listed = {p.pid for sample in now.samples.values() for p in sample.processes or ()}
    if listed.isdisjoint(pids):
        return []  # in a container the driver names processes by the numbers of its host
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
    more = (host.kv_bytes or 0) - status.plan.host.kv_bytes
    if not status.plan.host.expert_layers:
        # the engine tells of one stretch of the file, from the first of these experts to the last
        more += (host.model_bytes or 0) - status.plan.host.model_bytes
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


def _together(status: EngineStatus) -> tuple[Note, ...]:
    """What the engine says of all cards at once."""
    known = told_together(status)
    if not known:
        return ()
    note = Note(id="told-together", severity=Severity.INFO, message=known, detail=NOT_TOLD)
    return (note,)


def _unmetered(status: EngineStatus) -> tuple[Note, ...]:
    """That nothing is known of what others ask of it."""
    if not status.unmetered:
        return ()
    note = Note(
        id="unmetered",
        severity=Severity.INFO,
        message=status.unmetered,
        detail="The curve of tok/s shows what the chat here asks only; answers are not affected.",
    )
    return (note,)


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
