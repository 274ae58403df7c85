"""A card's readings as the page words them: number, unit, how full, how alarming, why missing."""

from dataclasses import dataclass

from splitrig.core.gpu import GpuInfo, GpuSample, Limit
from splitrig.core.link import is_busy, missing_lanes, telling_link
from splitrig.core.units import MISSING, gib_text, number_text
from splitrig.core.usage import Usage
from splitrig.views.widgets.badge import Tone

UNREAD = "This card has not been read yet."
LOST = "The card no longer answers."
UNREPORTED = "The driver does not report this value."


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One value of one card.

    Attributes:
        text: The number, `–` when missing.
        unit: Of the number.
        most: What it could be at most, in the same unit; empty when there is no such thing.
        aside: Stands for unit and most in a panel, where there is more to say.
        share: How full a gauge is, 0–1; `None` for no gauge.
        tone: `text`, or `warning` when it is what holds the card back.
        reason: Tooltip; why the value is missing.
        warned: Last part of `text` that alone carries the tone; empty for all of it.
    """

    text: str
    unit: str = ""
    most: str = ""
    aside: str = ""
    share: float | None = None
    tone: str = "text"
    reason: str = ""
    warned: str = ""

    @property
    def rest(self) -> str:
        """What follows the number in a panel: 'of 220 W', or the unit."""
        if self.aside:
            return self.aside
        return f"of {self.most} {self.unit}".rstrip() if self.most else self.unit

    @property
    def slash(self) -> str:
        """What follows the number in a table, where the head has the unit: '/ 220'."""
        return f"/ {self.most}" if self.most else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitText:
    """What holds a card back.

    Attributes:
        text: In a word or two.
        tone: Of the badge: `neutral`, `warning` or `danger`.
        icon: Phosphor name, or empty.
        tip: The whole sentence.
    """

    text: str
    tone: Tone = "neutral"
    icon: str = ""
    tip: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CardReadings:
    """Everything a card's panel or row shows."""

    lost: bool
    limit: LimitText
    vram: Reading
    load: Reading
    power: Reading
    temperature: Reading
    fan: Reading
    clocks: Reading
    link: Reading


_LIMITS: dict[Limit, LimitText] = {
    Limit.HEAT: LimitText(
        text="Heat", tone="warning", icon="thermometer-hot", tip="The card lowers its clocks: heat."
    ),
    Limit.HARDWARE: LimitText(
        text="Hardware", tone="warning", icon="warning", tip="The hardware lowers the clocks."
    ),
    Limit.POWER_BRAKE: LimitText(
        text="Power brake",
        tone="warning",
        icon="warning",
        tip="The power supply asks the card to slow down.",
    ),
    Limit.POWER: LimitText(
        text="Power limit",
        tone="warning",
        icon="lightning",
        tip="The card draws what its power limit allows.",
    ),
    Limit.IDLE: LimitText(text="Idle", tip="Nothing runs; the clocks are low on purpose."),
}
"""Worst first; one badge is shown."""


def readings_of(gpu: GpuInfo, sample: GpuSample | None, usage: Usage) -> CardReadings:
    """Word a card's last sample; `None` means it has not been read."""
    missing = UNREAD if sample is None else LOST if sample.lost else UNREPORTED
    s = GpuSample(id=gpu.id) if sample is None or sample.lost else sample
    limits = s.limits or ()
    return CardReadings(
        lost=sample is not None and sample.lost,
        limit=_limit(sample),
        vram=_vram(usage, missing),
        load=_plain(s.utilization_pct, "%", missing, most=100),
        power=_power(s, missing, warned=Limit.POWER in limits),
        temperature=_plain(s.temperature_c, "°C", missing, most=100, warned=Limit.HEAT in limits),
        fan=_plain(s.fan_pct, "%", missing),
        clocks=_clocks(s, missing),
        link=_link(gpu, s, missing),
    )


def _plain(
    value: float | None, unit: str, missing: str, *, most: float | None = None, warned: bool = False
) -> Reading:
    if value is None:
        return Reading(text=MISSING, share=None if most is None else 0.0, reason=missing)
    share = None if most is None else min(max(value / most, 0.0), 1.0)
    return Reading(
        text=number_text(value), unit=unit, share=share, tone="warning" if warned else "text"
    )


def _vram(usage: Usage, missing: str) -> Reading:
    most = "" if usage.total_bytes is None else gib_text(usage.total_bytes)
    reason = missing if usage.used_bytes is None else ""
    return Reading(text=gib_text(usage.used_bytes), unit="GiB", most=most, reason=reason)


def _power(s: GpuSample, missing: str, *, warned: bool) -> Reading:
    most = "" if s.power_limit_w is None else number_text(s.power_limit_w)
    if s.power_w is None:
        return Reading(text=MISSING, share=0.0, reason=missing)
    share = min(s.power_w / s.power_limit_w, 1.0) if s.power_limit_w else 0.0
    return Reading(
        text=number_text(s.power_w),
        unit="W",
        most=most,
        share=share,
        tone="warning" if warned else "text",
    )


def _clocks(s: GpuSample, missing: str) -> Reading:
    if s.clock_sm_mhz is None and s.clock_memory_mhz is None:
        return Reading(text=MISSING, reason=missing)
    memory = f"· {number_text(s.clock_memory_mhz)}" if s.clock_memory_mhz else ""
    return Reading(
        text=number_text(s.clock_sm_mhz),
        aside=memory,
        reason="Clock of the shaders, then of the memory.",
    )


def _link(gpu: GpuInfo, s: GpuSample, missing: str) -> Reading:
    most = _link_text(gpu.pcie_gen_max, gpu.pcie_lanes_max)
    most = "" if most == MISSING else most
    now = _link_text(s.pcie_gen, s.pcie_lanes)
    if now == MISSING:
        return Reading(text=MISSING, most=most, reason=missing)
    narrow = is_busy(s) and missing_lanes(gpu, telling_link(gpu, s))
    return Reading(
        text=now,
        most=most,
        tone="warning" if narrow else "text",
        warned=f"×{s.pcie_lanes}" if narrow else "",
        reason="The link now, of the most the card can do. It slows down at idle.",
    )


def _link_text(gen: int | None, lanes: int | None) -> str:
    """`4.0 ×16`, or the half that is known."""
    parts = [f"{gen}.0" if gen else "", f"×{lanes}" if lanes else ""]
    return " ".join(p for p in parts if p) or MISSING


def _limit(sample: GpuSample | None) -> LimitText:
    if sample is None:
        return LimitText(text=MISSING, tip=UNREAD)
    if sample.lost:
        return LimitText(
            text="Lost",
            tone="danger",
            icon="x-circle",
            tip="The card no longer answers. Check power and riser, then restart the machine.",
        )
    if sample.limits is None:
        return LimitText(text=MISSING, tip="The driver does not say what limits the clocks.")
    for limit, text in _LIMITS.items():
        if limit in sample.limits:
            return text
    return LimitText(text="Not limited", tip="Nothing holds the clocks back.")
