"""What a tensor split puts on each card. Figures of real models are in tests/services."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.model_samples import N_EMBD, N_LAYER, model, tensor

from splitrig.core.tensor_split import divisible, parts_of, pieces


@pytest.mark.parametrize(
    ("total", "split", "step", "rotation", "expected"),
    [
        # three heads of 64 by 3:1, the rest to the last in the rotation (SmolLM2, b10434)
        (192, (3, 1), 64, 0, [128, 64]),
        (192, (3, 1), 64, 1, [192, 0]),
        (192, (1, 1), 64, 0, [64, 128]),
        (192, (1, 1), 64, 1, [128, 64]),
        (1536, (1,) * 8, 128, 0, [128, 256, 128, 256, 128, 256, 128, 256]),
        (100, (1,), 64, 0, [100]),
        (100, (0, 1), 1, 0, [0, 100]),
        (100, (1, 0, 1), 1, 2, [50, 0, 50]),
    ],
)
def test_pieces_are_whole_steps_by_the_shares(
    total: int, split: tuple[float, ...], step: int, rotation: int, expected: list[int]
) -> None:
    assert pieces(total, split, step, rotation) == expected


@given(
    st.integers(1, 10_000),
    st.lists(st.integers(1, 100), min_size=1, max_size=16),
    st.sampled_from([1, 32, 64, 128]),
    st.integers(0, 15),
)
def test_pieces_always_make_up_the_whole(
    total: int, split: list[int], step: int, rotation: int
) -> None:
    found = pieces(total, split, step, rotation % len(split))
    assert sum(found) == total
    assert all(n >= 0 for n in found)


def test_each_card_gets_its_heads_its_columns_and_what_cannot_be_divided() -> None:
    sample = model(tied=False)
    layers = range(N_LAYER)
    on_cards = [t for t in sample.tensors if t.name != "token_embd.weight"]
    one, other = parts_of(sample, on_cards, (1, 1), layers)
    norms = sum(t.n_bytes for t in on_cards if "norm" in t.name)
    divided = sum(t.n_bytes for t in on_cards if "norm" not in t.name)
    assert one.weights.plain == other.weights.plain == norms + divided // 2
    assert one.kv_share == other.kv_share == (0.5,) * N_LAYER


def test_a_tied_output_lies_on_every_card_and_an_own_one_is_divided() -> None:
    tied, own = model(), model(tied=False)
    embedding = next(t for t in tied.tensors if t.name == "token_embd.weight")
    assert [p.weights.plain for p in parts_of(tied, [embedding], (3, 1), ())] == [
        embedding.n_bytes
    ] * 2
    output = next(t for t in own.tensors if t.name == "output.weight")
    # the rotation of the output is that of one more layer; 3:1 of 1,000 rows
    assert [p.weights.plain for p in parts_of(own, [output], (3, 1), ())] == [
        750 * N_EMBD * 2, 250 * N_EMBD * 2,
    ]  # fmt: skip


def test_experts_and_biases_are_divided_like_what_they_belong_to() -> None:
    mixture = model(n_expert=8)
    up = next(t for t in mixture.tensors if t.name == "blk.0.ffn_up_exps.weight")
    down = next(t for t in mixture.tensors if t.name == "blk.0.ffn_down_exps.weight")
    for part in (up, down):
        sizes = [p.weights.plain for p in parts_of(mixture, [part], (3, 1), ())]
        assert sizes == [part.n_bytes * 3 // 4, part.n_bytes // 4]
    bias = tensor("blk.0.attn_q.bias", N_EMBD, kind="f32")
    assert [p.weights.plain for p in parts_of(mixture, [bias], (1, 1), ())] == [512, 512]


def test_layers_with_and_without_a_window_are_counted_apart() -> None:
    """Of four layers of gemma2 every second sees a window; each kind has its own rotation."""
    windows = model(architecture="gemma2", sliding_window=128)
    parts = parts_of(windows, (), (3, 1), range(N_LAYER))
    # two heads for keys: one card takes both where the other is last in the rotation
    assert parts[0].kv_share == (0.5, 0.5, 1.0, 1.0)
    plain = parts_of(model(), (), (3, 1), range(N_LAYER))
    assert plain[0].kv_share == (0.5, 1.0, 0.5, 1.0)


def test_only_plain_models_are_reckoned() -> None:
    assert divisible(model())
    assert divisible(model(n_expert=8))
    assert not divisible(model(architecture="mamba"))
    assert not divisible(model(n_head_kv=(2, 2, 0, 2)))
    assert not divisible(model(n_head_kv=(3, 3, 3, 3)))
    fused = tensor("blk.0.attn_qkv.weight", N_EMBD, 3 * N_EMBD)
    assert not divisible(model(tensors=(*model().tensors, fused)))


def test_steps_grow_until_they_are_fast_unless_a_card_would_get_nothing() -> None:
    """Quantised rows come in blocks of 32; heads of 32 for four queries are 128 together."""
    quantised = tuple(
        tensor(t.name, *t.shape, kind="q8_0") if "attn_output" in t.name else t
        for t in model().tensors
    )
    shares = parts_of(model(tensors=quantised), (), (1, 1), range(N_LAYER))[0].kv_share
    assert shares == (0.5,) * N_LAYER
