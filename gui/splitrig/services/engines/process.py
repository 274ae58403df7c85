"""A child process that cannot outlive the program, behind one interface for both systems."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import psutil

from splitrig.core.errors import EngineError
from splitrig.services.engines.log_file import LogFile
from splitrig.services.engines.output import OutputReader

GUARD = Path(__file__).with_name("guard.py")
GRACE_S = 1.0
"""From asking an engine to end to killing it; with the kill everything is gone within 2 s."""
STOP_S = 1.9
"""Longest time from the wish to stop to the last process gone."""


def guarded(command: Sequence[str], report: int, grace_s: float) -> list[str]:
    """The command that runs `command` below the guard, on Linux.

    Args:
        command: Program and arguments.
        report: Descriptor that gets the process id as one line; to be passed on.
        grace_s: From asking it to end to killing it, seconds.
    """
    head = [sys.executable, "-I", "-S", str(GUARD), str(report), str(round(grace_s * 1000))]
    return [*head, *command]


def exit_code_of(guard_code: int) -> int:
    """The exit code of what the guard ran, negative for a signal, from the guard's own."""
    return guard_code if guard_code <= 128 else 128 - guard_code


def tree_of(pid: int | None) -> frozenset[int]:
    """A process and all below it; blocks for some milliseconds. Nothing for one that is gone."""
    if pid is None:
        return frozenset()
    try:
        below = psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return frozenset()
    return frozenset({pid, *(process.pid for process in below)})


class EngineProcess(Protocol):
    """A running engine and everything below it."""

    @property
    def pid(self) -> int | None:
        """Process id of the engine itself; `None` for one that was not started here."""

    def poll(self) -> int | None:
        """Exit code, negative for a signal; `None` while it runs."""

    def stop(self) -> None:
        """Ask it to end, then kill it and all below it; blocks for at most about 2 s."""

    def close(self) -> None:
        """Wait until its output was read to the end; call after it has ended."""


class LaunchedProcess(EngineProcess, Protocol):
    """One that was started here."""

    @property
    def pid(self) -> int:
        """Process id of the engine itself."""

    @property
    def guard_pid(self) -> int | None:
        """Process id of the guard, which leads the engine's session; `None` where there is none."""


def launch(
    command: Sequence[str],
    env: Mapping[str, str],
    on_lines: Callable[[list[str]], None],
    log: LogFile | None = None,
) -> LaunchedProcess:
    """Start `command` so that it ends with this program, however that ends.

    Args:
        command: Program and arguments; no shell is involved.
        env: The whole environment of the child.
        on_lines: Called on a reader thread with whole lines of its output.
        log: Gets the raw output as well.

    Raises:
        EngineError: It could not be started.
    """
    try:
        if sys.platform == "win32":
            from splitrig.services.engines.windows_job import JobProcess

            return JobProcess(command, env, on_lines, log)
        else:  # noqa: RET505 - mypy calls the line unreachable on Windows otherwise
            return GuardedProcess(command, env, on_lines, log)
    except OSError as error:
        raise EngineError(
            f"{Path(command[0]).name} could not be started: {error.strerror or error}.",
            "Choose another llama-server in Settings.",
        ) from error


class GuardedProcess:
    """Linux: the engine below `guard.py`, tied to this program by a pipe."""

    def __init__(
        self,
        command: Sequence[str],
        env: Mapping[str, str],
        on_lines: Callable[[list[str]], None],
        log: LogFile | None = None,
    ) -> None:
        report_read, report_write = os.pipe()
        try:
            self._guard = subprocess.Popen(
                guarded(command, report_write, GRACE_S),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=dict(env),
                pass_fds=(report_write,),
                start_new_session=True,
                bufsize=0,
            )
        except OSError:
            os.close(report_read)
            raise
        finally:
            os.close(report_write)
        with os.fdopen(report_read) as report:
            line = report.readline()
        self._pid = int(line) if line.strip() else self._guard.pid
        assert self._guard.stdout is not None  # noqa: S101 - it is a pipe
        self._reader = OutputReader(os.dup(self._guard.stdout.fileno()), on_lines, log)
        self._guard.stdout.close()

    @property
    def pid(self) -> int:
        """Process id of the engine itself."""
        return self._pid

    @property
    def guard_pid(self) -> int | None:
        """Process id of the outer guard."""
        return self._guard.pid

    def poll(self) -> int | None:
        """Exit code, negative for a signal; `None` while it runs."""
        code = self._guard.poll()
        return None if code is None else exit_code_of(code)

    def stop(self) -> None:
        """Close the pipe; the guard asks, waits, kills. Then make sure of the guard itself."""
        if self._guard.stdin is not None:
            self._guard.stdin.close()
        try:
            self._guard.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._guard.kill()  # the inner guard, and so the engine, gets its death signal now
            self._guard.wait()

    def close(self) -> None:
        """Wait until the output was read to the end."""
        self._reader.join(2)
        if self._guard.stdin is not None:
            self._guard.stdin.close()
