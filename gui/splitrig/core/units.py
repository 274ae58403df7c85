"""Units and the text of numbers, as they stand in the window and on the command line."""

KIB = 1024
MIB = 1024**2
GIB = 1024**3
MISSING = "–"
"""Shown for a value that is not reported; never 0."""


def gib_text(n_bytes: int | None, decimals: int = 1) -> str:
    """Bytes as GiB without the unit: `24.0`, or `–` when not reported."""
    return MISSING if n_bytes is None else number_text(n_bytes / GIB, decimals)


def mib_text(n_bytes: int | None, decimals: int = 2) -> str:
    """Bytes as MiB without the unit: `50.73`, or `–` when not reported."""
    return MISSING if n_bytes is None else number_text(n_bytes / MIB, decimals)


def number_text(value: float | None, decimals: int = 0) -> str:
    """A number with thousands separators and a real minus sign, or `–`."""
    if value is None:
        return MISSING
    text = f"{value:,.{decimals}f}"
    if text.startswith("-"):
        text = "−" + text[1:] if any(c in "123456789" for c in text) else text[1:]
    return text


def rate_text(bytes_s: float) -> str:
    """Bytes a second with the decimal unit that lines are sold in: `84.1 MB/s`, `312 kB/s`."""
    if bytes_s >= 999.95e6:
        return f"{number_text(bytes_s / 1e9, 1)} GB/s"
    if bytes_s >= 999.5e3:
        return f"{number_text(bytes_s / 1e6, 1)} MB/s"
    return f"{number_text(bytes_s / 1e3)} kB/s"


def size_text(n_bytes: int | None) -> str:
    """Bytes with the unit that reads best: `18.4 GiB`, `93.8 MiB`, `512 B`."""
    if n_bytes is None:
        return MISSING
    if n_bytes >= GIB:
        return f"{number_text(n_bytes / GIB, 1)} GiB"
    if n_bytes >= MIB:
        return f"{number_text(n_bytes / MIB, 1)} MiB"
    if n_bytes >= KIB:
        return f"{number_text(n_bytes / KIB, 1)} KiB"
    return f"{n_bytes} B"
