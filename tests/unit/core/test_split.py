from ctypes import c_float

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitrig.core.errors import SplitError
from splitrig.core.split import (
    auto_split,
    counts_for_split,
    even_split,
    move_handle,
    parse_split,
    shares_of,
    split_argument,
    split_for_layers,
    split_text,
    split_words,
)


@pytest.mark.parametrize(
    ("text", "shares"),
    [
        ("3,1", (3, 1)),
        ("12.4 : 7.6", (12.4, 7.6)),
        ("62 38", (62, 38)),
        ("3:1", (3, 1)),
        ("3/1", (3, 1)),
        (" 1 , 0 ", (1, 0)),
    ],
)
def test_every_way_of_writing_a_split_is_read(text: str, shares: tuple[float, ...]) -> None:
    assert parse_split(text, 2) == shares


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("12.4 :", "the second is missing"),
        ("3,1,2", "the third is one too many"),
        ("0,0", "gives no card any layer"),
        ("-1,2", "not possible"),
        ("-inf,2", "not possible"),
        (",", "empty"),
        ("a,b", "'a' is not a number"),
        ("nan,1", "not a number"),
        ("inf,1", "too large"),
        ("1e9,1", "too large"),
        ("1e-46,1e-46", "gives no card any layer"),
    ],
)
def test_a_wrong_split_is_one_sentence_with_a_way_out(text: str, words: str) -> None:
    with pytest.raises(SplitError) as caught:
        parse_split(text, 2)
    assert words in caught.value.message
    assert caught.value.hint


def test_shares_are_shown_short_and_passed_on_exactly() -> None:
    assert split_text((12.4, 7.6)) == "12.4 : 7.6"
    assert split_text(auto_split((24 * 2**30, 10 * 2**30))) == "24 : 10"
    assert split_argument((3.0, 1.0)) == "3,1"
    assert split_argument((40.5, 24.5)) == "40.5,24.5"


def test_shares_of_a_command_are_never_in_powers_of_ten() -> None:
    free = auto_split((24_800_000_000, 10 * 2**30, 1_000))
    assert split_argument(free) == "23.0967999,10,0.000000931322575"
    assert split_words((1e6, 1e-7)) == ("1000000", "0.0000001")
    # GiB instead of bytes are the same shares, bit for bit
    whole = [c_float(share).value for share in free]
    small = [c_float(float(word)).value * 2**30 for word in split_words(free)]
    assert small == whole


def test_auto_follows_free_memory_and_falls_back_to_even() -> None:
    assert auto_split((2**34, 2**33)) == (2**34, 2**33)
    assert auto_split((0, -5)) == even_split(2)


counts = st.lists(st.integers(0, 130), min_size=1, max_size=8).filter(sum)


@given(counts)
def test_shares_for_layers_give_exactly_those_layers(wanted: list[int]) -> None:
    shares = split_for_layers(wanted)
    assert counts_for_split(shares, sum(wanted)) == tuple(wanted)


@given(counts)
def test_shares_survive_the_text_of_the_argument(wanted: list[int]) -> None:
    shares = split_for_layers(wanted)
    back = tuple(float(part) for part in split_argument(shares).split(","))
    assert counts_for_split(back, sum(wanted)) == tuple(wanted)


@given(
    st.lists(st.floats(0, 1000), min_size=1, max_size=8).filter(lambda s: sum(s) > 0.01),
    st.integers(1, 200),
)
def test_layers_are_shared_out_without_rest(shares: list[float], slots: int) -> None:
    assert sum(counts_for_split(shares, slots)) == slots


@given(st.lists(st.integers(0, 40), min_size=2, max_size=8), st.data())
def test_a_handle_moves_layers_between_its_neighbours_only(
    before: list[int], data: st.DataObject
) -> None:
    handle = data.draw(st.integers(0, len(before) - 2))
    after = move_handle(before, handle, data.draw(st.integers(-60, 60)))
    assert sum(after) == sum(before)
    assert min(after) >= 0
    assert [a for i, a in enumerate(after) if i not in (handle, handle + 1)] == [
        b for i, b in enumerate(before) if i not in (handle, handle + 1)
    ]


@pytest.mark.parametrize(
    ("free", "split", "alone", "shares"),
    [
        ((), None, False, ()),
        ((3, 1), None, False, (3.0, 1.0)),
        ((3, 1), (1.0, 1.0), False, (1.0, 1.0)),
        ((3, 1), (1.0,), False, (1.0, 0.0)),
        ((3, 1), (1.0, 1.0), True, (1.0, 0.0)),
    ],
)
def test_every_card_gets_a_share(
    free: tuple[int, ...],
    split: tuple[float, ...] | None,
    alone: bool,
    shares: tuple[float, ...],
) -> None:
    assert shares_of(free, split, alone=alone) == shares


def test_more_shares_than_cards_are_refused() -> None:
    with pytest.raises(SplitError, match="2 shares for 1 cards"):
        shares_of((1,), (1.0, 1.0))
