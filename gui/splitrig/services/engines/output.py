"""An engine's output: read as it comes, never in the engine's way."""

import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from splitrig.services.engines.log_file import LogFile

log = logging.getLogger(__name__)

LONGEST_LINE_BYTES = 8192
READ_BYTES = 65_536
"""Handling as much takes about 1 ms, for which all others wait for Python's lock."""
FLOOD_BYTES = 8192
FLOOD_PAUSE_S = 0.001
"""After each read that finds so much. Python's lock goes to whoever waits for it when its holder
sleeps or has had it for 5 ms; without a pause a flood costs the window those at every turn.
"""
PIPE_BYTES = 2**20
"""What an engine can write while nobody reads; Linux gives 64 KiB unless it is asked for more."""


class OutputReader:
    """A thread that reads a pipe to its end and hands over whole lines, many at a time.

    Invalid UTF-8 is replaced and an endless line is cut into pieces, so that no output can hurt.
    A progress bar that overwrites itself gives a line for each of its states.
    """

    def __init__(
        self, pipe: int, on_lines: Callable[[list[str]], None], log: LogFile | None = None
    ) -> None:
        _widen(pipe)
        self._pipe = pipe
        self._on_lines = on_lines
        self._log = log
        self._thread = threading.Thread(target=self._run, name="engine output")
        self._thread.start()

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait for the end of the output; false when it is not there in time."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        rest = b""
        try:
            while chunk := os.read(self._pipe, READ_BYTES):
                lines, rest = _split(rest + chunk)
                # llama.cpp prints its progress as dots without a line end
                if len(rest) > LONGEST_LINE_BYTES or (rest and not rest.strip(b".")):
                    lines.append(_text(rest))
                    rest = b""
                if lines:
                    self._hand_over(lines)
                if self._log is not None:
                    self._log.write(chunk)  # last: a busy disk can hold this up for seconds
                    if news := self._log.news():
                        self._hand_over(news)
                if len(chunk) >= FLOOD_BYTES:
                    time.sleep(FLOOD_PAUSE_S)
            if rest:
                self._hand_over([_text(rest)])
        finally:
            os.close(self._pipe)
            if self._log is not None:
                self._log.close()

    def _hand_over(self, lines: list[str]) -> None:
        try:
            self._on_lines(lines)
        except Exception:
            # An engine whose output nobody reads stands still: go on reading.
            log.exception("lines of an engine could not be handled")


def _widen(pipe: int) -> None:
    """Let a burst of lines go into the pipe whole, so that the engine does not wait for us."""
    if sys.platform == "linux":
        import fcntl

        # a user may have only so much in pipes; the usual size does as well
        with suppress(OSError):
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)


def _split(data: bytes) -> tuple[list[str], bytes]:
    """The lines that have ended, decoded in one go, and what comes behind the last of them."""
    overwritten = False
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n")
        # the last one may be half of a line end
        overwritten = b"\r" in data[:-1]
        data = data[:-1].replace(b"\r", b"\n") + data[-1:]
    ended, newline, rest = data.rpartition(b"\n")
    if not newline:
        return [], rest
    lines = ended.decode("utf-8", errors="replace").split("\n")
    if overwritten:
        lines = [line for line in lines if line.strip()]
    if len(ended) > LONGEST_LINE_BYTES:
        lines = [
            line if len(line) <= LONGEST_LINE_BYTES else line[:LONGEST_LINE_BYTES] for line in lines
        ]
    return lines, rest


def _text(line: bytes) -> str:
    return line[:LONGEST_LINE_BYTES].decode("utf-8", errors="replace").rstrip("\r")
