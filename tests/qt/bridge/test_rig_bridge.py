"""Readings reach the window with the speeds and spans that belong to them."""

from typing import TYPE_CHECKING

import pytest
from pytestqt.qtbot import QtBot

from splitrig.bridge.pump import Pump
from splitrig.bridge.rig import RigBridge
from splitrig.core.engine import EngineStatus, Phase
from splitrig.core.gpu import GpuInfo, GpuSample, Note, Rig, Severity, Vendor
from splitrig.core.history import MarkKind, Rate
from splitrig.core.link import Link
from splitrig.services import clock
from splitrig.services.mailbox import Mailbox

if TYPE_CHECKING:
    from splitrig.core.history import History

CARD = GpuInfo(id="a", name="NVIDIA GeForce RTX 4090", vendor=Vendor.NVIDIA, source="demo")


def reading(time_s: float, *, lost: bool = False, notes: tuple[Note, ...] = ()) -> Rig:
    sample = GpuSample(id="a", utilization_pct=None if lost else 40.0, lost=lost)
    return Rig(time_s=time_s, gpus=(CARD,), samples={"a": sample}, notes=notes)


class Setup:
    def __init__(self) -> None:
        self.mailbox = Mailbox()
        self.pump = Pump(self.mailbox)
        self.bridge = RigBridge(self.pump)
        self.sampled: list[Rig] = []
        self.changed: list[Rig] = []
        self.histories: list[History] = []
        self.bridge.sampled.connect(self.sampled.append)
        self.bridge.changed.connect(self.changed.append)
        self.bridge.history_changed.connect(self.histories.append)

    def post(self, rig: Rig) -> None:
        self.mailbox.post(rig)
        self.pump.drain()

    def rates(self, rate: Rate) -> list[float]:
        return [round(float(v), 1) for v in self.bridge.history.window(1e6).rate(rate)]


def test_every_reading_is_announced_and_remembered(qtbot: QtBot) -> None:
    s = Setup()
    s.post(reading(1.0))
    s.post(reading(2.0))
    assert [r.time_s for r in s.sampled] == [1.0, 2.0]
    assert s.histories == [s.bridge.history, s.bridge.history]
    assert len(s.bridge.history) == 2
    assert s.bridge.rig is s.sampled[-1]


def test_changed_is_only_about_cards_losses_and_notes(qtbot: QtBot) -> None:
    s = Setup()
    note = Note(id="x", severity=Severity.INFO, message="AMD: no card")
    for rig in (
        reading(1.0),
        reading(2.0),
        reading(3.0, lost=True),
        reading(4.0, lost=True),
        reading(5.0, lost=True, notes=(note,)),
    ):
        s.post(rig)
    assert [r.time_s for r in s.changed] == [1.0, 3.0, 5.0]


def test_links_seen_under_load_are_remembered(qtbot: QtBot) -> None:
    s = Setup()
    for time_s, load, gen in ((1.0, 95.0, 3), (2.0, 2.0, 1)):
        sample = GpuSample(id="a", utilization_pct=load, pcie_gen=gen, pcie_lanes=16)
        s.post(Rig(time_s=time_s, gpus=(CARD,), samples={"a": sample}))
    assert s.bridge.links.best("a") == Link(3, 16)


def test_speeds_hold_until_they_change(qtbot: QtBot) -> None:
    s = Setup()
    s.bridge.set_rates(33.0, 0.0)
    s.post(reading(1.0))
    s.post(reading(2.0))
    s.bridge.set_rates(0.0, 0.0)
    s.post(reading(3.0))
    s.post(reading(4.0))
    # The last tokens fell between two readings, so the third still carries their speed.
    assert s.rates(Rate.GENERATION) == [33.0, 33.0, 33.0, 0.0]


def test_a_prompt_read_between_two_readings_is_not_lost(qtbot: QtBot) -> None:
    s = Setup()
    s.bridge.set_rates(0.0, 0.0)
    s.post(reading(1.0))
    s.bridge.set_rates(0.0, 1020.0)
    s.bridge.set_rates(33.0, 0.0)
    s.post(reading(2.0))
    s.post(reading(3.0))
    assert s.rates(Rate.PROMPT) == [0.0, 1020.0, 0.0]
    assert s.rates(Rate.GENERATION) == [0.0, 33.0, 33.0]


def test_loading_prompt_and_answer_leave_spans(qtbot: QtBot) -> None:
    s = Setup()
    for phase in (Phase.STARTING, Phase.LOADING, Phase.LOADING, Phase.READY):
        s.bridge.show_engines((EngineStatus(phase=phase),))
    s.bridge.start_prompt()
    s.bridge.start_answer()
    s.bridge.end_answer()
    s.bridge.end_answer()
    marks = tuple(s.bridge.history.marks())
    assert [m.kind for m in marks] == [MarkKind.LOAD, MarkKind.PROMPT, MarkKind.ANSWER]
    assert all(m.end_s is not None and m.end_s >= m.start_s for m in marks)


def test_spans_lie_on_the_clock_of_the_readings(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It counts through a sleep of the machine, which `time.monotonic` does not on Linux."""
    monkeypatch.setattr(clock, "now_s", lambda: 5e8)
    s = Setup()
    s.bridge.start_prompt()
    assert [mark.start_s for mark in s.bridge.history.marks()] == [5e8]


def test_a_ready_engine_is_silent_before_its_first_answer(qtbot: QtBot) -> None:
    s = Setup()
    s.post(reading(1.0))
    s.bridge.show_engines((EngineStatus(phase=Phase.READY),))
    s.post(reading(2.0))
    assert str(s.rates(Rate.GENERATION)) == "[nan, 0.0]"


def test_an_engine_that_dies_ends_the_answer_and_its_speed(qtbot: QtBot) -> None:
    s = Setup()
    s.bridge.show_engines((EngineStatus(phase=Phase.READY),))
    s.bridge.start_answer()
    s.bridge.set_rates(33.0, 0.0)
    s.post(reading(1.0))
    s.bridge.show_engines(())
    s.post(reading(2.0))
    s.post(reading(3.0))
    assert s.rates(Rate.GENERATION)[0] == 33.0
    assert str(s.rates(Rate.GENERATION)[2]) == "nan"
    assert next(iter(s.bridge.history.marks())).end_s is not None
