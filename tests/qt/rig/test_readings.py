"""Readings are worded with their unit, and a missing one says why."""

import pytest
from tests.qt.rig.rigs import BIG, SMALL, rig_of

from splitrig.core.gpu import GpuInfo, GpuSample, Limit, Vendor
from splitrig.core.units import GIB
from splitrig.core.usage import usage_of
from splitrig.views.rig.readings import LOST, UNREAD, UNREPORTED, CardReadings, readings_of
from splitrig.views.rig.report import headline_of, report_of

GPU = GpuInfo(
    id="a",
    name="NVIDIA GeForce RTX 4090",
    vendor=Vendor.NVIDIA,
    vram_total_bytes=24 * GIB,
    pcie_gen_max=4,
    pcie_lanes_max=16,
    source="nvml",
)


def read(sample: GpuSample | None) -> CardReadings:
    return readings_of(GPU, sample, usage_of(GPU, sample, ()))


@pytest.mark.parametrize(
    ("sample", "reason"),
    [
        (None, UNREAD),
        (GpuSample(id="a", lost=True), LOST),
        (GpuSample(id="a"), UNREPORTED),
    ],
)
def test_what_is_missing_is_a_dash_with_the_reason(sample: GpuSample | None, reason: str) -> None:
    r = read(sample)
    for reading in (r.load, r.power, r.temperature, r.fan, r.clocks, r.link, r.vram):
        assert (reading.text, reading.reason) == ("–", reason)
    assert r.vram.rest == "of 24.0 GiB"


def test_zero_is_a_reading() -> None:
    r = read(GpuSample(id="a", utilization_pct=0.0, fan_pct=0.0, power_w=0.0))
    assert (r.load.text, r.fan.text, r.power.text) == ("0", "0", "0")


def test_numbers_carry_units_and_limits() -> None:
    r = read(
        GpuSample(
            id="a",
            power_w=217.4,
            power_limit_w=220.0,
            clock_sm_mhz=1725,
            clock_memory_mhz=10251,
            pcie_gen=4,
            pcie_lanes=16,
            limits=(Limit.POWER,),
        )
    )
    assert (r.power.text, r.power.rest, r.power.tone) == ("217", "of 220 W", "warning")
    assert (r.clocks.text, r.clocks.rest) == ("1,725", "· 10,251")
    assert (r.link.text, r.link.rest, r.link.tone) == ("4.0 ×16", "of 4.0 ×16", "text")
    assert r.limit.text == "Power limit"


def test_a_narrow_link_is_warned_about_only_under_load() -> None:
    busy = GpuSample(id="a", pcie_gen=4, pcie_lanes=4, utilization_pct=80.0)
    idle = GpuSample(id="a", pcie_gen=1, pcie_lanes=4, utilization_pct=0.0)
    assert (read(busy).link.tone, read(busy).link.warned) == ("warning", "×4")
    assert read(idle).link.tone == "text"


def test_the_worst_limit_is_named() -> None:
    assert read(GpuSample(id="a", limits=(Limit.POWER, Limit.HEAT))).limit.text == "Heat"
    assert read(GpuSample(id="a", limits=())).limit.text == "Not limited"
    assert read(GpuSample(id="a", limits=None)).limit.text == "–"
    assert read(GpuSample(id="a", lost=True)).limit.tone == "danger"


def test_the_report_names_every_card_and_reading() -> None:
    rig = rig_of(BIG, SMALL, lost=(1,))
    text = report_of(rig, (), ())
    assert headline_of(rig) == "2 cards · 34.0 GiB · NVIDIA driver 580.65"
    assert "0  NVIDIA GeForce RTX 4090 (0000:01:00.0, nvml)" in text
    assert "VRAM: 12.0 of 24.0 GiB" in text
    assert "limited by: Lost" in text
