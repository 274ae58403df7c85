from dataclasses import replace
from pathlib import Path

import pytest

from splitrig.core.model import Model, Tensor
from splitrig.core.plan import PlanDevice, PlanRequest, make_plan
from splitrig.core.speed import active_share, estimate_speed
from splitrig.core.units import GIB

BLOCK = 2**28
"""Bytes of one block of the model below: 32 of them and the output are 8.25 GiB."""


def model() -> Model:
    width = 4096
    rows = BLOCK // (2 * width)
    tensors = [Tensor("token_embd.weight", (width, rows), "f16", BLOCK)]
    tensors += [Tensor(f"blk.{n}.ffn_up.weight", (width, rows), "f16", BLOCK) for n in range(32)]
    tensors.append(Tensor("output.weight", (width, rows), "f16", BLOCK))
    return Model(
        path=Path("m.gguf"), name="m", architecture="llama", quantization="F16",
        file_bytes=34 * BLOCK, n_layer=32, n_ctx_train=8192, n_embd=width, n_vocab=rows,
        n_ff=14336, n_head=(32,) * 32, n_head_kv=(8,) * 32, head_k=128, head_v=128,
        tensors=tuple(tensors),
    )  # fmt: skip


def cards(n: int) -> list[PlanDevice]:
    return [PlanDevice(name=f"card {i}", id=str(i), free_bytes=24 * GIB) for i in range(n)]


def test_the_ceiling_is_bandwidth_over_the_bytes_a_token_reads() -> None:
    plan = make_plan(model(), cards(1), PlanRequest(n_ctx=4096))
    speed = estimate_speed(model(), plan, [1000.0])
    read = 33 * BLOCK + 4096 * 2 * 2 * 1024 * 32
    assert speed.ceiling_tok_s == pytest.approx(1000e9 / read)
    assert speed.expected_tok_s is not None
    assert 0.65 * speed.ceiling_tok_s < speed.expected_tok_s < 0.91 * speed.ceiling_tok_s


def test_a_second_card_does_not_make_one_stream_faster_and_a_slow_one_sets_the_pace() -> None:
    one = make_plan(model(), cards(1), PlanRequest())
    two = make_plan(model(), cards(2), PlanRequest(split=(1, 1)))
    alone = estimate_speed(model(), one, [1000.0]).ceiling_tok_s
    equal = estimate_speed(model(), two, [1000.0, 1000.0]).ceiling_tok_s
    mixed = estimate_speed(model(), two, [1000.0, 300.0]).ceiling_tok_s
    assert alone is not None
    assert mixed is not None
    assert equal == pytest.approx(alone)
    assert mixed < 0.5 * alone


def test_a_mixture_reads_only_the_experts_in_use() -> None:
    width = 4096
    tensors = (
        Tensor("token_embd.weight", (width, 1000), "f16", 999),
        Tensor("blk.0.attn_q.weight", (width, 1000), "f16", 1000),
        Tensor("blk.0.ffn_up_exps.weight", (width, 1000, 8), "f16", 8000),
    )
    mixture = replace(model(), tensors=tensors, n_expert=8, n_expert_used=2, n_ff_expert=1000)
    assert active_share(mixture) == pytest.approx(3000 / 9000)


def test_no_figure_is_given_where_something_is_unknown() -> None:
    plan = make_plan(model(), cards(2), PlanRequest(split=(1, 1)))
    unknown = estimate_speed(model(), plan, [1000.0, None])
    assert unknown.ceiling_tok_s is None
    assert "card 1" in unknown.note
    partial = make_plan(model(), cards(1), PlanRequest(n_gpu_layers=20))
    assert "13 layers stay" in estimate_speed(model(), partial, [1000.0]).note
