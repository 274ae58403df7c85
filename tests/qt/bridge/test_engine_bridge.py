"""Which of several engines the window shows, and what it hears of the others."""

from dataclasses import replace
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from splitrig.bridge.engine import DRAFT, EngineBridge
from splitrig.bridge.pump import Pump
from splitrig.core.engine import EngineStatus, Failure, LaunchRequest, Phase
from splitrig.core.errors import EngineError, SplitRigError
from splitrig.core.gpu import Rig
from splitrig.core.plan import HostPlan, Plan, PlanRequest
from splitrig.services.engines.line_feed import EngineLogLines
from splitrig.services.mailbox import Mailbox

REQUEST = LaunchRequest(model=Path("m.gguf"), plan=PlanRequest())
PLAN = Plan(
    devices=(),
    host=HostPlan(model_bytes=0, kv_bytes=0, compute_bytes=None),
    split=(),
    fits=True,
)
RIG = Rig(time_s=0)


class StandIn:
    """Gives out slots as a fleet does; its engines are played by what the tests post."""

    def __init__(self) -> None:
        self.free = [1, 2]
        self.stopped: list[int] = []

    def start(self, *_order: object) -> int:
        if not self.free:
            raise EngineError("2 engines run already.", "Stop one of them first.")
        return self.free.pop(0)

    def stop(self, slot: int) -> None:
        self.stopped.append(slot)


class Setup:
    def __init__(self) -> None:
        self.mailbox = Mailbox()
        self.pump = Pump(self.mailbox)
        self.fleet = StandIn()
        self.bridge = EngineBridge(self.pump, self.fleet)  # type: ignore[arg-type]
        self.shown: list[EngineStatus] = []
        self.running: list[tuple[EngineStatus, ...]] = []
        self.unseen: list[EngineStatus] = []
        self.restarting: list[EngineStatus] = []
        self.errors: list[SplitRigError] = []
        self.bridge.status_changed.connect(self.shown.append)
        self.bridge.engines_changed.connect(self.running.append)
        self.bridge.failed_unseen.connect(self.unseen.append)
        self.bridge.restarting_unseen.connect(self.restarting.append)
        self.bridge.failed.connect(self.errors.append)

    def post(self, slot: int, phase: Phase) -> None:
        failure = Failure(message="It ended.") if phase is Phase.FAILED else None
        self.mailbox.post(EngineStatus(slot=slot, phase=phase, request=REQUEST, failure=failure))
        self.pump.drain()


@pytest.fixture
def s(qtbot: QtBot) -> Setup:
    return Setup()


def test_a_new_engine_is_shown_and_the_others_are_still_heard_of(s: Setup) -> None:
    s.bridge.start(REQUEST, PLAN, RIG)
    s.post(1, Phase.READY)
    s.bridge.start(REQUEST, PLAN, RIG)
    assert s.bridge.shown == 2
    s.post(2, Phase.LOADING)
    assert [(x.slot, x.phase) for x in s.shown] == [(1, Phase.READY), (2, Phase.LOADING)]
    assert [status.slot for status in s.running[-1]] == [1, 2]
    s.post(1, Phase.STOPPING)
    assert s.bridge.status.slot == 2
    s.post(1, Phase.STOPPED)
    assert [status.slot for status in s.running[-1]] == [2]
    assert len(s.shown) == 2
    assert s.unseen == []


def test_turning_to_another_engine_shows_it_at_once(s: Setup) -> None:
    for _ in range(2):
        s.bridge.start(REQUEST, PLAN, RIG)
    s.post(1, Phase.READY)
    s.post(2, Phase.READY)
    s.bridge.show(1)
    assert (s.shown[-1].slot, s.bridge.status.slot) == (1, 1)
    s.bridge.stop()
    assert s.fleet.stopped == [1]
    s.bridge.show(DRAFT)
    assert s.shown[-1] == EngineStatus()
    before = len(s.shown)
    s.bridge.show(DRAFT)
    assert len(s.shown) == before


def test_an_engine_that_fails_out_of_sight_is_told_of_once(s: Setup) -> None:
    for _ in range(2):
        s.bridge.start(REQUEST, PLAN, RIG)
    s.post(1, Phase.READY)
    s.post(2, Phase.READY)
    s.post(1, Phase.FAILED)
    s.post(1, Phase.FAILED)
    assert [status.slot for status in s.unseen] == [1]
    s.post(2, Phase.FAILED)
    assert len(s.unseen) == 1
    assert s.bridge.status.phase is Phase.FAILED


def test_a_restart_out_of_sight_is_told_of_once(s: Setup) -> None:
    for _ in range(2):
        s.bridge.start(REQUEST, PLAN, RIG)
    s.post(1, Phase.READY)
    again = EngineStatus(slot=1, phase=Phase.STARTING, restart="It crashed.")
    for news in (again, replace(again, phase=Phase.LOADING), replace(again, slot=2)):
        s.mailbox.post(news)
    s.pump.drain()
    assert s.restarting == [again]


def test_a_slot_used_again_shows_nothing_of_the_engine_before(s: Setup) -> None:
    s.bridge.start(REQUEST, PLAN, RIG)
    s.post(1, Phase.FAILED)
    s.fleet.free = [1]
    s.bridge.start(REQUEST, PLAN, RIG)
    assert s.bridge.status == EngineStatus()


def test_a_start_that_cannot_be_tried_is_an_error_and_changes_nothing(s: Setup) -> None:
    s.fleet.free = []
    s.bridge.start(REQUEST, PLAN, RIG)
    assert [error.message for error in s.errors] == ["2 engines run already."]
    assert s.bridge.shown == DRAFT


def test_lines_say_whose_they_are_and_how_many_are_missing(s: Setup) -> None:
    got: list[tuple[EngineLogLines, int]] = []
    s.bridge.lines_added.connect(lambda news, skipped: got.append((news, skipped)))
    first, second = EngineLogLines(("a", "b"), 2), EngineLogLines(("z",), 2, 100)
    s.mailbox.post(first)
    s.mailbox.post(second)
    s.pump.drain()
    assert got == [(first, 0), (second, 98)]


def test_every_status_is_told_of_whichever_engine_is_shown(s: Setup) -> None:
    told: list[EngineStatus] = []
    s.bridge.told.connect(told.append)
    statuses = [EngineStatus(slot=2, phase=Phase.READY), EngineStatus(slot=5)]
    for status in statuses:
        s.mailbox.post(status)
    s.pump.drain()
    assert told == statuses
    assert s.bridge.status_of(2) is statuses[0]
    assert s.bridge.status_of(7) == EngineStatus(slot=7)


def test_the_shown_status_is_the_last_one(s: Setup) -> None:
    s.bridge.start(REQUEST, PLAN, RIG)
    s.post(1, Phase.LOADING)
    assert s.bridge.status == replace(s.shown[-1])
