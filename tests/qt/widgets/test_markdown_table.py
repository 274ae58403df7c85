"""Tables on screen: readable at every width, and long ones without a seam."""

from itertools import pairwise

import pytest
from markdown_samples import prefixes, table
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QScrollArea
from pytestqt.qtbot import QtBot

from splitrig.views.theme import Theme
from splitrig.views.widgets.code_block import CodeBlock
from splitrig.views.widgets.markdown import MarkdownView
from splitrig.views.widgets.markdown_blocks import MOST_COLUMNS, PIECE_ROWS
from splitrig.views.widgets.markdown_table import TableView, _Part

WIDTH = 640


@pytest.fixture
def view(theme: Theme, qtbot: QtBot) -> MarkdownView:
    """An empty view in a window."""
    view = MarkdownView(theme)
    qtbot.addWidget(view)
    view.resize(WIDTH, 400)
    view.show()
    qtbot.waitExposed(view)
    return view


def stream(view: MarkdownView, text: str, step: int = 50) -> TableView:
    """Let a text grow to its end; returns its first table."""
    for part in prefixes(text, [step]):
        view.set_text(part)
        view.flush()
    view.finish(text)
    settle()
    return next(part for part in view._widgets if isinstance(part, TableView))


def settle() -> None:
    for _ in range(4):
        QApplication.processEvents()


def cell_places(part: _Part) -> list[list[QPointF]]:
    """Where the text of each cell begins, in coordinates of the part's document."""
    layout, grid = part.document().documentLayout(), part._table
    return [
        [
            layout.blockBoundingRect(grid.cellAt(y, x).firstCursorPosition().block()).topLeft()
            for x in range(grid.columns())
        ]
        for y in range(grid.rows())
    ]


def n_lines(part: _Part, y: int, x: int) -> int:
    return part._table.cellAt(y, x).firstCursorPosition().block().layout().lineCount()


def first_words(tables: TableView) -> list[str]:
    return [row[0][0].text for row in tables.rows]


# Widths


def test_a_small_table_is_as_wide_as_its_text(view: MarkdownView) -> None:
    shown = stream(view, "| a | card |\n|---|---|\n| 1 | RTX 4090 |\n")
    assert sum(shown.column_px) < WIDTH / 2
    assert shown.horizontalScrollBar().maximum() == 0
    part = shown._parts[0]
    assert [n_lines(part, y, x) for y in (0, 1) for x in (0, 1)] == [1, 1, 1, 1]
    assert shown.height() == part.height()


def test_long_cells_are_wrapped_into_the_width(view: MarkdownView) -> None:
    shown = stream(view, f"| a | b |\n|---|---|\n| short | {'many words ' * 40}|\n")
    assert sum(shown.column_px) <= WIDTH
    assert shown.horizontalScrollBar().maximum() == 0
    assert n_lines(shown._parts[0], 1, 0) == 1
    assert n_lines(shown._parts[0], 1, 1) > 1


@pytest.mark.parametrize(
    "text",
    [table(3, 12, "some value {y}.{x}"), f"| a | b |\n|---|---|\n| {'x' * 3000} | y |\n"],
    ids=["many columns", "a long word"],
)
def test_every_cell_of_a_wide_table_can_be_read(view: MarkdownView, text: str) -> None:
    shown = stream(view, text)
    part = shown._parts[0]
    for row in cell_places(part):
        assert row[-1].x() + 20 < part.width()
    bar = shown.horizontalScrollBar()
    assert bar.maximum() == max(0, part.width() - shown.viewport().width())
    bar.setValue(bar.maximum())
    right = part.mapTo(shown.viewport(), QPoint(part.width(), 0)).x()
    assert right <= shown.viewport().width()
    # The scroll bar covers no row, and leaves no gap where there is none.
    assert shown.viewport().height() == part.height()
    view.resize(part.width(), 400)
    settle()
    assert bar.maximum() == 0
    assert shown.height() == part.height()
    view.resize(200, 400)
    settle()
    assert bar.maximum() > 0
    assert shown.viewport().height() == part.height()


def test_another_width_wraps_anew(view: MarkdownView, qtbot: QtBot) -> None:
    shown = stream(view, f"| a | b |\n|---|---|\n| {'one two ' * 12} | {'three ' * 12}|\n")
    wide = shown.column_px
    view.resize(WIDTH // 2, 400)
    qtbot.waitUntil(lambda: shown.column_px != wide)
    assert sum(shown.column_px) <= WIDTH // 2
    view.resize(WIDTH, 400)
    qtbot.waitUntil(lambda: shown.column_px == wide)


def test_the_wheel_turns_the_page_and_with_shift_the_table(theme: Theme, qtbot: QtBot) -> None:
    view = MarkdownView(theme, table(40, 12, "some value {y}.{x}"))
    area = QScrollArea()
    qtbot.addWidget(area)
    area.setWidgetResizable(True)
    area.setWidget(view)
    area.resize(300, 200)
    area.show()
    page = area.verticalScrollBar()
    sideways = view._widgets[0].horizontalScrollBar()
    qtbot.waitUntil(lambda: page.maximum() > 0 and sideways.maximum() > 0)
    place, turn = QPoint(100, 100), QPoint(0, -120)
    QTest.wheelEvent(area.windowHandle(), place, turn)
    qtbot.waitUntil(lambda: page.value() > 0)
    assert sideways.value() == 0
    before = page.value()
    shift = Qt.KeyboardModifier.ShiftModifier
    QTest.wheelEvent(area.windowHandle(), place, turn, QPoint(), shift)
    qtbot.waitUntil(lambda: sideways.value() > 0)
    assert page.value() == before


def test_cells_stand_at_their_sides(view: MarkdownView) -> None:
    shown = stream(view, "| wide head | wide head | wide head |\n|:--|:-:|--:|\n| a | b | c |\n")
    grid = shown._parts[0]._table
    sides = [grid.cellAt(1, x).firstCursorPosition().blockFormat().alignment() for x in range(3)]
    flag = Qt.AlignmentFlag
    assert sides == [flag.AlignLeft, flag.AlignHCenter, flag.AlignRight]
    assert grid.cellAt(0, 0).firstCursorPosition().charFormat().fontWeight() == 600
    assert grid.cellAt(1, 0).firstCursorPosition().charFormat().fontWeight() == 400


# Growing


def test_a_growing_table_is_never_built_anew(view: MarkdownView) -> None:
    text = table(20, 3)
    head = len(table(0, 3)) + 1
    view.set_text(text[:head])
    view.flush()
    shown = view._widgets[0]
    assert isinstance(shown, TableView)
    (part,) = shown._parts
    for end in range(head, len(text)):
        view.set_text(text[:end])
        view.flush()
        assert view._widgets == [shown]
        assert shown._parts == [part]
    assert part._table.rows() == 21


def test_a_line_that_turns_out_to_be_no_row_leaves_the_table(view: MarkdownView) -> None:
    text = table(2, 2)
    view.set_text(f"{text}1")
    view.flush()
    assert first_words(view._widgets[0]) == ["head 0", "0.0", "1.0", "1"]
    view.set_text(f"{text}1. item")
    view.flush()
    assert first_words(view._widgets[0]) == ["head 0", "0.0", "1.0"]
    assert view._widgets[0]._parts[0]._table.rows() == 3
    view.finish(f"{text}1. item")
    assert len(view._widgets) == 2


def test_the_first_line_of_a_part_can_be_taken_back(view: MarkdownView) -> None:
    text = table(PIECE_ROWS - 1, 2)
    view.set_text(f"{text}1")
    view.flush()
    shown = view._widgets[0]
    assert isinstance(shown, TableView)
    assert len(shown._parts) == 2
    view.finish(f"{text}1. item")
    assert len(shown._parts) == 1
    assert shown.rows[-1][0][0].text == f"{PIECE_ROWS - 2}.0"


def test_finished_parts_are_left_alone(view: MarkdownView) -> None:
    text = table(4 * PIECE_ROWS, 3)
    half = len(table(2 * PIECE_ROWS, 3))
    view.set_text(text[:half])
    view.flush()
    shown = view._widgets[0]
    assert isinstance(shown, TableView)
    settle()
    changes: list[int] = []
    for part in shown._parts[:2]:
        part.document().contentsChange.connect(lambda at, *_: changes.append(at))
    for end in range(half, len(text), 40):
        view.set_text(text[:end])
        view.flush()
    assert changes == []
    view.finish(text)
    assert [len(part.piece.rows) for part in shown._parts] == [PIECE_ROWS] * 4 + [1]


# Parts


@pytest.mark.parametrize("columns", [1, 3, 12, MOST_COLUMNS])
def test_nothing_shows_where_two_parts_meet(view: MarkdownView, columns: int) -> None:
    shown = stream(view, table(2 * PIECE_ROWS, columns, "{x}"), step=400)
    assert len(shown._parts) >= 3
    assert first_words(shown) == ["head 0"] + ["0"] * 2 * PIECE_ROWS
    tops: list[float] = []
    for part in shown._parts:
        places = cell_places(part)
        assert [place.x() for place in places[-1]] == [
            place.x() for place in cell_places(shown._parts[0])[-1]
        ]
        tops += [part.y() + row[0].y() for row in places]
    steps = [b - a for a, b in pairwise(tops)]
    assert max(steps) - min(steps) <= 1


def test_borders_of_a_long_table_stand_at_equal_distances(view: MarkdownView, theme: Theme) -> None:
    shown = stream(view, table(2 * PIECE_ROWS, 2, "{x}"), step=400)
    image = shown.widget().grab().toImage()
    border = theme.colour("border").rgb()
    x = shown.column_px[0] - 4
    lines = [y for y in range(image.height()) if image.pixel(x, y) == border]
    # Each row below the head has one.
    assert len(lines) == 2 * PIECE_ROWS
    assert {b - a for a, b in pairwise(lines)} == {lines[1] - lines[0]}


def test_columns_get_wider_for_words_of_later_rows(view: MarkdownView, qtbot: QtBot) -> None:
    rows = [f"| {n} | x |" for n in (*range(90), 123_456_789)]
    text = "| n | a |\n|---|---|\n" + "\n".join(rows) + "\n"
    shown = stream(view, text)
    last = shown._parts[-1]
    assert n_lines(last, last._table.rows() - 1, 0) == 1
    # The other parts follow.
    qtbot.waitUntil(lambda: len({part.width() for part in shown._parts}) == 1)
    whole = MarkdownView(view._theme)
    qtbot.addWidget(whole)
    whole.resize(WIDTH, 400)
    whole.finish(text)
    assert whole._widgets[0].column_px == shown.column_px


def test_all_parts_follow_the_width_of_the_window(view: MarkdownView, qtbot: QtBot) -> None:
    shown = stream(view, table(3 * PIECE_ROWS, 3, "some words of row {y} and so on"), step=500)
    before = shown.height()
    view.resize(WIDTH // 2, 400)
    qtbot.waitUntil(lambda: not shown._lagging.isActive())
    assert {tuple(part.widths) for part in shown._parts} == {tuple(shown.column_px)}
    settle()
    assert shown.height() > before
    assert shown.viewport().height() >= shown.widget().height()


def test_a_table_with_too_many_columns_is_shown_as_its_source(view: MarkdownView) -> None:
    text = table(20, MOST_COLUMNS + 1)
    for part in prefixes(text, [300]):
        view.set_text(part)
        view.flush()
    view.finish(text)
    (block,) = view._widgets
    assert isinstance(block, CodeBlock)
    assert block.code == text.rstrip("\n")


def test_links_in_cells_are_told(view: MarkdownView, qtbot: QtBot) -> None:
    shown = stream(view, "| a |\n|---|\n| https://e.org |\n")
    part = shown._parts[0]
    with qtbot.waitSignal(shown.link_clicked, timeout=500) as told:
        shown.link_clicked.disconnect(view._on_link)
        cursor = part._table.cellAt(1, 0).firstCursorPosition()
        cursor.movePosition(cursor.MoveOperation.NextCharacter)
        place = part.cursorRect(cursor).center()
        QTest.mouseClick(part.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert told.args == ["https://e.org"]
