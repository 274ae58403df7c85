"""Runs a vendor's command-line tool with a time limit and bounded output."""

import contextlib
import os
import selectors
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO

from splitrig.services.engines.process import exit_code_of, guarded

MOST_BYTES = 4 * 1024 * 1024
"""Real output is a few kilobytes; a tool that prints without end is stopped here."""
_SLICE_S = 0.1
NOT_RUN = 127
"""Exit code of the guard when it could not run the tool."""


class Ending(StrEnum):
    """How a run ended."""

    DONE = "done"
    FAILED = "failed"
    TIMED_OUT = "timed out"
    TOO_MUCH = "too much output"
    NOT_STARTED = "not started"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One finished run.

    Attributes:
        ending: How it ended.
        output: Standard output, as far as it was read.
        exit_code: Exit code; `None` if it was killed or never ran.
        problem: Why it could not be started.
    """

    ending: Ending
    output: str = ""
    exit_code: int | None = None
    problem: str = ""


class Tool:
    """Runs one command at a time; `stop` from another thread ends the run and bars new ones."""

    def __init__(self, command: Sequence[str], timeout_s: float) -> None:
        self._command = tuple(command)
        self._timeout_s = timeout_s
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End a run in progress within a tenth of a second."""
        self._stopped.set()

    def run(self) -> Run:
        """Run the command to its end or its time limit; blocks that long at most."""
        if self._stopped.is_set():
            return Run(ending=Ending.STOPPED)
        with tempfile.TemporaryFile() as errors:
            try:
                process = self._start(errors)
            except OSError as error:
                return Run(ending=Ending.NOT_STARTED, problem=error.strerror or str(error))
            ending, raw = self._read(process)
            if ending is not Ending.DONE:
                _end(process)
            exit_code = None if ending is Ending.TIMED_OUT else _exit_code(process)
            errors.seek(0)
            problem = _refusal(errors.read(1000).decode("utf-8", "replace"), self._command[0])
        if exit_code == NOT_RUN and problem:
            return Run(ending=Ending.NOT_STARTED, problem=problem)
        if ending is Ending.DONE and exit_code != 0:
            ending = Ending.FAILED
        return Run(ending=ending, output=raw.decode("utf-8", "replace"), exit_code=exit_code)

    def _start(self, errors: IO[bytes]) -> "subprocess.Popen[bytes]":
        """Start it; on Linux below a guard, so that neither it nor its children outlive us."""
        if sys.platform == "linux":
            # the guard reports a process id that nobody here needs
            with Path(os.devnull).open("wb") as nowhere:
                return subprocess.Popen(
                    guarded(self._command, nowhere.fileno(), 0),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    pass_fds=(nowhere.fileno(),),
                    start_new_session=True,
                )
        else:
            return subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
            )

    def _read(self, process: "subprocess.Popen[bytes]") -> tuple[Ending, bytes]:
        """Read to the end of the output; a child that outlives the tool cannot hold us up."""
        deadline = time.monotonic() + self._timeout_s
        raw = bytearray()
        if process.stdout is None:  # never: it was asked for as a pipe
            return Ending.FAILED, b""
        with process.stdout, selectors.DefaultSelector() as selector:
            pipe = process.stdout.fileno()
            selector.register(pipe, selectors.EVENT_READ)
            while time.monotonic() < deadline:
                if self._stopped.is_set():
                    return Ending.STOPPED, bytes(raw)
                if not selector.select(_SLICE_S):
                    continue
                chunk = os.read(pipe, 65536)
                raw += chunk
                if len(raw) > MOST_BYTES:
                    return Ending.TOO_MUCH, bytes(raw)
                if not chunk:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(max(deadline - time.monotonic(), _SLICE_S))
                        return Ending.DONE, bytes(raw)
                    break
        return Ending.TIMED_OUT, bytes(raw)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Let the guard kill the tool and its children; one stuck in the kernel is left to it."""
    if process.stdin is not None:
        process.stdin.close()
    if sys.platform != "linux":
        process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(0.5)


def _exit_code(process: "subprocess.Popen[bytes]") -> int | None:
    """Exit code of the tool, negative for a signal."""
    if process.stdin is not None:
        process.stdin.close()
    code = process.poll()
    return None if code is None else exit_code_of(code)


def _refusal(errors: str, program: str) -> str:
    """Why the guard could not run the tool; empty when it could."""
    return next(
        (
            line.removeprefix(f"guard: {program}: ")
            for line in errors.splitlines()
            if line.startswith(f"guard: {program}: ")
        ),
        "",
    )
