"""The message field, its keys and its buttons."""

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QDoubleSpinBox, QLabel
from pytestqt.qtbot import QtBot

from splitrig.core.chat import ChatOptions
from splitrig.views.chat.composer import MOST_LINES, Composer
from splitrig.views.theme import Theme


@pytest.fixture
def composer(theme: Theme, qtbot: QtBot) -> Composer:
    """On screen, with an engine that waits."""
    composer = Composer(theme)
    qtbot.addWidget(composer)
    composer.resize(600, 100)
    composer.set_ready("SmolLM2")
    composer.show()
    qtbot.waitExposed(composer)
    return composer


@pytest.fixture
def sent(composer: Composer) -> list[str]:
    sent: list[str] = []
    composer.submitted.connect(sent.append)
    return sent


@pytest.mark.parametrize("key", [Qt.Key.Key_Return, Qt.Key.Key_Enter])
def test_enter_sends_and_empties_the_field(
    composer: Composer, sent: list[str], key: Qt.Key
) -> None:
    QTest.keyClicks(composer.input, "  What now? ")
    QTest.keyClick(composer.input, key)
    assert sent == ["What now?"]
    assert composer.input.toPlainText() == ""


def test_shift_and_enter_begin_a_new_line(composer: Composer, sent: list[str]) -> None:
    QTest.keyClicks(composer.input, "one")
    QTest.keyClick(composer.input, Qt.Key.Key_Return, Qt.KeyboardModifier.ShiftModifier)
    QTest.keyClicks(composer.input, "two")
    assert sent == []
    QTest.keyClick(composer.input, Qt.Key.Key_Return)
    assert [text.splitlines() for text in sent] == [["one", "two"]]


def test_nothing_is_sent_when_nothing_is_written(composer: Composer, sent: list[str]) -> None:
    assert not composer.send.isEnabled()
    assert composer.send.toolTip() == "Write a message first."
    QTest.keyClicks(composer.input, "  ")
    QTest.keyClick(composer.input, Qt.Key.Key_Return)
    assert sent == []
    QTest.keyClicks(composer.input, "x")
    assert composer.send.isEnabled()
    assert composer.send.toolTip() == ""
    QTest.mouseClick(composer.send, Qt.MouseButton.LeftButton)
    assert sent == ["x"]


def test_escape_stops_an_answer_and_only_then(composer: Composer, sent: list[str]) -> None:
    stops: list[bool] = []
    composer.stop_requested.connect(lambda: stops.append(True))
    QTest.keyClick(composer.input, Qt.Key.Key_Escape)
    assert stops == []
    composer.set_busy(busy=True)
    assert composer.stop.isVisible()
    assert not composer.send.isVisible()
    QTest.keyClick(composer.input, Qt.Key.Key_Escape)
    QTest.mouseClick(composer.stop, Qt.MouseButton.LeftButton)
    assert len(stops) == 2
    # The next question may be written meanwhile; it waits in the field.
    QTest.keyClicks(composer.input, "next")
    QTest.keyClick(composer.input, Qt.Key.Key_Return)
    assert sent == []
    composer.set_busy(busy=False)
    QTest.keyClick(composer.input, Qt.Key.Key_Return)
    assert sent == ["next"]


def test_a_blocked_field_says_why_and_offers_the_way_out(
    composer: Composer, sent: list[str], qtbot: QtBot
) -> None:
    QTest.keyClicks(composer.input, "kept")
    composer.set_blocked("No engine is running.", launch=True)
    assert composer.input.isReadOnly()
    assert composer.input.placeholderText() == "No engine is running."
    assert not composer.send.isVisible()
    QTest.keyClick(composer.input, Qt.Key.Key_Return)
    assert sent == []
    with qtbot.waitSignal(composer.launch_requested, timeout=500):
        QTest.mouseClick(composer.launch, Qt.MouseButton.LeftButton)
    composer.set_blocked("The engine is starting.", launch=False)
    assert not composer.launch.isVisible()
    assert composer.send.isVisible()
    assert not composer.send.isEnabled()
    assert composer.send.toolTip() == "The engine is starting."
    composer.set_ready("SmolLM2")
    assert not composer.input.isReadOnly()
    QTest.keyClick(composer.input, Qt.Key.Key_Return)
    assert sent == ["kept"]


def test_the_field_grows_with_its_lines_up_to_a_limit(composer: Composer, qtbot: QtBot) -> None:
    heights = []
    for n in (1, 2, MOST_LINES, MOST_LINES + 20):
        composer.input.setPlainText("\n".join(["line"] * n))
        heights.append(composer.input.height())
    assert heights[0] < heights[1] < heights[2] == heights[3]
    composer.input.setPlainText("word " * 60)
    wrapped = composer.input.height()
    assert wrapped > heights[0]
    composer.resize(1200, composer.height())
    qtbot.waitUntil(lambda: composer.input.height() < wrapped)


@pytest.mark.qt_log_ignore("plugin does not support (raise|grabbing)")
def test_the_options_are_chosen_above_their_button(composer: Composer, qtbot: QtBot) -> None:
    assert composer.options == ChatOptions(temperature=0.8, max_tokens=None)
    assert composer.options_button.text() == "Temperature 0.8"
    QTest.mouseClick(composer.options_button, Qt.MouseButton.LeftButton)
    popup = composer.popup
    qtbot.waitUntil(popup.isVisible)
    assert popup.max_tokens.text() == "No limit"
    popup.temperature.setValue(0)
    popup.max_tokens.setValue(2048)
    popup.system.setPlainText("Be brief.")
    assert composer.options == ChatOptions(temperature=0, max_tokens=2048)
    assert composer.system == "Be brief."
    assert composer.options_button.text() == "Temperature 0 · up to 2,048 tokens · system prompt"
    popup.system.setPlainText("  \n")
    assert composer.options_button.text() == "Temperature 0 · up to 2,048 tokens"
    QTest.keyClick(popup, Qt.Key.Key_Escape)
    assert not popup.isVisible()


def test_every_option_has_a_name_and_an_explanation(composer: Composer) -> None:
    popup = composer.popup
    fields = (popup.temperature, popup.max_tokens, popup.system)
    names = [field.accessibleName() for field in fields]
    assert names == ["Temperature", "Longest answer", "System prompt"]
    labels = {label.text(): label for label in popup.findChildren(QLabel)}
    assert [labels[name].buddy() for name in names] == list(fields)
    assert len(labels) == 2 * len(fields)
    assert isinstance(popup.temperature, QDoubleSpinBox)
    popup.temperature.setValue(9)
    assert composer.options.temperature == 2


@pytest.mark.parametrize(
    ("used", "holds", "text", "role"),
    [
        (None, 4096, "", "muted"),
        (10, None, "", "muted"),
        (1234, 4096, "1,234 of 4,096 tokens", "muted"),
        (3685, 4096, "3,685 of 4,096 tokens", "muted"),
        (3687, 4096, "3,687 of 4,096 tokens", "warning"),
        (5000, 4096, "5,000 of 4,096 tokens", "warning"),
    ],
)
def test_the_meter_warns_when_the_context_is_nearly_full(
    composer: Composer, used: int | None, holds: int | None, text: str, role: str
) -> None:
    composer.show_context(used, holds)
    assert composer._context.text() == text
    assert composer._context.property("role") == role
    assert ("nearly full" in composer._context.toolTip()) == (role == "warning")


def test_the_frame_shows_the_focus(composer: Composer, theme: Theme, qtbot: QtBot) -> None:
    def edge() -> str:
        return composer.grab().toImage().pixelColor(composer.width() // 2, 0).name()

    composer.activateWindow()
    composer.input.setFocus()
    qtbot.waitUntil(composer.input.hasFocus)
    assert edge() == theme.colour("accent").name()
    composer.input.clearFocus()
    assert edge() == theme.colour("control").name()
    composer.set_blocked("No engine is running.", launch=False)
    assert edge() == theme.colour("border").name()
