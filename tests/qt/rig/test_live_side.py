"""The panel beside the chat follows the answer, the cards and the engine."""

from dataclasses import replace
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot
from tests.qt.rig.rigs import BIG, SMALL, filled, ready, rig_of

from splitrig.core.chat import AnswerStats
from splitrig.core.engine import EngineStatus, Phase
from splitrig.views.theme import Theme
from splitrig.views.widgets.graph_live_side import LiveSide

pytestmark = pytest.mark.qt_log_ignore("propagateSizeHints")
"""The offscreen platform says so whenever a window of its own is shown."""


@pytest.fixture
def side(qtbot: QtBot, theme: Theme) -> LiveSide:
    side = LiveSide(theme)
    qtbot.addWidget(side)
    side.resize(248, 752)
    side.show()
    return side


def test_cards_show_memory_load_and_watts(side: LiveSide) -> None:
    side.show_rig(rig_of(BIG, SMALL))
    assert [line.text for line in side.vram_lines] == ["12.0 of 24.0 GiB", "5.0 of 10.0 GiB"]
    assert [line.text for line in side.load_lines] == ["60 %", "60 %"]
    assert (side.watts_name.text(), side.watts.text()) == ("Both cards", "401")


def test_a_lost_card_is_a_dash_and_watts_say_whose_are_missing(side: LiveSide) -> None:
    side.show_rig(rig_of(BIG, SMALL, lost=(1,)))
    assert side.load_lines[1].text == "– %"
    assert side.vram_lines[1].text == "– of 10.0 GiB"
    assert side.watts.text() == "200"
    assert side.watts.toolTip() == "1 of 2 cards report no power."


def test_an_answer_shows_its_speed_and_leaves_a_bar(side: LiveSide) -> None:
    side.show_engine(ready(1, 9))
    side.show_stats(AnswerStats(first_token_s=0.38, prompt_tok_s=1020.0, tok_s=33.1, tokens=9))
    assert (side.rate.text(), side.first.text(), side.prompt.text()) == ("33.1", "0.38", "1,020")
    assert list(side.bars.seconds) == []
    for n in range(14):
        side.add_answer(AnswerStats(first_token_s=n / 10, tok_s=33.0))
    assert list(side.bars.seconds) == [n / 10 for n in range(2, 14)]


def test_another_model_starts_new_bars_and_an_engine_that_ends_has_no_speed(
    side: LiveSide,
) -> None:
    status = ready(1, 9)
    side.show_engine(status)
    side.add_answer(AnswerStats(first_token_s=0.4, tok_s=33.0))
    side.show_engine(replace(status, phase=Phase.FAILED))
    assert side.rate.text() == "–"
    assert len(side.bars.seconds) == 1
    assert status.request is not None
    other = replace(status, request=replace(status.request, model=Path("other.gguf")))
    side.show_engine(other)
    assert len(side.bars.seconds) == 0
    assert side.first.text() == "–"


def test_what_came_while_hidden_is_shown_afterwards(side: LiveSide) -> None:
    side.hide()
    side.show_rig(rig_of(BIG))
    side.show_history(filled(BIG))
    assert side.vram_lines == []
    assert side.curve.top == 10
    side.show()
    assert len(side.vram_lines) == 1
    assert side.curve.top == 40


def test_it_paints_with_and_without_readings(side: LiveSide) -> None:
    assert not side.grab().isNull()
    side.show_engine(EngineStatus())
    side.show_rig(rig_of(BIG, SMALL, lost=(0,)))
    side.show_history(filled(BIG, SMALL, tok_s=None))
    side.add_answer(AnswerStats(first_token_s=0.0))
    assert not side.grab().isNull()
