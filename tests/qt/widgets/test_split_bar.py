"""The split bar: mouse, keyboard, wheel, and what assistive technology sees."""

from itertools import pairwise

import pytest
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QAccessible, QMouseEvent, QWheelEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from splitrig.core.split import counts_for_split
from splitrig.views.theme import Theme
from splitrig.views.widgets.split_bar import SplitBar, SplitCard
from splitrig.views.widgets.split_geometry import (
    MIN_CARD_PX,
    card_spans,
    handle_centres,
    share_percents,
)

NAMES = ("RTX 4090", "RTX 3080", "RTX 3090", "RTX 3090 Ti")


def make_bar(theme: Theme, qtbot: QtBot, shares: tuple[float, ...], slots: int = 65) -> SplitBar:
    bar = SplitBar(theme)
    qtbot.addWidget(bar)
    bar.set_cards([SplitCard(number=i, name=NAMES[i]) for i in range(len(shares))])
    bar.show_split(shares, slots)
    bar.resize(516, bar.height())
    bar.show()
    qtbot.waitExposed(bar)
    return bar


def pull(bar: SplitBar, handle: int, x: int, modifier=Qt.KeyboardModifier.NoModifier) -> None:
    """Drag a handle to `x` in the bar with the left button."""
    grip = bar.handles[handle]
    start = grip.rect().center()
    QTest.mousePress(grip, Qt.MouseButton.LeftButton, modifier, start)
    end = grip.mapFromParent(QPoint(x, start.y()))
    # QTest.mouseMove cannot carry modifiers
    move = QMouseEvent(
        QEvent.Type.MouseMove,
        QPointF(end),
        QPointF(grip.mapToGlobal(end)),
        Qt.MouseButton.NoButton,
        Qt.MouseButton.LeftButton,
        modifier,
    )
    QApplication.sendEvent(grip, move)
    QTest.mouseRelease(grip, Qt.MouseButton.LeftButton)


def test_dragging_snaps_to_layers(theme: Theme, qtbot: QtBot) -> None:
    bar = make_bar(theme, qtbot, (1.0, 1.0))
    moved: list[tuple[float, ...]] = []
    bar.moved.connect(moved.append)
    pull(bar, 0, round(516 * 41 / 65) + 2)
    assert bar.counts == (41, 24)
    assert moved[-1] == bar.shares
    assert counts_for_split(moved[-1], 65) == (41, 24)


def test_dragging_with_alt_stands_between_layers(theme: Theme, qtbot: QtBot) -> None:
    bar = make_bar(theme, qtbot, (10.0, 10.0))
    pull(bar, 0, 322, Qt.KeyboardModifier.AltModifier)
    assert sum(bar.shares) == pytest.approx(20, abs=0.01)
    assert bar.shares[0] == pytest.approx(20 * 322 / 516, abs=0.05)


def test_only_the_two_neighbours_change(theme: Theme, qtbot: QtBot) -> None:
    bar = make_bar(theme, qtbot, (20.0, 20.0, 25.0))
    pull(bar, 1, 250)
    assert bar.counts[0] == 20
    assert sum(bar.counts) == 65
    assert bar.counts[1] < 20


def test_a_card_can_be_emptied_but_keeps_its_chip(theme: Theme, qtbot: QtBot) -> None:
    bar = make_bar(theme, qtbot, (40.0, 25.0))
    pull(bar, 0, 600)
    assert bar.counts == (65, 0)
    left, right = card_spans(bar.shares, bar.width())[1]
    assert right - left >= MIN_CARD_PX - 0.01


def test_keys_move_layers_and_escape_undoes(theme: Theme, qtbot: QtBot) -> None:
    bar = make_bar(theme, qtbot, (40.0, 25.0))
    grip = bar.handles[0]
    grip.setFocus()
    QTest.keyClick(grip, Qt.Key.Key_Right)
    assert bar.counts == (41, 24)
    QTest.keyClick(grip, Qt.Key.Key_Left, Qt.KeyboardModifier.ShiftModifier)
    assert bar.counts == (36, 29)
    QTest.keyClick(grip, Qt.Key.Key_Escape)
    assert bar.counts == (40, 25)


def test_home_and_end_go_to_the_edge_of_what_fits(theme: Theme, qtbot: QtBot) -> None:
    bar = make_bar(theme, qtbot, (40.0, 25.0))
    bar.show_fit((30, 50))
    grip = bar.handles[0]
    grip.setFocus()
    QTest.keyClick(grip, Qt.Key.Key_End)
    assert bar.counts == (50, 15)
    QTest.keyClick(grip, Qt.Key.Key_Home)
    assert bar.counts == (30, 35)


def test_enter_asks_for_the_field_and_double_click_for_auto(theme: Theme, qtbot: QtBot) -> None:
    bar = make_bar(theme, qtbot, (40.0, 25.0))
    with qtbot.waitSignal(bar.field_wanted, timeout=500):
        QTest.keyClick(bar.handles[0], Qt.Key.Key_Return)
    with qtbot.waitSignal(bar.auto_wanted, timeout=500):
        QTest.mouseDClick(bar, Qt.MouseButton.LeftButton, pos=QPoint(30, 30))


def wheel(bar: SplitBar, notches: int) -> bool:
    point = QPointF(30, 30)
    event = QWheelEvent(
        point,
        QPointF(bar.mapToGlobal(point.toPoint())),
        QPoint(),
        QPoint(0, 120 * notches),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(bar, event)
    return event.isAccepted()


def test_the_wheel_belongs_to_the_page_until_a_handle_has_the_focus(
    theme: Theme, qtbot: QtBot
) -> None:
    bar = make_bar(theme, qtbot, (40.0, 25.0))
    assert not wheel(bar, 1)
    assert bar.counts == (40, 25)
    bar.activateWindow()
    bar.handles[0].setFocus()
    qtbot.waitUntil(bar.handles[0].hasFocus)
    assert wheel(bar, 2)
    assert bar.counts == (42, 23)


def test_each_handle_is_a_slider_with_name_value_and_description(
    theme: Theme, qtbot: QtBot
) -> None:
    bar = make_bar(theme, qtbot, (41.0, 24.0))
    bar.describe_handles(["41 layers to 23 and output, fits, 0.6 GiB free"])
    grip = bar.handles[0]
    seen = QAccessible.queryAccessibleInterface(grip)
    assert seen.role() == QAccessible.Role.Slider
    assert seen.text(QAccessible.Text.Name) == "Split between RTX 4090 and RTX 3080"
    assert seen.text(QAccessible.Text.Description).startswith("41 layers to 23 and output")
    assert (grip.minimum(), grip.value(), grip.maximum()) == (0, 41, 65)


def test_setting_the_slider_from_outside_moves_layers(theme: Theme, qtbot: QtBot) -> None:
    bar = make_bar(theme, qtbot, (41.0, 24.0))
    bar.handles[0].setValue(30)
    assert bar.counts == (30, 35)


def test_a_closed_bar_has_no_handles_and_says_why(theme: Theme, qtbot: QtBot) -> None:
    bar = make_bar(theme, qtbot, (41.0, 24.0))
    bar.close_with("no layer is to lie on the cards")
    assert not any(handle.isVisible() for handle in bar.handles)
    assert bar.accessibleDescription() == "no layer is to lie on the cards"
    bar.close_with("")
    assert all(handle.isVisible() for handle in bar.handles)


def test_handles_never_overlap() -> None:
    centres = handle_centres((1.0, 0.0, 0.0, 0.0), 400)
    assert all(b - a >= 26 - 0.01 for a, b in pairwise(centres))
    assert centres[-1] <= 400 - MIN_CARD_PX


@pytest.mark.parametrize("shares", [(1.0, 1.0, 1.0), (12.4, 7.6), (0.0, 5.0), (29, 28, 12, 12)])
def test_per_cents_add_up_to_100(shares: tuple[float, ...]) -> None:
    assert sum(share_percents(shares)) == 100


def test_both_themes_paint(theme: Theme, qtbot: QtBot) -> None:
    bar = make_bar(theme, qtbot, (30.0, 0.0, 35.0))
    for fit in (None, (0, 10)):
        bar.show_fit(fit)
        assert not bar.grab().isNull()
    theme.set_dark(dark=False)
    assert not bar.grab().isNull()


def test_cards_of_one_stage_move_together(theme: Theme, qtbot: QtBot) -> None:
    bar = make_bar(theme, qtbot, (1.0, 1.0, 1.0, 1.0), 32)
    bar.set_stage(2)
    bar.show_layers((16, 16, 16, 16))
    assert [handle.isVisible() for handle in bar.handles] == [False, True, False]
    moved: list[tuple[float, ...]] = []
    bar.moved.connect(moved.append)
    pull(bar, 1, round(516 * 24 / 32))
    assert moved == [(24.0, 24.0, 8.0, 8.0)]
    bar.show_layers((24, 24, 8, 8))
    QTest.keyClick(bar.handles[1], Qt.Key.Key_Left)
    assert moved[-1] == (23.0, 23.0, 9.0, 9.0)
    QTest.mouseClick(bar, Qt.MouseButton.LeftButton, pos=QPoint(20, 40))
    assert bar.window().focusWidget() is bar.handles[1], "the nearest that can be moved"
    bar.set_stage(1)
    assert all(handle.isVisible() for handle in bar.handles)
