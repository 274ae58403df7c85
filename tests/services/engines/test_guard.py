"""The guard's two halves: whichever of them, the program and the engine dies or hangs first."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.services.engines.guarded import STUBBORN, Child, Start, sh
from tests.services.engines.processes import running, seconds_until_gone, wait_for

if sys.platform == "win32":
    pytest.skip("the guard is for Linux; Windows uses a job object", allow_module_level=True)

ROOT = Path(__file__).parents[3]
TREE = f'setsid sh -c "{STUBBORN}" & setsid sleep 60 & {STUBBORN}'
"""Two grandchildren in sessions of their own; only one of the three hears a request to end."""
TREE_SIZE = 5
"""With both halves of the guard; the shells' own sleeps come and go."""


def forget(child: Child) -> None:
    """Close the program's end of the pipe, as its death would."""
    stdin = child.process._guard.stdin  # type: ignore[attr-defined]
    stdin.close()


@pytest.mark.parametrize("half", ["outer", "inner"])
def test_a_half_that_is_killed_leaves_nothing(start: Start, half: str) -> None:
    child = start(*sh(TREE))
    below = child.grown_to(TREE_SIZE)
    getattr(child, half).kill()
    seconds_until_gone(below)
    assert child.wait() == -signal.SIGKILL


@pytest.mark.parametrize("half", ["outer", "inner"])
def test_a_half_that_is_killed_together_with_the_program_leaves_nothing(
    start: Start, half: str
) -> None:
    child = start(*sh(TREE))
    below = child.grown_to(TREE_SIZE)
    forget(child)
    getattr(child, half).kill()
    seconds_until_gone(below)


@pytest.mark.parametrize("half", ["outer", "inner"])
def test_a_half_that_is_asked_to_end_ends_everything(start: Start, half: str) -> None:
    child = start(*sh(TREE))
    below = child.grown_to(TREE_SIZE)
    getattr(child, half).terminate()
    seconds_until_gone(below)


@pytest.mark.parametrize("half", ["outer", "inner"])
def test_a_half_that_stands_still_holds_nothing_up(start: Start, half: str) -> None:
    child = start(*sh(TREE))
    below = child.grown_to(TREE_SIZE)
    getattr(child, half).suspend()
    forget(child)
    seconds_until_gone(below)


@pytest.mark.parametrize("half", ["outer", "inner"])
def test_stop_is_in_time_although_a_half_stands_still(start: Start, half: str) -> None:
    child = start(*sh(TREE))
    below = child.grown_to(TREE_SIZE)
    getattr(child, half).suspend()
    begun = time.monotonic()
    child.process.stop()
    assert time.monotonic() - begun < 2
    seconds_until_gone(below, 0.5)


def test_an_engine_that_was_stopped_still_hears_the_request(start: Start) -> None:
    child = start(*sh("trap 'echo heard; exit 3' TERM; echo up; while :; do sleep 0.05; done"))
    wait_for(lambda: child.lines)
    psutil.Process(child.process.pid).suspend()
    child.process.stop()
    child.process.close()
    assert child.lines[-1] == "heard"
    assert child.process.poll() == 3


def test_a_daemon_without_output_or_parent_or_session_goes_too(start: Start) -> None:
    """It forks twice, leads a session and closes everything, as daemons do."""
    script = (
        "import os, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork():\n"
        "        os._exit(0)\n"
        "    print(os.getpid(), flush=True)\n"
        "    os.closerange(0, 64)\n"
        "    time.sleep(60)\n"
        "time.sleep(60)\n"
    )
    child = start(sys.executable, "-c", script)
    wait_for(lambda: child.lines)
    daemon = psutil.Process(int(child.lines[0]))
    wait_for(lambda: daemon.ppid() == child.inner.pid)
    below = child.below()
    forget(child)
    seconds_until_gone(below)


def test_an_engine_that_closes_its_output_is_watched_to_its_end(start: Start) -> None:
    child = start(*sh("exec >&- 2>&-; sleep 0.3; exit 6"))
    assert child.wait() == 6


def test_the_dead_children_of_an_engine_are_no_hindrance(start: Start) -> None:
    """It never waits for its children: the zombies go with it."""
    script = (
        "import subprocess, time\n"
        "kept = [subprocess.Popen(['true']) for _ in range(20)]\n"
        "time.sleep(0.3)\n"
        "print('up', flush=True)\n"
        "time.sleep(60)\n"
    )
    child = start(sys.executable, "-c", script)
    wait_for(lambda: child.lines)
    below = child.below()
    zombies = [p for p in child.inner.children(recursive=True) if p.status() == "zombie"]
    assert len(zombies) == 20
    begun = time.monotonic()
    child.process.stop()
    assert time.monotonic() - begun < 1
    assert not any(psutil.pid_exists(pid) for pid in below)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can look into, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a process of another user")
def test_a_process_of_another_user_is_left_and_named(open_folder: Path) -> None:
    """As `sudo` would: the guard runs as nobody, a program with root's rights below it."""
    nobody = 65534
    become_root = open_folder / "become_root"
    shutil.copy(shutil.which("setpriv") or "", become_root)
    become_root.chmod(0o4755)
    guard = open_folder / "guard.py"
    shutil.copy(ROOT / "gui/splitrig/services/engines/guard.py", guard)
    read, write = os.pipe()
    foreign = f"{become_root} --reuid=0 --regid=0 --clear-groups sleep 60"
    with subprocess.Popen(
        ["/usr/bin/python3", "-I", "-S", guard, str(write), "200", *sh(f"{foreign} & sleep 60")],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=(write,),
        user=nobody,
        group=nobody,
        extra_groups=[],
        cwd="/",
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        me = psutil.Process(process.pid)

        def roots() -> list[psutil.Process]:
            return [p for p in me.children(recursive=True) if p.uids().real == 0]

        wait_for(roots)
        (left,) = roots()
        below = [p.pid for p in me.children(recursive=True) if p.pid != left.pid]
        try:
            process.stdin.close()
            process.wait(3)
            assert running(below) == []
            assert running([left.pid]) == [left.pid]
        finally:
            left.kill()
        said = process.stderr.read().decode()
    os.close(read)
    os.close(write)
    assert f"guard: not allowed to end [{left.pid}]" in said


def test_a_terminals_interrupt_and_hangup_do_not_reach_the_engine(start: Start) -> None:
    child = start("sleep", "60")
    for half in (child.outer, child.inner):
        half.send_signal(signal.SIGINT)
        half.send_signal(signal.SIGHUP)
    time.sleep(0.2)
    assert child.process.poll() is None
    assert running([child.process.pid]) == [child.process.pid]


def test_the_guard_costs_little(start: Start) -> None:
    """Its halves share most of what they hold."""
    child = start("sleep", "60")
    own_mb = sum(half.memory_full_info().pss for half in (child.outer, child.inner)) / 1e6
    print(f"guard: {own_mb:.1f} MB")
    assert own_mb < 16
