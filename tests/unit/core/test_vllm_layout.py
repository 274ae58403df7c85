"""Tensor × pipeline parallel: what can be, why not, and layers per stage."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.core.hf_samples import LLAMA_8B, TINY

from splitrig.core.errors import SplitError
from splitrig.core.vllm_layout import (
    Layout,
    layouts,
    partition,
    partition_text,
    refusal,
    stage_shares,
)


def test_four_cards_have_three_layouts() -> None:
    assert layouts(LLAMA_8B, 4) == (Layout(4, 1), Layout(2, 2), Layout(1, 4))
    words = [layout.words for layout in layouts(LLAMA_8B, 4)]
    assert words == [
        "tensor parallel over 4 cards",
        "pipeline of 2 stages, 2 cards each",
        "pipeline of 4 cards",
    ]
    assert [layout.label for layout in layouts(LLAMA_8B, 4)] == [
        "TP 4 · tensor parallel over 4 cards",
        "TP 2 × PP 2 · pipeline of 2 stages, 2 cards each",
        "PP 4 · pipeline of 4 cards",
    ]
    assert Layout(1, 1).words == "one card"


def test_three_cards_cannot_share_32_heads() -> None:
    wide, deep = layouts(LLAMA_8B, 3)
    assert wide.reason == "32 heads cannot be shared by 3 cards; 2 or 4 can, or use pipeline."
    assert not wide.possible
    assert deep.possible


def test_the_real_vllm_refuses_the_same_heads() -> None:
    # tests/recorded/vllm/heads.log: 4 heads, tensor parallel 3
    assert refusal(TINY, 3, 1) == (
        "4 heads cannot be shared by 3 cards; 2 or 4 can, or use pipeline."
    )
    assert refusal(TINY, 2, 1) == ""


@pytest.mark.parametrize(
    ("changes", "tp", "words"),
    [
        ({"n_head": 12, "n_head_kv": 2}, 3, "2 key/value heads cannot be shared by 3 cards"),
        ({"n_head": 24, "n_head_kv": 8, "n_vocab": 32000}, 12, "8 key/value heads"),
        ({"n_head": 24, "n_head_kv": 24, "n_vocab": 32000}, 3, "vocabulary of 32,000 entries"),
        ({"n_head": 28, "n_head_kv": 4, "n_ff": 18944}, 7, "key/value heads"),
        ({"n_head": 7, "n_head_kv": 7, "n_vocab": 7 * 64, "n_ff": 100}, 7, "100 columns"),
        (
            {"quantization": "awq", "group_size": 128, "n_ff": 11008},
            4,
            "11,008 columns quantised in groups of 128 cannot be shared by 4 cards; 2 can",
        ),
    ],
)
def test_everything_that_is_cut_has_to_come_out_even(
    changes: dict[str, int], tp: int, words: str
) -> None:
    assert words in refusal(replace(LLAMA_8B, **changes), tp, 1)


def test_key_value_heads_may_be_kept_several_times() -> None:
    assert refusal(replace(LLAMA_8B, n_head_kv=2), 8, 1) == ""
    # compressed keys and values are kept whole by every card
    assert refusal(replace(LLAMA_8B, n_head_kv=3, latent_dim=576), 4, 1) == ""


def test_no_number_of_cards_can_share_one_head() -> None:
    assert refusal(replace(LLAMA_8B, n_head=1), 2, 1) == (
        "1 heads cannot be shared by 2 cards; use pipeline."
    )


def test_more_stages_than_layers() -> None:
    assert refusal(TINY, 1, 8) == "6 layers cannot be shared by 8 stages."


@pytest.mark.parametrize(
    ("shares", "n_layer", "layers"),
    [
        ((3, 1), 32, (24, 8)),
        ((24, 40), 64, (24, 40)),
        ((1, 1), 7, (4, 3)),
        ((1000, 1), 6, (5, 1)),
        ((1, 0), 6, (5, 1)),
        ((0, 0, 1), 3, (1, 1, 1)),
        ((5,), 6, (6,)),
    ],
)
def test_layers_follow_the_split_bar(
    shares: tuple[float, ...], n_layer: int, layers: tuple[int, ...]
) -> None:
    assert partition(shares, n_layer) == layers


@given(
    st.lists(st.floats(0, 1e6), min_size=1, max_size=8).filter(lambda s: sum(s) > 0),
    st.integers(8, 200),
)
def test_a_partition_adds_up_and_leaves_no_stage_empty(shares: list[float], n_layer: int) -> None:
    layers = partition(shares, n_layer)
    assert sum(layers) == n_layer
    assert len(layers) == len(shares)
    assert min(layers) >= 1


@pytest.mark.parametrize("shares", [(0.0, 0.0), (1.0, -1.0)])
def test_shares_that_say_nothing(shares: tuple[float, ...]) -> None:
    with pytest.raises(SplitError):
        partition(shares, 32)


def test_more_stages_than_layers_is_refused() -> None:
    with pytest.raises(SplitError, match="3 layers cannot be shared by 4 stages"):
        partition((1, 1, 1, 1), 3)


def test_what_vllm_takes() -> None:
    assert partition_text((24, 40)) == "24,40"
    assert stage_shares((3, 3, 1, 1), 2) == (6, 2)
