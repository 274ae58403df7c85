"""Official builds through the window: clicks, a real server, real archives, real processes."""

import json
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from builds_window import LINUX, BuildsWindow
from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QLabel, QLineEdit
from pytestqt.qtbot import QtBot
from tests.services.engines.release_server import (
    PATH,
    GitHub,
    name,
    script,
    tar_gz,
    wheel_archive,
)
from tests.services.net.file_server import Served

from splitrig.core.engine import EngineKind
from splitrig.core.errors import EngineMissingError
from splitrig.services.engines.installed import engines_dir, installed
from splitrig.services.engines.llama_server import bundled
from splitrig.views.theme import Theme
from splitrig.views.widgets.texts import ElidedLabel

RECORDED = Path(__file__).parents[2] / "recorded" / "llama_cpp_releases"


def test_look_download_use_remove(window: BuildsWindow, github: GitHub) -> None:
    section = window.section
    # nothing is asked of the network before the button is pressed
    assert github.server.requests == []
    assert section.look.property("kind") == "primary"
    with pytest.raises(EngineMissingError):
        window.engines.get(EngineKind.LLAMA_CPP)
    window.look()
    assert [path for path, _ in github.server.requests] == [PATH + "?per_page=30"]
    best = section.offers.rows[0]
    assert best.offer.choice.asset.id == "b7-cpu"
    assert "CPU: no graphics card was found." in " ".join(window.texts())

    github.server.pause_s = 0.04
    window.click(best.download)
    window.until(section.cancel.isVisible)
    assert not best.download.isVisible()
    window.until(lambda: "is installed" in window.said())
    window.idle()

    # it was seen growing, with speed and time left
    assert len(set(window.seen)) >= 4
    assert window.seen == sorted(window.seen)
    assert any(0 < share < 0.7 for share in window.seen)
    assert any("MB/s" in note and " s left" in note for note in window.notes), window.notes
    assert window.said() == ("b7 · CPU is installed. It sees A card. It is used from now on.")
    assert window.used == engines_dir() / "b7-cpu" / "llama-server"
    assert window.ids == ["b7-cpu"]
    row = window.row("b7-cpu")
    assert row.note.text() == "Downloaded · sees A card"
    assert row.badge.text == "used"
    assert not section.rows.empty.isVisible()
    assert section.rows.automatic.radio.isChecked()

    # it goes only after a question, and leaves nothing
    window.click(row.remove)
    assert "Remove b7 · CPU from this machine?" in " ".join(window.texts())
    window.click(row.keep)
    assert installed()
    window.click(row.remove)
    window.click(row.sure)
    window.until(section.rows.empty.isVisible)
    assert installed() == ()
    assert not (engines_dir() / "b7-cpu").exists()
    with pytest.raises(EngineMissingError):
        window.engines.get(EngineKind.LLAMA_CPP)


@pytest.mark.engine
def test_a_real_engine_is_fetched_and_used(window: BuildsWindow, github: GitHub) -> None:
    archive = wheel_archive(10068)
    github.publish("b10068", {name(10068, "cpu"): archive})
    window.look()
    window.click(window.offer("b10068-cpu").download)
    window.until(lambda: "is installed" in window.said())
    window.idle()
    server = window.engines.llama_server()
    assert server.path == engines_dir() / "b10068-cpu" / "llama-server"
    assert "--tensor-split" in server.capabilities().flags
    size = window.row("b10068-cpu").build.size_bytes
    assert size is not None
    assert size > len(archive)


def test_cancelled_in_the_middle_it_goes_on_where_it_was(
    window: BuildsWindow, github: GitHub
) -> None:
    github.server.stall_after = 400_000
    window.look()
    archive = name(7, "cpu")
    window.click(window.section.offers.rows[0].download)
    window.until(lambda: github.sent("b7", archive) and window.seen)
    window.until(lambda: window.seen[-1] > 0.35)
    begin = time.monotonic()
    window.click(window.section.cancel)
    window.until(window.said)
    assert time.monotonic() - begin < 5
    assert "b7 · CPU was cancelled." in window.said()
    # all that came, not only what was told before the silence
    assert "390.6 KiB are kept for a day" in window.said()
    assert installed() == ()
    assert window.section.offers.isVisible()

    github.server.stall_after = None
    window.press("Go on")
    window.until(lambda: "is installed" in window.said())
    window.idle()
    size = window.row("b7-cpu").build.size_bytes
    assert size is not None
    total = len(github.server.files[github.path("b7", archive)].data)
    assert github.sent("b7", archive) == total  # not one byte twice


def test_a_silent_server_is_said_to_be_silent(window: BuildsWindow, github: GitHub) -> None:
    window.look()
    github.server.stall_after = 400_000
    window.click(window.section.offers.rows[0].download)
    window.until(lambda: any("the server is silent" in note for note in window.notes))
    window.click(window.section.cancel)
    window.idle()


def test_a_wrong_checksum_is_one_sentence_and_can_be_tried_again(
    window: BuildsWindow, github: GitHub
) -> None:
    path = github.path("b7", name(7, "cpu"))
    good = github.server.files[path]
    github.server.files[path] = Served(bytes(len(good.data)))
    window.look()
    window.click(window.section.offers.rows[0].download)
    window.until(window.said)
    assert "does not have the checksum it should have" in window.said()
    assert "do not trust the network" in window.said()
    assert window.section.notice.severity == "danger"
    assert installed() == ()
    github.server.files[path] = good
    window.press("Try again")
    window.until(lambda: "is installed" in window.said())
    window.idle()


def test_offline_is_one_sentence_and_looking_again_works(
    window: BuildsWindow, github: GitHub
) -> None:
    jobs = window.bridge._jobs
    jobs._api = "https://splitrig.invalid/releases"
    window.click(window.section.look)
    window.until(window.said)
    assert window.said() == (
        "splitrig.invalid was not found: this machine seems to be offline. "
        "Check the connection and try again."
    )
    assert not window.section.offers.isVisible()
    jobs._api = github.api
    window.press("Try again")
    window.until(window.section.offers.isVisible)
    assert window.said() == ""


def test_githubs_limit_says_until_when(window: BuildsWindow, github: GitHub) -> None:
    github.server.files[PATH + "?per_page=30"] = Served(
        (RECORDED / "rate_limit.json").read_bytes(),
        status=403,
        headers={"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(time.time()) + 1800)},
    )
    window.click(window.section.look)
    window.until(window.said)
    assert "it allows 60 an hour. Try again after" in window.said()
    github.renew()
    window.press("Try again")
    window.until(window.section.offers.isVisible)


def test_looking_can_be_given_up(window: BuildsWindow, github: GitHub) -> None:
    github.server.stall_after = 10
    window.click(window.section.look)
    window.until(window.section.cancel.isVisible)
    assert "Asking GitHub for the newest builds" in window.texts()
    window.click(window.section.cancel)
    window.until(window.section.look.isVisible)
    assert window.said() == ""


def test_a_full_disk_is_one_sentence_before_anything_is_fetched(
    window: BuildsWindow, github: GitHub, monkeypatch: pytest.MonkeyPatch, small_disk: Path
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(small_disk))
    window.look()
    window.click(window.section.offers.rows[0].download)
    window.until(window.said)
    assert "are needed in" in window.said()
    assert "Make room on that disk, then try again." in window.said()
    assert github.sent("b7", name(7, "cpu")) == 0
    assert window.section.offers.isVisible()


def test_without_a_checksum_it_asks_first(window: BuildsWindow, github: GitHub) -> None:
    archive = name(8, "cpu")
    github.publish("b8", {archive: tar_gz(8, llama_server=script(8))}, digests=False)
    window.look()
    window.click(window.offer("b8-cpu").download)
    assert f"GitHub names no checksum for {archive}." in window.said()
    assert window.section.notice.severity == "warning"
    assert github.sent("b8", archive) == 0
    window.section.notice._close.click()  # no
    assert window.said() == ""
    assert window.bridge.job is None
    window.click(window.offer("b8-cpu").download)
    window.press("Download it unchecked")
    window.until(lambda: "is installed" in window.said())
    assert "Its checksum was not compared." in window.said()
    window.idle()
    assert window.row("b8-cpu").note.text().startswith("Downloaded, checksum not compared")


def test_a_build_that_does_not_run_leads_to_the_other_kinds(
    window: BuildsWindow, github: GitHub
) -> None:
    github.publish(
        "b8",
        {
            name(8, "cpu"): tar_gz(8, llama_server=b"#!/bin/sh\nexit 127\n"),
            name(8, "vulkan"): tar_gz(8, llama_server=script(8)),
        },
    )
    window.look()
    kinds = window.section.offers.kinds
    assert not kinds.content.isVisible()
    window.click(window.offer("b8-cpu").download)
    window.until(window.said)
    assert "b8-cpu does not run on this machine and was removed" in window.said()
    window.press("Other kinds")
    assert kinds.content.isVisible()
    assert window.said() == ""
    window.click(window.offer("b8-vulkan").download)
    window.until(lambda: "b8 · Vulkan is installed." in window.said())
    window.idle()
    assert window.ids == ["b8-vulkan"]


def test_no_build_for_this_machine_leads_to_a_file_of_ones_own(
    window: BuildsWindow, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    window.machine = type(LINUX)(os="linux", arch="riscv64")
    own = tmp_path / "llama-server"
    own.write_bytes(script(3))
    own.chmod(0o755)
    monkeypatch.setattr(
        "splitrig.views.settings.page.QFileDialog.getOpenFileName",
        lambda *_: (str(own), ""),
    )
    window.click(window.section.look)
    window.until(window.said)
    assert "for Linux on riscv64" in window.said()
    window.press("Choose a file")
    window.until(lambda: window.section.rows.rows)
    window.idle()
    (row,) = window.section.rows.rows
    assert row.radio.isChecked()
    assert str(own) in row.note.text()
    assert window.used == own


def test_an_older_one_is_used_when_it_is_chosen_and_stays_while_it_is(
    window: BuildsWindow, github: GitHub
) -> None:
    github.publish("b8", {name(8, "cpu"): tar_gz(8, llama_server=script(8))})
    window.look()
    window.click(window.offer("b8-cpu").download)
    window.until(lambda: "b8 · CPU is installed." in window.said())
    window.look()
    window.open_folds()
    assert not window.offer("b8-cpu").download.isVisible()  # it is on this machine
    window.click(window.offer("b7-cpu").download)
    window.until(lambda: "b7 · CPU is installed." in window.said())
    window.idle()
    assert "Another one is used." in window.said()
    assert window.used.parent.name == "b8-cpu"

    window.press("Use it")
    window.idle()
    assert window.used.parent.name == "b7-cpu"
    assert window.settings.engine.llama_server == window.used
    window.until(window.row("b7-cpu").radio.isChecked)
    assert window.ids == ["b8-cpu", "b7-cpu"]
    edits = [edit.text() for edit in window.page.findChildren(QLineEdit)]
    assert str(window.used) in edits  # the field below says the same

    window.click(window.row("b7-cpu").remove)
    words = " ".join(window.texts())
    assert "It is the one chosen. Choose another one, or Automatic, then remove it." in words
    assert not window.row("b7-cpu").sure.isVisible()

    # a click on the words will do
    automatic = window.section.rows.automatic
    window.click(automatic, QPoint(200, 20))
    window.idle()
    assert window.settings.engine.llama_server is None
    assert window.used.parent.name == "b8-cpu"
    window.until(lambda: "It is the one chosen" not in " ".join(window.texts()))
    window.click(window.row("b7-cpu").remove)
    window.click(window.row("b7-cpu").sure)
    window.until(lambda: window.ids == ["b8-cpu"])


def fetch(window: BuildsWindow, engine_id: str = "b7-cpu") -> None:
    """Look for it and fetch it."""
    window.look()
    window.open_folds()
    window.click(window.offer(engine_id).download)
    window.until(lambda: "is installed" in window.said())
    window.idle()


def test_one_that_runs_is_not_removed(window: BuildsWindow) -> None:
    fetch(window)
    program = engines_dir() / "b7-cpu" / "ggml-rpc-server"
    shutil.copy("/bin/sleep", program)
    with subprocess.Popen([str(program), "60"]) as running:
        row = window.row("b7-cpu")
        window.click(row.remove)
        window.click(row.sure)
        window.until(lambda: "b7-cpu is in use." in " ".join(window.texts()))
        assert "Stop the engine, then remove it." in " ".join(window.texts())
        window.idle()
        assert installed()
        running.kill()
    window.click(row.remove)
    assert "b7-cpu is in use." not in " ".join(window.texts())
    window.click(row.sure)
    window.until(window.section.rows.empty.isVisible)


def test_what_a_crash_left_of_a_build_can_be_removed(window: BuildsWindow) -> None:
    folder = engines_dir() / "b6-vulkan"
    folder.mkdir(parents=True)
    (folder / "llama-server").write_bytes(b"half")
    window.bridge.refresh()
    window.until(lambda: window.ids == ["b6-vulkan"])
    row = window.row("b6-vulkan")
    assert row.badge.text == "damaged"
    assert not row.radio.isEnabled()
    window.click(row.remove)
    window.click(row.sure)
    window.until(lambda: not folder.exists())
    window.idle()


def test_while_an_engine_runs_no_build_is_asked_for_cards(window: BuildsWindow) -> None:
    fetch(window)
    window.engine_runs = True
    path = window.used
    path.touch()  # what it said before does not hold for a file that changed
    window.bridge.refresh()
    note = window.row("b7-cpu").note
    window.until(lambda: "asked for its cards when no engine runs" in note.text())
    window.engine_runs = False
    window.page.hide()
    window.page.show()  # the list is made anew whenever the page is turned to
    window.until(lambda: "sees A card" in note.text())


def test_only_one_thing_is_done_at_a_time(window: BuildsWindow, github: GitHub) -> None:
    fetch(window, "b7-vulkan")
    github.server.stall_after = 300_000
    window.look()
    window.click(window.section.offers.rows[0].download)
    window.until(window.section.cancel.isVisible)
    row = window.row("b7-vulkan")
    assert not row.remove.isEnabled()
    assert row.remove.toolTip() == "Wait until the other build is fetched or removed."
    window.click(window.section.cancel)
    window.until(row.remove.isEnabled)
    assert row.remove.toolTip() == ""


def test_all_of_it_by_keyboard(window: BuildsWindow, qtbot: QtBot) -> None:
    section = window.section

    def focus() -> object:
        return QApplication.focusWidget()

    def key(code: Qt.Key) -> None:
        widget = focus()
        assert widget is not None
        QTest.keyClick(widget, code)

    section.look.setFocus()
    key(Qt.Key.Key_Space)
    window.until(section.offers.isVisible)
    assert focus() is section.offers.rows[0].download
    key(Qt.Key.Key_Tab)
    assert focus() is section.offers.kinds.head
    key(Qt.Key.Key_Space)
    key(Qt.Key.Key_Tab)
    assert focus() is window.offer("b7-vulkan").download
    key(Qt.Key.Key_Space)
    window.until(lambda: "is installed" in window.said())
    window.idle()
    focused = focus()
    assert focused is not None
    assert section.isAncestorOf(focused)

    # the radio buttons are one stop, and the arrows go through them
    automatic, row = section.rows.automatic, window.row("b7-vulkan")
    automatic.radio.setFocus()
    key(Qt.Key.Key_Down)
    window.until(lambda: window.settings.engine.llama_server == row.build.path)
    assert focus() is row.radio
    window.idle()
    key(Qt.Key.Key_Up)
    window.until(lambda: window.settings.engine.llama_server is None)
    window.idle()

    # the question can be taken back, and after the removal the keyboard goes on near by
    row.remove.setFocus()
    key(Qt.Key.Key_Space)
    assert focus() is row.keep
    key(Qt.Key.Key_Escape)
    assert focus() is row.remove
    key(Qt.Key.Key_Space)
    key(Qt.Key.Key_Backtab)
    assert focus() is row.sure
    key(Qt.Key.Key_Space)
    window.until(section.rows.empty.isVisible)
    focused = focus()
    assert focused is not None
    assert section.isAncestorOf(focused)


def test_tab_goes_from_top_to_bottom(window: BuildsWindow, github: GitHub) -> None:
    fetch(window)
    fetch(window, "b7-vulkan")
    window.look()
    section = window.section
    wanted = [
        section.rows.automatic.radio,
        window.row(window.ids[0] or "").remove,
        window.row(window.ids[1] or "").remove,
        section.look,
    ]
    wanted[0].setFocus()
    seen = [QApplication.focusWidget()]
    for _ in wanted[1:]:
        widget = seen[-1]
        assert widget is not None
        QTest.keyClick(widget, Qt.Key.Key_Tab)
        seen.append(QApplication.focusWidget())
    assert seen == wanted


def test_a_screen_reader_hears_what_each_control_is_about(window: BuildsWindow) -> None:
    fetch(window)
    row = window.row("b7-cpu")
    assert row.radio.accessibleName() == "Use b7 · CPU"
    assert row.radio.accessibleDescription() == "Downloaded · sees A card"
    assert row.remove.accessibleName() == "Remove b7 · CPU"
    window.look()
    window.section.offers.kinds.set_open(open_=True)
    download = window.offer("b7-vulkan").download
    assert download.accessibleName().startswith("Download b7 · Vulkan, ")
    assert window.section.offers.kinds.head.accessibleName() == "Other kinds of b7 (1), open"


@pytest.mark.parametrize("width", [948, 1204])
def test_nothing_is_wider_than_the_page(window: BuildsWindow, width: int) -> None:
    window.page.resize(width, 600)
    fetch(window)
    window.look()
    window.section.offers.kinds.set_open(open_=True)
    scroll = window.page._scroll
    window.until(lambda: scroll.horizontalScrollBar().maximum() == 0)
    for label in window.section.findChildren(QLabel):
        if label.isVisible() and not isinstance(label, ElidedLabel):
            assert label.width() >= label.minimumSizeHint().width(), label.text()


def test_what_came_along_is_listed_and_cannot_be_removed(
    theme: Theme, qtbot: QtBot, github: GitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    if bundled() is None:
        pytest.skip("the engine package is not installed (./test sets it up on Linux x86_64)")
    window = BuildsWindow(theme, qtbot, github)
    window.until(lambda: window.section.rows.rows)
    window.idle()
    (row,) = window.section.rows.rows
    assert row.note.text().startswith("Came with SplitRig · sees ")
    assert not row.remove.isVisible()
    assert row.badge.text == "used"
    assert window.section.look.property("kind") == ""
    window.close()


def test_leaving_in_the_middle_leaves_no_thread(window: BuildsWindow, github: GitHub) -> None:
    github.server.stall_after = 200_000
    window.look()
    window.click(window.section.offers.rows[0].download)
    window.until(lambda: window.seen)
    begin = time.monotonic()
    window.close()
    assert time.monotonic() - begin < 5
    assert installed() == ()


def test_the_first_news_of_a_list_that_cannot_be_understood(
    window: BuildsWindow, github: GitHub
) -> None:
    github.server.files[PATH + "?per_page=30"] = Served(json.dumps([{"tag_name": 7}]).encode())
    window.click(window.section.look)
    window.until(window.said)
    assert "The list of llama.cpp releases cannot be understood." in window.said()
