"""Which ready-made build of llama.cpp suits a machine, and why."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from splitrig.core.engine_fit import Machine, Version, all_compiled, dotted, title, why_not
from splitrig.core.engine_release import Asset, BuildBackend, Release
from splitrig.core.errors import EngineError
from splitrig.core.gpu import Vendor


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


def choose_asset(release: Release, machine: Machine, wanted: str | None = None) -> Choice:
    """The build of this release for this machine.

    Args:
        release: The release.
        machine: What it has to run on.
        wanted: A backend (`vulkan`) or flavour (`cuda-12.4`) to take instead of the best one.

    Raises:
        EngineError: It has none for this system, or not the wanted one.
    """
    offered = [a for a in release.assets if (a.os, a.arch) == (machine.os, machine.arch)]
    if not offered:
        what = "only points at a build" if release.build is None else "has no build"
        raise EngineError(
            f"llama.cpp {release.tag} {what} for {machine.place}.",
            "Choose another build, or a llama-server of your own in Settings.",
        )
    if wanted is not None:
        return _chosen(release, offered, *_wanted(release, machine, offered, wanted))
    for _, find in _preferences(machine):
        found = find(offered, machine)
        if found is not None:
            return _chosen(release, offered, *found)
    flaw = next(filter(None, (why_not(asset, machine) for asset in offered)), "none fits")
    raise EngineError(
        f"No build of llama.cpp {release.tag} runs here: {flaw}.",
        "Build llama.cpp yourself, or use the one of your distribution.",
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
    for release in sorted((r for r in releases if r.build), key=lambda r: r.build or 0):
        try:
            choices.append(choose_asset(release, machine, wanted))
        except EngineError as error:
            failure = error
    if not choices:
        raise failure
    order = [backend for backend, _ in _preferences(machine)]
    return min(reversed(choices), key=lambda choice: _rank(order, choice.asset.backend))


def take_instead(choice: Choice, asset: Asset) -> Choice:
    """Another build of the same release, `asset`, instead of the best one."""
    offered = [choice.asset, *choice.alternatives]
    reason = f"{title(asset)} instead of {title(choice.asset)}."
    return _chosen(choice.release, offered, asset, reason)


def _rank(order: list[BuildBackend], backend: BuildBackend) -> int:
    return order.index(backend) if backend in order else len(order)


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
        flavours = ", ".join(asset.flavour for asset in offered)
        raise EngineError(
            f"llama.cpp {release.tag} has no {wanted[:40]} build for {machine.place}.",
            f"It offers {flavours}.",
        )
    best = max(named, key=lambda a: (why_not(a, machine) is None, _suits(a, machine)))
    flaw = why_not(best, machine)
    doubt = f" It may not run: {flaw}." if flaw is not None else ""
    return best, f"{best.flavour} was asked for.{doubt}"


def _suits(asset: Asset, machine: Machine) -> tuple[bool, bool, Version]:
    """Machine code for every card first, then a CUDA the driver surely runs, then the newest."""
    version = asset.version or ()
    sure = machine.cuda is not None and version <= machine.cuda
    return all_compiled(machine, version), sure, version


_Found = tuple[Asset, str] | None
_Find = Callable[[Sequence[Asset], Machine], _Found]


def _preferences(machine: Machine) -> list[tuple[BuildBackend, _Find]]:
    """What to try for this machine, the best first."""
    vulkan: tuple[BuildBackend, _Find] = (BuildBackend.VULKAN, _vulkan)
    cpu: tuple[BuildBackend, _Find] = (BuildBackend.CPU, _cpu)
    if machine.os == "macos":
        return [(BuildBackend.METAL, _metal), cpu]
    if not machine.cards:
        return [cpu]
    if machine.vendors == {Vendor.NVIDIA}:
        return [(BuildBackend.CUDA, _cuda), vulkan, cpu]
    if machine.vendors == {Vendor.AMD} and machine.os == "windows":
        return [(BuildBackend.ROCM, _rocm), vulkan, cpu]
    return [vulkan, cpu]


def _fitting(assets: Sequence[Asset], backend: BuildBackend, machine: Machine) -> list[Asset]:
    return [a for a in assets if a.backend is backend and why_not(a, machine) is None]


def _cuda(assets: Sequence[Asset], machine: Machine) -> _Found:
    fitting = _fitting(assets, BuildBackend.CUDA, machine)
    if not fitting:
        return None
    best = max(fitting, key=lambda asset: _suits(asset, machine))
    version, driver = best.version or (), machine.cuda
    newer = [
        asset
        for asset in assets
        if asset.backend is BuildBackend.CUDA and (asset.version or ()) > version
    ]
    flaw = next(filter(None, (why_not(asset, machine) for asset in newer)), None)
    if flaw is not None:
        why = flaw
    elif driver is None:
        why = "the driver does not say which CUDA it offers, and this runs on most"
    elif version > driver:
        why = f"the driver offers CUDA {dotted(driver)} and this build is compiled for the cards"
    else:
        why = f"the driver offers CUDA {dotted(driver)}"
    return best, f"{title(best)} for {machine.cards_text}: {why}."


def _rocm(assets: Sequence[Asset], machine: Machine) -> _Found:
    fitting = _fitting(assets, BuildBackend.ROCM, machine)
    if not fitting:
        return None
    best = max(fitting, key=lambda asset: (asset.version is None, asset.version or ()))
    if best.version is None:
        return best, f"HIP for {machine.cards_text}: it brings AMD's libraries with it."
    why = f"ROCm {dotted(machine.rocm)} is installed"
    return best, f"{title(best)} for {machine.cards_text}: {why}."


def _vulkan(assets: Sequence[Asset], machine: Machine) -> _Found:
    fitting = _fitting(assets, BuildBackend.VULKAN, machine)
    if not fitting:
        return None
    why = _why_vulkan(assets, machine)
    return fitting[0], f"Vulkan for {machine.cards_text}: {why}."


def _why_vulkan(assets: Sequence[Asset], machine: Machine) -> str:
    """Why not what the cards' vendor offers."""
    if len(machine.vendors) > 1:
        makers = " and ".join(sorted(vendor.value for vendor in machine.vendors))
        return f"only Vulkan drives cards of {makers} in one engine"
    if machine.vendors == {Vendor.NVIDIA}:
        flaws = [why_not(a, machine) for a in assets if a.backend is BuildBackend.CUDA]
        return next(filter(None, flaws), "this release has no CUDA build for this system")
    if machine.vendors == {Vendor.AMD}:
        flaws = [why_not(a, machine) for a in assets if a.backend is BuildBackend.ROCM]
        return next(filter(None, flaws), "it runs with the driver that is there")
    return "it runs with the cards' own driver"


def _cpu(assets: Sequence[Asset], machine: Machine) -> _Found:
    fitting = _fitting(assets, BuildBackend.CPU, machine)
    if not fitting:
        return None
    if not machine.cards:
        return fitting[0], "CPU: no graphics card was found."
    return fitting[0], f"CPU: this release has no build for {machine.cards_text}."


def _metal(assets: Sequence[Asset], machine: Machine) -> _Found:
    fitting = _fitting(assets, BuildBackend.METAL, machine)
    return (fitting[0], "Metal: this is a Mac with Apple's own chip.") if fitting else None
