"""Whether a ready-made build of llama.cpp runs on a machine, and why not."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from splitrig.core.engine_release import Asset, BuildBackend
from splitrig.core.gpu import GpuInfo, Vendor
from splitrig.core.words import counted

Version = tuple[int, ...]

_GLIBC_22_04 = (2, 35)
_GLIBC_24_04 = (2, 38)
"""What builds made on Ubuntu 22.04 and 24.04 need (.github/workflows/release.yml of llama.cpp)."""
_OLDEST_FOR_CUDA_13 = (7, 5)
_OLDEST_FOR_CUDA_12 = (5, 0)
_COMPILED: dict[Version, Version] = {
    (8, 6): (11, 8), (8, 9): (11, 8), (12, 0): (12, 8), (12, 1): (12, 9)
}  # fmt: skip
"""Compute capabilities that builds of at least this CUDA version hold machine code for.

For all others the driver translates PTX at the first run, which it does only for code made with a
CUDA no newer than its own (ggml/src/ggml-cuda/CMakeLists.txt)."""
_HIP_TARGETS = frozenset(
    {"gfx1030", "gfx1031", "gfx1032", "gfx1100", "gfx1101", "gfx1102", "gfx1150", "gfx1151",
     "gfx1200", "gfx1201"}
)  # fmt: skip
"""Chips that all builds for AMD on Windows hold code for (release.yml, `gpu_targets`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What decides which build runs here.

    Attributes:
        os: `windows`, `linux` or `macos`.
        arch: `x64`, `arm64` or what the system calls it.
        cards: The cards an engine would use.
        cuda: Highest CUDA version the NVIDIA driver offers, (13, 0); `None` if unknown.
        rocm: Version of the ROCm that is installed, `None` without one.
        glibc: Version of the C library on Linux, (2, 36); `None` if unknown.
    """

    os: str
    arch: str
    cards: tuple[GpuInfo, ...] = ()
    cuda: Version | None = None
    rocm: Version | None = None
    glibc: Version | None = None

    @property
    def vendors(self) -> frozenset[Vendor]:
        """Who made the cards."""
        return frozenset(card.vendor for card in self.cards)

    @property
    def place(self) -> str:
        """System and architecture, in words."""
        names = {"windows": "Windows", "linux": "Linux", "macos": "macOS"}
        return f"{names.get(self.os, self.os)} on {self.arch}"

    @property
    def cards_text(self) -> str:
        """The cards in words, equal ones counted: `2 × RTX 3090 and RTX 4090`."""
        return counted([card.short_name for card in self.cards])


def machine_cards(gpus: Sequence[GpuInfo]) -> tuple[GpuInfo, ...]:
    """The cards a build is chosen for: those with memory of their own, if there are any."""
    own = tuple(gpu for gpu in gpus if not gpu.integrated)
    return own or tuple(gpus)


def why_not(asset: Asset, machine: Machine) -> str | None:
    """Why a build for this system does not run here; `None` when it does, or is thought to.

    The words go on after a colon: 'the driver offers CUDA 12.2, too little for 12.4'.
    """
    missing = _glibc_missing(asset, machine)
    if missing is not None:
        return missing
    match asset.backend:
        case BuildBackend.CUDA:
            return _why_not_cuda(asset.version or (12, 4), machine)
        case BuildBackend.ROCM:
            return _why_not_rocm(asset, machine)
        case _:
            return None


def all_compiled(machine: Machine, version: Version) -> bool:
    """Whether a build of this CUDA version holds machine code for every card."""
    return all(
        capability is not None and version >= _COMPILED.get(capability, (10**6,))
        for capability in map(_capability, machine.cards)
    )


def title(asset: Asset) -> str:
    """How a build is named in a sentence: `CUDA 12.4`."""
    names = {
        BuildBackend.CUDA: "CUDA",
        BuildBackend.ROCM: "ROCm",
        BuildBackend.VULKAN: "Vulkan",
        BuildBackend.CPU: "the CPU build",
    }
    name = names.get(asset.backend, asset.backend.value)
    return f"{name} {dotted(asset.version)}" if asset.version else name


def dotted(version: Version | None) -> str:
    """A version as text: `12.4`."""
    return ".".join(map(str, version or ()))


def _glibc_missing(asset: Asset, machine: Machine) -> str | None:
    """The glibc a Linux build needs beyond what is here."""
    old = asset.arch == "x64" and asset.backend in {BuildBackend.CPU, BuildBackend.VULKAN}
    needed = _GLIBC_22_04 if old else _GLIBC_24_04
    if asset.os != "linux" or machine.glibc is None or machine.glibc >= needed:
        return None
    return (
        f"{title(asset)} needs glibc {dotted(needed)} and this system has {dotted(machine.glibc)}"
    )


def _why_not_cuda(version: Version, machine: Machine) -> str | None:
    oldest = _OLDEST_FOR_CUDA_13 if version >= (13,) else _OLDEST_FOR_CUDA_12
    for card in machine.cards:
        capability = _capability(card)
        if capability is not None and capability < oldest:
            return (
                f"CUDA {dotted(version)} leaves out compute capability {dotted(capability)} "
                f"({card.short_name})"
            )
    driver = machine.cuda
    if driver is None:
        # every driver of the last years runs CUDA 12
        unknown = f"whether the driver runs CUDA {dotted(version)} is not known"
        return unknown if version >= (13,) else None
    if version[:1] > driver[:1] or (version > driver and not all_compiled(machine, version)):
        return f"the driver offers CUDA {dotted(driver)}, too little for {dotted(version)}"
    return None


def _why_not_rocm(asset: Asset, machine: Machine) -> str | None:
    for card in machine.cards:
        chip = card.compute_capability or ""
        if chip.startswith("gfx") and chip not in _HIP_TARGETS:
            return f"AMD's builds hold no code for {chip} ({card.short_name})"
    if asset.version is None or (machine.rocm and machine.rocm[0] == asset.version[0]):
        return None
    here = f"ROCm {dotted(machine.rocm)} is" if machine.rocm else "no ROCm is"
    return f"{title(asset)} would have to be installed and {here} here"


def _capability(card: GpuInfo) -> Version | None:
    """CUDA compute capability, (8, 9)."""
    match = re.fullmatch(r"(\d{1,3})\.(\d{1,3})", card.compute_capability or "")
    return (int(match[1]), int(match[2])) if match else None
