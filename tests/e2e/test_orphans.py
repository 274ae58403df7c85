"""The window tells of what a crash of an earlier run has left, and ends it on a click."""

import sys
from collections.abc import Callable

import pytest
from pytestqt.qtbot import QtBot
from tests.e2e.pointer import Pointer, button
from tests.services.engines.crashed import trees
from tests.services.engines.processes import running

from splitrig.app import Desktop
from splitrig.services.engines.records import records_dir

if sys.platform == "win32":
    pytest.skip("the guard is for Linux; Windows uses a job object", allow_module_level=True)


@pytest.mark.e2e
@pytest.mark.timeout(120)
def test_an_orphan_is_told_of_and_ended(
    start: Callable[..., Desktop], pointer: Pointer, qtbot: QtBot
) -> None:
    with trees(records_dir()) as tree:
        crashed = tree("sh", "-c", "sleep 60 & wait")
        crashed.crash()
        left = crashed.below_the_engine()
        assert running(left)
        window = start(demo=True).window
        qtbot.waitUntil(
            lambda: "An engine of an earlier run" in window.notice.title, timeout=20_000
        )
        pointer.click(button(window, "End it"))
        qtbot.waitUntil(lambda: "was ended" in window.notice.title, timeout=10_000)
        assert running(left) == []
