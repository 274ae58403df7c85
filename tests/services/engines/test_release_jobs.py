"""The window's way to official builds: jobs on a thread, news in the mailbox."""

import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from tests.services.engines.release_server import GitHub, name, script, tar_gz
from tests.services.net.file_server import serving

from splitrig.core.engine_choice import Choice
from splitrig.core.engine_fit import Machine
from splitrig.core.engine_install import Progress, Step
from splitrig.core.errors import CancelledError, EngineError
from splitrig.services.engines import release_jobs
from splitrig.services.engines.installed import engines_dir, installed
from splitrig.services.engines.release_jobs import (
    EngineRemoved,
    InstallEnded,
    ReleaseJobs,
    ReleasesListed,
)
from splitrig.services.mailbox import Mailbox
from splitrig.services.net.http import Cancelled

if sys.platform == "win32":
    pytest.skip("the scripts here are for Linux", allow_module_level=True)

LINUX = Machine(os="linux", arch="x64")


class Window:
    """Drains the mailbox as the window does."""

    def __init__(self, github: GitHub) -> None:
        self.mailbox = Mailbox()
        self.jobs = ReleaseJobs(self.mailbox, api=github.api)
        self.progress: list[Progress] = []

    def last_word(self) -> object:
        """What the job came to."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            for item in self.mailbox.drain():
                if not isinstance(item, Progress):
                    return item
                self.progress.append(item)
            time.sleep(0.005)
        raise AssertionError("no last word")

    def listed(self) -> Choice:
        self.jobs.look(lambda _: LINUX)
        said = self.last_word()
        assert isinstance(said, ReleasesListed)
        assert said.choice is not None
        return said.choice


@pytest.fixture
def github() -> Iterator[GitHub]:
    with serving() as server:
        found = GitHub(server)
        data = tar_gz(7, llama_server=script(), weight=os.urandom(300_000))
        found.publish("b7", {name(7, "cpu"): data})
        yield found


@pytest.fixture
def window(github: GitHub) -> Iterator[Window]:
    made = Window(github)
    yield made
    made.jobs.close()


def test_look_install_remove(window: Window) -> None:
    choice = window.listed()
    window.jobs.install(choice)
    ended = window.last_word()
    assert isinstance(ended, InstallEnded)
    assert ended.outcome is not None
    assert installed() == (ended.outcome.engine,)
    assert {p.step for p in window.progress} == set(Step)
    assert window.progress[-1].fetched_bytes == choice.size_bytes
    assert window.progress[-1].step is Step.TRY
    engine = ended.outcome.engine
    window.jobs.remove(engine.id, in_use=[engine.path])
    refused = window.last_word()
    assert isinstance(refused, EngineRemoved)
    assert refused.error is not None
    assert "in use" in refused.error.message
    window.jobs.remove(engine.id)
    assert window.last_word() == EngineRemoved(id="b7-cpu")
    assert installed() == ()


def test_progress_is_posted_now_and_then(window: Window, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release_jobs, "TELL_S", 3600)
    window.jobs.install(window.listed())
    window.last_word()
    assert [p.step for p in window.progress] == [Step.DOWNLOAD, Step.UNPACK, Step.TRY]


def test_it_is_given_up_at_once(window: Window, github: GitHub) -> None:
    choice = window.listed()
    github.server.stall_after = 100_000
    window.jobs.install(choice)
    while not github.sent("b7", choice.asset.name):
        time.sleep(0.005)
    with pytest.raises(EngineError, match="Another engine is being fetched"):
        window.jobs.look(lambda _: LINUX)
    begin = time.monotonic()
    window.jobs.cancel()
    ended = window.last_word()
    assert time.monotonic() - begin < 5
    assert isinstance(ended, InstallEnded)
    assert isinstance(ended.error, CancelledError)
    assert release_jobs.was_cancelled(ended.error)
    assert installed() == ()


def test_closing_the_window_ends_it(window: Window, github: GitHub) -> None:
    choice = window.listed()
    github.server.stall_after = 0
    window.jobs.install(choice)
    begin = time.monotonic()
    window.jobs.close()
    assert time.monotonic() - begin < 5
    assert not window.jobs.busy


def test_a_list_without_a_build_for_this_machine(window: Window) -> None:
    window.jobs.look(lambda _: replace(LINUX, arch="riscv64"))
    said = window.last_word()
    assert isinstance(said, ReleasesListed)
    assert [r.tag for r in said.releases] == ["b7"]
    assert said.error is not None
    assert "riscv64" in said.error.message
    assert not release_jobs.was_cancelled(said.error)


def test_a_failure_is_the_last_word(window: Window, github: GitHub) -> None:
    choice = window.listed()
    del github.server.files[github.path("b7", choice.asset.name)]
    window.jobs.install(choice)
    ended = window.last_word()
    assert isinstance(ended, InstallEnded)
    assert ended.error is not None
    assert "404" in ended.error.message


def test_an_error_of_ours_is_told_as_well(window: Window, monkeypatch: pytest.MonkeyPatch) -> None:
    choice = window.listed()

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(release_jobs, "install", broken)
    window.jobs.install(choice)
    ended = window.last_word()
    assert isinstance(ended, InstallEnded)
    assert ended.error is not None
    assert "an error in this program" in ended.error.message
    assert "ZeroDivisionError" in ended.error.details


def test_what_a_crash_left_is_swept_away_before_the_first_job(window: Window) -> None:
    left = engines_dir() / ".new-b6-cpu"
    left.mkdir(parents=True)
    (left / "llama-server").write_bytes(b"half")
    window.jobs.sweep()
    window.jobs.sweep()
    choice = window.listed()
    assert not left.exists()
    window.jobs.install(choice)
    assert isinstance(window.last_word(), InstallEnded)


def test_the_machine_is_found_on_the_jobs_thread_and_can_be_given_up(window: Window) -> None:
    asked: list[str] = []

    def find(cancelled: Cancelled) -> Machine:
        asked.append(threading.current_thread().name)
        window.jobs.cancel()
        assert cancelled()
        raise CancelledError

    window.jobs.look(find)
    said = window.last_word()
    assert isinstance(said, ReleasesListed)
    assert isinstance(said.error, CancelledError)
    assert asked == ["engine-releases"]
