"""The search field by its keys."""

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from pytestqt.qtbot import QtBot

from splitrig.views.logs.find_bar import FindBar
from splitrig.views.theme import Theme

SHIFT = Qt.KeyboardModifier.ShiftModifier


class Heard:
    """What the bar asked for."""

    def __init__(self, bar: FindBar) -> None:
        self.searched: list[tuple[str, bool]] = []
        self.stepped: list[int] = []
        self.left = 0
        bar.searched.connect(lambda words, case: self.searched.append((words, case)))
        bar.stepped.connect(self.stepped.append)
        bar.left.connect(self._on_left)

    def _on_left(self) -> None:
        self.left += 1


@pytest.fixture
def bar(theme: Theme, qtbot: QtBot) -> FindBar:
    made = FindBar(theme)
    qtbot.addWidget(made)
    made.show()
    return made


def test_it_searches_when_one_stops_typing(bar: FindBar, qtbot: QtBot) -> None:
    heard = Heard(bar)
    QTest.keyClicks(bar.field, "buffer")
    assert heard.searched == []
    qtbot.waitUntil(lambda: bool(heard.searched))
    assert heard.searched == [("buffer", False)]


def test_enter_does_not_wait_and_then_steps(bar: FindBar) -> None:
    heard = Heard(bar)
    QTest.keyClicks(bar.field, "x")
    QTest.keyClick(bar.field, Qt.Key.Key_Return)
    assert heard.searched == [("x", False)]
    assert heard.stepped == []
    QTest.keyClick(bar.field, Qt.Key.Key_Return)
    QTest.keyClick(bar.field, Qt.Key.Key_Enter)
    QTest.keyClick(bar.field, Qt.Key.Key_Return, SHIFT)
    assert heard.stepped == [1, 1, -1]
    assert heard.searched == [("x", False)]


def test_match_case_searches_anew(bar: FindBar) -> None:
    heard = Heard(bar)
    bar.field.setText("x")
    QTest.mouseClick(bar.case, Qt.MouseButton.LeftButton)
    assert heard.searched == [("x", True)]


def test_escape_clears_and_leaves(bar: FindBar) -> None:
    heard = Heard(bar)
    bar.field.setText("x")
    QTest.keyClick(bar.field, Qt.Key.Key_Escape)
    assert bar.words == ""
    assert heard.searched[-1] == ("", False)
    assert heard.left == 1


def test_an_emptied_field_ends_the_search_at_once(bar: FindBar) -> None:
    heard = Heard(bar)
    bar.field.setText("x")
    bar.field.clear()
    assert heard.searched == [("", False)]


@pytest.mark.parametrize(
    ("words", "ordinal", "total", "text", "invalid"),
    [
        ("", None, 0, "", "false"),
        ("x", None, 0, "no match", "true"),
        ("x", None, 1, "1 match", "false"),
        ("x", None, 1204, "1,204 matches", "false"),
        ("x", 3, 41, "3 of 41", "false"),
    ],
)
def test_it_says_what_was_found(
    bar: FindBar, words: str, ordinal: int | None, total: int, text: str, invalid: str
) -> None:
    bar.field.setText(words)
    bar.show_found(ordinal, total)
    assert bar.count.text() == text
    assert bar.field.accessibleDescription() == text
    assert bar.field.property("invalid") == invalid
    assert bar.next.isEnabled() == bar.previous.isEnabled() == bool(total)


def test_the_largest_count_has_room(bar: FindBar) -> None:
    bar.field.setText("x")
    bar.show_found(20_000, 40_000)
    assert bar.count.fontMetrics().horizontalAdvance(bar.count.text()) <= bar.count.width()


def test_the_buttons_step(bar: FindBar) -> None:
    heard = Heard(bar)
    bar.field.setText("x")
    bar.show_found(None, 2)
    bar.next.click()
    bar.previous.click()
    assert heard.stepped == [1, -1]
    names = {bar.next.accessibleName(), bar.previous.accessibleName(), bar.case.accessibleName()}
    assert names == {"Next match (F3)", "Previous match (Shift+F3)", "Match case"}
