"""Switch, choice, notice, badge, command, steps and the rest of the shared parts."""

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QLabel, QPlainTextEdit, QPushButton, QVBoxLayout, QWidget
from pytestqt.qtbot import QtBot

from splitrig.core.engine import EngineStatus, Failure, Phase
from splitrig.core.gpu import Severity
from splitrig.views.theme import Theme
from splitrig.views.widgets.badge import Badge
from splitrig.views.widgets.card_chip import CardChip
from splitrig.views.widgets.command_view import CommandView, command_text, quote, short_words
from splitrig.views.widgets.empty_state import EmptyState
from splitrig.views.widgets.gauge import Gauge
from splitrig.views.widgets.notice import NoticeBar
from splitrig.views.widgets.scroll_column import ScrollColumn
from splitrig.views.widgets.segmented import Segmented
from splitrig.views.widgets.state_pill import StatePill
from splitrig.views.widgets.step_list import Step, StepList
from splitrig.views.widgets.switch import Switch
from splitrig.views.widgets.texts import ElidedLabel, IconButton, text_label


def test_a_switch_takes_its_label_along_and_the_space_bar(theme: Theme, qtbot: QtBot) -> None:
    switch = Switch(theme, "Flash attention")
    qtbot.addWidget(switch)
    switch.show()
    QTest.mouseClick(switch, Qt.MouseButton.LeftButton, pos=QPoint(switch.width() - 4, 14))
    assert switch.isChecked()
    QTest.keyClick(switch, Qt.Key.Key_Space)
    assert not switch.isChecked()
    assert switch.height() >= 28


def test_a_choice_tells_only_what_the_user_chose(theme: Theme, qtbot: QtBot) -> None:
    choice = Segmented(["1 min", "5 min", "15 min"], 1)
    qtbot.addWidget(choice)
    choice.show()
    chosen: list[int] = []
    choice.chosen.connect(chosen.append)
    choice.set_current(0)
    assert choice.current_label == "1 min"
    assert chosen == []
    QTest.mouseClick(choice.findChildren(QPushButton)[2], Qt.MouseButton.LeftButton)
    QTest.mouseClick(choice.findChildren(QPushButton)[2], Qt.MouseButton.LeftButton)
    assert chosen == [2]
    choice.set_label(0, "60 s")
    assert choice.current == 2
    assert choice.labels == ("60 s", "5 min", "15 min")
    choice.set_hint(0, "The last minute")
    assert choice.findChildren(QPushButton)[0].toolTip() == "The last minute"
    choice.set_choice_enabled(0, "not now")
    assert not choice.findChildren(QPushButton)[0].isEnabled()


def test_a_notice_shows_its_parts_and_folds_raw_lines(theme: Theme, qtbot: QtBot) -> None:
    notice = NoticeBar(theme)
    qtbot.addWidget(notice)
    notice.show_notice(
        Severity.DANGER,
        "RTX 3080 is 1.9 GiB over <b>.",
        "Move 8 layers.",
        action="Move 8 layers",
        details="line 1\nline 2",
    )
    assert notice.property("notice") == "danger"
    shown = notice.findChildren(QLabel)[-1].text()
    assert "&lt;b&gt;" in shown
    lines = notice.findChild(QPlainTextEdit)
    fold = next(b for b in notice.findChildren(QPushButton) if b.text() == "Details")
    assert not lines.isVisible()
    QTest.mouseClick(fold, Qt.MouseButton.LeftButton)
    assert lines.isVisible()
    assert lines.toPlainText() == "line 1\nline 2"
    action = next(b for b in notice.findChildren(QPushButton) if b.text() == "Move 8 layers")
    with qtbot.waitSignal(notice.action_triggered, timeout=500):
        QTest.mouseClick(action, Qt.MouseButton.LeftButton)
    close = next(b for b in notice.findChildren(QPushButton) if b.toolTip() == "Close this notice")
    with qtbot.waitSignal(notice.closed, timeout=500):
        QTest.mouseClick(close, Qt.MouseButton.LeftButton)
    assert notice.isHidden()


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (EngineStatus(), "No engine running"),
        (EngineStatus(phase=Phase.LOADING, progress=0.63), "Loading · 63 %"),
        (EngineStatus(phase=Phase.READY), "Running · llama.cpp"),
        (EngineStatus(phase=Phase.FAILED, failure=Failure(message="Gone.")), "Engine failed"),
    ],
)
def test_the_pill_says_what_the_engine_does(
    theme: Theme, qtbot: QtBot, status: EngineStatus, text: str
) -> None:
    pill = StatePill(theme)
    qtbot.addWidget(pill)
    pill.show_status(status)
    assert pill.text == text
    assert pill.accessibleName() == f"Engine: {text}"
    assert pill.toolTip() == (status.failure.message if status.failure else "")


def test_badge_and_chip_have_names(theme: Theme, qtbot: QtBot) -> None:
    badge, chip = Badge(theme, "Demo rig", "accent"), CardChip(theme, 3)
    qtbot.addWidget(badge)
    qtbot.addWidget(chip)
    width = badge.sizeHint().width()
    badge.set_badge("1.9 GiB too much", "danger", "x")
    assert badge.sizeHint().width() > width
    assert badge.accessibleName() == "1.9 GiB too much"
    assert chip.accessibleName() == "Card 3"
    assert not badge.grab().isNull()
    assert not chip.grab().isNull()


def test_a_button_with_only_an_icon_has_a_tooltip_and_a_name(theme: Theme, qtbot: QtBot) -> None:
    button = IconButton(theme, "x", hint="Close this notice", small=True)
    qtbot.addWidget(button)
    assert button.toolTip() == button.accessibleName() == "Close this notice"
    assert min(button.width(), button.height()) >= 28


def test_a_command_is_copied_whole_and_shown_short(theme: Theme, qtbot: QtBot) -> None:
    command = ["/opt/llama/llama-server", "-m", "/models/a b.gguf", "-ts", "3,1"]
    view = CommandView(theme)
    qtbot.addWidget(view)
    view.set_command(command)
    assert short_words(command) == ["llama-server", "-m", "'a b.gguf'", "-ts", "3,1"]
    copy = view.findChild(QPushButton)
    QTest.mouseClick(copy, Qt.MouseButton.LeftButton)
    assert QGuiApplication.clipboard().text() == command_text(command)
    assert "'/models/a b.gguf'" in command_text(command)
    assert copy.text() == "Copied"
    view._back.stop()


@pytest.mark.parametrize(
    ("word", "posix", "windows"),
    [
        ("plain", "plain", "plain"),
        ("a b", "'a b'", '"a b"'),
        ("it's", "'it'\"'\"'s'", '"it\'s"'),
        ("C:\\x.gguf", "'C:\\x.gguf'", "C:\\x.gguf"),
        ("$HOME", "'$HOME'", '"$HOME"'),
        ("", "''", '""'),
    ],
)
def test_words_are_quoted_for_the_shell(word: str, posix: str, windows: str) -> None:
    assert quote(word, windows=False) == posix
    assert quote(word, windows=True) == windows


def test_steps_show_their_state_and_only_the_current_one_moves(theme: Theme, qtbot: QtBot) -> None:
    steps = StepList(theme)
    qtbot.addWidget(steps)
    steps.show_steps(
        [
            Step(label="Process started", state="done", note="0.4 s"),
            Step(label="Loading weights", state="now", progress=0.5),
            Step(label="KV cache"),
        ]
    )
    steps.show()
    gauges = steps.findChildren(Gauge)
    assert [gauge.isVisible() for gauge in gauges] == [False, True, False]
    steps.show_steps([Step(label="Loading weights", state="now")])
    assert gauges[0]._timer.isActive()
    steps.hide()
    assert not gauges[0]._timer.isActive()


@pytest.mark.parametrize("drawing", ["cards", "model", "chat"])
def test_an_empty_state_offers_its_actions(theme: Theme, qtbot: QtBot, drawing: str) -> None:
    empty = EmptyState(
        theme, drawing, "No card", "None was found.", action=("play", "Go"), second=("x", "No")
    )
    qtbot.addWidget(empty)
    empty.resize(700, 500)
    empty.show()
    with qtbot.waitSignal(empty.action_triggered, timeout=500):
        QTest.mouseClick(empty.action_button, Qt.MouseButton.LeftButton)
    with qtbot.waitSignal(empty.second_triggered, timeout=500):
        QTest.mouseClick(empty.second_button, Qt.MouseButton.LeftButton)
    assert not empty.grab().isNull()


def test_a_long_text_shrinks_instead_of_widening_the_window(theme: Theme, qtbot: QtBot) -> None:
    label = ElidedLabel(text_label(theme, "a very long name of a model " * 5))
    qtbot.addWidget(label)
    assert label.minimumSizeHint().width() <= 40


def test_a_column_gives_its_scroll_bar_room_from_the_margin(theme: Theme, qtbot: QtBot) -> None:
    content = QWidget()
    layout = QVBoxLayout(content)
    layout.setContentsMargins(16, 0, 16, 0)
    tall = QWidget()
    tall.setFixedHeight(400)
    layout.addWidget(tall)
    column = ScrollColumn(content)
    qtbot.addWidget(column)
    column.resize(300, 500)
    column.show()
    assert layout.contentsMargins().right() == 16
    column.resize(300, 200)
    qtbot.waitUntil(lambda: layout.contentsMargins().right() == 6)
