"""The whole program, wired: what servers beside the engines print is on the Logs page."""

import sys
from collections.abc import Iterator

import pytest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from splitrig.app import Desktop
from splitrig.core.lending import LendPhase, LendRequest
from splitrig.services.engines.helpers import LENDER_NAME, RAY_NAME
from splitrig.services.engines.line_feed import EngineLogLines
from splitrig.services.store.settings import log_dir

if sys.platform == "win32":
    pytest.skip("the engine package is for Linux", allow_module_level=True)


@pytest.fixture
def desktop(qapp: QApplication, qtbot: QtBot) -> Iterator[Desktop]:
    made = Desktop(qapp, demo=True)
    made.complete()
    yield made
    made.close()
    made.window.deleteLater()


@pytest.mark.engine
def test_a_server_that_lends_is_on_the_logs_page_and_in_a_file(
    desktop: Desktop, qtbot: QtBot
) -> None:
    page = desktop.logs_page
    desktop.remote.lend(LendRequest(devices=("CPU",), port=0, n_threads=1))
    qtbot.waitUntil(lambda: desktop.remote.lend_status.phase is LendPhase.LISTENING, timeout=20_000)
    qtbot.waitUntil(lambda: "Starting RPC server" in page.report())
    assert "Started at" in page.report()
    assert page._ring.sources == (LENDER_NAME,)
    files = [path.name for path in log_dir().glob("ggml-rpc-server_*.log")]
    assert len(files) == 1


def test_lines_of_several_have_their_names(desktop: Desktop, qtbot: QtBot) -> None:
    desktop.mailbox.post(EngineLogLines(("Ray runtime started.",), 0, 0, RAY_NAME))
    desktop.mailbox.post(EngineLogLines(("srv: listening",), 1))
    desktop.pump.drain()
    page = desktop.logs_page
    qtbot.waitUntil(lambda: page.n_lines == 2)
    assert set(page._ring.sources) == {RAY_NAME, "llama.cpp 1"}
    assert "Started at" in page.report(), "the head's start is marked"
