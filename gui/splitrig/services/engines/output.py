"""An engine's output: bounded in memory, rotated on disk, never in the way."""

import logging
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from splitrig.core.errors import StoreError

log = logging.getLogger(__name__)

LONGEST_LINE_BYTES = 8192
FILE_BYTES = 5 * 2**20
OLD_FILES = 3


class LogFile:
    """A file that is moved aside when it has grown: `x.log`, then `x.log.1`, then `x.log.2`.

    Attributes:
        path: The file written now.
        error: Why writing ended, once it did; the engine goes on without its file.
    """

    def __init__(self, path: Path, *, most_bytes: int = FILE_BYTES) -> None:
        self.path = path
        self.error: OSError | None = None
        self._most_bytes = most_bytes
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._rotate()
            self._file = path.open("wb", buffering=0)
        except OSError as error:
            raise StoreError(
                f"The log cannot be written to {path.parent}: {error.strerror}.",
                "Make that folder writable, then start again.",
            ) from error
        self._size = 0

    def write(self, data: bytes) -> None:
        """Append; a full disk ends the file, not the engine."""
        if self.error is not None:
            return
        try:
            if self._size + len(data) > self._most_bytes:
                self._file.close()
                self._rotate()
                self._file = self.path.open("wb", buffering=0)
                self._size = 0
            self._file.write(data)
            self._size += len(data)
        except OSError as error:
            self.error = error

    def close(self) -> None:
        """Close the file."""
        with suppress(OSError):
            self._file.close()

    def _rotate(self) -> None:
        for number in range(OLD_FILES, 0, -1):
            older = self.path.with_name(f"{self.path.name}.{number}")
            newer = (
                self.path.with_name(f"{self.path.name}.{number - 1}") if number > 1 else self.path
            )
            if newer.exists():
                newer.replace(older)


class OutputReader:
    """A thread that reads a pipe to its end and hands over whole lines, many at a time.

    Invalid UTF-8 is replaced and an endless line is cut into pieces, so that no output can hurt.
    """

    def __init__(
        self, pipe: int, on_lines: Callable[[list[str]], None], log: LogFile | None = None
    ) -> None:
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
            while chunk := os.read(self._pipe, 65_536):
                *lines, rest = (rest + chunk).split(b"\n")
                # llama.cpp prints its progress as dots without a line end
                if len(rest) > LONGEST_LINE_BYTES or (rest and not rest.strip(b".")):
                    lines.append(rest)
                    rest = b""
                if lines:
                    self._hand_over(lines)
                if self._log is not None:
                    self._log.write(chunk)  # last: a busy disk can hold this up for seconds
            if rest:
                self._hand_over([rest])
        finally:
            os.close(self._pipe)
            if self._log is not None:
                self._log.close()

    def _hand_over(self, lines: list[bytes]) -> None:
        try:
            self._on_lines([_text(line) for line in lines])
        except Exception:
            # An engine whose output nobody reads stands still: go on reading.
            log.exception("lines of an engine could not be handled")


def _text(line: bytes) -> str:
    return line[:LONGEST_LINE_BYTES].decode("utf-8", errors="replace").rstrip("\r")
