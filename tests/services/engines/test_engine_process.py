"""Real child processes under the guard: output, exit codes, and nothing left behind."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest
from tests.services.engines.guarded import STUBBORN, Start, sh
from tests.services.engines.processes import running, seconds_until_gone, wait_for

from splitrig.core.errors import EngineError
from splitrig.services.engines.log_file import PARTS, LogFile
from splitrig.services.engines.process import launch

if sys.platform == "win32":
    pytest.skip("the guard is for Linux; Windows uses a job object", allow_module_level=True)

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("script", "code"),
    [("exit 0", 0), ("exit 7", 7), ("kill -SEGV $$", -11), ("kill -KILL $$", -9)],
)
def test_the_exit_code_comes_through(start: Start, script: str, code: int) -> None:
    assert start(*sh(script)).wait() == code


def test_output_and_errors_come_in_whole_lines(start: Start) -> None:
    child = start(*sh("echo one; echo two >&2; printf three"))
    child.wait()
    assert child.lines == ["one", "two", "three"]


def test_invalid_text_and_an_endless_line_do_no_harm(start: Start) -> None:
    script = r"printf 'a\377b\r\n'; head -c 300000 /dev/zero | tr '\0' 'x'; echo; echo z"
    child = start(*sh(script))
    child.wait()
    assert child.lines[0] == "a\ufffdb"
    assert child.lines[-1] == "z"
    assert max(len(line) for line in child.lines) <= 8192


def test_the_child_reads_nothing_and_has_only_the_environment_given(start: Start) -> None:
    env = {"PATH": os.environ["PATH"], "SPLITRIG_TEST": "yes"}
    child = start(*sh("cat; env"), env=env)
    child.wait()
    assert "SPLITRIG_TEST=yes" in child.lines
    assert not any(line.startswith("HOME=") for line in child.lines)


def test_the_child_lives_in_another_session(start: Start) -> None:
    child = start("sleep", "30")
    assert os.getsid(child.process.pid) != os.getsid(0)
    child.process.stop()
    assert child.process.poll() == -signal.SIGTERM


def test_the_child_holds_no_descriptor_but_its_own_three(start: Start) -> None:
    child = start("sleep", "30")
    wait_for(lambda: psutil.Process(child.process.pid).name() == "sleep")
    descriptors = Path(f"/proc/{child.process.pid}/fd").iterdir()
    assert sorted(path.name for path in descriptors) == ["0", "1", "2"]


def test_a_program_that_does_not_exist_ends_with_127_and_says_so(tmp_path: Path) -> None:
    lines: list[str] = []
    process = launch([str(tmp_path / "none")], dict(os.environ), lines.extend)
    wait_for(lambda: process.poll() is not None)
    process.close()
    assert process.poll() == 127
    assert "No such file" in lines[-1]


def test_without_a_guard_to_run_the_start_fails_with_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with pytest.raises(EngineError, match="sleep could not be started"):
        launch(["sleep", "1"], dict(os.environ), lambda _lines: None)


def test_stop_ends_children_that_ignore_the_request_and_left_the_session(start: Start) -> None:
    child = start(*sh(f'setsid sh -c "{STUBBORN}" & setsid sleep 60 & {STUBBORN}'))
    below = child.grown_to(5)
    begun = time.monotonic()
    child.process.stop()
    assert time.monotonic() - begun < 2
    assert running(below) == []


def test_a_grandchild_left_by_an_engine_that_ended_goes_too(start: Start) -> None:
    child = start(*sh("setsid sleep 60 & echo $!; sleep 0.2; exit 3"))
    wait_for(lambda: child.lines)
    assert child.wait() == 3
    assert running([int(child.lines[0])]) == []


def test_stop_twice_and_after_the_end_is_harmless(start: Start) -> None:
    child = start(*sh("exit 5"))
    child.wait()
    child.process.stop()
    child.process.stop()
    assert child.process.poll() == 5


PROGRAM = """
import os, subprocess, sys, time
from splitrig.services.engines.process import launch

process = launch(["sh", "-c", {script!r}], dict(os.environ), lambda lines: None)
bystander = subprocess.Popen(["sleep", "30"], start_new_session=True, stdout=subprocess.DEVNULL)
time.sleep(0.2)
print(bystander.pid, flush=True)
{end}
"""


@pytest.mark.parametrize(
    "end",
    [
        pytest.param("time.sleep(60)", id="killed"),
        pytest.param("os.abort()", id="crashed"),
        pytest.param("os._exit(3)", id="exited at once"),
    ],
)
def test_however_the_program_ends_everything_below_is_gone_within_two_seconds(end: str) -> None:
    """The bystander also shows that the pipe does not leak into other children."""
    script = f'setsid sh -c "{STUBBORN}" & {STUBBORN}'
    program = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PROGRAM).format(script=script, end=end)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT / "gui")},
        text=True,
    )
    me = psutil.Process(program.pid)
    below: set[int] = set()

    def look() -> bool:
        below.update(p.pid for p in me.children(recursive=True))
        return len(below) >= 6

    wait_for(look)
    assert program.stdout is not None
    bystander = int(program.stdout.readline())
    if "60" in end:
        program.kill()
    program.wait()
    try:
        seconds_until_gone(below - {bystander})
        assert running([bystander]) == [bystander]
    finally:
        os.kill(bystander, signal.SIGKILL)
        program.stdout.close()
    seconds_until_gone([bystander])


def test_a_flood_of_output_keeps_memory_flat(start: Start, tmp_path: Path) -> None:
    """50 MB in lines and 20 MB in one line: bounded in memory and on disk."""
    before = psutil.Process().memory_info().rss
    seen = 0
    peak = 0

    def count(lines: list[str]) -> None:
        nonlocal seen, peak
        seen += len(lines)
        peak = max(peak, psutil.Process().memory_info().rss)

    log = LogFile(tmp_path, "engine", part_bytes=2**20)
    script = "yes 'a line of some fifty characters from the engine 1' | head -c 50000000;"
    script += "head -c 20000000 /dev/zero"
    process = launch(sh(script), dict(os.environ), count, log)
    wait_for(lambda: process.poll() is not None, 60)
    process.close()
    assert process.poll() == 0
    assert seen > 900_000
    assert peak - before < 20e6
    files = list(tmp_path.iterdir())
    assert len(files) == PARTS
    assert sum(f.stat().st_size for f in files) <= PARTS * 2**20
    assert log.path.read_bytes().startswith(b"a line of some fifty")


def test_a_reader_that_fails_does_not_stop_the_engine(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(lines: list[str]) -> None:
        raise ValueError(lines[0])

    process = launch(
        sh("for i in 1 2 3; do echo $i; sleep 0.05; done; exit 4"), dict(os.environ), fail
    )
    wait_for(lambda: process.poll() is not None)
    process.close()
    assert process.poll() == 4
    assert "could not be handled" in caplog.text
