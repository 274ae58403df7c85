"""The record of a running engine: there while it runs, whole, private, gone afterwards."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from tests.services.engines.guarded import sh
from tests.services.engines.processes import wait_for

from splitrig.core.errors import EngineError
from splitrig.core.orphan import RunAbout, RunRecord
from splitrig.services.engines import records
from splitrig.services.engines.records import RecordedProcess, launch_recorded, read, records_dir

if sys.platform == "win32":
    pytest.skip("the trees here are shell scripts", allow_module_level=True)

ABOUT = RunAbout(kind="llama.cpp", port=8137, model="m.gguf", cards=("GPU-1", "GPU-2"))
Run = Callable[..., RecordedProcess]


@pytest.fixture
def run() -> Iterator[Run]:
    """Starts engines with records in the state folder; they are stopped afterwards."""
    started: list[RecordedProcess] = []

    def begin(*command: str, lines: list[str] | None = None) -> RecordedProcess:
        on_lines = (lines if lines is not None else []).extend
        process = launch_recorded(command, dict(os.environ), on_lines, about=ABOUT)
        started.append(process)
        return process

    yield begin
    for process in started:
        process.stop()
        process.close()


def files() -> list[Path]:
    return list(records_dir().glob("*"))


def the_record() -> RunRecord:
    (path,) = files()
    record = read(path)
    assert record is not None
    return record


def test_a_record_tells_what_runs_and_who_started_it(run: Run) -> None:
    process = run("sleep", "60")
    wait_for(lambda: process.poll() is None and the_record().engine != the_record().guard)
    wait_for(lambda: (process.poll(), (e := the_record().engine) and e.command == ("sleep", "60")))
    record = the_record()
    assert record.about == ABOUT
    assert record.executable == "sleep"
    assert record.owner.pid == os.getpid()
    assert record.guard is not None
    assert record.guard.pid == process.guard_pid
    assert record.engine is not None
    assert record.engine.pid == process.pid
    assert record.engine.ticks is not None
    assert record.place == records.place()


def test_a_record_is_for_the_user_only(run: Run) -> None:
    run("sleep", "60")
    (path,) = files()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_record_holds_no_key(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLAMA_API_KEY", "sesame")
    process = run(*sh("sleep 60; :"), "--api-key", "sesame")
    wait_for(lambda: (process.poll(), len(the_record().members) >= 4)[1])
    assert "sesame" not in files()[0].read_text(encoding="utf-8")


def test_a_record_is_gone_when_the_run_has_ended(run: Run) -> None:
    by_itself, stopped = run("true"), run("sleep", "60")
    assert len(files()) == 2
    wait_for(lambda: by_itself.poll() is not None)
    by_itself.close()
    assert len(files()) == 1
    stopped.stop()
    stopped.close()
    assert files() == []


def test_an_engine_that_cannot_be_started_leaves_no_record(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with pytest.raises(EngineError, match="sleep could not be started"):
        launch_recorded(["sleep", "1"], dict(os.environ), lambda _lines: None, about=ABOUT)
    assert files() == []


def test_a_record_follows_an_engine_that_becomes_another_program(run: Run) -> None:
    """As wrapper scripts do, and what the engine starts is written down as well."""
    process = run(*sh("sleep 61 & sleep 0.4; exec sleep 62"))

    def grown() -> bool:
        process.poll()
        record = the_record()
        commands = {member.command for member in record.members}
        is_new = record.engine is not None and record.engine.command == ("sleep", "62")
        return is_new and ("sleep", "61") in commands

    wait_for(grown)


def test_every_process_below_carries_the_name_of_the_run(run: Run) -> None:
    lines: list[str] = []
    process = run(*sh("setsid sh -c 'echo $SPLITRIG_RUN'; sleep 60"), lines=lines)
    wait_for(lambda: lines)
    assert lines[0] == the_record().token
    assert psutil.Process(process.pid).environ()["SPLITRIG_RUN"] == lines[0]


def test_a_folder_that_cannot_be_written_is_told_and_stops_no_engine(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    records_dir().parent.mkdir(parents=True)
    records_dir().write_text("a file in the way")
    process = run("sleep", "60")
    assert process.poll() is None
    assert process.problem is not None
    assert "cannot be written" in process.problem.message
    assert len(caplog.records) == 1, "told once, not at every look"


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", '{"version": 1}', "\ud800".encode("utf-8", "surrogatepass"),
     "[" * 100_000, '{"token": 5}'],
)  # fmt: skip
def test_a_broken_record_says_nothing(content: str | bytes, tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert read(path) is None


def test_a_record_under_a_foreign_name_says_nothing(run: Run, tmp_path: Path) -> None:
    run("sleep", "60")
    copy = tmp_path / "copy.json"
    copy.write_bytes(files()[0].read_bytes())
    assert read(copy) is None


def test_a_record_of_a_newer_version_is_for_that_one(run: Run) -> None:
    run("sleep", "60")
    (path,) = files()
    values = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({"version": values["version"] + 1, "else": True}), encoding="utf-8")
    with pytest.raises(records.NewerRecordError):
        read(path)
