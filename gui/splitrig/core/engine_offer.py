"""What an official release offers a machine, ready to be shown: the best build and the others."""

from collections.abc import Sequence
from dataclasses import dataclass

from splitrig.core.engine_choice import Choice, choose_asset, take_instead
from splitrig.core.engine_fit import Machine, why_not
from splitrig.core.engine_release import Asset, BuildBackend, Release
from splitrig.core.errors import EngineError
from splitrig.core.gpu import Vendor

_FOR = {
    BuildBackend.CUDA: Vendor.NVIDIA,
    BuildBackend.ROCM: Vendor.AMD,
    BuildBackend.SYCL: Vendor.INTEL,
    BuildBackend.OPENVINO: Vendor.INTEL,
}
"""Whose cards alone a build can use."""
MOST_EARLIER = 6
"""Builds besides the best one's that are offered; a day brings several."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A build that can be fetched.

    Attributes:
        choice: What to fetch.
        flaw: A sentence on why it is not for this machine, or may not be; `None` when it is.
    """

    choice: Choice
    flaw: str | None = None

    @property
    def unchecked(self) -> tuple[str, ...]:
        """Names of its files for which GitHub names no checksum."""
        return tuple(file.name for file in self.choice.files if file.sha256 is None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offers:
    """What can be fetched for a machine.

    Attributes:
        best: The build for it.
        kinds: What else the best one's release has for this system.
        builds: The best of other releases, the newest first.
    """

    best: Offer
    kinds: tuple[Offer, ...] = ()
    builds: tuple[Offer, ...] = ()


def offers_of(releases: Sequence[Release], choice: Choice, machine: Machine) -> Offers:
    """Everything to offer once `choice` was made among `releases`.

    Args:
        releases: The newest ones.
        choice: The build for this machine.
        machine: What it has to run on.
    """
    kinds = [
        Offer(choice=take_instead(choice, asset), flaw=_flaw(asset, machine))
        for asset in choice.alternatives
    ]
    numbered = sorted((r for r in releases if r.build), key=lambda r: r.build or 0, reverse=True)
    builds: list[Offer] = []
    for release in numbered:
        if release.tag == choice.release.tag or len(builds) == MOST_EARLIER:
            continue
        try:
            builds.append(Offer(choice=choose_asset(release, machine)))
        except EngineError:
            continue  # still being uploaded, or of a kind that does not run here
    return Offers(
        best=Offer(choice=choice),
        kinds=tuple(sorted(kinds, key=lambda offer: offer.flaw is not None)),
        builds=tuple(builds),
    )


def _flaw(asset: Asset, machine: Machine) -> str | None:
    """Why a build is not for this machine, or may not be."""
    vendor = _FOR.get(asset.backend)
    if machine.cards and vendor is not None and vendor not in machine.vendors:
        return f"It uses none of the cards: it is for those of {vendor}."
    if machine.cards and asset.backend is BuildBackend.CPU:
        return "It uses none of the cards."
    why = why_not(asset, machine)
    return None if why is None else f"It may not run: {why}."
