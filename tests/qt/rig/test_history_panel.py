"""The graphs: curves per card, choices, and no work that nobody sees."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QWheelEvent
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot
from tests.qt.rig.rigs import BIG, EIGHT, SMALL, filled, rig_of

from splitrig.core.history import History, MarkKind, Metric, Rate
from splitrig.core.units import GIB
from splitrig.views.theme import Theme
from splitrig.views.widgets.graph_data import (
    MOST_POINTS,
    Thinner,
    hold_lonely,
    nice_ceiling,
    scale_top,
    time_ticks,
)
from splitrig.views.widgets.graph_panel import HistoryPanel
from splitrig.views.widgets.graph_plots import RIG, PlotStack

pytestmark = pytest.mark.qt_log_ignore("propagateSizeHints")
"""The offscreen platform says so whenever a window of its own is shown."""


@pytest.fixture
def panel(qtbot: QtBot, theme: Theme) -> HistoryPanel:
    panel = HistoryPanel(theme)
    qtbot.addWidget(panel)
    panel.resize(820, 440)
    return panel


def drawn(panel: HistoryPanel, qtbot: QtBot, history: History) -> PlotStack:
    panel.show_history(history)
    panel.show()
    qtbot.waitUntil(lambda: panel.stack is not None and panel.stack.updates > 0, timeout=5000)
    assert panel.stack is not None
    return panel.stack


def test_the_frame_is_there_before_the_plots(panel: HistoryPanel) -> None:
    panel.show()
    assert panel.stack is None
    assert panel.frame.isVisible()


def test_pyqtgraph_is_not_imported_before_a_graph_is_shown() -> None:
    code = (
        "import sys; import splitrig.views.rig.page, splitrig.views.strip, "
        "splitrig.views.widgets.graph_live_side; sys.exit('pyqtgraph' in sys.modules)"
    )
    gui = Path(__file__).parents[3] / "gui"
    done = subprocess.run([sys.executable, "-c", code], cwd=gui, check=False, timeout=60)
    assert done.returncode == 0


def test_each_card_has_a_curve_in_each_graph_and_the_rig_one_for_tok_s(
    panel: HistoryPanel, qtbot: QtBot
) -> None:
    panel.show_rig(rig_of(BIG, SMALL))
    stack = drawn(panel, qtbot, filled(BIG, SMALL))
    assert set(stack.curves) == {
        (key, card) for key in (Metric.VRAM, Metric.LOAD, Metric.POWER) for card in ("id0", "id1")
    } | {(Rate.GENERATION, RIG)}
    x, y = stack.curves[Metric.VRAM, "id0"].getData()
    assert len(x) == 60
    assert x[-1] == 0
    assert y[-1] == 12.0
    assert stack.curves[Rate.GENERATION, RIG].getData()[1][-1] == 33.0


def test_the_legend_switches_a_cards_curves(panel: HistoryPanel, qtbot: QtBot) -> None:
    panel.show_rig(rig_of(BIG, SMALL))
    stack = drawn(panel, qtbot, filled(BIG, SMALL))
    entry = panel.legend.entries[1]
    qtbot.mouseClick(entry, Qt.MouseButton.LeftButton)
    assert panel.legend.hidden == {"id1"}
    assert not stack.curves[Metric.LOAD, "id1"].isVisible()
    assert stack.curves[Metric.LOAD, "id1"].xData.size == 0
    assert stack.curves[Metric.LOAD, "id0"].isVisible()
    qtbot.mouseClick(entry, Qt.MouseButton.LeftButton)
    assert stack.curves[Metric.LOAD, "id1"].isVisible()
    assert len(stack.curves[Metric.LOAD, "id1"].getData()[0]) == 60


def test_what_is_hidden_stays_hidden_when_a_card_comes(panel: HistoryPanel, qtbot: QtBot) -> None:
    panel.show_rig(rig_of(BIG, SMALL))
    drawn(panel, qtbot, filled(BIG, SMALL))
    panel.legend.entries[0].click()
    panel.show_rig(rig_of(BIG, SMALL, BIG))
    assert [e.isChecked() for e in panel.legend.entries] == [False, True, True]


def test_pointing_at_a_card_makes_the_others_step_back(panel: HistoryPanel, qtbot: QtBot) -> None:
    panel.show_rig(rig_of(BIG, SMALL))
    stack = drawn(panel, qtbot, filled(BIG, SMALL))
    panel.legend.highlighted.emit("id0")
    assert stack.curves[Metric.LOAD, "id0"].opts["pen"].color().alphaF() == 1
    assert stack.curves[Metric.LOAD, "id1"].opts["pen"].color().alphaF() < 0.5
    panel.legend.highlighted.emit(None)
    assert stack.curves[Metric.LOAD, "id1"].opts["pen"].color().alphaF() == 1


def test_cards_four_to_seven_are_dashed(panel: HistoryPanel, qtbot: QtBot) -> None:
    panel.show_rig(rig_of(*EIGHT))
    stack = drawn(panel, qtbot, filled(*EIGHT))
    pens = [stack.curves[Metric.LOAD, f"id{i}"].opts["pen"] for i in range(8)]
    assert [bool(p.dashPattern()) for p in pens] == [False] * 4 + [True] * 4
    assert not panel.legend.entries[0].with_name


def test_graphs_can_be_chosen_and_one_always_stays(panel: HistoryPanel, qtbot: QtBot) -> None:
    panel.show_rig(rig_of(BIG))
    stack = drawn(panel, qtbot, filled(BIG))
    with qtbot.waitSignal(panel.choice_changed, timeout=500):
        panel.choose([Rate.PROMPT, Metric.TEMPERATURE])
    assert panel.keys == (Metric.TEMPERATURE, Rate.PROMPT)
    assert set(stack.curves) == {(Metric.TEMPERATURE, "id0"), (Rate.PROMPT, RIG)}
    assert panel.chooser.text() == "Graphs: 2"
    panel.choose([])
    assert panel.keys == (Metric.TEMPERATURE, Rate.PROMPT)


def test_the_range_cuts_the_window(panel: HistoryPanel, qtbot: QtBot) -> None:
    panel.show_rig(rig_of(BIG))
    stack = drawn(panel, qtbot, filled(BIG, n=200))
    panel.choose_range(60)
    x, _y = stack.curves[Metric.LOAD, "id0"].getData()
    assert -62 <= x[0] <= -60
    assert panel.ranges.current_label == "1 min"


def test_a_new_theme_recolours_the_curves(panel: HistoryPanel, qtbot: QtBot, theme: Theme) -> None:
    panel.show_rig(rig_of(BIG))
    stack = drawn(panel, qtbot, filled(BIG))
    theme.set_dark(dark=False)
    assert stack.curves[Metric.LOAD, "id0"].opts["pen"].color() == theme.card(0)
    assert stack.view.backgroundBrush().color() == theme.colour("surface")


def test_the_wheel_is_left_to_the_page(panel: HistoryPanel, qtbot: QtBot) -> None:
    panel.show_rig(rig_of(BIG))
    drawn(panel, qtbot, filled(BIG))
    middle = panel.frame.plot_rect.center()
    target = panel.frame.childAt(middle) or panel.frame
    assert target is panel.frame
    event = QWheelEvent(
        QPointF(middle),
        QPointF(panel.frame.mapToGlobal(middle)),
        QPoint(0, 0),
        QPoint(0, 120),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    event.ignore()
    QApplication.sendEvent(panel.frame, event)
    assert not event.isAccepted()


def test_the_description_has_the_numbers(panel: HistoryPanel, qtbot: QtBot) -> None:
    panel.show_rig(rig_of(BIG))
    drawn(panel, qtbot, filled(BIG))
    said = panel.frame.accessibleDescription()
    assert "VRAM: RTX 4090 12.0 GiB" in said
    assert "Answer: 33.0 tok/s" in said


def test_marks_reach_the_lane(panel: HistoryPanel, qtbot: QtBot) -> None:
    history = filled(BIG)
    history.begin(MarkKind.ANSWER, 120.0)
    panel.show_rig(rig_of(BIG))
    drawn(panel, qtbot, history)
    panel.frame.grab()
    assert [m.kind for m in history.window(300).marks] == [MarkKind.ANSWER]


# The numbers behind the graphs


def test_many_rows_are_thinned_and_keep_their_peaks() -> None:
    history = History(capacity=1800)
    for second in range(1800):
        load = 99.0 if second == 777 else 10.0
        history.append(rig_of(BIG, time_s=float(second), load=load))
    thin = Thinner(history.window(1800), 1800)
    values = history.window(1800).card("id0", Metric.LOAD)
    assert values is not None
    y = thin.y(values)
    assert len(y) == len(thin.x) <= MOST_POINTS + 4
    assert y.max() == 99.0
    assert thin.x[-1] == 0
    assert (np.diff(thin.x) > -1e-9).all()


def test_thinned_holes_stay_holes() -> None:
    history = History(capacity=1800)
    for second in range(1800):
        lost = (0,) if 600 <= second < 900 else ()
        history.append(rig_of(BIG, time_s=float(second), lost=lost))
    window = history.window(1800)
    values = window.card("id0", Metric.LOAD)
    assert values is not None
    assert 80 < np.isnan(Thinner(window, 1800).y(values)).sum() < 140


def test_a_lonely_value_is_stretched_so_that_it_can_be_seen() -> None:
    nan = float("nan")
    y = hold_lonely(np.array([nan, 5.0, nan, 1.0, 2.0, nan, nan]))
    assert y[1] == y[2] == 5.0
    assert np.isnan(y[5])


@pytest.mark.parametrize(("value", "top"), [(0, 1), (9.1, 10), (33, 40), (41, 50), (1020, 2000)])
def test_scales_end_at_round_numbers(value: float, top: float) -> None:
    assert nice_ceiling(value) == top


def test_scales_follow_what_the_cards_can_do() -> None:
    rig = rig_of(BIG, SMALL)
    nan = float("nan")
    assert scale_top(Metric.VRAM, rig, nan) == 24
    assert scale_top(Metric.VRAM, None, 9.3 * GIB / GIB) == 10
    assert scale_top(Metric.POWER, rig, 330.0) == 320
    assert scale_top(Metric.POWER, rig, 400.0) == 400
    assert scale_top(Metric.LOAD, rig, nan) == 100
    assert scale_top(Rate.GENERATION, rig, nan) == 10


def test_the_time_axis_ends_now() -> None:
    assert [text for _x, text in time_ticks(300)] == [
        "−5:00", "−4:00", "−3:00", "−2:00", "−1:00", "now",
    ]  # fmt: skip
