"""Plans with a split mode, experts in RAM, a draft model and a projector."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.model_samples import N_LAYER, model, tensor

from splitrig.core.advice import advise
from splitrig.core.companion import Projector
from splitrig.core.errors import SplitError
from splitrig.core.experts import ALL, expert_bytes, expert_layers
from splitrig.core.footprint import Backend
from splitrig.core.gpu import Rig
from splitrig.core.plan import Plan, PlanDevice, PlanRequest, make_plan
from splitrig.core.speed import estimate_speed
from splitrig.core.units import GIB, MIB
from splitrig.core.within import ESTIMATED, ROUGHLY, ROWS

DENSE, MIXTURE = model(), model(n_expert=8)
EVEN = PlanRequest(split=(1.0, 1.0))
PROJECTOR = Projector(path=Path("mmproj.gguf"), n_bytes=100 * MIB)


def cards(n: int = 2, backend: Backend = Backend.RPC, free: int = GIB) -> list[PlanDevice]:
    return [
        PlanDevice(name=f"card {i}", id=str(i), free_bytes=free, backend=backend, overhead_bytes=7)
        for i in range(n)
    ]


def total(plan: Plan) -> int:
    """All weights of a plan."""
    return sum(d.model_bytes for d in plan.devices) + plan.host.model_bytes


def adds_up(plan: Plan, free: int = GIB) -> bool:
    return all(d.free_bytes == free - d.used_bytes for d in plan.devices)


# Split modes


def test_a_tensor_split_gives_each_card_a_part_of_every_layer() -> None:
    plan = make_plan(DENSE, cards(), replace(EVEN, split=(3.0, 1.0), split_mode="tensor"))
    layers = make_plan(DENSE, cards(), replace(EVEN, split=(3.0, 1.0)))
    assert plan.split_mode == "tensor"
    assert [d.share for d in plan.devices] == [0.75, 0.25]
    assert [d.n_layers for d in plan.devices] == [N_LAYER + 1] * 2
    assert sum(d.kv_bytes for d in plan.devices) == sum(d.kv_bytes for d in layers.devices)
    # norms and the tied output lie on both
    assert total(plan) > total(layers)
    assert plan.host == layers.host
    assert ROUGHLY in plan.notes
    assert adds_up(plan)
    assert plan.devices[0].compute_bytes == plan.devices[1].compute_bytes


def test_layers_that_stay_in_ram_are_no_part_of_it() -> None:
    request = replace(EVEN, split_mode="tensor", n_gpu_layers=2)
    plan = make_plan(DENSE, cards(), request)
    assert [d.n_layers for d in plan.devices] == [2, 2]
    assert plan.host.kv_bytes == make_plan(DENSE, cards(), replace(EVEN, n_gpu_layers=2)).host.kv_bytes  # fmt: skip  # noqa: E501
    none = make_plan(DENSE, cards(), replace(request, n_gpu_layers=0))
    assert [(d.model_bytes, d.kv_bytes, d.compute_bytes) for d in none.devices] == [(0, 0, 0)] * 2


def test_factors_of_the_rope_are_on_every_card_that_holds_a_layer() -> None:
    rope = tensor("rope_freqs.weight", 64, kind="f32")
    with_rope = model(tensors=(*DENSE.tensors, rope))
    request = replace(EVEN, split_mode="tensor")
    before, after = (make_plan(m, cards(), request) for m in (DENSE, with_rope))
    for one, other in zip(before.devices, after.devices, strict=True):
        assert other.model_bytes - one.model_bytes == rope.n_bytes
    output_only = make_plan(with_rope, cards(), replace(request, n_gpu_layers=1))
    assert (
        output_only.devices == make_plan(DENSE, cards(), replace(request, n_gpu_layers=1)).devices
    )


def test_a_model_that_is_not_reckoned_is_estimated_and_says_so() -> None:
    odd = model(architecture="mamba")
    plan = make_plan(odd, cards(), replace(EVEN, split=(3.0, 1.0), split_mode="tensor"))
    assert ESTIMATED in plan.notes
    first, second = plan.devices
    assert first.model_bytes == pytest.approx(3 * second.model_bytes, abs=4)
    assert first.kv_bytes == pytest.approx(3 * second.kv_bytes, abs=4)


def test_a_row_split_is_an_estimate_with_the_cache_by_layers() -> None:
    plan = make_plan(DENSE, cards(), replace(EVEN, split=(3.0, 1.0), split_mode="row"))
    layers = make_plan(DENSE, cards(), replace(EVEN, split=(3.0, 1.0)))
    assert ROWS in plan.notes
    assert [d.kv_bytes for d in plan.devices] == [d.kv_bytes for d in layers.devices]
    assert plan.devices[0].model_bytes == pytest.approx(3 * plan.devices[1].model_bytes, abs=4)


def test_one_card_has_nothing_to_divide() -> None:
    plan = make_plan(DENSE, cards(1), PlanRequest(split_mode="tensor"))
    assert plan.split_mode == "layer"
    assert plan.devices[0].share is None
    assert plan == replace(make_plan(DENSE, cards(1), PlanRequest()), notes=plan.notes)


def test_without_a_split_shares_follow_free_memory() -> None:
    request = PlanRequest(split_mode="tensor")
    roomy = [*cards(1, free=3 * GIB), *cards(1)]
    assert [d.share for d in make_plan(DENSE, roomy, request).devices] == [0.75, 0.25]
    with pytest.raises(SplitError, match="3 shares for 2 cards"):
        make_plan(DENSE, cards(), replace(request, split=(1.0, 1.0, 1.0)))


def test_no_figure_of_speed_is_made_up_where_cards_work_together() -> None:
    plan = make_plan(DENSE, cards(), replace(EVEN, split_mode="tensor"))
    assert "has to be measured" in estimate_speed(DENSE, plan, [100.0, 100.0]).note


def test_advice_moves_no_layers_where_none_is_whole() -> None:
    plan = make_plan(DENSE, cards(free=MIB), replace(EVEN, split_mode="tensor"))
    notes = [note.detail for note in advise(Rig(time_s=0), plan) if note.id == "low-vram"]
    assert notes
    assert all("smaller share" in note for note in notes)


# Experts


def test_experts_leave_the_cards_and_nothing_is_lost() -> None:
    one = expert_bytes(MIXTURE, 1)
    assert one == sum(t.n_bytes for t in MIXTURE.tensors if "_exps" in t.name and t.layer == 0)
    before = make_plan(MIXTURE, cards(), EVEN)
    after = make_plan(MIXTURE, cards(), replace(EVEN, n_cpu_moe=2))
    assert after.devices[0].model_bytes == before.devices[0].model_bytes - 2 * one
    assert after.devices[1].model_bytes == before.devices[1].model_bytes
    assert after.host.model_bytes == before.host.model_bytes + 2 * one
    assert total(after) == total(before)
    assert (before.host.expert_layers, after.host.expert_layers) == (0, 2)
    assert [d.kv_bytes for d in after.devices] == [d.kv_bytes for d in before.devices]
    every = make_plan(MIXTURE, cards(), replace(EVEN, n_cpu_moe=ALL))
    assert every.host.expert_layers == N_LAYER
    assert every == make_plan(MIXTURE, cards(), replace(EVEN, n_cpu_moe=99))


def test_a_dense_model_has_no_experts_to_keep() -> None:
    assert expert_layers(DENSE, ALL) == expert_bytes(DENSE, ALL) == 0
    assert make_plan(DENSE, cards(), replace(EVEN, n_cpu_moe=2)) == make_plan(DENSE, cards(), EVEN)


def test_experts_of_layers_that_are_in_ram_anyway_are_not_counted_twice() -> None:
    request = replace(EVEN, n_gpu_layers=2, n_cpu_moe=ALL)
    plan = make_plan(MIXTURE, cards(), request)
    assert plan.host.expert_layers == 1
    assert total(plan) == total(make_plan(MIXTURE, cards(), replace(request, n_cpu_moe=0)))


def test_an_engine_with_experts_elsewhere_keeps_one_copy_of_its_inputs() -> None:
    vulkan = cards(backend=Backend.VULKAN)
    before, after = (make_plan(MIXTURE, vulkan, replace(EVEN, n_cpu_moe=n)) for n in (0, 1))
    assert before.devices[0].compute_bytes is not None
    assert after.devices[0].compute_bytes is not None
    assert after.devices[0].compute_bytes < before.devices[0].compute_bytes


def test_experts_are_no_part_of_what_a_tensor_split_divides() -> None:
    request = replace(EVEN, split_mode="tensor")
    before = make_plan(MIXTURE, cards(), request)
    after = make_plan(MIXTURE, cards(), replace(request, n_cpu_moe=2))
    assert before.devices[0].model_bytes - after.devices[0].model_bytes == expert_bytes(MIXTURE, 1)


def test_experts_on_the_processor_leave_no_figure_of_speed() -> None:
    plan = make_plan(MIXTURE, cards(), replace(EVEN, n_cpu_moe=2))
    assert "experts of 2 layers" in estimate_speed(MIXTURE, plan, [100.0, 100.0]).note


# Draft model and projector


def test_a_draft_model_lies_like_the_model_with_a_cache_of_its_own() -> None:
    alone = make_plan(DENSE, cards(), replace(EVEN, cache_type_k="q8_0", cache_type_v="q8_0"))
    own = make_plan(DENSE, cards(), EVEN)
    both = make_plan(
        DENSE, cards(), replace(EVEN, cache_type_k="q8_0", cache_type_v="q8_0", draft=DENSE)
    )
    for together, first, second in zip(both.devices, alone.devices, own.devices, strict=True):
        assert together.model_bytes == first.model_bytes + second.model_bytes
        assert together.kv_bytes == first.kv_bytes + second.kv_bytes
        assert together.overhead_bytes == 7
    assert both.host.model_bytes == alone.host.model_bytes + own.host.model_bytes
    assert adds_up(both)
    assert both.has_draft
    assert "draft model" in estimate_speed(DENSE, both, [100.0, 100.0]).note


def test_a_draft_model_keeps_its_own_layers_off_the_cards() -> None:
    plan = make_plan(DENSE, cards(), replace(EVEN, draft=DENSE, draft_layers=0))
    alone = make_plan(DENSE, cards(), EVEN)
    assert [d.model_bytes for d in plan.devices] == [d.model_bytes for d in alone.devices]
    assert plan.host.kv_bytes == sum(d.kv_bytes for d in alone.devices)


def test_a_draft_model_can_be_what_does_not_fit() -> None:
    roomy = max(d.used_bytes for d in make_plan(DENSE, cards(), EVEN).devices)
    assert make_plan(DENSE, cards(free=roomy), EVEN).fits
    assert not make_plan(DENSE, cards(free=roomy), replace(EVEN, draft=DENSE)).fits


def test_a_draft_model_may_be_all_that_lies_on_the_cards() -> None:
    plan = make_plan(DENSE, cards(), replace(EVEN, n_gpu_layers=0, draft=DENSE))
    assert [d.overhead_bytes for d in plan.devices] == [7, 7]
    assert adds_up(plan)


def test_a_projector_is_counted_on_the_first_card_and_told_of() -> None:
    plan = make_plan(DENSE, cards(), replace(EVEN, projector=PROJECTOR))
    alone = make_plan(DENSE, cards(), EVEN)
    first = plan.devices[0]
    assert first.overhead_bytes == alone.devices[0].overhead_bytes + 100 * MIB
    assert first.free_bytes == alone.devices[0].free_bytes - 100 * MIB
    assert plan.devices[1] == alone.devices[1]
    assert any("card 0: its 100.0 MiB" in note for note in plan.notes)
    tight = cards(free=alone.devices[0].used_bytes + MIB)
    assert not make_plan(DENSE, tight, replace(EVEN, projector=PROJECTOR)).fits


def test_a_projector_without_a_card_is_told_of_too() -> None:
    plan = make_plan(DENSE, (), replace(PlanRequest(), projector=PROJECTOR))
    assert any("100.0 MiB of the computer's memory" in note for note in plan.notes)
