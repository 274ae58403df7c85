"""The file that keeps what an engine writes: one a run, in parts, bounded in size and number."""

import os
import re
from contextlib import suppress
from datetime import datetime
from itertools import count
from pathlib import Path

from splitrig.core.errors import StoreError
from splitrig.core.log_lines import FILE_ENDED, OWN
from splitrig.core.units import MIB, size_text

PART_BYTES = 16 * MIB
PARTS = 8
"""Of a run: the first part, which has the start of the engine, and the last ones."""
RUNS = 20
FOLDER_BYTES = 256 * MIB
"""Most that earlier runs may take together; a flood of the present one comes on top."""
_NAME = re.compile(r"(.+_\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d(?:-\d+)?)(?:\.part\d+)?\.log")


class LogFile:
    """Output of one run of an engine: `NAME_2026-01-31_14-05-59.log`, then `….part2.log` and on.

    No part is ever renamed: whoever has one open, in an editor or with `tail -f`, keeps it, and on
    Windows does not get in the way.

    Attributes:
        path: The first part.
        error: Why writing ended, once it did; the engine goes on without its file.
    """

    def __init__(self, folder: Path, name: str, *, part_bytes: int = PART_BYTES) -> None:
        """Open a new file and remove those of the oldest runs.

        Args:
            folder: Of all logs; made if it is not there.
            name: Of the engine; goes into the name of the file.
            part_bytes: Most bytes of one part.

        Raises:
            StoreError: The folder cannot be written to.
        """
        self.error: OSError | None = None
        self._part_bytes = part_bytes
        self._part = 1
        self._size = 0
        self._news: list[str] = []
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _remove_old_runs(folder)
            self._open_new(folder, name)
        except OSError as error:
            raise StoreError(
                f"The log cannot be written to {folder}: {error.strerror}.",
                "Make that folder writable, then start again.",
            ) from error

    def _open_new(self, folder: Path, name: str) -> None:
        """Open the first part; a second start within a second gets a number."""
        now = datetime.now().astimezone().strftime("%Y-%m-%d_%H-%M-%S")
        safe = re.sub(r'[\\/:*?"<>|\s]+', "-", name)
        for number in count(1):
            self._stem = f"{safe}_{now}" if number == 1 else f"{safe}_{now}-{number}"
            self.path = folder / f"{self._stem}.log"
            try:
                self._file = self.path.open("xb", buffering=0)
            except FileExistsError:
                continue
            break

    def write(self, data: bytes) -> None:
        """Append; a full disk ends the file, not the engine."""
        try:
            while data and self.error is None:
                here, data = self._cut(data)
                self._write_all(here)
                if data:
                    self._begin_part()
        except OSError as error:
            self.error = error
            reason = error.strerror or str(error)
            self._news.append(f"{FILE_ENDED}: {reason} ({self._path_of(self._part)}).")

    def news(self) -> list[str]:
        """What is to be told among the engine's lines, once."""
        news, self._news = self._news, []
        return news

    def close(self) -> None:
        """Close the file."""
        with suppress(OSError):
            self._file.close()

    def _cut(self, data: bytes) -> tuple[bytes, bytes]:
        """What goes into this part, whole lines where that can be, and what into the next."""
        room = self._part_bytes - self._size
        if len(data) <= room:
            return data, b""
        cut = data.rfind(b"\n", 0, max(room, 0)) + 1
        if not cut and not self._size:
            cut = self._part_bytes  # one line fills it
        return data[:cut], data[cut:]

    def _write_all(self, data: bytes) -> None:
        """An almost full disk takes less than it was given, and says so only at the next try."""
        rest = memoryview(data)
        while rest:
            written = self._file.write(rest)
            self._size += written
            rest = rest[written:]

    def _begin_part(self) -> None:
        """Go on in a new file; of the old ones the first and the last stay."""
        self._file.close()
        self._part += 1
        self._file = self._path_of(self._part).open("xb", buffering=0)
        self._size = 0
        oldest = self._part - PARTS + 1
        if oldest < 2:
            return
        with suppress(OSError):
            self._path_of(oldest).unlink()
        if oldest == 2:
            kept = size_text((PARTS - 1) * self._part_bytes)
            self._news.append(f"{OWN}of this log the files keep the beginning and the last {kept}.")

    def _path_of(self, part: int) -> Path:
        return self.path if part == 1 else self.path.with_name(f"{self._stem}.part{part}.log")


def _remove_old_runs(folder: Path) -> None:
    """Make room for one more run; the ones written to last stay."""
    runs: dict[str, list[os.DirEntry[str]]] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            match = _NAME.fullmatch(entry.name)
            if match is not None and entry.is_file(follow_symlinks=False):
                runs.setdefault(match[1], []).append(entry)
    newest_first = sorted(
        runs.values(), key=lambda parts: max(part.stat().st_mtime for part in parts), reverse=True
    )
    taken = 0
    for number, parts in enumerate(newest_first, 2):
        taken += sum(part.stat().st_size for part in parts)
        if number > RUNS or taken > FOLDER_BYTES:
            for part in parts:
                # Windows does not remove what somebody reads; the next start tries again
                with suppress(OSError):
                    Path(part).unlink()
