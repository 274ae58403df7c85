"""Where the handles of the split bar stand, and what a position of the mouse means."""

from collections.abc import Sequence
from itertools import accumulate

MIN_CARD_PX = 12.0
"""A card without a layer keeps this much, so that its handle can be pulled back."""
SLOT_PX = 14.0
"""A handle, 12 px wide, with 1 px of air on each side."""


def edges(shares: Sequence[float]) -> list[float]:
    """Right edge of each card on a scale from 0 to 1."""
    total = sum(shares) or 1.0
    return [s / total for s in accumulate(shares)]


def handle_centres(shares: Sequence[float], width_px: float) -> list[float]:
    """Centre of the handle behind each card but the last, px; no card is narrower than 12 px."""
    n_handles = len(shares) - 1
    wanted = [e * width_px for e in edges(shares)[:-1]]
    step = MIN_CARD_PX + SLOT_PX
    first = MIN_CARD_PX + SLOT_PX / 2
    centres: list[float] = []
    for index, centre in enumerate(wanted):
        least = centres[-1] + step if centres else first
        most = width_px - first - (n_handles - 1 - index) * step
        centres.append(max(min(centre, most), least))
    return centres


def card_spans(shares: Sequence[float], width_px: float) -> list[tuple[float, float]]:
    """Left and right end of each card's area, px, between the handles."""
    centres = handle_centres(shares, width_px)
    lefts = [0.0, *(c + SLOT_PX / 2 for c in centres)]
    rights = [*(c - SLOT_PX / 2 for c in centres), width_px]
    return list(zip(lefts, rights, strict=True))


def layers_left_of(x_px: float, width_px: float, counts: Sequence[int], handle: int) -> int:
    """Layers the left neighbour of `handle` gets when its handle is dropped at `x_px`."""
    total = sum(counts)
    boundary = round(x_px / max(width_px, 1.0) * total)
    pair = counts[handle] + counts[handle + 1]
    return max(0, min(boundary - sum(counts[:handle]), pair))


def free_shares(
    x_px: float, width_px: float, shares: Sequence[float], handle: int
) -> tuple[float, ...]:
    """Shares when the handle is dropped at `x_px` without snapping; three decimals."""
    total = sum(shares)
    before = sum(shares[:handle])
    pair = shares[handle] + shares[handle + 1]
    left = max(0.0, min(x_px / max(width_px, 1.0) * total - before, pair))
    moved = [float(s) for s in shares]
    moved[handle] = round(left, 3)
    moved[handle + 1] = round(pair - moved[handle], 3)
    return tuple(moved)


def share_percents(shares: Sequence[float]) -> list[int]:
    """Whole per cents that add up to 100 (largest remainders)."""
    total = sum(shares) or 1.0
    exact = [100 * s / total for s in shares]
    whole = [int(e) for e in exact]
    rest = 100 - sum(whole)
    order = sorted(range(len(exact)), key=lambda i: whole[i] - exact[i])
    for index in order[:rest]:
        whole[index] += 1
    return whole
