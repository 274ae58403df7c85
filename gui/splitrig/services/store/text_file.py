"""Writes a text where the user wants it."""

from pathlib import Path

from splitrig.core.errors import StoreError


def save_text(path: Path, text: str) -> None:
    """Write a text file, in place of one that is there.

    Raises:
        StoreError: It cannot be written there.
    """
    try:
        path.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise StoreError(
            f"{path.name} could not be written: {error.strerror or error}.",
            "Choose another folder, or make room.",
        ) from error
