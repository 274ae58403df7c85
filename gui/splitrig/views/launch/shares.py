"""The split that was chosen: the user's own, or one that follows free memory."""

from collections.abc import Sequence

from splitrig.core.plan import PlanDevice
from splitrig.core.split import auto_split, check_split, even_split
from splitrig.core.units import GIB

AUTO_DRIFT = 0.02
"""Auto follows free memory again when it has changed by this share of the card."""


class Shares:
    """A share for each card that takes part.

    Attributes:
        auto: The split follows free memory.
        values: Share per card, in the order of the devices; not normalised.
    """

    def __init__(self) -> None:
        self.auto = True
        self.values: tuple[float, ...] = ()
        self._own: tuple[tuple[str, ...], tuple[float, ...]] | None = None
        self._settled_for: tuple[PlanDevice, ...] = ()

    def take(self, shares: Sequence[float], devices: Sequence[PlanDevice]) -> None:
        """Take the user's split.

        Raises:
            SplitError: It gives no card a layer.
        """
        check_split(shares)
        self._settled_for = tuple(devices)
        self.values = tuple(shares)
        self._own = (tuple(device.id for device in devices), self.values)
        self.auto = False

    def take_even(self, devices: Sequence[PlanDevice]) -> None:
        """The same share for every card."""
        self.take(even_split(len(devices)), devices)

    def follow(self, devices: Sequence[PlanDevice]) -> None:
        """Follow free memory from now on."""
        self.auto, self._own = True, None
        self._take_auto(devices)

    def settle(self, devices: Sequence[PlanDevice]) -> None:
        """A split of other cards no longer holds; Auto follows free memory.

        The user's own one is back as soon as its cards are, such as when an engine has ended.
        """
        ids = tuple(device.id for device in devices)
        if ids != tuple(device.id for device in self._settled_for):
            self.auto = True
            self._take_auto(devices)
            if self._own is not None and self._own[0] == ids:
                self.auto, self.values = False, self._own[1]
        elif self.auto and self._drifted(devices):
            self._take_auto(devices)

    def _take_auto(self, devices: Sequence[PlanDevice]) -> None:
        self._settled_for = tuple(devices)
        self.values = by_free_memory(devices)

    def _drifted(self, devices: Sequence[PlanDevice]) -> bool:
        return any(
            abs(now.free_bytes - then.free_bytes) > AUTO_DRIFT * (now.total_bytes or now.free_bytes)
            for now, then in zip(devices, self._settled_for, strict=True)
        )


def by_free_memory(devices: Sequence[PlanDevice]) -> tuple[float, ...]:
    """Shares by free memory, in GiB with two decimals: short, and exact enough for layers."""
    free = auto_split([d.free_bytes - d.overhead_bytes for d in devices])
    scale = GIB if max(free, default=0) > GIB else 1
    return tuple(round(share / scale, 2) for share in free)
