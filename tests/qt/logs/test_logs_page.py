"""The page: what is told is shown, counted, filtered, found, copied and saved."""

import os
import threading
import time
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QFileDialog, QPushButton
from pytestqt.qtbot import QtBot

from splitrig.bridge.pump import Pump
from splitrig.core.bug_report import ReportFacts
from splitrig.core.engine import EngineStatus, Failure, Phase
from splitrig.core.log_lines import FILE_ENDED
from splitrig.core.log_ring import MOST_LINES
from splitrig.services.engines.line_feed import EngineLogLines, GapCounter, LineFeed
from splitrig.services.engines.log_file import LogFile
from splitrig.services.engines.process import launch
from splitrig.services.mailbox import Mailbox
from splitrig.views.logs.page import SLICE_LINES, LogsPage
from splitrig.views.theme import Theme

CTRL = Qt.KeyboardModifier.ControlModifier
RECORDED = Path(__file__).parents[2] / "recorded" / "engine"


@pytest.fixture
def page(theme: Theme, qtbot: QtBot) -> LogsPage:
    made = LogsPage(theme)
    qtbot.addWidget(made)
    made.resize(900, 500)
    made.show()
    return made


def rows(page: LogsPage) -> list[str]:
    """The text of each row, without its columns."""
    return [line.text for _, line in page.view.shown.rows]


def level(page: LogsPage, index: int) -> None:
    QTest.mouseClick(page.tools.levels.findChildren(QPushButton)[index], Qt.MouseButton.LeftButton)


def test_before_the_first_line_it_says_when_they_come(page: LogsPage, qtbot: QtBot) -> None:
    assert page.faces.currentWidget() is page.empty
    assert not page.save.isEnabled()
    assert page.empty.action_button is not None
    with qtbot.waitSignal(page.launch_requested):
        page.empty.action_button.click()
    with qtbot.waitSignal(page.folder_requested):
        page.folder.click()
    page.add_lines(["first"])
    assert page.faces.currentWidget() is not page.empty
    assert page.save.isEnabled()
    assert page.summary.text() == "1 line"


def test_lines_are_bounded_and_the_end_is_followed(page: LogsPage, qtbot: QtBot) -> None:
    for start in range(0, 3 * MOST_LINES, 500):
        page.add_lines([f"line {n}" for n in range(start, start + 500)])
        qtbot.waitUntil(lambda: not page.n_queued)
    assert len(rows(page)) == page.view.blockCount() == MOST_LINES
    assert page.view.toPlainText().endswith(f"line {3 * MOST_LINES - 1}")
    bar = page.view.verticalScrollBar()
    assert bar.value() == bar.maximum()
    qtbot.waitUntil(lambda: page.summary.text() == "20,000 of 60,000 lines")


def test_posts_that_come_together_are_taken_in_bit_by_bit(page: LogsPage, qtbot: QtBot) -> None:
    for start in range(0, 6000, 500):
        page.add_lines([f"line {n}" for n in range(start, start + 500)])
    assert page.n_queued > 6000 - 2 * SLICE_LINES
    qtbot.waitUntil(lambda: not page.n_queued)
    assert rows(page) == [f"line {n}" for n in range(6000)]


def test_lines_that_never_came_are_told_of(page: LogsPage) -> None:
    page.add_lines(["a"])
    page.add_lines(["z"], "", 12345)
    page._take_in()
    assert rows(page) == ["a", "12,345 lines not shown; they are in the file", "z"]


def test_a_flood_of_a_real_process_is_shown_to_its_last_line_and_nothing_is_missing(
    page: LogsPage, qtbot: QtBot, tmp_path: Path
) -> None:
    """Process, reader, file, feed, mailbox, pump, page: shown and told of is all there was."""
    n_lines = 300_000
    mailbox, feed, gaps = Mailbox(), LineFeed(), GapCounter()
    pump = Pump(mailbox)
    pump.listen(
        EngineLogLines,
        lambda news: page.add_lines(news.lines, "engine", gaps.skipped_before(news)),
    )
    pump.start()
    log = LogFile(tmp_path, "engine")
    script = f"seq -f 'line %.0f of the engine' 1 {n_lines}"
    process = launch(["sh", "-c", script], dict(os.environ), feed.add, log)
    ended = threading.Event()

    def supervise() -> None:
        while process.poll() is None:
            time.sleep(0.01)
            if (news := feed.take()) is not None:
                mailbox.post(news)
        process.close()
        if (news := feed.take()) is not None:
            mailbox.post(news)
        ended.set()

    thread = threading.Thread(target=supervise)
    thread.start()
    qtbot.waitUntil(ended.is_set, timeout=60_000)
    thread.join()
    qtbot.waitUntil(lambda: rows(page)[-1:] == [f"line {n_lines} of the engine"], timeout=10_000)
    pump.stop()
    notes = [row for row in rows(page) if "not shown" in row]
    assert notes
    assert all(note.endswith("they are in the file") for note in notes)
    assert page.n_lines == n_lines
    assert log.path.read_bytes().count(b"\n") == n_lines


def test_levels_are_counted_and_chosen(page: LogsPage) -> None:
    page.add_lines(["plain", "0.00.000.001 D d", "INFO: i", "WARNING: w", "ERROR: e", "ERROR: f"])
    labels = [button.text() for button in page.tools.levels.findChildren(QPushButton)]
    assert labels == ["All 6", "Info 5", "Warnings 3", "Errors 2"]
    for index, shown in enumerate(
        (
            ["plain", "d", "i", "w", "e", "f"],
            ["plain", "i", "w", "e", "f"],
            ["w", "e", "f"],
            ["e", "f"],
        )
    ):
        level(page, index)
        assert rows(page) == shown
    page.add_lines(["INFO: more", "ERROR: g"])
    page._take_in()
    assert rows(page) == ["e", "f", "g"]


def test_a_level_without_lines_says_so_and_leads_back(page: LogsPage) -> None:
    page.add_lines(["INFO: fine"])
    level(page, 3)
    assert page.nothing.isVisible()
    assert page.nothing.text() == "No errors"
    page.show_everything.click()
    assert rows(page) == ["fine"]
    assert not page.nothing.isVisible()
    assert page.tools.levels.current == 0


def test_engines_are_told_apart_and_chosen(page: LogsPage) -> None:
    page.add_lines(["INFO: a"], "llama.cpp 1")
    assert not page.tools.engines.isVisible()
    assert page.view.toPlainText() == "         I  a"
    page.add_lines(["INFO: b"], "vLLM")
    page._take_in()
    assert page.tools.engines.isVisible()
    assert page.view.toPlainText() == "         I  llama.cpp 1  a\n         I  vLLM         b"
    page.tools.engines.setCurrentIndex(2)
    page.tools.engines.activated.emit(2)
    assert rows(page) == ["b"]
    labels = [button.text() for button in page.tools.levels.findChildren(QPushButton)]
    assert labels == ["All 1", "Info 1", "Warnings", "Errors"]
    page.add_lines(["INFO: c"], "Ollama")
    page._take_in()
    assert page.tools.filter.source == "vLLM"
    assert rows(page) == ["b"]


def test_a_reader_who_scrolled_up_is_left_alone_and_shown_the_way_back(
    page: LogsPage, qtbot: QtBot
) -> None:
    page.add_lines([f"line {n}" for n in range(900)])
    qtbot.waitUntil(lambda: not page.n_queued)
    assert not page.jump.isVisible()
    bar = page.view.verticalScrollBar()
    bar.setValue(10)
    assert page.jump.isVisible()
    page.add_lines(["one more"])
    page._take_in()
    assert bar.value() == 10
    qtbot.waitUntil(lambda: page.jump.text() == "Jump to the newest · 1 new")
    page.jump.click()
    assert bar.value() == bar.maximum()
    assert rows(page)[-1] == "one more"
    assert not page.jump.isVisible()


def test_the_search_by_keys(page: LogsPage, qtbot: QtBot) -> None:
    page.add_lines(["alpha", "beta buffer", "gamma buffer"])
    page.view.setFocus()
    QTest.keyClick(page.view, Qt.Key.Key_F, CTRL)
    field = page.tools.search.field
    qtbot.waitUntil(field.hasFocus)
    QTest.keyClicks(field, "buffer")
    QTest.keyClick(field, Qt.Key.Key_Return)
    assert page.view.textCursor().block().text().endswith("beta buffer")
    qtbot.waitUntil(lambda: page.tools.search.count.text() == "1 of 2")
    QTest.keyClick(field, Qt.Key.Key_F3)
    assert page.view.textCursor().block().text().endswith("gamma buffer")
    QTest.keyClick(field, Qt.Key.Key_F3, Qt.KeyboardModifier.ShiftModifier)
    assert page.view.textCursor().block().text().endswith("beta buffer")
    QTest.keyClick(field, Qt.Key.Key_Escape)
    qtbot.waitUntil(page.view.hasFocus)
    assert page.view.shown.search.total == 0


def test_a_search_without_a_match_says_so(page: LogsPage, qtbot: QtBot) -> None:
    page.add_lines(["alpha"])
    QTest.keyClicks(page.tools.search.field, "nowhere")
    qtbot.waitUntil(lambda: page.tools.search.count.text() == "no match")
    assert page.tools.search.field.property("invalid") == "true"


def test_a_filter_searches_what_it_leaves(page: LogsPage, qtbot: QtBot) -> None:
    page.add_lines(["INFO: buffer", "ERROR: buffer"])
    page.tools.search.field.setText("buffer")
    page.tools.search.case.click()
    assert page.view.shown.search.total == 2
    level(page, 3)
    assert page.view.shown.search.total == 1


def test_long_lines_can_be_broken(page: LogsPage) -> None:
    page.add_lines(["word " * 200])
    assert page.view.horizontalScrollBar().maximum() > 0
    QTest.keyClick(page.tools.wrap, Qt.Key.Key_Space)
    assert page.view.horizontalScrollBar().maximum() == 0


def test_a_start_and_a_failure_stand_in_the_log(page: LogsPage) -> None:
    page.show_status(EngineStatus(phase=Phase.STARTING))
    page.show_status(EngineStatus(phase=Phase.LOADING))
    failed = EngineStatus(phase=Phase.FAILED, failure=Failure(message="The port is taken."))
    page.show_status(failed)
    page.show_status(failed)
    page._take_in()
    assert [row.partition(" at ")[0] for row in rows(page)] == ["Started", "The port is taken."]
    page.show_status(EngineStatus(phase=Phase.STARTING))
    page._take_in()
    assert len(rows(page)) == 3
    assert page.n_lines == 0


def test_a_full_disk_is_said_once_and_stays_until_the_next_start(page: LogsPage) -> None:
    page.add_lines([f"{FILE_ENDED}: No space left on device (x.log)."], "llama.cpp 1")
    assert page.notice.isVisible()
    assert page.notice.title == "The log file of llama.cpp 1 ends here: No space left on device."
    page.add_lines(["a"], "llama.cpp 1", 2)
    page._take_in()
    assert rows(page)[-2:] == ["2 lines not shown", "a"]
    page.show_status(EngineStatus(phase=Phase.STARTING), "llama.cpp 1")
    assert not page.notice.isVisible()


def test_the_report_has_what_helps_and_no_key(page: LogsPage) -> None:
    page.add_lines((RECORDED / "oom_rpc.log").read_text(errors="replace").splitlines())
    page.add_lines(["INFO: last words with secret-key-1234"])
    page._take_in()
    page.set_report_facts(ReportFacts(program="SplitRig 9.9", home="/home/anna", user="anna"))
    page.show_status(
        EngineStatus(
            phase=Phase.FAILED,
            command=("llama-server", "-m", "/home/anna/x.gguf"),
            api_key="secret-key-1234",
            failure=Failure(message="It broke.", hint="Mend it."),
        )
    )
    page.copy.click()
    assert page.copy.text() == "Copied"
    text = QGuiApplication.clipboard().text()
    assert text.startswith("SplitRig 9.9\n")
    assert "command: llama-server -m ~/x.gguf" in text
    assert "It broke. Mend it." in text
    assert "E alloc_tensor_range: failed to allocate" in text
    assert "last words" in text
    assert "secret" not in text
    assert "anna" not in text


def test_the_report_of_one_engine_is_about_that_one(page: LogsPage) -> None:
    for name in ("a", "b"):
        page.show_status(EngineStatus(command=(f"run-{name}",)), name)
        page.add_lines([f"INFO: line of {name}"], name)
        page._take_in()
    assert "run-a" in page.report()
    assert "line of b" in page.report()
    page.tools.engines.setCurrentIndex(1)
    assert "run-a" in page.report()
    assert "run-b" not in page.report()
    assert "line of b" not in page.report()


def test_the_lines_shown_can_be_saved(
    page: LogsPage, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    page.add_lines(["INFO: fine", "ERROR: not"])
    level(page, 3)
    chosen = str(tmp_path / "log.txt")
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (chosen, ""))
    page.view.setFocus()
    with qtbot.waitSignal(page.save_requested) as saved:
        QTest.keyClick(page.view, Qt.Key.Key_S, CTRL)
    assert saved.args == [Path(chosen), "         E not\n"]
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: ("", ""))
    with qtbot.assertNotEmitted(page.save_requested):
        page.save.click()


def test_everything_has_room_in_the_smallest_window(page: LogsPage, qtbot: QtBot) -> None:
    page.resize(968, 600)
    for name in ("llama.cpp 1", "llama.cpp 2"):
        page.add_lines(["WARNING: w"] * 999 + ["ERROR: e"] * 900 + ["INFO: i"] * 8000, name)
        qtbot.waitUntil(lambda: not page.n_queued)
    page._show_counts()
    page.tools.search.field.setText("w")
    page.tools.search.show_found(19_999, 20_000)
    qtbot.wait(50)
    for button in page.tools.levels.findChildren(QPushButton):
        assert button.width() >= button.sizeHint().width(), button.text()
    assert page.tools.wrap.geometry().right() <= page.tools.width()
    assert page.tools.search.field.width() >= 120


def test_everything_can_be_reached_by_the_keyboard(page: LogsPage, qtbot: QtBot) -> None:
    page.add_lines(["INFO: a"], "1")
    page.add_lines(["INFO: b"], "2")
    qtbot.waitUntil(lambda: not page.n_queued)
    page.tools.search.show_found(None, 1)
    wanted = {
        page.tools.engines, page.folder, page.save, page.copy, page.tools.search.field,
        page.tools.search.case, page.tools.search.next, page.tools.search.previous,
        page.tools.wrap, page.view,
    }  # fmt: skip
    reached = set()
    page.folder.setFocus()
    for _ in range(30):
        reached.add(page.focusWidget())
        page.focusNextChild()
    assert wanted <= reached
    assert all(widget.accessibleName() for widget in wanted)
