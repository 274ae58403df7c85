"""Cards as a user names them on the command line: by number, UUID or PCI address."""

import re
from collections.abc import Sequence

from splitrig.core.errors import SplitRigError
from splitrig.core.gpu import GpuInfo, Vendor

_PCI = re.compile(r"(?:([0-9a-f]{4,8}):)?([0-9a-f]{2}:[0-9a-f]{2}\.[0-9a-f])")
_DOMAIN_DIGITS = 4
"""nvidia-smi writes a PCI domain with eight digits, everybody else with four."""


def named_cards(text: str, gpus: Sequence[GpuInfo]) -> tuple[str, ...]:
    """The ids of the cards that a text such as `1,0` names, in its order.

    A number counts as nvidia-smi does: NVIDIA's cards by their place on the bus. Where there is
    none, all cards count. A UUID may be cut short as long as only one card begins with it; a PCI
    address may lack its domain.

    Args:
        text: Names with commas between them.
        gpus: The cards, in the order of the bus.

    Raises:
        SplitRigError: A name fits no card or several, or a card is named twice.
    """
    usable = [gpu for gpu in gpus if not gpu.integrated]
    if not usable:
        raise SplitRigError(
            "There is no graphics card to choose from.", "Leave --gpus out, or try --demo."
        )
    parts = [part for part in re.split(r"[\s,]+", text) if part]
    if not parts:
        raise SplitRigError("--gpus names no card.", _way_out(usable))
    found: list[GpuInfo] = []
    for part in parts:
        gpu = _named(part, usable)
        if gpu in found:
            raise SplitRigError(
                f"--gpus names {gpu.short_name} at {gpu.pci or gpu.id} twice.",
                "Name each card once.",
            )
        found.append(gpu)
    return tuple(gpu.id for gpu in found)


def _named(part: str, gpus: Sequence[GpuInfo]) -> GpuInfo:
    """The one card of this name.

    Raises:
        SplitRigError: There is none, or more than one.
    """
    if part.isascii() and part.isdigit():
        counted = _counted(gpus)
        fits = counted[int(part) :][:1] if len(part) <= len(str(len(counted))) else []
    elif match := _PCI.fullmatch(part.lower()):
        domain = (match[1] or "0000")[-_DOMAIN_DIGITS:]
        fits = [gpu for gpu in gpus if gpu.pci == f"{domain}:{match[2]}"]
    else:
        fits = [gpu for gpu in gpus if part.lower() in ((gpu.uuid or "").lower(), gpu.id.lower())]
        if not fits and part.lower().startswith("gpu-"):
            fits = [gpu for gpu in gpus if (gpu.uuid or "").lower().startswith(part.lower())]
    if len(fits) > 1:
        raise SplitRigError(f"More than one card begins with '{part[:80]}'.", _way_out(gpus))
    if not fits:
        raise SplitRigError(f"There is no card '{part[:80]}' here.", _way_out(gpus))
    return fits[0]


def _counted(gpus: Sequence[GpuInfo]) -> list[GpuInfo]:
    """The cards that numbers stand for."""
    nvidia = [gpu for gpu in gpus if gpu.vendor is Vendor.NVIDIA]
    return nvidia or list(gpus)


def _way_out(gpus: Sequence[GpuInfo]) -> str:
    counted = _counted(gpus)
    numbered = [f"{n} ({gpu.short_name} at {gpu.pci or gpu.id})" for n, gpu in enumerate(counted)]
    others = [f"{gpu.pci or gpu.id} ({gpu.short_name})" for gpu in gpus if gpu not in counted]
    return f"Name cards by number, UUID or PCI address: {', '.join([*numbered, *others])}."
