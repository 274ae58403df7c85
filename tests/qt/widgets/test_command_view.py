"""The command as it is shown; what is copied is tested with the controls."""

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication, QTextDocument
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QLabel, QPushButton
from pytestqt.qtbot import QtBot

from splitrig.views.theme import Theme
from splitrig.views.widgets.command_view import CommandView, command_text

COMMAND = ["/opt/llama/llama-server", "-m", "/models/a b.gguf", "-ts", "3,-1", "--no-warmup"]


@pytest.fixture
def view(theme: Theme, qtbot: QtBot) -> CommandView:
    """On screen, without a command."""
    view = CommandView(theme)
    qtbot.addWidget(view)
    view.resize(400, 80)
    view.show()
    return view


def label(view: CommandView) -> QLabel:
    return view.findChild(QLabel)


def read(view: CommandView) -> str:
    """The words on screen, with plain hyphens and spaces."""
    document = QTextDocument()
    document.setHtml(label(view).text())
    return document.toPlainText().replace("\u2011", "-").replace("\xa0", " ")


def test_paths_are_short_on_screen_and_whole_in_the_tooltip(view: CommandView) -> None:
    view.set_command(COMMAND)
    assert view.command == tuple(COMMAND)
    assert read(view) == "llama-server -m 'a b.gguf' -ts 3,-1 --no-warmup"
    assert label(view).accessibleDescription() == command_text(COMMAND)
    assert "/models/a b.gguf" in label(view).toolTip()


def test_flags_are_coloured_and_stay_with_their_value(view: CommandView, theme: Theme) -> None:
    view.set_command(COMMAND)
    html = label(view).text()
    assert html.count(theme.colour("accent_text").name()) == 3
    pieces = html.replace("<span style", "<span_style").split(" ")
    assert len(pieces) == 4
    assert all("-" not in piece.split(">", 1)[-1] for piece in pieces[1:])


def test_a_number_below_zero_is_no_flag(view: CommandView, theme: Theme) -> None:
    view.set_command(["llama-server", "-1"])
    assert theme.colour("accent_text").name() not in label(view).text()


def test_words_are_never_markup(view: CommandView) -> None:
    view.set_command(["llama-server", "--alias", "<b>x</b>&amp;"])
    assert "<b>" not in label(view).text()
    assert "<b>" not in label(view).toolTip()
    assert read(view) == "llama-server --alias '<b>x</b>&amp;'"


def test_a_long_command_wraps_instead_of_widening_the_window(view: CommandView) -> None:
    view.set_command(["llama-server", *(f"--flag-{n}" for n in range(60))])
    assert view.minimumSizeHint().width() < 400
    assert label(view).heightForWidth(300) > 3 * label(view).fontMetrics().lineSpacing()


def test_another_theme_recolours_the_flags(view: CommandView, theme: Theme) -> None:
    view.set_command(COMMAND)
    before = theme.colour("accent_text").name()
    theme.set_dark(dark=False)
    after = theme.colour("accent_text").name()
    assert after != before
    assert after in label(view).text()
    assert before not in label(view).text()
    theme.set_dark(dark=True)


def test_copied_is_said_for_a_moment(view: CommandView) -> None:
    view.set_command(COMMAND)
    copy = view.findChild(QPushButton)
    QTest.mouseClick(copy, Qt.MouseButton.LeftButton)
    assert QGuiApplication.clipboard().text() == command_text(COMMAND)
    assert copy.text() == "Copied"
    assert view._back.isActive()
    view._back.timeout.emit()
    assert copy.text() == "Copy"
    view._back.stop()


def test_a_long_value_may_break_instead_of_running_below_the_button(view: CommandView) -> None:
    value = '{"model": "smollm2:latest", "keep_alive": -1, "options": {"num_ctx": 4096}}'
    view.set_command(["curl", "http://127.0.0.1:11434/api/generate", "-d", value])
    assert "&nbsp;" not in label(view).text()
    view.resize(300, 200)
    assert label(view).minimumSizeHint().width() < 300
