"""What a graph of the history shows: its rows, scales, ticks, and points fit for drawing."""

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from splitrig.core.gpu import Rig
from splitrig.core.history import Metric, Rate, Series, Window
from splitrig.core.units import GIB

Key: TypeAlias = Metric | Rate
Points: TypeAlias = npt.NDArray[np.float64]

RANGES_S: dict[str, int] = {"1 min": 60, "5 min": 300, "30 min": 1800}
"""Choices of the time axis, seconds."""
MOST_POINTS = 700
"""Points a curve is drawn with at most; more than a plot has pixels shows nothing more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One graph of the stack.

    Attributes:
        key: What it shows.
        title: Its name.
        unit: Of the values.
        decimals: Of the values shown beside it.
        menu: Its name in the list of graphs.
    """

    key: Key
    title: str
    unit: str
    decimals: int
    menu: str


ROWS: tuple[Row, ...] = (
    Row(key=Metric.VRAM, title="VRAM", unit="GiB", decimals=1, menu="VRAM, GiB"),
    Row(key=Metric.LOAD, title="Load", unit="%", decimals=0, menu="Load, %"),
    Row(key=Metric.POWER, title="Power", unit="W", decimals=0, menu="Power, W"),
    Row(key=Metric.TEMPERATURE, title="Heat", unit="°C", decimals=0, menu="Temperature, °C"),
    Row(key=Rate.GENERATION, title="Answer", unit="tok/s", decimals=1, menu="Answer, tok/s"),
    Row(key=Rate.PROMPT, title="Prompt", unit="tok/s", decimals=0, menu="Prompt, tok/s"),
)
DEFAULT_KEYS: tuple[Key, ...] = (Metric.VRAM, Metric.LOAD, Metric.POWER, Rate.GENERATION)


@dataclass(frozen=True, slots=True)
class GraphCard:
    """A card as the graphs know it.

    Attributes:
        id: Its key.
        number: Decides its colour and stands on its chip.
        name: Its short name.
    """

    id: str
    number: int
    name: str


def cards_of(rig: Rig) -> tuple[GraphCard, ...]:
    """The cards of a reading, numbered by their place in it."""
    return tuple(GraphCard(g.id, i, g.short_name) for i, g in enumerate(rig.gpus))


def nice_ceiling(value: float) -> float:
    """The next 'round' number at or above `value`: 1, 2, 4, 5, 6, 8 or 10 times a power of ten."""
    if not math.isfinite(value) or value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    for step in (1, 2, 4, 5, 6, 8, 10):
        if value <= step * power * (1 + 1e-9):
            return step * power
    return 10 * power


def scale_top(key: Key, rig: Rig | None, seen_max: float) -> float:
    """The top of a row's scale: what the cards can do, and never below what was seen.

    Args:
        key: The row.
        rig: The last reading, for sizes and limits.
        seen_max: Largest value in the window; NaN when there is none.
    """
    if key in (Metric.LOAD, Metric.TEMPERATURE):
        return 100.0 if not seen_max > 100 else nice_ceiling(seen_max)
    most = seen_max if math.isfinite(seen_max) else 0.0
    if key is Metric.VRAM:
        sizes = [g.vram_total_bytes / GIB for g in (rig.gpus if rig else ()) if g.vram_total_bytes]
        return float(math.ceil(max([most, *sizes, 1.0]) - 1e-6))
    if key is Metric.POWER:
        samples = rig.samples.values() if rig else ()
        limits = [s.power_limit_w for s in samples if s.power_limit_w]
        # A card overshoots its limit by a few percent for a moment; the scale stays.
        return float(math.ceil(max([most / 1.05, *limits, 20.0]) / 20) * 20)
    return nice_ceiling(max(most, 10.0))


def time_ticks(seconds: int) -> tuple[tuple[float, str], ...]:
    """Places and texts on the time axis, seconds before now as negative numbers."""
    step = {60: 15, 300: 60, 1800: 300}.get(seconds, max(seconds // 5, 1))
    ticks = [(float(-s), f"−{s // 60}:{s % 60:02d}") for s in range(seconds, 0, -step)]
    return (*ticks, (0.0, "now"))


class Thinner:
    """Cuts rows down to what a plot can show, keeping peaks and holes.

    Rows are grouped by absolute time, so a group keeps its members as time goes on and old
    peaks do not flicker.
    """

    def __init__(self, window: Window, seconds: int, *, most: int = MOST_POINTS) -> None:
        times = window.time_s
        self._starts: npt.NDArray[np.intp] | None = None
        self.x: Points = np.empty(0)
        if len(times) == 0:
            return
        age = times - times[-1]
        if len(times) <= most:
            self.x = age
            return
        width_s = 2 * seconds / most
        group = np.floor(times / width_s)
        self._starts = np.flatnonzero(np.diff(group, prepend=group[0] - 1))
        middle = (group[self._starts] + 0.5) * width_s - times[-1]
        self.x = np.repeat(middle, 2)
        self.x[0::2] -= width_s / 4
        self.x[1::2] += width_s / 4
        self.x[-1] = 0.0

    def y(self, values: Series) -> Points:
        """One series on `x`: as it is, or the lowest and highest of each group."""
        if self._starts is None:
            return hold_lonely(values.astype(np.float64))
        low = np.fmin.reduceat(values, self._starts)
        high = np.fmax.reduceat(values, self._starts)
        y = np.empty(2 * len(self._starts))
        y[0::2], y[1::2] = low, high
        return hold_lonely(y)


def hold_lonely(y: Points) -> Points:
    """Stretch a value between two holes to the next point, else no line would show it."""
    finite = np.isfinite(y)
    lonely = finite.copy()
    lonely[1:] &= ~finite[:-1]
    lonely[:-1] &= ~finite[1:]
    at = np.flatnonzero(lonely[:-1])
    y[at + 1] = y[at]
    return y


def last_finite(values: Series) -> float | None:
    """The newest value, or `None` when it was not reported."""
    if len(values) == 0 or not np.isfinite(values[-1]):
        return None
    return float(values[-1])


def highest(series: list[Points]) -> float:
    """The largest finite value of some series; NaN when there is none."""
    tops = [float(np.nanmax(y)) for y in series if len(y) and np.isfinite(y).any()]
    return max(tops, default=math.nan)


def series_of(window: Window, key: Key, gpu_id: str) -> Series | None:
    """The readings behind one curve."""
    if isinstance(key, Rate):
        return window.rate(key)
    return window.card(gpu_id, key)
