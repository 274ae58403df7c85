"""The whole program, wired, while several engines are played by what is posted."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot
from tests.services.chat.chat_servers import OVER, OddServer, odd, stream

from splitrig.app import Desktop
from splitrig.core.chat import ChatOptions, Message, Role
from splitrig.core.engine import Dialect, EngineStatus, LaunchRequest, Phase
from splitrig.core.engine_log import Held, Holding, LoadLog, add_event
from splitrig.core.history import Rate
from splitrig.core.metrics import EngineRates
from splitrig.core.plan import PlanRequest
from splitrig.services.engines.meter import EngineMetered

__all__ = ["odd"]
RECORDED = Path(__file__).parents[1] / "recorded" / "ollama"
PART = b"""data: {"choices":[{"delta":{"content":"Hi"}}],"timings":{"cache_n":0,"prompt_n":9,
"prompt_per_second":70.0,"predicted_n":2,"predicted_per_second":30.0}}

""".replace(b",\n", b",")


@pytest.fixture
def desktop(qapp: QApplication, qtbot: QtBot) -> Iterator[Desktop]:
    made = Desktop(qapp, demo=True)
    made.complete()
    yield made
    made.close()
    made.window.deleteLater()


def tell(desktop: Desktop, *news: object) -> None:
    for one in news:
        desktop.mailbox.post(one)
    desktop.pump.drain()


def speed(desktop: Desktop) -> float:
    """What the last reading of the cards has recorded as the speed."""
    return float(desktop.rig.history.window(60).rate(Rate.GENERATION)[-1])


def test_the_speed_of_an_engine_ends_with_it_while_another_one_runs(
    desktop: Desktop, qtbot: QtBot
) -> None:
    qtbot.waitUntil(lambda: desktop.card_count == 2, timeout=20_000)
    first, second = EngineStatus(slot=1, phase=Phase.READY), EngineStatus(slot=2, phase=Phase.READY)
    tell(desktop, first, second, EngineMetered(1, EngineRates(time_s=0, tok_s=20.0)))
    qtbot.waitUntil(lambda: speed(desktop) == 20)
    tell(desktop, EngineStatus(slot=1))
    qtbot.waitUntil(lambda: speed(desktop) == 0)
    # another engine in that slot, one that counts nothing
    tell(desktop, first, EngineMetered(2, EngineRates(time_s=1, tok_s=3.0)))
    qtbot.waitUntil(lambda: speed(desktop) == 3)


def test_while_the_chat_answers_other_engines_are_seen_too(
    desktop: Desktop, qtbot: QtBot, odd: OddServer
) -> None:
    odd.script = stream(PART, hang_s=30)
    qtbot.waitUntil(lambda: desktop.card_count == 2, timeout=20_000)
    chatting = EngineStatus(slot=1, phase=Phase.READY, url=odd.url)
    tell(desktop, chatting, EngineStatus(slot=2, phase=Phase.READY))
    desktop.ask([Message(Role.USER, "Hello")], ChatOptions())
    qtbot.waitUntil(lambda: speed(desktop) == 30)
    tell(desktop, EngineMetered(2, EngineRates(time_s=0, tok_s=20.0)))
    tell(desktop, EngineMetered(1, EngineRates(time_s=0, tok_s=29.0)))
    qtbot.waitUntil(lambda: speed(desktop) == 50)
    assert "50.0" in desktop.strip.rate.text()
    assert "30.0" in desktop.side.rate.text(), "beside the chat stands the answer's own"
    OVER.set()
    qtbot.waitUntil(lambda: not desktop.chat.busy)
    qtbot.waitUntil(lambda: speed(desktop) == 20)


def engine(slot: int) -> EngineStatus:
    request = LaunchRequest(model=Path("gemma.gguf"), plan=PlanRequest())
    return EngineStatus(slot=slot, phase=Phase.READY, request=request)


def restarting(slot: int) -> EngineStatus:
    """As an engine is told of after a crash."""
    why = "The engine crashed. It crashed; starting again in 2 s (first of 5)."
    return replace(engine(slot), phase=Phase.STARTING, restart=why)


def test_a_restart_of_an_engine_that_is_not_shown_is_told_with_its_name_and_why(
    desktop: Desktop,
) -> None:
    notice = desktop.window.notice
    tell(desktop, engine(1), engine(2))
    desktop.engine.show(1)
    tell(desktop, restarting(2))
    assert not notice.isHidden()
    assert notice.title.startswith("Engine 2 (gemma): The engine crashed.")
    assert "starting again in 2 s" in notice.title
    assert desktop.launch_page.notice.isHidden(), "the page speaks of the engine shown"
    tell(desktop, replace(restarting(2), phase=Phase.READY))
    assert notice.title == "Engine 2 (gemma): it crashed and was started again; it runs now."
    notice.action_triggered.emit()
    assert (desktop.engine.shown, desktop.window.current_page) == (2, "launch")
    assert notice.isHidden()


def test_what_was_told_of_a_restart_goes_away_when_it_is_stopped_or_shown(
    desktop: Desktop,
) -> None:
    notice = desktop.window.notice
    tell(desktop, engine(1), engine(2))
    desktop.engine.show(1)
    tell(desktop, restarting(2))
    tell(desktop, replace(engine(2), phase=Phase.STOPPED))
    assert notice.isHidden()
    tell(desktop, engine(2))
    tell(desktop, restarting(2))
    desktop.engine.show(2)
    assert notice.isHidden()
    assert "starting again" in desktop.launch_page.notice.title


def test_the_first_prompt_after_a_load_tells_how_fast_it_was_read(
    desktop: Desktop, qtbot: QtBot, odd: OddServer
) -> None:
    """Later ones do not: Ollama counts cached tokens, and not the time they would have taken."""
    recorded = (RECORDED / "chat.ndjson").read_bytes()
    last = json.loads(recorded.splitlines()[-1])
    odd.script = stream(recorded)
    qtbot.waitUntil(lambda: desktop.card_count == 2, timeout=20_000)
    engine = EngineStatus(slot=1, phase=Phase.READY, url=odd.url, dialect=Dialect.OLLAMA)

    def rate(status: EngineStatus) -> float | None:
        tell(desktop, status)
        ended = desktop.answers_ended
        desktop.ask([Message(Role.USER, "Hello")], ChatOptions())
        qtbot.waitUntil(lambda: desktop.answers_ended > ended)
        assert desktop.last_answer is not None
        return desktop.last_answer.stats.prompt_tok_s

    told = last["prompt_eval_count"] / last["prompt_eval_duration"] * 1e9
    assert rate(engine) == pytest.approx(told)
    assert desktop.side.prompt.text() == f"{told:.0f}"
    assert rate(engine) is None
    tell(desktop, EngineStatus(slot=1))
    before = replace(engine, log=add_event(LoadLog(), Held(Holding.BEFORE)))
    assert rate(before) is None  # who knows what others have asked
    tell(desktop, replace(engine, log=add_event(LoadLog(), Held(Holding.GONE))))
    assert rate(engine) == pytest.approx(told)
