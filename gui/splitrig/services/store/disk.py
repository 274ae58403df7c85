"""Room on disks, and what a failure to write means."""

import errno
import shutil
import sys
from pathlib import Path

from splitrig.core.errors import StoreError
from splitrig.core.units import size_text

_WINDOWS_FULL = frozenset({39, 112})
"""ERROR_HANDLE_DISK_FULL, ERROR_DISK_FULL."""


def check_space(folder: Path, needed_bytes: int) -> None:
    """Make sure that something fits on the disk.

    Raises:
        StoreError: It does not.
    """
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if free < needed_bytes:
        raise StoreError(
            f"{size_text(needed_bytes)} are needed in {folder}, and {size_text(free)} are free.",
            "Make room on that disk, then try again.",
        )


def is_full(error: OSError) -> bool:
    """Whether the disk, or the user's share of it, is full."""
    return error.errno in {errno.ENOSPC, errno.EDQUOT} or (
        sys.platform == "win32" and error.winerror in _WINDOWS_FULL
    )


def store_error(error: OSError, folder: Path) -> StoreError:
    """A failure to write, in words."""
    if is_full(error):
        return StoreError(f"The disk with {folder} is full.", "Make room on it, then try again.")
    return StoreError(
        f"{folder} cannot be written: {error.strerror or error}.", "Make the folder writable."
    )
