"""vLLM's plan: its own arithmetic where it has one, and sentences where cards differ."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.core.hf_samples import LLAMA_8B, TINY, card, model

from splitrig.core.errors import SplitError
from splitrig.core.units import GIB
from splitrig.core.vllm import VllmOptions
from splitrig.core.vllm_plan import (
    CONTEXT_BYTES,
    MOST_FRACTION,
    kv_token_bytes,
    make_vllm_plan,
    memory_fraction,
)

RECORDED = Path(__file__).parents[2] / "recorded/vllm"
BIG, SMALL = card("RTX 4090", 23, 24), card("RTX 3080", 9, 10)


def test_the_cache_of_the_recorded_run_holds_as_many_tokens_as_planned() -> None:
    """1 GiB on the processor, blocks of 128 tokens: `KV cache size: 699,008 tokens`."""
    per_token = 6 * kv_token_bytes(model(TINY), 1)
    assert GIB // (per_token * 128) * 128 == 699_008
    assert "CPU KV cache size: 699,008 tokens" in (RECORDED / "tp1.log").read_text()
    # two ranks have one of the two key/value heads each
    assert GIB // (6 * kv_token_bytes(model(TINY), 2) * 128) * 128 == 1_398_016
    assert "CPU KV cache size: 1,398,016 tokens" in (RECORDED / "tp2.log").read_text()
    # of stages with 4 and 2 layers the first decides
    assert GIB // (4 * kv_token_bytes(model(TINY), 1) * 128) * 128 == 1_048_576
    assert "CPU KV cache size: 1,048,576 tokens" in (RECORDED / "pp2.log").read_text()
    assert json.loads((RECORDED / "pp2.json").read_text())["env"]["VLLM_PP_LAYER_PARTITION"] == (
        "4,2"
    )


def test_one_card() -> None:
    plan = make_vllm_plan(model(), [BIG], VllmOptions(n_ctx=16384))
    (only,) = plan.cards
    assert plan.layers == (32,)
    assert plan.fits
    assert only.weight_bytes == model().weight_bytes
    assert round(only.weight_bytes / GIB, 2) == 14.96
    assert only.stranded_bytes == 0
    assert only.has_embedding
    assert only.has_output
    used = only.weight_bytes + only.kv_bytes + only.compute_bytes + only.overhead_bytes
    assert BIG.free_bytes - used == only.free_bytes
    assert plan.kv_tokens * 32 * kv_token_bytes(model(), 1) == only.kv_bytes
    assert plan.kv_tokens % 16 == 0


def test_equal_cards_share_every_layer_and_strand_nothing() -> None:
    plan = make_vllm_plan(model(), [BIG, replace(BIG, id="b")], VllmOptions(n_ctx=16384))
    assert (plan.layout.tp, plan.layout.pp) == (2, 1)
    assert plan.stranded_bytes < 64 * 2**20
    first, second = plan.cards
    assert first.kv_bytes == second.kv_bytes
    assert first.weight_bytes == second.weight_bytes


def test_with_tensor_parallel_the_smallest_card_decides_and_the_rest_is_stranded() -> None:
    roomy = card("RTX 3080", 9.9, 12)
    plan = make_vllm_plan(model(), [BIG, roomy], VllmOptions(tp=2, n_ctx=1024))
    big, small = plan.cards
    assert (big.weight_bytes, big.kv_bytes) == (small.weight_bytes, small.kv_bytes)
    assert big.stranded_bytes > 10 * GIB
    assert small.stranded_bytes < GIB // 2
    (note,) = [note for note in plan.notes if "stay unused" in note]
    assert note == (
        f"{big.stranded_bytes / GIB:.1f} GiB of RTX 4090 stay unused: with tensor parallel every "
        "card takes the same share, and the smallest decides."
    )


def test_unequal_cards_get_a_pipeline() -> None:
    plan = make_vllm_plan(model(), [BIG, SMALL], VllmOptions(n_ctx=16384))
    assert (plan.layout.tp, plan.layout.pp) == (1, 2)
    assert plan.fits
    assert plan.layers[0] > plan.layers[1]
    assert any("the first also holds the input embedding (0.98 GiB)" in n for n in plan.notes)


def test_the_split_bar_gives_the_layers_of_a_pipeline() -> None:
    plan = make_vllm_plan(model(), [BIG, SMALL], VllmOptions(pp=2, split=(3, 1), n_ctx=4096))
    assert plan.layers == (24, 8)
    first, last = plan.cards
    assert (first.first_layer, first.n_layer) == (0, 24)
    assert (last.first_layer, last.n_layer) == (24, 8)
    layer = model().layers[0].n_bytes
    assert first.weight_bytes - 24 * layer == model().embedding.n_bytes + model().rest.n_bytes
    assert last.weight_bytes - 8 * layer == model().output.n_bytes
    assert first.kv_bytes == 3 * last.kv_bytes


def test_a_tied_output_layer_costs_the_embedding_on_the_last_stage_too() -> None:
    tied = model(replace(LLAMA_8B, tied=True))
    plan = make_vllm_plan(tied, [BIG, BIG], VllmOptions(pp=2, split=(1, 1), n_ctx=4096))
    assert plan.cards[1].weight_bytes == 16 * tied.layers[0].n_bytes + tied.embedding.n_bytes


def test_balanced_stages_hold_more_tokens_than_their_neighbours() -> None:
    balanced = make_vllm_plan(model(), [BIG, SMALL], VllmOptions(pp=2, n_ctx=4096))
    first = balanced.layers[0]
    for n in (first - 1, first + 1):
        other = make_vllm_plan(model(), [BIG, SMALL], VllmOptions(pp=2, layers=(n, 32 - n)))
        assert other.kv_tokens <= balanced.kv_tokens


def test_stages_of_two_cards() -> None:
    cards = [card(f"3090 {n}", 23, 24) for n in range(4)]
    plan = make_vllm_plan(model(), cards, VllmOptions(tp=2, pp=2, split=(3, 3, 1, 1), n_ctx=4096))
    assert plan.layers == (24, 8)
    assert [c.stage for c in plan.cards] == [0, 0, 1, 1]
    assert plan.cards[0].weight_bytes == plan.cards[1].weight_bytes


def test_the_fullest_card_decides_the_share_of_memory() -> None:
    share, why = memory_fraction([BIG, SMALL])
    assert share == 0.85
    assert why == (
        "0.85 of every card: RTX 3080 has 9.0 of 10.0 GiB free, and 0.5 GiB of that go to the "
        "driver."
    )
    assert memory_fraction([BIG]) == (0.92, "0.92 of every card, which is vLLM's own measure.")
    assert memory_fraction([BIG, SMALL], 0.5) == (0.5, "0.5 of every card, as chosen.")


@given(st.lists(st.tuples(st.floats(0.1, 1), st.integers(4, 96)), min_size=1, max_size=8))
def test_no_worker_is_told_to_take_more_than_its_card_has_free(
    rig: list[tuple[float, int]],
) -> None:
    cards = [card(str(n), free * total, total) for n, (free, total) in enumerate(rig)]
    share, _ = memory_fraction(cards)
    assert share <= MOST_FRACTION
    for one in cards:
        wanted = share * one.total_bytes
        assert wanted <= max(one.free_bytes - CONTEXT_BYTES, 0.01 * one.total_bytes) + 1


def test_a_context_that_does_not_fit_says_what_does() -> None:
    plan = make_vllm_plan(model(), [card("RTX 3090", 20.5, 24)], VllmOptions(n_ctx=131072))
    assert not plan.fits
    assert 0 < plan.most_ctx < 131072
    assert f"{plan.kv_tokens:,} fit." in plan.notes[0]
    again = make_vllm_plan(model(), [card("RTX 3090", 20.5, 24)], VllmOptions(n_ctx=plan.most_ctx))
    assert again.fits


def test_weights_that_do_not_fit_say_how_much_is_missing() -> None:
    plan = make_vllm_plan(model(), [SMALL], VllmOptions(n_ctx=4096))
    assert not plan.fits
    assert plan.kv_tokens == 0
    assert plan.cards[0].free_bytes < 0
    assert "GiB are missing on RTX 3080 for the weights alone." in plan.notes[0]


def test_smaller_caches() -> None:
    assert kv_token_bytes(model(), 1) == 4096
    assert kv_token_bytes(model(), 1, "fp8") == 2048
    assert kv_token_bytes(model(), 4) == 1024
    assert kv_token_bytes(model(), 16) == 512, "never less than one head"
    latent = model(replace(LLAMA_8B, latent_dim=576))
    assert kv_token_bytes(latent, 8) == 1152, "every rank keeps all of it"


def test_heads_kept_twice_are_said() -> None:
    few = model(replace(LLAMA_8B, n_head_kv=2))
    cards = [card(str(n), 23, 24) for n in range(4)]
    plan = make_vllm_plan(few, cards, VllmOptions(tp=4, n_ctx=4096))
    assert any("2 key/value heads, so 4 cards keep some of them twice" in n for n in plan.notes)


def test_eager_leaves_more_for_the_cache() -> None:
    graphs = make_vllm_plan(model(), [BIG], VllmOptions(n_ctx=4096))
    eager = make_vllm_plan(model(), [BIG], VllmOptions(n_ctx=4096, eager=True))
    assert eager.kv_tokens > graphs.kv_tokens


def test_a_decided_plan_is_planned_the_same_again() -> None:
    options = VllmOptions(n_ctx=8192)
    plan = make_vllm_plan(model(), [BIG, SMALL], options)
    decided = plan.decided(options)
    assert (decided.tp, decided.pp, decided.layers) == (1, 2, plan.layers)
    assert make_vllm_plan(model(), [BIG, SMALL], decided).cards == plan.cards


def test_as_all_engines_plans() -> None:
    plan = make_vllm_plan(model(), [BIG, SMALL], VllmOptions(pp=2, split=(3, 1), n_ctx=4096))
    shown = plan.as_plan()
    assert [d.n_blocks for d in shown.devices] == [24, 8]
    assert [d.model_bytes for d in shown.devices] == [c.weight_bytes for c in plan.cards]
    assert shown.split == (24.0, 8.0)
    assert shown.fits == plan.fits
    assert shown.tolerance > 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (VllmOptions(tp=3), "3 × 0 cards are 0, but 2 are chosen"),
        (VllmOptions(tp=2, pp=2), "2 × 2 cards are 4, but 2 are chosen"),
        (VllmOptions(split=(1, 1, 1)), "3 shares for 2 cards"),
    ],
)
def test_layouts_that_do_not_belong_to_the_cards(options: VllmOptions, words: str) -> None:
    with pytest.raises(SplitError, match=words):
        make_vllm_plan(model(), [BIG, SMALL], options)


def test_no_card() -> None:
    with pytest.raises(SplitError, match="No card is chosen"):
        make_vllm_plan(model(), [], VllmOptions())


def test_a_layout_that_vllm_refuses_is_refused_with_its_reason() -> None:
    cards = [card(str(n), 23, 24) for n in range(3)]
    with pytest.raises(SplitError, match="32 heads cannot be shared by 3 cards"):
        make_vllm_plan(model(), cards, VllmOptions(tp=3, pp=1))
    plan = make_vllm_plan(model(), cards, VllmOptions(n_ctx=4096))
    assert plan.layout.pp == 3
    assert plan.notes[0] == (
        "32 heads cannot be shared by 3 cards; 2 or 4 can, or use pipeline. "
        "Here it is a pipeline of 3 cards."
    )
    assert [layout.possible for layout in plan.layouts] == [False, True]
