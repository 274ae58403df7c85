"""PCI addresses and link speeds, spelled in one way."""

import re

_ADDRESS = re.compile(
    r"(?:([0-9a-f]{1,8}):)?([0-9a-f]{1,2}):([0-9a-f]{1,2})\.([0-7])", re.IGNORECASE
)
_LINK = re.compile(r"(\d+(?:\.\d+)?)\s*GT/s\s*x(\d+)", re.IGNORECASE)
_GENERATIONS = {2.5: 1, 5.0: 2, 8.0: 3, 16.0: 4, 32.0: 5, 64.0: 6}


def normal_pci(text: str) -> str | None:
    """An address as `0000:01:00.0`, lower case; `None` if it is none.

    NVML writes the domain with eight digits, sysfs and rocm-smi with four, lspci often without.
    """
    match = _ADDRESS.fullmatch(text.strip())
    if match is None:
        return None
    domain, bus, device, function = (int(part or "0", 16) for part in match.groups())
    return f"{domain:04x}:{bus:02x}:{device:02x}.{function}"


def link_from_text(text: str) -> tuple[int | None, int | None]:
    """Generation and lanes of `16.0GT/s x16`; `None` for what it does not say."""
    match = _LINK.search(text)
    if match is None:
        return None, None
    lanes = int(match[2]) if len(match[2]) <= 2 else 0
    return _GENERATIONS.get(float(match[1])), lanes if 1 <= lanes <= 32 else None
