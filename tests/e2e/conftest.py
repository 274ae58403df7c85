"""The whole program in this process, in a real window on a real X server."""

from collections.abc import Iterator

import pytest
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot
from tests.e2e.pointer import Pointer

from splitrig.app import Desktop
from splitrig.services.models.demo import demo_model


@pytest.fixture
def pointer(qtbot: QtBot) -> Pointer:
    """The X pointer and keyboard."""
    assert QGuiApplication.platformName() == "xcb", "run through ./test, which starts Xvfb"
    return Pointer(qtbot)


@pytest.fixture
def desktop(qapp: QApplication, qtbot: QtBot) -> Iterator[Desktop]:
    """SplitRig with the demo rig and the demo model, shown and ready to start."""
    made = Desktop(qapp, demo=True, model=demo_model())
    made.show()
    with qtbot.waitExposed(made.window):
        made.window.move(0, 0)
    qtbot.waitUntil(lambda: made.ready_to_start, timeout=20_000)
    yield made
    made.close()
    made.window.deleteLater()
