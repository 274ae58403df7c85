"""What is worth changing about a rig: each rule a number, what it costs, and a way out."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from splitrig.core.gpu import GpuInfo, GpuSample, Note, Rig, Severity, Vendor, names_among
from splitrig.core.link import BusyLinks, missing_lanes, telling_link
from splitrig.core.plan import DevicePlan, Plan
from splitrig.core.split_mode import WITHIN
from splitrig.core.units import GIB, gib_text, number_text

VRAM_GAP_BYTES = GIB
"""Smaller differences are firmware's and ECC's, not another size of card."""
PACE_GAP = 1.15
"""From this ratio of bandwidths on, the slower card is felt."""
MARGIN_BYTES = 256 * 1024**2
"""Less free memory than this can be taken by a browser window at any time."""
CAP_TOLERANCE = 0.02
"""A limit this little below the default is rounding."""
_LANE_GBPS = {1: 0.25, 2: 0.5, 3: 0.985, 4: 1.969, 5: 3.938, 6: 7.563}
"""Bytes per second of one PCIe lane after coding, GB/s (PCI-SIG)."""


@dataclass(frozen=True, slots=True)
class _Card:
    """A card that answers, with the name it goes by among the others."""

    gpu: GpuInfo
    sample: GpuSample | None
    name: str

    @property
    def vram_bytes(self) -> int | None:
        known = self.gpu.vram_total_bytes
        return known if known is not None or self.sample is None else self.sample.vram_total_bytes


def advise(rig: Rig, plan: Plan | None = None, links: BusyLinks | None = None) -> tuple[Note, ...]:
    """Everything worth saying about these cards, the gravest first.

    Lost cards are left out (their source tells of them), and so is a processor's own graphics
    beside real cards, because engines leave it out too.

    Args:
        rig: The cards and their readings.
        plan: The plan in view; rules that compare cards then look at its cards only, and each
            card is checked for room.
        links: The links seen under load before; without it they are judged by this reading alone.

    Returns:
        Notes with the ids `low-vram`, `power-cap`, `narrow-link`, `slow-link`, `vram-mismatch`,
        `bandwidth-mismatch`, `architecture-mismatch` and `vendor-mismatch`.
    """
    cards = _cards(rig)
    together = _planned(cards, plan)
    notes = [
        *(_low_vram(plan, cards) if plan is not None else ()),
        *(note for card in cards for note in _power_cap(card)),
        *(note for card in cards for note in _link(card, links)),
        *_vram_mismatch(together),
        *_bandwidth_mismatch(together),
        *_vendor_mismatch(together),
        *_architecture_mismatch(together),
    ]
    return tuple(sorted(notes, key=lambda note: _RANK[note.severity]))


_RANK = {Severity.DANGER: 0, Severity.WARNING: 1, Severity.INFO: 2}


def _cards(rig: Rig) -> tuple[_Card, ...]:
    names = names_among(rig.gpus)
    cards = []
    for gpu in rig.gpus:
        sample = rig.samples.get(gpu.id)
        if sample is not None and sample.lost:
            continue
        cards.append(_Card(gpu, sample, names[gpu.id]))
    discrete = tuple(card for card in cards if not card.gpu.integrated)
    return discrete or tuple(cards)


def _planned(cards: Sequence[_Card], plan: Plan | None) -> tuple[_Card, ...]:
    """The cards the plan uses; all of them when it speaks of other devices (RPC, Vulkan)."""
    ids = set() if plan is None else {device.id for device in plan.devices}
    return tuple(card for card in cards if card.gpu.id in ids) or tuple(cards)


def _vram_mismatch(cards: Sequence[_Card]) -> Iterator[Note]:
    sizes = {card.name: card.vram_bytes for card in cards if card.vram_bytes}
    if len(sizes) < 2 or max(sizes.values()) - min(sizes.values()) < VRAM_GAP_BYTES:
        return
    total, usable = sum(sizes.values()), len(sizes) * min(sizes.values())
    smallest = min(sizes, key=lambda name: sizes[name])
    yield Note(
        id="vram-mismatch",
        severity=Severity.WARNING,
        message=f"{gib_text(total - usable)} GiB stay unused when every card gets the same share",
        detail=f"The {smallest} has {gib_text(sizes[smallest])} GiB, so an engine that splits "
        f"evenly (vLLM's tensor parallelism) can use {gib_text(usable)} of {gib_text(total)} GiB. "
        f"llama.cpp can split by size: {_ratio(list(sizes.values()))}.",
        gpu_ids=tuple(card.gpu.id for card in cards if card.name in sizes),
    )


def _ratio(sizes: Sequence[int]) -> str:
    return " : ".join(str(max(round(size / GIB), 1)) for size in sizes)


def _bandwidth_mismatch(cards: Sequence[_Card]) -> Iterator[Note]:
    speeds = {card.name: card.gpu.bandwidth_gbps for card in cards if card.gpu.bandwidth_gbps}
    if len(speeds) < 2 or max(speeds.values()) < PACE_GAP * min(speeds.values()):
        return
    slow = min(speeds, key=lambda name: speeds[name])
    fast = max(speeds, key=lambda name: speeds[name])
    # Each byte is read once per token, so an even split reads at the harmonic mean.
    even = len(speeds) / sum(1 / speed for speed in speeds.values())
    loss_pct = 100 * (1 - even / speeds[fast])
    yield Note(
        id="bandwidth-mismatch",
        severity=Severity.WARNING,
        message=f"{number_text(speeds[slow])} GB/s on the {slow} against "
        f"{number_text(speeds[fast])} GB/s on the {fast}: the slower card sets the pace",
        detail=f"A layer on the {slow} takes {number_text(speeds[fast] / speeds[slow], 2)} times "
        f"as long. An even split answers at most as fast as one card with {number_text(even)} "
        f"GB/s, {number_text(loss_pct)} % below the {fast} alone. Fill the {fast} first and give "
        f"the {slow} only what does not fit.",
        gpu_ids=tuple(card.gpu.id for card in cards if card.name in speeds),
    )


def _vendor_mismatch(cards: Sequence[_Card]) -> Iterator[Note]:
    vendors: dict[Vendor, str] = {}
    for card in cards:
        vendors.setdefault(card.gpu.vendor, card.name)
    if len(vendors) < 2:
        return
    listed = " and ".join(f"{vendor} ({name})" for vendor, name in vendors.items())
    yield Note(
        id="vendor-mismatch",
        severity=Severity.WARNING,
        message=f"{len(vendors)} makers of cards: {listed}",
        detail="An engine built for CUDA or ROCm sees the cards of one maker only. The Vulkan "
        "build of llama.cpp splits across all of them.",
        gpu_ids=tuple(card.gpu.id for card in cards),
    )


def _architecture_mismatch(cards: Sequence[_Card]) -> Iterator[Note]:
    """Generations of one maker's cards; across makers the vendor rule says more."""
    for vendor in dict.fromkeys(card.gpu.vendor for card in cards):
        same = [card for card in cards if card.gpu.vendor is vendor and card.gpu.architecture]
        names: dict[str | None, _Card] = {}
        for card in same:
            names.setdefault(card.gpu.architecture, card)
        if len(names) < 2:
            continue
        listed = " and ".join(f"{name} ({card.name})" for name, card in names.items())
        yield Note(
            id="architecture-mismatch",
            severity=Severity.WARNING,
            message=f"{len(names)} chip generations: {listed}",
            detail=_oldest_text(list(names.values())),
            gpu_ids=tuple(card.gpu.id for card in same),
        )


def _oldest_text(cards: Sequence[_Card]) -> str:
    """Which card holds the others back; by compute capability, which only NVIDIA's have."""
    numbered = [c for c in cards if c.gpu.vendor is Vendor.NVIDIA and _capability(c) is not None]
    way_out = "Give it the smaller share, or none for a model that fits without it."
    if len(numbered) < 2:
        return (
            "The oldest one decides which kernels and number formats all of them can use, and "
            f"reads prompts more slowly. {way_out}"
        )
    old = min(numbered, key=lambda card: _capability(card) or (0, 0))
    new = max(numbered, key=lambda card: _capability(card) or (0, 0))
    return (
        f"The {old.name} has compute capability {old.gpu.compute_capability}, the {new.name} "
        f"{new.gpu.compute_capability}: an engine that needs the same kernels and number formats "
        f"on every card uses those of the {old.name}. {way_out}"
    )


def _capability(card: _Card) -> tuple[int, int] | None:
    major, _, minor = (card.gpu.compute_capability or "").partition(".")
    return (int(major), int(minor)) if major.isdecimal() and minor.isdecimal() else None


def _link(card: _Card, links: BusyLinks | None) -> Iterator[Note]:
    """A link below what the card can do: lanes and generation."""
    gpu = card.gpu
    if card.sample is None:
        return
    link = telling_link(gpu, card.sample, links)
    lanes, most = link.lanes, gpu.pcie_lanes_max
    if missing_lanes(gpu, link) and lanes and most:
        yield Note(
            id="narrow-link",
            # Two cards on eight lanes each are how consumer boards are built, and cost little.
            severity=Severity.WARNING if lanes * 2 < most else Severity.INFO,
            message=f"{card.name} runs on {lanes} of its {most} PCIe lanes",
            detail=_link_cost(card, gpu.pcie_gen_max, gpu.pcie_gen_max, lanes, most)
            + " A riser, a shared M.2 slot or the wrong slot is the usual cause; the mainboard's "
            f"manual names the slot with {most} lanes.",
            gpu_ids=(gpu.id,),
        )
    gen, best = link.gen, gpu.pcie_gen_max
    if gen is not None and best is not None and gen < best:
        width = lanes or most or 16
        yield Note(
            id="slow-link",
            severity=Severity.INFO,
            message=f"{card.name} runs at PCIe {gen}.0 under load; it can do {best}.0",
            detail=_link_cost(card, gen, best, width, width)
            + " The mainboard or its setup limits it; a riser made for an older generation does so "
            "too.",
            gpu_ids=(gpu.id,),
        )


def _link_cost(card: _Card, gen: int | None, best: int | None, lanes: int, most: int) -> str:
    """What it costs to fill the card, in seconds where the speeds are known."""
    effect = "Answers lose little in a layer split and much in a tensor split."
    now, could = _LANE_GBPS.get(gen or 0), _LANE_GBPS.get(best or 0)
    if now is None or could is None or card.vram_bytes is None:
        return f"Loading takes {number_text(most / lanes, 1)} times as long. {effect}"
    slow_s = card.vram_bytes / 1e9 / (now * lanes)
    fast_s = card.vram_bytes / 1e9 / (could * most)
    return (
        f"Filling its {gib_text(card.vram_bytes)} GiB takes at least {number_text(slow_s, 1)} s "
        f"instead of {number_text(fast_s, 1)} s. {effect}"
    )


def _power_cap(card: _Card) -> Iterator[Note]:
    default = card.gpu.power_limit_default_w
    limit = None if card.sample is None else card.sample.power_limit_w
    # A notebook's firmware moves the limit by itself all the time.
    if not default or not limit or "laptop" in card.gpu.name.lower():
        return
    if limit >= default * (1 - CAP_TOLERANCE):
        return
    below_pct = 100 * (1 - limit / default)
    way_out = "Raise it with the maker's tool if that is not wanted."
    if card.gpu.vendor is Vendor.NVIDIA:
        target = card.gpu.pci or card.gpu.uuid or card.gpu.id
        way_out = f"As administrator: nvidia-smi -i {target} -pl {round(default)}"
    yield Note(
        id="power-cap",
        severity=Severity.WARNING,
        message=f"{card.name} is held at {number_text(limit)} W; its default is "
        f"{number_text(default)} W",
        detail=f"That is {number_text(below_pct)} % less power: prompts are read more slowly, and "
        f"answers too when the cut is deep. {way_out}",
        gpu_ids=(card.gpu.id,),
    )


def _low_vram(plan: Plan, cards: Sequence[_Card]) -> Iterator[Note]:
    names = {card.gpu.id: card.name for card in cards}
    for device in plan.devices:
        if device.n_layers == 0 or device.free_bytes >= MARGIN_BYTES:
            continue
        name = names.get(device.id, device.name)
        over = device.free_bytes < 0
        yield Note(
            id="low-vram",
            severity=Severity.DANGER if over else Severity.WARNING,
            message=f"{name} is {_missing_text(-device.free_bytes)} GiB over"
            if over
            else f"{number_text(device.free_bytes / 1024**2)} MiB stay free on {name}",
            detail=("" if over else "A browser or a game can take that while the engine loads. ")
            + _relief(plan, device, names),
            gpu_ids=(device.id,),
        )


def _missing_text(n_bytes: int) -> str:
    """GiB with one decimal; what is missing is never called 0.0."""
    return number_text(max(n_bytes / GIB, 0.1), 1)


def _relief(plan: Plan, device: DevicePlan, names: dict[str, str]) -> str:
    """How many layers to move and where to; else what makes the whole smaller.

    Both cards keep the margin, so that following the advice leads to no other one.
    """
    missing = MARGIN_BYTES - device.free_bytes
    per_layer = (device.model_bytes + device.kv_bytes) / max(device.n_layers, 1)
    n_layers = math.ceil(missing / per_layer) if per_layer else 0
    others = [d for d in plan.devices if d.id != device.id]
    target = max(others, key=lambda d: d.free_bytes, default=None)
    room = 0 if target is None else target.free_bytes - MARGIN_BYTES
    if plan.split_mode in WITHIN:
        # a share moves, not layers; how much room that makes only another plan can tell
        return "Give it a smaller share, take a shorter context, or fewer layers on the cards."
    if target is not None and 0 < n_layers <= device.n_layers and n_layers * per_layer <= room:
        layers = "1 layer" if n_layers == 1 else f"{n_layers} layers"
        return f"Move {layers} to the {names.get(target.id, target.name)}."
    return "No other card has room for it: take a shorter context, or fewer layers on the cards."
