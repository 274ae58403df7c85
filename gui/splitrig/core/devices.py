"""Which of the engine's devices is which card. By identity, never by position."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from splitrig.core.engine import EngineDevice
from splitrig.core.footprint import Backend
from splitrig.core.gpu import GpuInfo

PREFERENCE = ("CUDA", "ROCM", "HIP", "MUSA", "SYCL", "METAL", "MTL", "VULKAN")
"""Which way to a card to take where the engine has several; unknown ones come last."""
SOFTWARE = ("llvmpipe", "lavapipe", "softpipe", "swiftshader", "basic render")
MEMORY_TOLERANCE = 0.12
"""Drivers and engines count a card's memory differently (reserved parts, ECC)."""


class MatchedBy(StrEnum):
    """What told that a device is a card."""

    PCI = "PCI address"
    UUID = "UUID"
    NAME = "name and memory"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceMatch:
    """A card and the engine's way to it."""

    gpu_id: str
    device: EngineDevice
    by: MatchedBy


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceMap:
    """The outcome of matching.

    Attributes:
        matches: One a card, in the order of the cards.
        unmatched_gpus: Why a card has no device, by card id.
        unused_devices: Why a device is not used, by device name.
    """

    matches: tuple[DeviceMatch, ...] = ()
    unmatched_gpus: Mapping[str, str]
    unused_devices: Mapping[str, str]

    def device(self, gpu_id: str) -> EngineDevice | None:
        """The engine's device for a card."""
        return next((m.device for m in self.matches if m.gpu_id == gpu_id), None)


def backend_of(device_name: str) -> Backend:
    """The part of the engine that drives a device, by the name the engine gives it."""
    known = {
        "CUDA": Backend.CUDA,
        "MUSA": Backend.CUDA,
        "ROCM": Backend.ROCM,
        "HIP": Backend.ROCM,
        "RPC": Backend.RPC,
        "CPU": Backend.CPU,
    }
    return known.get(_kind(device_name), Backend.VULKAN)


def normal_pci(address: str | None) -> str | None:
    """`00000000:01:00.0` (NVML) and `01:00.0` as `0000:01:00.0`, lower case."""
    if not address:
        return None
    found = re.fullmatch(
        r"(?:([0-9a-f]{1,8}):)?([0-9a-f]{2}:[0-9a-f]{2})(\.[0-9a-f])?", address.strip().lower()
    )
    if found is None:
        return None
    return f"{int(found[1] or '0', 16):04x}:{found[2]}{found[3] or '.0'}"


def match_devices(
    gpus: Sequence[GpuInfo],
    devices: Sequence[EngineDevice],
    *,
    cuda_order: Sequence[str] = (),
) -> DeviceMap:
    """Find each card's device.

    Args:
        gpus: The cards.
        devices: What the engine lists.
        cuda_order: UUIDs in the order the child's environment gives CUDA, when it does
            (`CUDA_VISIBLE_DEVICES=GPU-…,GPU-…`): CUDA0 is the first.
    """
    unused = {d.name: reason for d in devices if (reason := _no_card(d))}
    candidates = [d for d in devices if d.name not in unused]
    candidates.sort(key=lambda d: _rank(d.name))
    found: dict[str, DeviceMatch] = {}
    rest = []
    for device in candidates:
        known = _identify(device, gpus, cuda_order)
        if known is None:
            rest.append(device)
        elif known[0] in found:
            unused[device.name] = f"the same card as {found[known[0]].device.name}"
        else:
            found[known[0]] = DeviceMatch(gpu_id=known[0], device=device, by=known[1])
    _match_by_name(gpus, rest, found, unused)
    return DeviceMap(
        matches=tuple(found[g.id] for g in gpus if g.id in found),
        unmatched_gpus={g.id: _why(g, gpus, devices) for g in gpus if g.id not in found},
        unused_devices={d.name: unused[d.name] for d in devices if d.name in unused},
    )


def _no_card(device: EngineDevice) -> str:
    """Why a device can be no card of this machine; empty if it can."""
    if any(word in device.description.lower() for word in SOFTWARE):
        return "software on the processor, not a card"
    if device.name.upper().startswith(("RPC", "CPU", "BLAS", "AMX")):
        return "not a card of this machine"
    return ""


def _rank(name: str) -> int:
    kind = _kind(name)
    return PREFERENCE.index(kind) if kind in PREFERENCE else len(PREFERENCE)


def _kind(name: str) -> str:
    return name.rstrip("0123456789").upper()


def _identify(
    device: EngineDevice, gpus: Iterable[GpuInfo], cuda_order: Sequence[str]
) -> tuple[str, MatchedBy] | None:
    """The card a device says to be."""
    address = normal_pci(device.pci)
    if address is not None:
        for gpu in gpus:
            if normal_pci(gpu.pci) == address:
                return gpu.id, MatchedBy.PCI
        return None
    if cuda_order and _kind(device.name) == "CUDA":
        index = int(device.name[4:] or 0)
        uuid = cuda_order[index] if index < len(cuda_order) else None
        for gpu in gpus:
            if uuid is not None and gpu.uuid == uuid:
                return gpu.id, MatchedBy.UUID
    return None


def _match_by_name(
    gpus: Sequence[GpuInfo],
    devices: Sequence[EngineDevice],
    found: dict[str, DeviceMatch],
    unused: dict[str, str],
) -> None:
    """The last resort: a device whose name and memory fit one card and no other.

    Uniqueness counts among all cards and within one kind of device, so that two equal cards are
    never paired by chance, and a card that is already found swallows its other drivers' devices.
    """
    for device in devices:
        if normal_pci(device.pci) is not None:
            unused[device.name] = f"no card at {normal_pci(device.pci)} is known"
            continue
        fits = [g for g in gpus if _alike(g, device)]
        twins = [d for d in devices if _kind(d.name) == _kind(device.name) and _same(d, device)]
        if len(fits) > 1 or (fits and len(twins) > 1):
            unused[device.name] = "it cannot be told apart from an equal card"
        elif not fits:
            unused[device.name] = "no known card has its name and memory"
        elif fits[0].id in found:
            unused[device.name] = f"the same card as {found[fits[0].id].device.name}"
        else:
            found[fits[0].id] = DeviceMatch(gpu_id=fits[0].id, device=device, by=MatchedBy.NAME)


def _words(name: str) -> str:
    """A name without what drivers add: maker, trade marks, the driver in brackets."""
    text = re.sub(r"\(.*?\)", " ", name.lower())
    text = re.sub(r"\b(nvidia|amd|ati|intel|geforce|radeon|graphics|corporation)\b", " ", text)
    return " ".join(re.findall(r"[a-z0-9]+", text))


def _alike(gpu: GpuInfo, device: EngineDevice) -> bool:
    if not _words(gpu.name) or _words(gpu.name) != _words(device.description):
        return False
    if gpu.vram_total_bytes is None or not device.total_bytes:
        return True
    return abs(device.total_bytes - gpu.vram_total_bytes) <= MEMORY_TOLERANCE * gpu.vram_total_bytes


def _same(one: EngineDevice, other: EngineDevice) -> bool:
    return _words(one.description) == _words(other.description)


def _why(gpu: GpuInfo, gpus: Sequence[GpuInfo], devices: Sequence[EngineDevice]) -> str:
    """Why the engine's devices hold none for this card."""
    like = [d for d in devices if not _no_card(d) and _alike(gpu, d)]
    if like and sum(_alike(g, like[0]) for g in gpus) > 1:
        return "the engine does not say which of the equal cards its devices are"
    if not any(not _no_card(d) for d in devices):
        return "the engine sees no card at all: its driver (Vulkan's, say) may be missing"
    return "the engine does not see this card: it may be built for another make, or lack a driver"
