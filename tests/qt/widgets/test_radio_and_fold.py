"""One of several, and what is folded away."""

from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QColor
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QButtonGroup, QLabel, QVBoxLayout, QWidget
from pytestqt.qtbot import QtBot

from splitrig.views.theme import Theme
from splitrig.views.widgets.fold import Fold
from splitrig.views.widgets.radio import SIDE_PX, Radio


def test_one_excludes_the_others_by_mouse_and_by_arrow(theme: Theme, qtbot: QtBot) -> None:
    box = QWidget()
    qtbot.addWidget(box)
    layout, group = QVBoxLayout(box), QButtonGroup(box)
    radios = [Radio(theme) for _ in range(3)]
    for radio in radios:
        layout.addWidget(radio)
        group.addButton(radio)
    box.show()
    qtbot.waitExposed(box)
    box.activateWindow()
    qtbot.waitUntil(box.isActiveWindow)
    clicked: list[object] = []
    group.buttonClicked.connect(clicked.append)
    # the corner is a target as well
    QTest.mouseClick(radios[0], Qt.MouseButton.LeftButton, pos=QPoint(SIDE_PX - 1, 1))
    assert [r.isChecked() for r in radios] == [True, False, False]
    QTest.keyClick(radios[0], Qt.Key.Key_Down)
    assert [r.isChecked() for r in radios] == [False, True, False]
    assert radios[1].hasFocus()
    assert clicked == radios[:2]


def colours(widget: QWidget) -> set[str]:
    image = widget.grab().toImage()
    return {
        image.pixelColor(x, y).name() for x in range(image.width()) for y in range(image.height())
    }


def test_the_chosen_one_is_filled_in_either_theme(theme: Theme, qtbot: QtBot) -> None:
    radio = Radio(theme)
    qtbot.addWidget(radio)
    radio.show()
    for dark in (True, False):
        theme.set_dark(dark=dark)
        accent = QColor(theme.colour("accent")).name()
        radio.setAutoExclusive(False)
        radio.setChecked(False)
        radio.clearFocus()
        assert accent not in colours(radio)
        radio.setChecked(True)
        assert accent in colours(radio)
        radio.setEnabled(False)
        assert accent not in colours(radio)
        radio.setEnabled(True)


def test_a_fold_opens_and_says_so(theme: Theme, qtbot: QtBot) -> None:
    fold = Fold(theme)
    qtbot.addWidget(fold)
    fold.set_title("Other kinds (7)")
    fold.column.addWidget(QLabel("Vulkan"))
    fold.show()
    assert not fold.content.isVisible()
    assert fold.head.accessibleName() == "Other kinds (7), folded"
    QTest.keyClick(fold.head, Qt.Key.Key_Space)
    assert fold.content.isVisible()
    assert fold.head.accessibleName() == "Other kinds (7), open"
    fold.set_open(open_=False)
    assert not fold.content.isVisible()
