"""What a card's PCIe link says about its slot, and when it says it."""

from dataclasses import dataclass, replace

from splitrig.core.gpu import GpuInfo, GpuSample, Rig, Vendor

BUSY_FROM_PCT = 50
"""A link slows down at idle, and a desktop alone can load a card that idles at low clocks by a
third; its speed says something only from this load on."""
REMEMBERED_S = 600.0
"""What was seen under load holds this long, so that it does not go between two answers."""


@dataclass(frozen=True, slots=True)
class Link:
    """Generation and lanes of a link; `None` where nothing can be said."""

    gen: int | None = None
    lanes: int | None = None


class BusyLinks:
    """The best link of each card seen under load in the last ten minutes.

    The best, because a card that has just begun to work still runs at the speed of its idle link.
    """

    def __init__(self) -> None:
        self._seen: dict[str, dict[Link, float]] = {}

    def add(self, rig: Rig) -> None:
        """Take a reading into account; readings come in the order of their time."""
        for gpu_id, sample in rig.samples.items():
            if is_busy(sample):
                link = Link(sample.pcie_gen, sample.pcie_lanes)
                self._seen.setdefault(gpu_id, {})[link] = rig.time_s
        since_s = rig.time_s - REMEMBERED_S
        for links in self._seen.values():
            for link in [link for link, seen_s in links.items() if seen_s < since_s]:
                del links[link]

    def best(self, gpu_id: str) -> Link:
        """Highest generation and most lanes of one card, not necessarily of one moment."""
        links = self._seen.get(gpu_id, {})
        return Link(
            max((link.gen for link in links if link.gen), default=None),
            max((link.lanes for link in links if link.lanes), default=None),
        )


def is_busy(sample: GpuSample) -> bool:
    """The card works enough for its link to run at full speed."""
    load = sample.utilization_pct
    return load is not None and load >= BUSY_FROM_PCT


def telling_link(gpu: GpuInfo, sample: GpuSample, links: BusyLinks | None = None) -> Link:
    """The link as far as it tells something about the slot.

    NVIDIA's driver keeps the lanes at idle and lowers the generation only. amdgpu lowers both,
    so the lanes of other makers' cards count under load only.

    Args:
        gpu: The card.
        sample: Its last reading.
        links: What was seen before; without it the one reading is judged.
    """
    now = Link(sample.pcie_gen or None, sample.pcie_lanes or None)
    of_this_reading = now if is_busy(sample) else Link()
    seen = of_this_reading if links is None else links.best(gpu.id)
    return replace(seen, lanes=now.lanes) if gpu.vendor is Vendor.NVIDIA else seen


def missing_lanes(gpu: GpuInfo, link: Link) -> bool:
    """Whether a telling link has fewer lanes than the card can use."""
    most = gpu.pcie_lanes_max
    return link.lanes is not None and most is not None and link.lanes < most
