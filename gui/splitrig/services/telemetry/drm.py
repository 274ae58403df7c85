"""The cards the kernel lists below /sys/class/drm, and how its files are read."""

from pathlib import Path

DRM_ROOT = Path("/sys/class/drm")
AMD, NVIDIA = "0x1002", "0x10de"
"""PCI ids of the makers, as the files `vendor` hold them."""


def devices_of(drm_root: Path, vendor: str) -> tuple[Path, ...]:
    """Folders `cardN/device` of a maker's cards; empty where the kernel does not tell."""
    files = sorted(drm_root.glob("card*/device/vendor"))
    return tuple(file.parent for file in files if read_text(file) == vendor)


def read_text(file: Path) -> str | None:
    """The text of a file of the kernel, without what it is padded with.

    Returns:
        `None` when there is no such file or it may not be read now, as during a reset.
    """
    try:
        return file.read_bytes().decode("ascii", "replace").strip("\0\n ")
    except OSError:
        return None
