"""The whole program in this process, in a real window on a real X server."""

from collections.abc import Callable, Iterator
from pathlib import Path

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
def start(qapp: QApplication, qtbot: QtBot) -> Iterator[Callable[..., Desktop]]:
    """Opens SplitRig's window, as a first start unless told otherwise."""
    opened: list[Desktop] = []

    def begin(*, demo: bool = False, model: Path | None = None) -> Desktop:
        made = Desktop(qapp, demo=demo, model=model)
        opened.append(made)
        made.show()
        with qtbot.waitExposed(made.window):
            made.window.move(0, 0)
        return made

    yield begin
    for made in opened:
        made.close()
        made.window.deleteLater()


@pytest.fixture
def desktop(start: Callable[..., Desktop], qtbot: QtBot) -> Desktop:
    """SplitRig with the demo rig and the demo model, shown and ready to start."""
    made = start(demo=True, model=demo_model())
    qtbot.waitUntil(lambda: made.ready_to_start, timeout=20_000)
    return made
