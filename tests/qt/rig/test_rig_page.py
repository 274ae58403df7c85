"""The rig page shows what was read, and says so where nothing was."""

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from pytestqt.qtbot import QtBot
from tests.qt.rig.rigs import BIG, EIGHT, SMALL, filled, ready, rig_of

from splitrig.core.gpu import Note, Rig, Severity
from splitrig.views.rig.dense_model import Column
from splitrig.views.rig.page import RigPage
from splitrig.views.theme import Theme

pytestmark = pytest.mark.qt_log_ignore("propagateSizeHints")
"""The offscreen platform says so whenever a window of its own is shown."""

LOST_NOTE = Note(
    id="lost", severity=Severity.DANGER, message="RTX 3080 fell off the bus", gpu_ids=("id1",)
)


@pytest.fixture
def page(qtbot: QtBot, theme: Theme) -> RigPage:
    page = RigPage(theme)
    qtbot.addWidget(page)
    page.resize(1204, 752)
    page.show()
    return page


def test_each_card_has_a_panel_with_its_readings(page: RigPage) -> None:
    page.show_rig(rig_of(BIG, SMALL))
    first, second = page.body.panels
    assert first.name.text() == "GeForce RTX 4090"
    assert first.cells["load"].text == "60 %"
    assert first.cells["power"].text == "200 of 320 W"
    assert first.cells["temperature"].text == "58 °C"
    assert first.badge.text == "Power limit"
    assert second.badge.text == "Not limited"
    assert second.cells["link"].text == "4.0 ×4 of 4.0 ×16"
    assert page.headline.text() == "2 cards · 34.0 GiB · NVIDIA driver 580.65"


def test_what_the_driver_does_not_report_is_a_dash_with_a_reason(page: RigPage) -> None:
    page.show_rig(rig_of(BIG, SMALL, load=None))
    cells = page.body.panels[1].cells
    assert cells["fan"].text == "–"
    assert "does not report" in cells["fan"].toolTip()
    assert cells["load"].text == "–"


def test_memory_is_divided_once_the_engine_has_said_what_it_took(page: RigPage) -> None:
    page.show_rig(rig_of(BIG))
    vram = page.body.panels[0].vram
    assert vram.text == "12.0 of 24.0 GiB; Engine 0.0, Others 12.0, Free 12.0"
    page.set_engines((ready(1, engine_gib=9),))
    assert vram.text == "12.0 of 24.0 GiB; Engine 9.0, Others 3.0, Free 12.0"


def test_a_lost_card_stays_and_is_marked(page: RigPage) -> None:
    page.show_rig(rig_of(BIG, SMALL))
    panel = page.body.panels[1]
    page.show_rig(rig_of(BIG, SMALL, lost=(1,), notes=(LOST_NOTE,)))
    assert page.body.panels[1] is panel
    assert panel.badge.text == "Lost"
    assert panel.cells["load"].text == "–"
    assert [row.note.id for row in page.body.warnings.rows] == ["lost"]


def test_five_and_more_cards_are_a_table(page: RigPage, qtbot: QtBot) -> None:
    page.show_rig(rig_of(*EIGHT))
    table = page.body.table
    assert page.body.panels == []
    qtbot.waitUntil(table.isVisible, timeout=1000)
    model = table.model()
    assert model.rowCount() == 9
    text = [model.index(1, c).data() for c in Column]
    assert text[Column.NAME] == "RTX 3090"
    assert text[Column.FAN] == "–"
    assert text[Column.LINK].startswith("4.0 ×4")
    assert model.index(0, Column.LIMIT).data() == "Power limit"
    assert model.index(8, Column.NAME).data() == "All"
    assert model.index(8, Column.VRAM).data() == "92.0 of 184.0 GiB"
    assert "does not report" in model.index(1, Column.FAN).data(Qt.ItemDataRole.ToolTipRole)


def test_the_table_repaints_only_cells_that_changed(page: RigPage) -> None:
    page.show_rig(rig_of(*EIGHT))
    changed: list[tuple[int, int]] = []
    model = page.body.table.model()
    model.dataChanged.connect(lambda a, _b: changed.append((a.row(), a.column())))
    page.show_rig(rig_of(*EIGHT))
    assert changed == []
    page.show_rig(rig_of(*EIGHT, load=61.0))
    assert {column for row, column in changed if row < 8} == {Column.LOAD}


def test_one_card_fewer_than_five_goes_back_to_panels(page: RigPage) -> None:
    page.show_rig(rig_of(*EIGHT))
    page.show_rig(rig_of(*EIGHT[:4]))
    assert len(page.body.panels) == 4
    assert not page.body.table.isVisible()


def test_without_a_card_the_demo_rig_and_another_look_are_offered(
    page: RigPage, qtbot: QtBot
) -> None:
    checked = Note(id="amd-none", severity=Severity.INFO, message="AMD: no card")
    page.show_rig(Rig(time_s=1.0, notes=(checked,)))
    assert page.empty.isVisible()
    assert [row.note for row in page.empty.rows] == [checked]
    assert page.empty.state.action_button is not None
    assert page.empty.state.second_button is not None
    with qtbot.waitSignal(page.demo_requested, timeout=500):
        qtbot.mouseClick(page.empty.state.action_button, Qt.MouseButton.LeftButton)
    with qtbot.waitSignal(page.look_again_requested, timeout=500):
        qtbot.mouseClick(page.empty.state.second_button, Qt.MouseButton.LeftButton)


def test_a_card_that_appears_replaces_the_empty_page(page: RigPage) -> None:
    page.show_rig(Rig(time_s=1.0))
    page.show_rig(rig_of(BIG))
    assert page.body.isVisible()
    assert not page.empty.isVisible()


def test_warnings_stand_worst_first_with_their_way_out(page: RigPage) -> None:
    calm = Note(id="i", severity=Severity.INFO, message="4 GiB stay unused", detail="Split uneven.")
    bad = Note(id="w", severity=Severity.WARNING, message="held at 220 W", detail="Costs 6 %.")
    page.show_rig(rig_of(BIG, SMALL))
    assert page.body.warnings.rows == [] or page.body.warnings.rows[0].note.id == "none"
    page.show_notes((calm, bad))
    assert [row.note.id for row in page.body.warnings.rows] == ["w", "i"]
    assert page.body.warnings.count.text == "2"


def test_the_report_is_copied(page: RigPage, qtbot: QtBot) -> None:
    page.show_rig(rig_of(BIG, SMALL))
    qtbot.mouseClick(page.copy, Qt.MouseButton.LeftButton)
    text = QGuiApplication.clipboard().text()
    assert "NVIDIA GeForce RTX 4090" in text
    assert "PCIe link: 4.0 ×4 of 4.0 ×16" in text


def test_in_a_small_window_warnings_go_below_the_graphs(page: RigPage, qtbot: QtBot) -> None:
    page.show_rig(rig_of(BIG, SMALL))
    body = page.body
    qtbot.waitUntil(lambda: body.warnings.x() > body.history.x(), timeout=1000)
    page.resize(968, 652)
    qtbot.waitUntil(lambda: body.warnings.y() > body.history.geometry().bottom(), timeout=1000)
    assert body.warnings.x() == body.history.x()


def test_graphs_are_not_drawn_while_the_page_is_hidden(page: RigPage, qtbot: QtBot) -> None:
    panel = page.body.history
    page.show_rig(rig_of(BIG, SMALL))
    page.show_history(filled(BIG, SMALL))
    qtbot.waitUntil(lambda: panel.stack is not None and panel.stack.updates > 0, timeout=5000)
    assert panel.stack is not None
    page.hide()
    before = panel.stack.updates
    for _ in range(5):
        page.show_history(filled(BIG, SMALL))
    assert panel.stack.updates == before
    page.show()
    assert panel.stack.updates == before + 1
