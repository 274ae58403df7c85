"""Keeps two programs from changing the same folder at once."""

import os
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from splitrig.core.errors import StoreError


class FolderLock:
    """Held for the duration of a `with` block; the system lets go of it when the program dies.

    Args:
        path: A file that stands for what is locked; it stays.
        busy: What to tell the user when another program holds it.
    """

    def __init__(self, path: Path, busy: str) -> None:
        self._path = path
        self._busy = busy
        self._handle: int | None = None

    def __enter__(self) -> Self:
        """Take it, without waiting.

        Raises:
            StoreError: Another program holds it, or the file cannot be made.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StoreError(
                f"{self._path.parent} cannot be written: {error.strerror}.",
                "Make the folder writable.",
            ) from error
        try:
            _lock(handle)
        except OSError as error:
            os.close(handle)
            raise StoreError(self._busy, "Wait until it is done, then try again.") from error
        self._handle = handle
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let go of it."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def _lock(handle: int) -> None:
    """Take the whole file, or fail at once."""
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
