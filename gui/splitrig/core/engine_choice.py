"""Which ready-made build of llama.cpp suits a machine, and why."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from splitrig.core.engine_release import Asset, BuildBackend, Release
from splitrig.core.errors import EngineError
from splitrig.core.gpu import GpuInfo, Vendor, names_among

Version = tuple[int, ...]

_GLIBC_22_04 = (2, 35)
_GLIBC_24_04 = (2, 38)
"""What builds made on Ubuntu 22.04 and 24.04 need (.github/workflows/release.yml of llama.cpp)."""
_OLDEST_FOR_CUDA_13 = (7, 5)
_OLDEST_FOR_CUDA_12 = (5, 0)
_COMPILED: dict[Version, Version] = {
    (8, 6): (11, 8),
    (8, 9): (11, 8),
    (12, 0): (12, 8),
    (12, 1): (12, 9),
}
"""Compute capabilities that builds of at least this CUDA version hold machine code for.

For all others the driver translates PTX at the first run, which it does only for code made with a
CUDA no newer than its own (ggml/src/ggml-cuda/CMakeLists.txt)."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The build to take.

    Attributes:
        release: The release it is from.
        asset: The build.
        companions: What must be fetched with it.
        reason: Why this one, in a sentence with the facts.
        alternatives: What else of this release runs on this system.
    """

    release: Release
    asset: Asset
    companions: tuple[Asset, ...]
    reason: str
    alternatives: tuple[Asset, ...]

    @property
    def files(self) -> tuple[Asset, ...]:
        """Everything to fetch, the build first."""
        return (self.asset, *self.companions)

    @property
    def size_bytes(self) -> int:
        """How much there is to fetch, bytes."""
        return sum(file.size_bytes for file in self.files)


def machine_cards(gpus: Sequence[GpuInfo]) -> tuple[GpuInfo, ...]:
    """The cards a build is chosen for: those with memory of their own, if there are any."""
    own = tuple(gpu for gpu in gpus if not gpu.integrated)
    return own or tuple(gpus)


def choose_asset(release: Release, machine: Machine, wanted: str | None = None) -> Choice:
    """The build of this release for this machine.

    Args:
        release: The release.
        machine: What it has to run on.
        wanted: A backend (`vulkan`) or flavour (`cuda-12.4`) to take instead of the best one.

    Raises:
        EngineError: It has none for this system, or not the wanted one.
    """
    offered = _offered(release, machine)
    if wanted is not None:
        return _chosen(release, offered, *_wanted(release, machine, offered, wanted))
    for _, find in _preferences(machine):
        found = find(offered, machine)
        if found is not None:
            return _chosen(release, offered, *found)
    raise EngineError(
        f"llama.cpp {release.tag} has no build that fits the cards of this machine.",
        f"It offers {_flavours(offered)}; name one of them.",
    )


def newest_choice(
    releases: Sequence[Release], machine: Machine, wanted: str | None = None
) -> Choice:
    """The best build for this machine among these releases, from the newest that has it.

    A release whose files are still being uploaded lacks some: the one before it is taken then.

    Raises:
        EngineError: None of them has a build for this machine.
    """
    choices = []
    failure = EngineError("GitHub lists no llama.cpp build at all.", "Try again later.")
    for release in sorted((r for r in releases if r.build), key=lambda r: -(r.build or 0)):
        try:
            choices.append(choose_asset(release, machine, wanted))
        except EngineError as error:
            failure = error
    if not choices:
        raise failure
    order = [backend for backend, _ in _preferences(machine)]
    return min(choices, key=lambda choice: _rank(order, choice.asset.backend))


def _rank(order: list[BuildBackend], backend: BuildBackend) -> int:
    return order.index(backend) if backend in order else len(order)


def _offered(release: Release, machine: Machine) -> list[Asset]:
    """The builds for this system.

    Raises:
        EngineError: There is none.
    """
    offered = [a for a in release.assets if (a.os, a.arch) == (machine.os, machine.arch)]
    if not offered:
        what = "only points at a build" if release.build is None else "has no build"
        raise EngineError(
            f"llama.cpp {release.tag} {what} for {machine.place}.",
            "Choose another build, or a llama-server of your own in Settings.",
        )
    return offered


def _chosen(release: Release, offered: list[Asset], asset: Asset, reason: str) -> Choice:
    companions = release.companions(asset)
    if asset.backend is BuildBackend.CUDA and not companions:
        reason += " The CUDA libraries are not part of this release and must be installed."
    return Choice(
        release=release,
        asset=asset,
        companions=companions,
        reason=reason,
        alternatives=tuple(other for other in offered if other is not asset),
    )


def _wanted(
    release: Release, machine: Machine, offered: list[Asset], wanted: str
) -> tuple[Asset, str]:
    """The build that was asked for.

    Raises:
        EngineError: It is not offered.
    """
    named = [asset for asset in offered if wanted in {asset.flavour, asset.backend.value}]
    if not named:
        raise EngineError(
            f"llama.cpp {release.tag} has no {wanted} build for {machine.place}.",
            f"It offers {_flavours(offered)}.",
        )
    best = max(named, key=lambda asset: _wanted_rank(asset, machine))
    reason = f"{best.flavour} was asked for."
    if best.backend is BuildBackend.CUDA and (why_not := _why_not_cuda(best, machine)):
        reason += f" It may not run: {why_not}."
    return best, reason


def _wanted_rank(asset: Asset, machine: Machine) -> tuple[bool, tuple[bool, bool, Version]]:
    """What fits first, then the newest."""
    if asset.backend is not BuildBackend.CUDA:
        return True, (True, True, asset.version or ())
    return _why_not_cuda(asset, machine) == "", _cuda_rank(asset, machine)


def _flavours(assets: Sequence[Asset]) -> str:
    return ", ".join(asset.flavour for asset in assets)


_Found = tuple[Asset, str] | None
_Find = Callable[[Sequence[Asset], Machine], _Found]


def _preferences(machine: Machine) -> list[tuple[BuildBackend, _Find]]:
    """What to try for this machine, the best first."""
    last: list[tuple[BuildBackend, _Find]] = [
        (BuildBackend.VULKAN, _vulkan), (BuildBackend.CPU, _cpu), (BuildBackend.METAL, _metal)
    ]  # fmt: skip
    if machine.os == "macos":
        return [last[2], last[1]]
    if not machine.cards:
        return [last[1]]
    if machine.vendors == {Vendor.NVIDIA}:
        return [(BuildBackend.CUDA, _cuda), *last]
    if machine.vendors == {Vendor.AMD} and machine.os == "windows":
        return [(BuildBackend.ROCM, _rocm), *last]
    return last


def _cuda(assets: Sequence[Asset], machine: Machine) -> _Found:
    """The CUDA build that driver, cards and system run best."""
    fitting = [asset for asset in assets if _why_not_cuda(asset, machine) == ""]
    if not fitting:
        return None
    best = max(fitting, key=lambda asset: _cuda_rank(asset, machine))
    return best, _cuda_reason(best, assets, machine)


def _cuda_rank(asset: Asset, machine: Machine) -> tuple[bool, bool, Version]:
    """Machine code for every card first, then a version the driver surely runs, then the newest."""
    version = asset.version or ()
    sure = machine.cuda is not None and version <= machine.cuda
    return _all_compiled(machine, version), sure, version


def _cuda_reason(best: Asset, assets: Sequence[Asset], machine: Machine) -> str:
    head = f"{_title(best)} for {_cards_text(machine)}"
    newer = (
        asset
        for asset in assets
        if asset.backend is BuildBackend.CUDA and (asset.version or ()) > (best.version or ())
    )
    why_not = next(filter(None, (_why_not_cuda(asset, machine) for asset in newer)), None)
    if why_not is not None:
        return f"{head}: {why_not}."
    if machine.cuda is None:
        return f"{head}; the driver does not say which CUDA it offers."
    return f"{head}: the driver offers CUDA {dotted(machine.cuda)}."


def _why_not_cuda(asset: Asset, machine: Machine) -> str:
    """Why a CUDA build does not run here; empty when it does, or is thought to."""
    if asset.backend is not BuildBackend.CUDA:
        return "it is no CUDA build"
    version = asset.version or (12, 4)
    names = names_among(machine.cards)
    for card in machine.cards:
        capability = _capability(card)
        oldest = _OLDEST_FOR_CUDA_13 if version >= (13,) else _OLDEST_FOR_CUDA_12
        if capability is not None and capability < oldest:
            return (
                f"CUDA {dotted(version)} leaves out compute capability {dotted(capability)} "
                f"({names[card.id]})"
            )
    if (short := _glibc_missing(asset, machine)) != "":
        return short
    driver = machine.cuda
    if driver is None:
        return "" if version < (13,) else (
            f"whether the driver runs CUDA {dotted(version)} is not known"
        )  # fmt: skip
    if version[:1] > driver[:1] or (version > driver and not _all_compiled(machine, version)):
        return f"the driver offers CUDA {dotted(driver)}, too little for {dotted(version)}"
    return ""


def _all_compiled(machine: Machine, version: Version) -> bool:
    """Whether a build of this CUDA version holds machine code for every card."""
    capabilities = [_capability(card) for card in machine.cards]
    return all(
        capability is not None and version >= _COMPILED.get(capability, (10**6,))
        for capability in capabilities
    )


def _capability(card: GpuInfo) -> Version | None:
    """CUDA compute capability, (8, 9)."""
    match = re.fullmatch(r"(\d+)\.(\d+)", card.compute_capability or "")
    return (int(match[1]), int(match[2])) if match else None


def _glibc_missing(asset: Asset, machine: Machine) -> str:
    """The glibc a Linux build needs beyond what is here; empty when it will do."""
    old = asset.arch == "x64" and asset.backend in {BuildBackend.CPU, BuildBackend.VULKAN}
    needed = _GLIBC_22_04 if old else _GLIBC_24_04
    if asset.os != "linux" or machine.glibc is None or machine.glibc >= needed:
        return ""
    return (
        f"{_title(asset)} needs glibc {dotted(needed)} and this system has {dotted(machine.glibc)}"
    )


def _rocm(assets: Sequence[Asset], machine: Machine) -> _Found:
    """A build for AMD cards that brings what it needs, or finds it installed."""
    for asset in assets:
        if asset.backend is BuildBackend.ROCM and asset.version is None:
            return asset, f"HIP for {_cards_text(machine)}: it brings AMD's libraries with it."
    for asset in assets:
        same = machine.rocm and asset.version and asset.version[0] == machine.rocm[0]
        if asset.backend is BuildBackend.ROCM and same:
            return asset, (
                f"{_title(asset)} for {_cards_text(machine)}: "
                f"ROCm {dotted(machine.rocm)} is installed."
            )
    return None


def _vulkan(assets: Sequence[Asset], machine: Machine) -> _Found:
    asset = _first(assets, BuildBackend.VULKAN)
    if asset is None or _glibc_missing(asset, machine):
        return None
    return asset, f"Vulkan for {_cards_text(machine)}: {_why_vulkan(assets, machine)}."


def _why_vulkan(assets: Sequence[Asset], machine: Machine) -> str:
    """Why not the backend of the vendor."""
    if len(machine.vendors) > 1:
        makers = " and ".join(sorted(vendor.value for vendor in machine.vendors))
        return f"only Vulkan drives cards of {makers} in one engine"
    if machine.vendors == {Vendor.NVIDIA}:
        reasons = [_why_not_cuda(a, machine) for a in assets if a.backend is BuildBackend.CUDA]
        return next(iter(reasons), "this release has no CUDA build for this system")
    rocm = _first(assets, BuildBackend.ROCM)
    if machine.vendors == {Vendor.AMD} and rocm is not None:
        there = f"ROCm {dotted(machine.rocm)}" if machine.rocm else "none"
        return f"{_title(rocm)} needs that ROCm installed and here is {there}" if (
            machine.os == "windows"
        ) else "it runs with the driver alone, where ROCm would have to be installed"  # fmt: skip
    return "it runs with the cards' own driver"


def _cpu(assets: Sequence[Asset], machine: Machine) -> _Found:
    asset = _first(assets, BuildBackend.CPU)
    if asset is None:
        return None
    missing = _glibc_missing(asset, machine)
    if missing:
        raise EngineError(
            f"No official build runs here: {missing}.",
            "Build llama.cpp yourself, or use the one of your distribution.",
        )
    if not machine.cards:
        return asset, "CPU: no graphics card was found."
    return asset, f"CPU: this release has no build for {_cards_text(machine)}."


def _metal(assets: Sequence[Asset], _machine: Machine) -> _Found:
    asset = _first(assets, BuildBackend.METAL)
    return None if asset is None else (asset, "Metal: this is a Mac with Apple's own chip.")


def _first(assets: Sequence[Asset], backend: BuildBackend) -> Asset | None:
    return next((asset for asset in assets if asset.backend is backend), None)


def _title(asset: Asset) -> str:
    """How a build is named in a sentence: `CUDA 12.4`."""
    names = {
        BuildBackend.CUDA: "CUDA",
        BuildBackend.ROCM: "ROCm",
        BuildBackend.VULKAN: "Vulkan",
        BuildBackend.CPU: "the CPU build",
    }
    name = names.get(asset.backend, asset.backend.value)
    return f"{name} {dotted(asset.version)}" if asset.version else name


def _cards_text(machine: Machine) -> str:
    """The cards in words, equal ones counted: `2 × RTX 3090 and RTX 4090`."""
    names = [card.short_name for card in machine.cards]
    counted = [
        name if names.count(name) == 1 else f"{names.count(name)} × {name}"
        for name in dict.fromkeys(names)
    ]
    return " and ".join(filter(None, [", ".join(counted[:-1]), counted[-1]]))


def dotted(version: Version | None) -> str:
    """A version as text: `12.4`."""
    return ".".join(map(str, version or ()))
