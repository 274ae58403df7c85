"""Finds the files that ship with the program."""

from pathlib import Path

import splitrig


def resource(*parts: str) -> Path:
    """Path of a shipped file, inside the installed package or in the checkout.

    Raises:
        FileNotFoundError: The file is in neither place: the installation is incomplete.
    """
    package = Path(splitrig.__file__).resolve().parent
    for root in (package / "resources", package.parents[1] / "resources"):
        path = root.joinpath(*parts)
        if path.exists():
            return path
    raise FileNotFoundError("/".join(parts))
