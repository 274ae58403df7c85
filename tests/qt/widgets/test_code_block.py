"""A block of code: its name, its text, Copy, and its colours."""

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QLabel, QPlainTextEdit, QPushButton, QScrollArea
from pytestqt.qtbot import QtBot

from splitrig.views.theme import Theme
from splitrig.views.widgets.code_block import LONGEST_LINE, CodeBlock
from splitrig.views.widgets.markdown import MarkdownView

PYTHON = 'def f(x):\n    """Add."""\n    return x + 1  # one\n'


def block(theme: Theme, qtbot: QtBot, language: str = "", text: str = "") -> CodeBlock:
    made = CodeBlock(theme, language, text)
    qtbot.addWidget(made)
    made.resize(500, 200)
    made.show()
    return made


def shown(made: CodeBlock) -> str:
    return made.findChild(QPlainTextEdit).toPlainText()


def n_coloured(made: CodeBlock) -> int:
    """Lines that have any colour."""
    document = made.findChild(QPlainTextEdit).document()
    lines = (document.findBlockByNumber(n) for n in range(document.blockCount()))
    return sum(bool(line.layout().formats()) for line in lines)


@pytest.mark.parametrize(
    ("language", "name"),
    [
        ("", "code"),
        ("python", "python"),
        ("<h1>big</h1>", "<h1>big</h1>"),
        ("&lt;b&gt;", "&lt;b&gt;"),
        ("x" * 30, "x" * 30),
        ("x" * 31, "x" * 29 + "…"),
        ("<b>" + "x" * 5000, "<b>" + "x" * 26 + "…"),
    ],
)
def test_the_language_is_plain_text_and_short(
    theme: Theme, qtbot: QtBot, language: str, name: str
) -> None:
    made = block(theme, qtbot, language, "x\n")
    label = made.findChild(QLabel)
    assert label.textFormat() is Qt.TextFormat.PlainText
    assert label.text() == name
    assert len(name) <= 30
    assert made.minimumSizeHint().width() < 500


def test_growing_code_is_shown_as_if_it_had_come_at_once(theme: Theme, qtbot: QtBot) -> None:
    text = "a = 1\n\n\nfor 😀 in x:\n\tשלום\n" + "y" * (2 * LONGEST_LINE + 5) + "\nend"
    made = block(theme, qtbot, "python")
    for end in (1, 3, 6, 8, 14, 17, 25, 30, 1000, LONGEST_LINE + 40, len(text)):
        made.set_code("python", text[:end])
        assert made.code == text[:end]
    assert shown(made) == shown(block(theme, qtbot, "python", text))
    assert shown(made).replace("\n", "") == text.replace("\n", "")
    made.set_code("python", text[:6])
    assert shown(made) == "a = 1"


def test_copy_takes_the_exact_source(theme: Theme, qtbot: QtBot) -> None:
    source = "\tif a < b && c:\n    x  \n" + "y" * (LONGEST_LINE + 1) + "\n\n"
    made = block(theme, qtbot, "c", source)
    copy = made.findChild(QPushButton)
    QTest.mouseClick(copy, Qt.MouseButton.LeftButton)
    assert QGuiApplication.clipboard().text() == source.removesuffix("\n")
    assert copy.text() == "Copied"
    made._copied.timeout.emit()
    assert copy.text() == "Copy"


def test_the_block_is_as_high_as_its_lines_and_scrolls_only_sideways(
    theme: Theme, qtbot: QtBot
) -> None:
    view = MarkdownView(theme, "```\nx\n```")
    qtbot.addWidget(view)
    view.resize(500, 400)
    view.show()
    body = view.findChild(QPlainTextEdit)
    one = body.height()
    view.findChild(CodeBlock).set_code("", "x\n" * 5)
    assert body.height() == 5 * one
    view.findChild(CodeBlock).set_code("", "x\n" * 4 + "long " * 100)
    qtbot.waitUntil(lambda: body.horizontalScrollBar().maximum() > 0)
    assert body.height() > 5 * one
    assert body.verticalScrollBar().maximum() == 0


def test_the_wheel_turns_the_page_and_with_shift_the_code(theme: Theme, qtbot: QtBot) -> None:
    view = MarkdownView(theme, "```\n" + "long line " * 60 + "\n" * 60 + "end\n```")
    area = QScrollArea()
    qtbot.addWidget(area)
    area.setWidgetResizable(True)
    area.setWidget(view)
    area.resize(300, 200)
    area.show()
    page = area.verticalScrollBar()
    code = view.findChild(QPlainTextEdit).horizontalScrollBar()
    qtbot.waitUntil(lambda: page.maximum() > 0 and code.maximum() > 0)
    place, turn = QPoint(100, 100), QPoint(0, -120)
    QTest.wheelEvent(area.windowHandle(), place, turn)
    qtbot.waitUntil(lambda: page.value() > 0)
    assert code.value() == 0
    before = page.value()
    shift = Qt.KeyboardModifier.ShiftModifier
    QTest.wheelEvent(area.windowHandle(), place, turn, QPoint(), shift)
    qtbot.waitUntil(lambda: code.value() > 0)
    assert page.value() == before


def test_known_languages_get_colours_and_keep_up_with_the_text(theme: Theme, qtbot: QtBot) -> None:
    made = block(theme, qtbot, "python", PYTHON)
    qtbot.waitUntil(lambda: made.coloured)
    assert n_coloured(made) == 3
    made.set_code("python", PYTHON * 40)
    qtbot.waitUntil(lambda: made.coloured)
    assert n_coloured(made) == 120


def test_the_colours_follow_the_language_while_it_is_typed(theme: Theme, qtbot: QtBot) -> None:
    made = block(theme, qtbot, "pyth", "")
    made.set_code("python", PYTHON)
    qtbot.waitUntil(lambda: made.coloured and n_coloured(made) == 3)
    made.set_code("no-such-language", PYTHON)
    qtbot.waitUntil(lambda: made.coloured)
    assert shown(made) == PYTHON.rstrip("\n")
