"""The lines: they follow, they hold still, they are found, whatever comes and goes."""

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QGuiApplication, QTextCursor
from PySide6.QtTest import QTest
from pytestqt.qtbot import QtBot

from splitrig.core.log_lines import Level, LineReader, LogLine
from splitrig.core.log_ring import MOST_LINES, Numbered
from splitrig.views.logs.log_view import MORE_LINES, LogView, utf16_length
from splitrig.views.theme import Theme


def numbered(*texts: str, first: int = 0, level: Level = Level.INFO) -> list[Numbered]:
    return [(first + n, LogLine(level, text, "a", "0:00.518")) for n, text in enumerate(texts)]


def many(n_lines: int, first: int = 0) -> list[Numbered]:
    return numbered(*(f"line {first + n}" for n in range(n_lines)), first=first)


@pytest.fixture
def view(theme: Theme, qtbot: QtBot) -> LogView:
    made = LogView(theme)
    qtbot.addWidget(made)
    made.resize(900, 400)
    made.show()
    return made


def last_visible(view: LogView) -> str:
    """Text of the row at the bottom of the view."""
    bottom = view.viewport().rect().bottomLeft()
    return view.cursorForPosition(bottom).block().text()


def first_visible(view: LogView) -> str:
    return view.firstVisibleBlock().text()


def colours_over(view: LogView, row: int) -> dict[str, str]:
    """Colour laid over each piece of a row."""
    block = view.document().findBlockByNumber(row)
    return {
        mark.cursor.selectedText().strip("\u2029"): mark.format.foreground().color().name()
        for mark in view.extraSelections()
        if mark.cursor.hasSelection() and block.contains(mark.cursor.selectionStart())
    }


def test_columns_are_time_level_engine_text(view: LogView) -> None:
    view.show_all(numbered("hello"), source_chars=0)
    assert view.toPlainText() == "0:00.518 I  hello"
    view.show_all([(0, LogLine(Level.ERROR, "no", "ab")), *numbered("x")], source_chars=3)
    assert view.toPlainText() == "         E  ab   no\n0:00.518 I  a    x"


def test_the_end_is_followed(view: LogView) -> None:
    for start in range(0, 3000, 500):
        view.add(many(500, start), first=0)
        assert last_visible(view).endswith(f"line {start + 499}")
    assert view.following


def test_the_oldest_rows_go(view: LogView) -> None:
    view.add(many(1000), first=0)
    view.add(many(10, 1000), first=400)
    rows = view.toPlainText().split("\n")
    assert len(rows) == view.blockCount() == len(view.shown) == 610
    assert rows[0].endswith("line 400")
    assert rows[-1].endswith("line 1009")
    view.add(many(5, 1010), first=1010)
    assert view.toPlainText().split("\n")[0].endswith("line 1010")
    view.add([], first=1015)
    assert view.toPlainText() == ""
    assert len(view.shown) == 0
    view.add(many(1, 1015), first=1015)
    assert view.toPlainText().endswith("line 1015")


def test_nothing_moves_for_who_scrolled_up(view: LogView) -> None:
    view.add(many(1000), first=0)
    view.verticalScrollBar().setValue(100)
    assert not view.following
    before = view.toPlainText()
    assert first_visible(view).endswith("line 100")
    for start in range(1000, 5000, 500):
        view.add(many(500, start), first=start - 500)
    assert view.toPlainText() == before
    assert first_visible(view).endswith("line 100")
    assert len(view.shown.waiting) == 1000  # the ring keeps no more


def test_jump_shows_what_waited_and_follows_again(view: LogView) -> None:
    view.add(many(1000), first=0)
    view.verticalScrollBar().setValue(100)
    view.add(many(500, 1000), first=0)
    view.jump_to_newest()
    assert view.following
    assert not view.shown.waiting
    assert last_visible(view).endswith("line 1499")
    view.add(many(1, 1500), first=0)
    assert last_visible(view).endswith("line 1500")


def test_rows_stay_bounded_when_a_pause_ends(view: LogView) -> None:
    view.add(many(MOST_LINES), first=0)
    view.verticalScrollBar().setValue(100)
    view.add(many(MOST_LINES, MOST_LINES), first=MOST_LINES)
    view.jump_to_newest()
    assert view.blockCount() == len(view.shown) == MOST_LINES
    assert last_visible(view).endswith(f"line {2 * MOST_LINES - 1}")


def test_lines_lost_in_a_pause_are_told_of(view: LogView) -> None:
    view.add(many(1000), first=0)
    view.verticalScrollBar().setValue(100)
    view.add(many(100, 1000), first=0)
    view.add(many(100, 1100), first=1070)
    view.jump_to_newest()
    assert "70 lines not shown" in view.toPlainText()


def test_reading_on_to_the_end_brings_more_without_a_jump(view: LogView) -> None:
    view.add(many(1000), first=0)
    bar = view.verticalScrollBar()
    bar.setValue(100)
    view.add(many(MORE_LINES + 200, 1000), first=0)
    end = bar.maximum()
    bar.setValue(end)
    assert not view.following
    assert bar.value() == end < bar.maximum()
    assert len(view.shown.waiting) == 200
    bar.setValue(bar.maximum())
    assert view.following
    assert last_visible(view).endswith(f"line {1000 + MORE_LINES + 199}")


def test_ctrl_end_is_the_newest_line(view: LogView) -> None:
    view.add(many(1000), first=0)
    view.verticalScrollBar().setValue(100)
    view.add(many(700, 1000), first=0)
    QTest.keyClick(view, Qt.Key.Key_End, Qt.KeyboardModifier.ControlModifier)
    assert view.following
    assert last_visible(view).endswith("line 1699")


def test_page_up_stops_following(view: LogView) -> None:
    view.add(many(1000), first=0)
    view.moveCursor(QTextCursor.MoveOperation.End)
    QTest.keyClick(view, Qt.Key.Key_PageUp)
    QTest.keyClick(view, Qt.Key.Key_PageUp)
    assert not view.following


def test_what_is_selected_is_not_pulled_away_and_can_be_copied(view: LogView) -> None:
    view.add(many(100), first=0)
    QTest.keyClick(view, Qt.Key.Key_A, Qt.KeyboardModifier.ControlModifier)
    assert not view.following
    view.add(many(100, 100), first=50)
    QTest.keyClick(view, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
    copied = QGuiApplication.clipboard().text().split("\n")
    assert copied == [f"0:00.518 I  line {n}" for n in range(100)]
    view.jump_to_newest()
    assert not view.textCursor().hasSelection()


def test_it_cannot_be_changed(view: LogView) -> None:
    view.add(many(3), first=0)
    before = view.toPlainText()
    QTest.keyClicks(view, "typed")
    QTest.keyClick(view, Qt.Key.Key_Delete)
    assert view.toPlainText() == before


def test_other_lines_keep_the_place(view: LogView) -> None:
    view.add(many(1000), first=0)
    view.verticalScrollBar().setValue(301)
    view.show_all(many(1000)[::2], source_chars=0)
    assert first_visible(view).endswith("line 302")
    assert not view.following
    view.show_all(many(1000), source_chars=0)
    assert first_visible(view).endswith("line 302")
    view.show_all([], source_chars=0)
    assert view.toPlainText() == ""
    view.show_all(many(1000), source_chars=0)
    assert view.blockCount() == 1000


def test_wrapping_keeps_the_place_and_the_end(view: LogView) -> None:
    view.add(numbered(*(f"{n} " + "word " * 60 for n in range(300))), first=0)
    view.set_wrapped(wrapped=True)
    assert view.horizontalScrollBar().maximum() == 0
    assert last_visible(view).startswith("0:00.518 I  299")
    view.verticalScrollBar().setValue(view.document().findBlockByNumber(100).firstLineNumber())
    view.add(numbered("new", first=300), first=0)
    view.set_wrapped(wrapped=False)
    assert first_visible(view).startswith("0:00.518 I  100")
    view.jump_to_newest()
    assert last_visible(view).endswith("new")


def test_a_smaller_view_still_shows_the_end(view: LogView, qtbot: QtBot) -> None:
    view.add(many(1000), first=0)
    view.resize(700, 200)
    assert view.following
    assert last_visible(view).endswith("line 999")
    view.resize(900, 600)
    assert view.following
    assert last_visible(view).endswith("line 999")


def test_levels_have_their_colours_over_the_rows_in_view(view: LogView, theme: Theme) -> None:
    lines = [(n, LogLine(level, f"{level.name} text")) for n, level in enumerate(Level)]
    view.add(lines, first=0)

    def name(colour: str) -> str:
        return QColor(theme.colour(colour)).name()

    assert colours_over(view, Level.ERROR) == {"         E  ERROR text": name("danger")}
    assert colours_over(view, Level.WARNING) == {"         W  WARNING text": name("warning")}
    assert colours_over(view, Level.NOTE) == {"         –  NOTE text": name("accent_text")}
    assert colours_over(view, Level.DEBUG) == {"         D  DEBUG text": name("muted")}
    assert colours_over(view, Level.INFO) == {"         I  ": name("muted")}
    theme.set_dark(dark=False)
    assert colours_over(view, Level.ERROR) == {"         E  ERROR text": name("danger")}
    assert name("danger") == "#c22b2b"


def test_only_rows_in_view_cost_anything(view: LogView) -> None:
    view.add([(n, LogLine(Level.ERROR, "x")) for n in range(5000)], first=0)
    assert 10 < len(view.extraSelections()) < 100


def test_a_last_row_that_is_an_error_stays_within_the_text(view: LogView) -> None:
    view.add([(0, LogLine(Level.ERROR, "x"))], first=0)
    view.add([(1, LogLine(Level.ERROR, ""))], first=0)
    full = [m for m in view.extraSelections() if not m.cursor.hasSelection()]
    assert len(full) == 1


def test_matches_are_counted_marked_and_stepped_through(view: LogView) -> None:
    view.add(numbered("a buffer", "b", "Buffer buffer", "c"), first=0)
    view.look_for("buffer", match_case=False)
    assert view.shown.search.total == 3
    assert view.textCursor().selectedText() == "buffer"
    assert view.textCursor().blockNumber() == 0
    assert not view.following
    assert len([m for m in view.extraSelections() if m.cursor.selectedText() == "buffer"]) == 2
    seen = []
    for direction in (1, 1, 1, -1):
        view.step(direction)
        cursor = view.textCursor()
        seen.append((view.shown.ordinal(), cursor.blockNumber(), cursor.selectedText()))
    assert seen == [(2, 2, "Buffer"), (3, 2, "buffer"), (1, 0, "buffer"), (3, 2, "buffer")]
    view.look_for("buffer", match_case=True)
    assert view.shown.search.total == 2
    view.look_for("", match_case=True)
    assert not view.textCursor().hasSelection()
    assert view.shown.search.total == 0


def test_a_search_far_away_scrolls_there(view: LogView) -> None:
    view.add(numbered(*["x"] * 500, "needle", *["x"] * 500), first=0)
    view.look_for("needle", match_case=False)
    cursor = view.textCursor()
    assert cursor.blockNumber() == 500
    assert view.viewport().rect().contains(view.cursorRect(cursor))


@pytest.mark.parametrize("text", ["😀😀 needle", "größe 大 needle", "İİ needle"])
def test_places_are_right_behind_any_characters(view: LogView, text: str) -> None:
    view.add(numbered(text), first=0)
    view.look_for("needle", match_case=False)
    assert view.textCursor().selectedText() == "needle"
    marked = [m.cursor.selectedText() for m in view.extraSelections()]
    assert "needle" in marked


def test_qt_counts_an_emoji_twice() -> None:
    assert [utf16_length(text) for text in ("", "ab", "ß大", "😀a")] == [0, 2, 2, 3]


def test_new_lines_are_searched_while_the_end_is_followed(view: LogView) -> None:
    view.look_for("needle", match_case=False)
    view.add(many(10), first=0)
    assert view.following
    view.add(numbered("a needle", first=10), first=5)
    assert view.shown.search.total == 1
    view.add(many(10, 11), first=11)
    assert view.shown.search.total == 0


def test_any_line_is_one_row(view: LogView) -> None:
    raw = ["a\rb", "a\u2028b\u2029c", "a\x0bb\x0cc\x1cd\x85e", "\x00", "\t", "\x1b[1mx\x1b[0m", ""]
    lines = LineReader().read_all(raw)
    view.add(list(enumerate(lines)), first=0)
    assert view.blockCount() == len(raw)
    view.add(list(enumerate(lines, len(raw))), first=len(raw) - 1)
    assert view.blockCount() == len(raw) + 1
