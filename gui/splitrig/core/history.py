"""What the rig did lately: bounded rings of readings on one time axis, and what happened when."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from splitrig.core.gpu import GpuSample, Rig
from splitrig.core.units import GIB

Series: TypeAlias = npt.NDArray[np.float32]
Times: TypeAlias = npt.NDArray[np.float64]

CAPACITY = 3600
"""Samples kept: one hour at 1 Hz."""
GAP_S = 20.0
"""A longer silence (the computer slept) is a hole in every line; the slowest interval is 10 s."""
MOST_CARDS = 32
"""Cards kept at the same time, those that are gone but still in the window counted."""
MOST_MARKS = 400


class Metric(StrEnum):
    """What is remembered per card."""

    VRAM = "vram_used_gib"
    LOAD = "utilization_pct"
    POWER = "power_w"
    TEMPERATURE = "temperature_c"


class Rate(StrEnum):
    """What is remembered for the whole rig, tokens per second."""

    GENERATION = "tok_s"
    PROMPT = "prompt_tok_s"


class MarkKind(StrEnum):
    """What the engine was busy with."""

    LOAD = "load"
    PROMPT = "prompt"
    ANSWER = "answer"


@dataclass(frozen=True, slots=True)
class Mark:
    """A span of time in which something happened.

    Attributes:
        kind: What happened.
        start_s: Begin, seconds on the clock of `Rig.time_s`.
        end_s: End, likewise; `None` while it goes on.
    """

    kind: MarkKind
    start_s: float
    end_s: float | None = None


class Ring:
    """The last `capacity` rows of a table, always contiguous in memory.

    Every row is written twice, `capacity` rows apart, so any run of recent rows is one plain
    slice: a window costs no copy. Takes 2 · capacity · n_columns · itemsize bytes.
    """

    def __init__(self, capacity: int, n_columns: int, dtype: type[np.floating]) -> None:
        self.capacity = capacity
        self._rows = np.full((n_columns, 2 * capacity), np.nan, dtype=dtype)
        self._next = 0

    @property
    def nbytes(self) -> int:
        """Memory taken, bytes."""
        return int(self._rows.nbytes)

    def append(self, values: Sequence[float]) -> None:
        """Add a row, overwriting the oldest one when full."""
        for at in (self._next, self._next + self.capacity):
            self._rows[:, at] = values
        self._next = (self._next + 1) % self.capacity

    def last(self, n: int, column: int = 0) -> npt.NDArray[np.floating]:
        """The newest `n` values of a column, oldest first: a read-only view, not a copy."""
        end = self._next + self.capacity
        view = self._rows[column, end - n : end]
        view.flags.writeable = False
        return view


_METRICS = tuple(Metric)
_RATES = tuple(Rate)


class Window:
    """A look at the newest part of a `History`; valid until its next `append`.

    Attributes:
        time_s: `Rig.time_s` of each row, ascending, float64.
        marks: Spans that touch the window, oldest first.
    """

    __slots__ = ("_cards", "_rates", "marks", "time_s")

    def __init__(
        self, time_s: Times, cards: dict[str, Ring], rates: Ring, marks: tuple[Mark, ...]
    ) -> None:
        self.time_s = time_s
        self._cards = cards
        self._rates = rates
        self.marks = marks

    def __len__(self) -> int:
        return len(self.time_s)

    @property
    def card_ids(self) -> tuple[str, ...]:
        """Cards that have at least one row somewhere in the history."""
        return tuple(self._cards)

    def card(self, gpu_id: str, metric: Metric) -> Series | None:
        """One card's readings, float32, NaN where missing; `None` for an unknown card."""
        ring = self._cards.get(gpu_id)
        if ring is None:
            return None
        return ring.last(len(self), _METRICS.index(metric)).astype(np.float32, copy=False)

    def rate(self, rate: Rate) -> Series:
        """Tokens per second of the whole rig, float32, NaN where nothing was measured."""
        return self._rates.last(len(self), _RATES.index(rate)).astype(np.float32, copy=False)


class History:
    """The readings of the last hour, for the graphs.

    Memory is fixed: 16 bytes a row for the time, 16 for the rates and 32 for each card, so
    3600 rows of eight cards take 1.04 MB; `nbytes` tells. A card that is gone keeps its rows
    until they have all left the ring. Not for use by several threads.
    """

    def __init__(self, capacity: int = CAPACITY, *, gap_s: float = GAP_S) -> None:
        self.capacity = capacity
        self._gap_s = gap_s
        self._time = Ring(capacity, 1, np.float64)
        self._rates = Ring(capacity, len(_RATES), np.float32)
        self._cards: dict[str, Ring] = {}
        self._absent: dict[str, int] = {}
        self._marks: deque[Mark] = deque(maxlen=MOST_MARKS)
        self._open: dict[MarkKind, float] = {}
        self._n = 0
        self._last_s: float | None = None

    def __len__(self) -> int:
        return self._n

    @property
    def nbytes(self) -> int:
        """Memory the rings take now, bytes."""
        return sum(ring.nbytes for ring in (self._time, self._rates, *self._cards.values()))

    @property
    def card_ids(self) -> tuple[str, ...]:
        """Cards with readings, in the order in which they were first seen."""
        return tuple(self._cards)

    @property
    def last_s(self) -> float | None:
        """`Rig.time_s` of the newest row; `None` while empty."""
        return self._last_s

    def append(
        self, rig: Rig, *, tok_s: float | None = None, prompt_tok_s: float | None = None
    ) -> None:
        """Remember one reading of all cards; one that is not newer than the last is left out.

        Args:
            rig: The reading; its `time_s` is the row's time.
            tok_s: Speed of generation, tokens per second; `None` when nothing was measured.
            prompt_tok_s: Speed of reading prompts, tokens per second; likewise.
        """
        if self._last_s is not None:
            if rig.time_s <= self._last_s:
                return
            if rig.time_s - self._last_s > self._gap_s:
                self._append_row(self._last_s + self._gap_s / 2, {}, (np.nan, np.nan))
        known = {g.id: rig.samples.get(g.id) for g in rig.gpus}
        for gpu_id in known:
            if gpu_id not in self._cards and len(self._cards) < MOST_CARDS:
                self._cards[gpu_id] = Ring(self.capacity, len(_METRICS), np.float32)
        self._append_row(rig.time_s, known, (_number(tok_s), _number(prompt_tok_s)))
        self._drop_forgotten(known)

    def _append_row(
        self, time_s: float, samples: dict[str, GpuSample | None], rates: tuple[float, float]
    ) -> None:
        self._time.append((time_s,))
        self._rates.append(rates)
        for gpu_id, ring in self._cards.items():
            ring.append(_readings(samples.get(gpu_id)))
        self._n = min(self._n + 1, self.capacity)
        self._last_s = time_s

    def _drop_forgotten(self, known: dict[str, GpuSample | None]) -> None:
        """Free the rings of cards whose last row has left the ring."""
        for gpu_id in list(self._cards):
            if gpu_id in known:
                self._absent.pop(gpu_id, None)
                continue
            self._absent[gpu_id] = self._absent.get(gpu_id, 0) + 1
            if self._absent[gpu_id] >= self.capacity:
                del self._cards[gpu_id], self._absent[gpu_id]

    def window(self, seconds: float) -> Window:
        """The rows of the last `seconds`, and one before them so that lines reach the edge.

        Nothing is copied; the arrays are read-only views into the ring.
        """
        times = self._time.last(self._n).astype(np.float64, copy=False)
        if self._n == 0:
            return Window(times, self._cards, self._rates, ())
        since = float(times[-1]) - seconds
        first = max(int(np.searchsorted(times, since)) - 1, 0)
        marks = tuple(m for m in self.marks() if m.end_s is None or m.end_s >= since)
        return Window(times[first:], self._cards, self._rates, marks)

    def begin(self, kind: MarkKind, time_s: float) -> None:
        """Something begins; a span of the same kind that is still open ends here."""
        self.end(kind, time_s)
        self._open[kind] = time_s

    def end(self, kind: MarkKind, time_s: float) -> None:
        """Something ends; nothing happens when it had not begun."""
        start_s = self._open.pop(kind, None)
        if start_s is not None:
            self._marks.append(Mark(kind, start_s, max(time_s, start_s)))

    def marks(self) -> Iterator[Mark]:
        """All remembered spans, finished ones first."""
        yield from self._marks
        for kind, start_s in self._open.items():
            yield Mark(kind, start_s)


def _number(value: float | None) -> float:
    return np.nan if value is None else float(value)


def _readings(sample: GpuSample | None) -> tuple[float, ...]:
    """A sample as a row, in the order of `Metric`; a lost or unread card is all NaN."""
    if sample is None or sample.lost:
        return (np.nan,) * len(_METRICS)
    used = sample.vram_used_bytes
    return (
        np.nan if used is None else used / GIB,
        _number(sample.utilization_pct),
        _number(sample.power_w),
        _number(sample.temperature_c),
    )
