"""Cards by number, UUID or PCI address, and what is said of names that fit none."""

import pytest

from splitrig.core.card_choice import named_cards
from splitrig.core.errors import SplitRigError
from splitrig.core.gpu import GpuInfo, Vendor


def card(bus: int, vendor: Vendor = Vendor.NVIDIA, *, integrated: bool = False) -> GpuInfo:
    pci = f"0000:{bus:02x}:00.0"
    uuid = f"GPU-{bus:08x}-5711-0000" if vendor is Vendor.NVIDIA else None
    return GpuInfo(
        id=uuid or pci, uuid=uuid, pci=pci, vendor=vendor, name=f"{vendor} Card {bus}",
        integrated=integrated, source="test",
    )  # fmt: skip


AMD, FIRST, SECOND = card(1, Vendor.AMD), card(2), card(0x0A)
INSIDE = card(0x0C, Vendor.AMD, integrated=True)
CARDS = (AMD, FIRST, SECOND, INSIDE)


@pytest.mark.parametrize(
    ("text", "cards"),
    [
        ("0", [FIRST]),
        ("1,0", [SECOND, FIRST]),
        (" 1 , 0 ", [SECOND, FIRST]),
        ("GPU-0000000a-5711-0000", [SECOND]),
        ("gpu-0000000A", [SECOND]),
        ("0000:0a:00.0", [SECOND]),
        ("00000000:0A:00.0", [SECOND]),
        ("02:00.0,01:00.0", [FIRST, AMD]),
    ],
)
def test_cards_are_found_by_every_name_they_have(text: str, cards: list[GpuInfo]) -> None:
    assert named_cards(text, CARDS) == tuple(gpu.id for gpu in cards)


def test_without_nvidia_all_cards_count() -> None:
    other = card(3, Vendor.AMD)
    assert named_cards("1,0", (AMD, other, INSIDE)) == (other.id, AMD.id)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("2", "There is no card '2' here."),
        ("-1", "There is no card '-1' here."),
        ("9" * 5000, "There is no card '999"),
        ("²", "There is no card '²' here."),
        ("RTX", "There is no card 'RTX' here."),
        ("0c:00.0", "There is no card '0c:00.0' here."),
        ("GPU-0000", "More than one card begins with 'GPU-0000'."),
        ("0,02:00.0", "--gpus names Card 2 at 0000:02:00.0 twice."),
        (",", "--gpus names no card."),
    ],
)
def test_a_name_that_fits_no_single_card_is_one_sentence(text: str, words: str) -> None:
    with pytest.raises(SplitRigError) as caught:
        named_cards(text, CARDS)
    assert caught.value.message.startswith(words)
    assert caught.value.hint


def test_the_way_out_names_all_cards() -> None:
    with pytest.raises(SplitRigError) as caught:
        named_cards("7", CARDS)
    assert caught.value.hint == (
        "Name cards by number, UUID or PCI address: 0 (Card 2 at 0000:02:00.0), "
        "1 (Card 10 at 0000:0a:00.0), 0000:01:00.0 (Card 1)."
    )
    with pytest.raises(SplitRigError, match="no graphics card to choose from"):
        named_cards("0", (INSIDE,))
