"""The list of llama-servers for the window: at once from files, then with what each one said."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.services.engines.release_server import script
from tests.services.engines.test_installed import make

from splitrig.core.engine_build import Build, Source
from splitrig.services.engines import build_list
from splitrig.services.engines.build_list import BuildList, BuildsListed
from splitrig.services.engines.installed import engines_dir
from splitrig.services.mailbox import Mailbox

if sys.platform == "win32":
    pytest.skip("the engine package and the scripts here are for Linux", allow_module_level=True)


class Window:
    """Drains the mailbox as the window does."""

    def __init__(self) -> None:
        self.mailbox = Mailbox()
        self.list = BuildList(self.mailbox)
        self.lists: list[tuple[Build, ...]] = []

    def until(self, enough: Callable[[tuple[Build, ...]], bool]) -> tuple[Build, ...]:
        """The first list from now on that is enough."""
        self.lists.clear()
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            for news in self.mailbox.drain():
                assert isinstance(news, BuildsListed)
                self.lists.append(news.builds)
                if enough(news.builds):
                    return news.builds
            time.sleep(0.005)
        raise AssertionError(self.lists)

    def complete(self) -> tuple[Build, ...]:
        """The list once everyone has answered."""
        return self.until(lambda builds: all(b.asked or b.damaged for b in builds))


@pytest.fixture
def window(monkeypatch: pytest.MonkeyPatch) -> Iterator[Window]:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    made = Window()
    yield made
    made.list.close()


def program(path: Path, build: int = 5, *, before: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(script(build, before=before))
    path.chmod(0o755)
    return path


def downloaded(engine_id: str, *, before: str = "") -> Path:
    engines_dir().mkdir(parents=True, exist_ok=True)
    path = make(engines_dir(), engine_id).path
    return program(path, int(engine_id[1:].partition("-")[0]), before=before)


def counted(log: Path) -> str:
    """A line of shell that notes each run."""
    return f'echo "$1" >> "{log}"'


def test_what_files_tell_comes_at_once_and_then_what_each_one_says(window: Window) -> None:
    path = downloaded("b9-cuda-13.4")
    window.list.refresh(None)
    complete = window.complete()
    first = window.lists[0]
    assert [b.asked for b in first] == [False, False]
    new, came_along = first
    assert (new.id, new.build, new.flavour) == ("b9-cuda-13.4", "b9", "cuda-13.4")
    assert (new.source, new.used, new.chosen) == (Source.DOWNLOADED, True, False)
    assert (new.checked, new.path, new.devices) == (True, path, None)
    assert new.size_bytes is not None
    assert new.size_bytes > len(script(9))
    assert came_along.source is Source.BUNDLED
    assert (came_along.build, came_along.size_bytes) == (None, None)
    assert [d.name for d in complete[0].devices or ()] == ["Vulkan0"]
    assert complete[1].build
    assert complete[1].error is None


def test_downloads_stand_by_their_number_and_the_chosen_one_stays_in_its_place(
    window: Window, tmp_path: Path
) -> None:
    old = downloaded("b9-cpu")
    downloaded("b10-cpu")
    own = program(tmp_path / "own" / "llama-server")
    window.list.refresh(old)
    assert [b.id for b in window.complete()] == ["b10-cpu", "b9-cpu", None]
    window.list.refresh(own)
    builds = window.complete()
    assert [b.source for b in builds] == [
        Source.DOWNLOADED, Source.DOWNLOADED, Source.BUNDLED, Source.CHOSEN
    ]  # fmt: skip
    assert [b.path for b in builds if b.chosen] == [own] == [b.path for b in builds if b.used]


def test_one_that_does_not_start_says_why(window: Window, tmp_path: Path) -> None:
    gone = tmp_path / "gone" / "llama-server"
    downloaded("b9-cpu", before="exit 127")
    window.list.refresh(gone)
    first, _, last = window.complete()
    assert first.error is not None
    assert "does not start" in first.error.message
    assert first.devices is None
    assert (last.source, last.chosen, last.used) == (Source.CHOSEN, True, False)
    assert last.error is not None
    assert str(gone) in last.error.message


def test_damaged_downloads_are_listed_and_not_run(window: Window) -> None:
    folder = engines_dir() / "b7-cpu"
    folder.mkdir(parents=True)
    (folder / "llama-server").write_bytes(b"x" * 1000)
    window.list.refresh(None)
    last = window.complete()[-1]
    assert (last.id, last.damaged, last.size_bytes) == ("b7-cpu", True, 1000)
    assert not last.asked


def test_one_that_answered_is_asked_again_only_when_something_changed(
    window: Window, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    path = downloaded("b9-cpu", before=counted(log))
    window.list.refresh(None, cards=("GPU-1",))
    window.complete()
    once = log.read_text()
    assert "--list-devices" in once
    window.list.refresh(None, cards=("GPU-1",))
    assert window.complete()[0].devices
    assert log.read_text() == once
    window.list.refresh(None, cards=("GPU-1", "GPU-2"))
    window.complete()
    assert log.read_text() == once * 2
    os.utime(path, (1, 1))
    window.list.refresh(None, cards=("GPU-1", "GPU-2"))
    window.complete()
    assert log.read_text() == once * 3


def test_while_an_engine_runs_nobody_is_asked_for_cards(window: Window, tmp_path: Path) -> None:
    log = tmp_path / "log"
    downloaded("b9-cpu", before=counted(log))
    window.list.refresh(None, for_devices=False)
    new = window.complete()[0]
    assert (new.asked, new.devices) == (True, None)
    assert "--list-devices" not in log.read_text()
    window.list.refresh(None)
    devices = window.until(lambda builds: builds[0].devices is not None)[0].devices
    assert [d.name for d in devices or ()] == ["Vulkan0"]
    # and what it said is kept
    window.list.refresh(None, for_devices=False)
    assert window.complete()[0].devices == devices


def test_a_newer_list_takes_the_place_of_one_that_is_slow(window: Window, tmp_path: Path) -> None:
    slow = program(tmp_path / "slow" / "llama-server", before="sleep 30")
    window.list.refresh(slow)
    window.until(lambda builds: any(b.path == slow for b in builds))
    begin = time.monotonic()
    window.list.refresh(None)
    assert [b.source for b in window.complete()] == [Source.BUNDLED]
    assert time.monotonic() - begin < 10
    assert all(b.path != slow for builds in window.lists[1:] for b in builds)


def test_closing_does_not_wait_for_one_that_hangs(tmp_path: Path) -> None:
    slow = program(tmp_path / "slow" / "llama-server", before="sleep 30")
    window = Window()
    window.list.refresh(slow)
    window.until(lambda builds: any(b.path == slow for b in builds))
    time.sleep(0.3)  # it is being asked now
    begin = time.monotonic()
    window.list.close()
    assert time.monotonic() - begin < 5


def test_the_order_knows_every_source() -> None:
    assert set(build_list._ORDER) == set(Source)
