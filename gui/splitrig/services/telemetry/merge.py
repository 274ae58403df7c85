"""Cards seen by several sources become one card each."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TypeVar

from splitrig.core.gpu import GpuInfo, GpuSample, Note, Rig

DEMO = "demo"
_OWN = frozenset({"id", "name", "vendor", "source", "lost", "integrated"})
"""Fields that the first source decides alone."""

Value = TypeVar("Value", GpuInfo, GpuSample)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one source said last.

    Attributes:
        time_s: `time.monotonic()` when it was complete.
        gpus: Its cards.
        samples: One reading per card that was read.
        notes: What it has to say.
    """

    time_s: float
    gpus: tuple[GpuInfo, ...] = ()
    samples: tuple[GpuSample, ...] = ()
    notes: tuple[Note, ...] = ()


def merge(readings: Sequence[Reading], time_s: float) -> Rig:
    """One rig of all readings; of two sources that see a card, the earlier one wins.

    Cards are the same when UUID or PCI address agree, but never two of the same source. What
    the winner does not report is taken from the others.
    """
    gpus: list[GpuInfo] = []
    samples: dict[str, GpuSample] = {}
    notes: list[Note] = []
    for reading in readings:
        by_id = {sample.id: sample for sample in reading.samples}
        known = tuple(gpus)
        for gpu in reading.gpus:
            position = next((i for i, other in enumerate(known) if _same(gpu, other)), None)
            sample = by_id.get(gpu.id)
            if position is None:
                gpus.append(gpu)
                if sample is not None:
                    samples[gpu.id] = sample
                continue
            card = gpus[position] = filled(gpus[position], gpu)
            if sample is not None:
                own = samples.get(card.id)
                samples[card.id] = (
                    replace(sample, id=card.id) if own is None else filled(own, sample)
                )
        notes += [note for note in reading.notes if note not in notes]
    return Rig(
        time_s=time_s,
        gpus=tuple(sorted(gpus, key=_place)),
        samples=samples,
        notes=tuple(notes),
        demo=any(gpu.source == DEMO for gpu in gpus),
    )


def _same(one: GpuInfo, other: GpuInfo) -> bool:
    same_pci = one.pci is not None and one.pci == other.pci
    same_uuid = one.uuid is not None and one.uuid == other.uuid
    return same_pci or same_uuid


def filled(first: Value, second: Value) -> Value:
    """The first value with its gaps filled from the second; a lost card stays empty."""
    if isinstance(first, GpuSample) and first.lost:
        return first
    gaps = {
        f.name: getattr(second, f.name)
        for f in fields(first)
        if f.name not in _OWN and getattr(first, f.name) is None
    }
    return replace(first, **gaps) if gaps else first


def _place(gpu: GpuInfo) -> tuple[bool, str, str]:
    return gpu.pci is None, gpu.pci or "", gpu.id
