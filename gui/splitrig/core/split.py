"""The split: from what the user types or drags to shares, and back."""

import math
import re
from collections.abc import Sequence
from ctypes import c_float
from decimal import Decimal

from splitrig.core.errors import SplitError
from splitrig.core.layer_map import layer_counts, layer_devices
from splitrig.core.units import GIB

MOST_CARDS = 15
"""Shares llama.cpp takes (LLAMA_MAX_DEVICES − 1 in src/llama.cpp)."""
MOST_SHARE = 1e6
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")
_WAY_OUT = "Write one number for each card, such as 3,1 or 12.4 : 7.6."


def parse_split(text: str, n_cards: int) -> tuple[float, ...]:
    """Read `3,1`, `12.4 : 7.6`, `62 38` or `3/1` as one share for each card.

    Raises:
        SplitError: A number is missing, too many, negative or no number; or all are 0.
    """
    shares = read_shares(text)
    if n_cards > MOST_CARDS:
        raise SplitError(
            f"llama.cpp splits over at most {MOST_CARDS} cards, not {n_cards}.",
            "Leave some cards out.",
        )
    if len(shares) < n_cards:
        missing = _ordinal(len(shares))
        raise SplitError(
            f"A split needs one number for each card; the {missing} is missing.", _WAY_OUT
        )
    if len(shares) > n_cards:
        raise SplitError(
            f"{len(shares)} numbers for {n_cards} card{'s' if n_cards > 1 else ''}; "
            f"the {_ordinal(n_cards)} is one too many.",
            _WAY_OUT,
        )
    check_split(shares)
    return shares


def read_shares(text: str) -> tuple[float, ...]:
    """Read a split before it is known for how many cards it is.

    Raises:
        SplitError: It is empty, or a share is negative, too large or no number.
    """
    # a comma between digits separates; '12,4 : 7,6' is not guessed at but counted as four
    parts = [part for part in re.split(r"[\s,:;/]+", text) if part]
    if not parts:
        raise SplitError("The split is empty.", _WAY_OUT)
    return tuple(_share(part) for part in parts)


def check_split(shares: Sequence[float]) -> None:
    """Refuse shares that place no layer anywhere.

    Raises:
        SplitError: A share is negative or not finite, or all are 0.
    """
    for share in shares:
        if not math.isfinite(share) or share < 0:
            raise SplitError(f"A share of {share:g} is not possible.", _WAY_OUT)
    if sum(c_float(share).value for share in shares) == 0:
        raise SplitError(
            f"A split of {','.join(f'{s:g}' for s in shares)} gives no card any layer.",
            "Give at least one card a number above 0.",
        )


def _share(part: str) -> float:
    try:
        share = float(part)
    except ValueError:
        raise SplitError(f"'{part}' is not a number.", _WAY_OUT) from None
    if math.isnan(share):
        raise SplitError(f"'{part}' is not a number.", _WAY_OUT)
    if share < 0:
        raise SplitError(f"A share of {part} is not possible.", _WAY_OUT)
    if share > MOST_SHARE:
        raise SplitError(f"'{part}' is too large for a share.", _WAY_OUT)
    return share


def _ordinal(index: int) -> str:
    return _ORDINALS[index] if index < len(_ORDINALS) else f"{index + 1}th"


def split_text(shares: Sequence[float]) -> str:
    """Shares as shown: `12.4 : 7.6`; shares in bytes are shown in GiB."""
    return " : ".join(f"{share:.4g}" for share in _in_gib(shares))


def split_words(shares: Sequence[float]) -> tuple[str, ...]:
    """Shares as llama.cpp takes them: `12.4` and `7.6`, short, but exact in 32-bit floats.

    Those in bytes become GiB: a power of two changes no ratio, and none is written as `2.48e+10`.
    """
    return tuple(f"{Decimal(f'{share:.9g}'):f}" for share in _in_gib(shares))


def split_argument(shares: Sequence[float]) -> str:
    """The same with commas between them, as llama-server takes them."""
    return ",".join(split_words(shares))


def _in_gib(shares: Sequence[float]) -> tuple[float, ...]:
    """Shares that are bytes as GiB, others as they are."""
    unit = GIB if max(shares, default=0) > MOST_SHARE else 1
    return tuple(share / unit for share in shares)


def even_split(n_cards: int) -> tuple[float, ...]:
    """The same share for every card."""
    return (1.0,) * n_cards


def auto_split(free_bytes: Sequence[int]) -> tuple[float, ...]:
    """Shares by free memory, as the engine takes them when none are given."""
    shares = tuple(float(max(n, 0)) for n in free_bytes)
    return shares if any(shares) else even_split(len(shares))


def shares_of(
    free_bytes: Sequence[int], split: Sequence[float] | None, *, alone: bool = False
) -> tuple[float, ...]:
    """One share for each card: those given, or by free memory.

    Args:
        free_bytes: Of each card.
        split: Shares of the first cards; the others get none.
        alone: Everything goes to the first card.

    Raises:
        SplitError: The split gives no card any layer, or has more shares than there are cards.
    """
    n_cards = len(free_bytes)
    if not n_cards:
        return ()
    if alone:
        return (1.0, *(0.0,) * (n_cards - 1))
    if split is None:
        return auto_split(free_bytes)
    check_split(split)
    if len(split) > n_cards:
        raise SplitError(
            f"The split has {len(split)} shares for {n_cards} cards.",
            "Give one number for each card.",
        )
    return (*split, *(0.0,) * (n_cards - len(split)))


def split_for_layers(counts: Sequence[int]) -> tuple[float, ...]:
    """Shares that give each card exactly this many layers, the output layer counted.

    Whole numbers put every edge exactly on a layer, where rounding decides; half a layer less
    on the first edge and more on the last keeps every edge between two layers. Cards with no
    layer keep a share of 0.

    Args:
        counts: Layers per card; they add up to all layers of the model that are offloaded.
    """
    total = sum(counts)
    if total <= 0 or any(n < 0 for n in counts):
        raise SplitError("No card has a layer.", "Give at least one card a layer.")
    shares = tuple(float(n) for n in counts)
    if _holds(shares, counts):
        return shares
    used = [i for i, n in enumerate(counts) if n]
    moved = list(shares)
    moved[used[0]] -= 0.5
    moved[used[-1]] += 0.5
    return tuple(moved)


def _holds(shares: Sequence[float], counts: Sequence[int]) -> bool:
    total = sum(counts)
    return layer_counts(layer_devices(shares, total - 1, total), len(counts)) == tuple(counts)


def counts_for_split(shares: Sequence[float], n_slots: int) -> tuple[int, ...]:
    """Layers per card that these shares give, of `n_slots` offloaded layers (output counted)."""
    return layer_counts(layer_devices(shares, n_slots - 1, n_slots), len(shares))


def move_handle(counts: Sequence[int], handle: int, delta: int) -> tuple[int, ...]:
    """Move `delta` layers across the handle between cards `handle` and `handle + 1`.

    Positive moves layers to the left card. Only the two neighbours change; neither goes below 0.
    """
    left, right = counts[handle], counts[handle + 1]
    step = max(-left, min(delta, right))
    moved = list(counts)
    moved[handle], moved[handle + 1] = left + step, right - step
    return tuple(moved)
