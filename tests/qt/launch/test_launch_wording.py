"""Sentences and numbers of the Launch page."""

from dataclasses import replace
from pathlib import Path

import pytest
from launch_samples import make_model, make_rig

from splitrig.core.engine import Buffers, EngineStatus, Phase
from splitrig.core.plan import DevicePlan, make_plan
from splitrig.core.units import GIB, MIB
from splitrig.views.launch.fixes import best_split
from splitrig.views.launch.loading_panel import steps_of
from splitrig.views.launch.placement import PlacedRow, difference_texts, placed_verdict
from splitrig.views.launch.planner import Planner
from splitrig.views.launch.wording import (
    layers_text,
    model_name,
    on_cards_text,
    room_text,
    row_texts,
    seconds_text,
    verdict,
)


def device(**changes: object) -> DevicePlan:
    plain = DevicePlan(
        name="RTX 3080",
        id="GPU-1",
        first_layer=41,
        n_blocks=23,
        has_output=True,
        model_bytes=6 * GIB,
        kv_bytes=GIB,
        compute_bytes=GIB // 2,
        overhead_bytes=0,
        free_bytes=GIB // 2,
    )
    return replace(plain, **changes)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "layers 41–63 + output"),
        ({"has_output": False}, "layers 41–63"),
        ({"n_blocks": 1, "has_output": False}, "layer 41"),
        ({"n_blocks": 0, "first_layer": None}, "output only"),
        ({"n_blocks": 0, "first_layer": None, "has_output": False}, "no layers"),
    ],
)
def test_layers_in_words(changes: dict[str, object], text: str) -> None:
    assert layers_text(device(**changes)) == text


def test_rounded_numbers_add_up() -> None:
    values = [round(x * GIB) for x in (11.16, 2.71, 0.34, 0.46, 0.93, 8.4)]
    texts = row_texts(values, GIB, 1)
    assert sum(float(t) for t in texts) == pytest.approx(24.0)
    assert row_texts([-GIB, 2 * GIB], GIB, 1) == ["−1.0", "2.0"]
    # what is free stands beside the bar, too
    values = [round(x * GIB) for x in (10.66, 9.98, 1.04, 0.48, 0.79, 0.94)]
    assert row_texts(values, GIB, 1)[-1] == "0.9"
    assert sum(float(t) for t in row_texts(values, GIB, 1)) == pytest.approx(23.9)


@pytest.mark.parametrize(
    ("name", "quantization", "text"),
    [
        ("Qwen3-32B-Q4_K_M.gguf", "Q4_K_M", "Qwen3-32B"),
        ("SmolLM2-135M-Instruct.Q4_1.gguf", "Q4_1", "SmolLM2-135M-Instruct"),
        ("model.gguf", None, "model"),
        ("Q4_0.gguf", "Q4_0", "Q4_0"),
    ],
)
def test_a_model_goes_by_its_file_name(name: str, quantization: str | None, text: str) -> None:
    assert model_name(Path("/m") / name, quantization) == text


def test_small_texts() -> None:
    assert [on_cards_text(n, 30) for n in (-1, 31, 0, 1, 12)] == [
        "all 30 + output",
        "all 30 + output",
        "none",
        "the output only",
        "11 of 30 + output",
    ]
    assert [seconds_text(s) for s in (0.44, 12.3, 252)] == ["0.4 s", "12 s", "4 min 12 s"]
    assert [room_text(n) for n in (GIB, 35 * MIB)] == ["1.0 GiB", "35 MiB"]


def test_the_verdict_names_the_card_and_the_amount() -> None:
    planner = Planner()
    planner.set_rig(make_rig())
    planner.model = make_model()
    planner.set_shares((3.0, 1.0))
    plan = planner.plan()
    assert plan is not None
    assert verdict(plan).title == "Fits"
    planner.set_shares((0.0, 1.0))
    plan = planner.plan()
    assert plan is not None
    said = verdict(plan)
    assert not said.fits
    assert said.title.startswith("Does not fit: RTX 3080 is ")
    assert said.detail.startswith("The RTX 4090 has 23.5 GiB free")


def test_what_is_too_big_for_all_cards_has_no_split() -> None:
    planner = Planner()
    planner.set_rig(make_rig())
    model = make_model(64, 0.8)
    assert best_split(model, planner.devices, planner.plan_request()) is None
    plan = make_plan(model, planner.devices, planner.plan_request())
    assert "cards together are" in verdict(plan).detail


def test_three_cards_get_a_split_that_fits() -> None:
    planner = Planner()
    planner.set_rig(make_rig(3))
    planner.model = make_model(64, 0.5)
    planner.set_shares((1.0, 1.0, 1.0))
    plan = planner.plan()
    assert plan is not None
    assert not plan.fits
    found = best_split(planner.model, planner.devices, planner.plan_request())
    assert found is not None
    assert found.fits


def test_steps_follow_the_engine() -> None:
    status = EngineStatus(phase=Phase.STARTING, step="process", step_since_s=10.0)
    assert [s.state for s in steps_of(status, 12.5)] == ["now", "todo", "todo", "todo"]
    assert steps_of(status, 12.5)[0].note == "2.5 s"
    ready = EngineStatus(phase=Phase.READY, step_seconds={"process": 0.4})
    assert {s.state for s in steps_of(ready)} == {"done"}


def test_differences_have_signs_and_small_ones_are_none() -> None:
    row = PlacedRow(kind="weights", planned_bytes=10 * GIB, actual_bytes=10 * GIB + 10 * MIB)
    assert difference_texts(row, GIB) == ("+10", "+0.1 %")
    row = PlacedRow(kind="weights", planned_bytes=GIB, actual_bytes=GIB - 5000)
    assert difference_texts(row, GIB) == ("0", "0.0 %")
    row = PlacedRow(kind="compute", planned_bytes=None, actual_bytes=MIB)
    assert difference_texts(row, MIB) == ("–", "–")


def test_a_drift_of_layers_alone_is_told() -> None:
    planner = Planner()
    planner.set_rig(make_rig())
    planner.model = make_model()
    plan = planner.plan()
    assert plan is not None
    names = ("CUDA0", "CUDA1")
    actual = {
        name: Buffers(model_bytes=d.model_bytes, kv_bytes=d.kv_bytes, compute_bytes=0)
        for name, d in zip(names, plan.devices, strict=True)
    }
    status = EngineStatus(
        phase=Phase.READY,
        plan=plan,
        device_names=names,
        actual=actual,
        layers={"CUDA0": plan.devices[0].n_layers + 1, "CUDA1": plan.devices[1].n_layers - 1},
    )
    as_planned, title, detail = placed_verdict(status)
    assert not as_planned
    assert title == "Loaded otherwise than planned"
    assert detail.startswith("RTX 4090 carries ")
