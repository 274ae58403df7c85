from PySide6.QtCore import Qt
from PySide6.QtGui import QIcon
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QLabel
from pytestqt.qtbot import QtBot

from splitrig.core.errors import SplitRigError
from splitrig.views.main_window import MainWindow
from splitrig.views.theme import Theme


def window(theme: Theme, qtbot: QtBot) -> MainWindow:
    made = MainWindow(theme, QLabel("strip"), QIcon())
    qtbot.addWidget(made)
    made.add_page("rig", "cpu", "Rig")
    made.add_page("logs", "terminal-window", "Logs")
    made.fill_page("rig", QLabel("the rig"))
    made.fill_page("logs", QLabel("the logs"))
    made.show_page("rig")
    made.show()
    qtbot.waitExposed(made)
    return made


def test_the_rail_and_ctrl_number_open_pages(theme: Theme, qtbot: QtBot) -> None:
    made = window(theme, qtbot)
    assert made.current_page == "rig"
    with qtbot.waitSignal(made.page_shown):
        made.rail.findChildren(type(made.rail._buttons["logs"]))[1].click()
    assert made.current_page == "logs"
    made.activateWindow()
    qtbot.waitActive(made)
    made.rail.setFocus()
    QTest.keyClick(made.windowHandle(), Qt.Key.Key_1, Qt.KeyboardModifier.ControlModifier)
    qtbot.waitUntil(lambda: made.current_page == "rig")


def test_an_error_is_shown_above_the_page_with_its_way_out(theme: Theme, qtbot: QtBot) -> None:
    made = window(theme, qtbot)
    assert not made.notice.isVisible()
    made.show_error(SplitRigError("3 things broke.", "Mend them."))
    assert made.notice.isVisible()
    assert made.notice.title == "3 things broke."
    assert made.notice.detail == "Mend them."


def test_a_small_window_has_a_narrow_rail(theme: Theme, qtbot: QtBot) -> None:
    made = window(theme, qtbot)
    made.resize(1280, 800)
    assert made.rail.width() == 76
    made.resize(1024, 700)
    assert made.rail.width() == 56


def test_closing_asks_the_owner_to_end_the_program(theme: Theme, qtbot: QtBot) -> None:
    made = window(theme, qtbot)
    with qtbot.waitSignal(made.close_requested):
        made.close()
