"""The strip says on every page what the cards and the engine do."""

from dataclasses import replace
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot
from tests.qt.rig.rigs import BIG, EIGHT, SMALL, ready, rig_of

from splitrig.core.engine import EngineStatus, Phase
from splitrig.core.gpu import Rig
from splitrig.views.strip import Strip
from splitrig.views.theme import Theme

pytestmark = pytest.mark.qt_log_ignore("propagateSizeHints")
"""The offscreen platform says so whenever a window of its own is shown."""


@pytest.fixture
def strip(qtbot: QtBot, theme: Theme) -> Strip:
    strip = Strip(theme)
    qtbot.addWidget(strip)
    strip.resize(1204, 48)
    strip.show()
    return strip


def test_each_card_has_its_bar_and_numbers(strip: Strip) -> None:
    strip.show_rig(rig_of(BIG, SMALL))
    assert [card.text for card in strip.cards] == ["12.0 / 24.0 GiB", "5.0 / 10.0 GiB"]
    assert strip.cards[0].toolTip() == "RTX 4090: 12.0 / 24.0 GiB"
    assert not strip.grab().isNull()


def test_a_lost_card_stays(strip: Strip) -> None:
    strip.show_rig(rig_of(BIG, SMALL, lost=(1,)))
    assert strip.cards[1].text == "lost"
    assert not strip.grab().isNull()


def test_eight_cards_fit_the_smallest_window(strip: Strip, qtbot: QtBot) -> None:
    strip.show_rig(rig_of(*EIGHT))
    strip.show_engine(ready(8, 9))
    assert strip.minimumSizeHint().width() <= 968
    strip.resize(968, 48)
    qtbot.waitUntil(lambda: strip.state.geometry().right() < 968, timeout=1000)
    assert all(card.width() <= 86 for card in strip.cards)
    assert not strip.model.isVisible()


def test_engine_model_and_speed_are_named(strip: Strip) -> None:
    status = ready(2, 9)
    strip.show_rig(rig_of(BIG, SMALL))
    strip.show_engine(status)
    strip.show_rate(33.14)
    assert strip.state.text.startswith("Running")
    assert strip.model.text() == "Qwen3-32B"
    assert strip.rate.text() == "33.1"
    assert status.request is not None
    strip.show_model(Path("other.gguf"), "Another")
    assert strip.model.text() == "Qwen3-32B"
    strip.show_model(status.request.model, "Qwen3 32B")
    assert strip.model.text() == "Qwen3 32B"
    strip.show_engine(replace(status, phase=Phase.STOPPED))
    assert strip.rate.text() == "–"
    assert not strip.model.isVisible()


def test_the_demo_rig_is_always_marked(strip: Strip) -> None:
    strip.show_rig(rig_of(BIG, demo=True))
    assert strip.demo.isVisible()
    assert strip.demo.text == "Demo rig"
    strip.show_rig(rig_of(BIG))
    assert not strip.demo.isVisible()


def test_no_card_is_said_in_words(strip: Strip) -> None:
    strip.show_rig(Rig(time_s=1.0))
    strip.show_engine(EngineStatus())
    assert strip.none.isVisible()
    strip.show_rig(rig_of(BIG))
    assert not strip.none.isVisible()
