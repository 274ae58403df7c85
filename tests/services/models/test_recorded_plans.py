"""Plans against what llama.cpp itself accounted for (tests/recorded/plan, see its README)."""

import json
import statistics
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitrig.core.errors import SplitError
from splitrig.core.footprint import Backend
from splitrig.core.model import Model
from splitrig.core.plan import Plan, PlanDevice, PlanRequest, make_plan
from splitrig.core.units import GIB, MIB
from splitrig.services.models.demo import demo_model
from splitrig.services.models.gguf import read_model

RECORDED = Path(__file__).resolve().parents[2] / "recorded" / "plan"
EXPECTED: list[dict[str, Any]] = json.loads((RECORDED / "expected.json").read_text())


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model]:
    folder = tmp_path_factory.mktemp("models")
    with tarfile.open(RECORDED / "models.tar.gz") as archive:
        if hasattr(tarfile, "data_filter"):  # Python 3.11.4 and later
            archive.extractall(folder, filter="data")
        else:
            archive.extractall(folder)
    return {path.name: read_model(path) for path in folder.glob("*.gguf")}


def plan_for(row: dict[str, Any], model: Model) -> Plan:
    devices = [
        PlanDevice(name=f"CUDA{n}", id=str(n), free_bytes=free * MIB)
        for n, free in enumerate(row["free_mib"])
    ]
    split = row["tensor_split"]
    request = PlanRequest(
        split=tuple(float(s) for s in split) if split else None,
        n_ctx=row["n_ctx"],
        n_gpu_layers=row["n_gpu_layers"],
        cache_type_k=row["cache_type_k"],
        cache_type_v=row["cache_type_v"],
        flash_attention=row["flash_attn"],
        n_batch=row["n_batch"],
        n_ubatch=row["n_ubatch"],
        n_parallel=row["n_parallel"],
        kv_unified=row["kv_unified"],
        split_mode=row["split_mode"],
    )
    return make_plan(model, devices, request)


def test_weights_and_kv_are_exact_on_every_device_of_every_recording(
    models: dict[str, Model],
) -> None:
    rows = 0
    for row in EXPECTED:
        plan = plan_for(row, models[row["model"]])
        ours = [(d.model_bytes, d.kv_bytes) for d in plan.devices]
        assert ours == [(d["model_bytes"], d["kv_bytes"]) for d in row["devices"]], row
        host = (plan.host.model_bytes, plan.host.kv_bytes)
        assert host == (row["host"]["model_bytes"], row["host"]["kv_bytes"]), row
        rows += len(ours)
    assert (len(EXPECTED), rows) == (143, 308)


def test_the_compute_buffer_is_close(models: dict[str, Model]) -> None:
    errors, exact = [], 0
    for row in EXPECTED:
        plan = plan_for(row, models[row["model"]])
        for ours, real in zip(plan.devices, row["devices"], strict=True):
            total = real["model_bytes"] + real["kv_bytes"] + real["compute_bytes"]
            assert ours.compute_bytes is not None
            exact += ours.compute_bytes == real["compute_bytes"]
            if total:
                errors.append(abs(ours.compute_bytes - real["compute_bytes"]) / total)
    errors.sort()
    # not exact: the first card of a partial offload (what it stages of the host's tensors), and
    # compressed attention with a quantised cache or without flash attention
    assert exact >= 290
    assert statistics.median(errors) == 0
    assert errors[int(0.95 * len(errors))] <= 0.0002
    assert errors[-1] <= 0.0135


def test_the_host_compute_buffer_is_exact_on_every_recording(models: dict[str, Model]) -> None:
    for row in EXPECTED:
        plan = plan_for(row, models[row["model"]])
        assert plan.host.compute_bytes == row["host"]["compute_bytes"], row


def test_more_shares_than_cards_are_refused_and_missing_ones_are_none(
    models: dict[str, Model],
) -> None:
    model = models["llama3-8b-q4km.gguf"]
    devices = [PlanDevice(name=str(n), id=str(n), free_bytes=24 * GIB) for n in range(2)]
    with pytest.raises(SplitError, match="3 shares for 2 cards"):
        make_plan(model, devices, PlanRequest(split=(1, 1, 1)))
    assert [d.n_layers for d in make_plan(model, devices, PlanRequest(split=(1,))).devices] == [
        33,
        0,
    ]


def test_split_mode_none_is_a_plan_for_the_first_card_alone(models: dict[str, Model]) -> None:
    model = models["llama3-8b-q4km.gguf"]
    devices = [PlanDevice(name=str(n), id=str(n), free_bytes=24 * GIB) for n in range(2)]
    first, second = make_plan(model, devices, PlanRequest(split_mode="none")).devices
    assert first == make_plan(model, devices[:1], PlanRequest()).devices[0]
    assert (second.n_layers, second.used_bytes) == (0, 0)


def test_without_a_card_everything_lies_in_the_computers_memory(models: dict[str, Model]) -> None:
    model = models["llama3-8b-q4km.gguf"]
    plan = make_plan(model, [], PlanRequest(n_ctx=4096))
    assert plan.host.model_bytes == sum(t.n_bytes for t in model.tensors)
    assert plan.host.kv_bytes == 512 * MIB
    assert plan.host.compute_bytes


@pytest.mark.parametrize(
    ("split", "rows"),
    [
        # layers, weights MiB, KV MiB as llama-server b10068 logs them on two RPC devices
        ((3, 1), [(24, 50.73, 72), (7, 41.37, 18)]),
        ((1, 1), [(16, 33.82, 48), (15, 58.28, 42)]),
        ((1, 3), [(8, 16.91, 24), (23, 75.19, 66)]),
        ((1, 0), [(31, 92.10, 90), (0, 0, 0)]),
    ],
)
def test_the_demo_model_lies_as_the_engine_logs_it(
    split: tuple[float, float], rows: list[tuple[int, float, float]]
) -> None:
    path = demo_model()
    assert path is not None
    devices = [
        PlanDevice(name=f"RPC{n}", id=f"RPC{n}", free_bytes=GIB, backend=Backend.RPC)
        for n in range(2)
    ]
    plan = make_plan(read_model(path), devices, PlanRequest(split=split, n_ctx=4096))
    ours = [(d.n_layers, round(d.model_bytes / MIB, 2), d.kv_bytes / MIB) for d in plan.devices]
    assert ours == rows
    assert all(
        d.compute_bytes is not None
        and round(d.compute_bytes / MIB, 2) == (16.38 if d.n_layers else 0)
        for d in plan.devices
    )
    assert plan.fits


@pytest.mark.parametrize(
    ("request_", "rows"),
    [
        # weights, KV, compute in MiB as b10068 logs them: RPC0, RPC1, host
        (
            PlanRequest(split=(1, 1), n_ctx=8192, flash_attention=False),
            [(33.82, 96, 165.26), (58.28, 84, 165.26), (28.69, 0, 19.01)],
        ),
        (
            PlanRequest(split=(1, 1), n_ctx=8192, n_parallel=4),
            [(33.82, 96, 14.38), (58.28, 84, 14.38), (28.69, 0, 4.26)],
        ),
        (
            # the log counts the host's weights as the part of the file that is mapped
            PlanRequest(split=(1, 1), n_gpu_layers=10),
            [(10.57, 15, 15.26), (37.14, 12, 15.26), (73.08, 63, 17.51)],
        ),
        (
            PlanRequest(split_mode="none"),
            [(92.10, 90, 16.38), (0, 0, 0), (28.69, 0, 6.26)],
        ),
        (
            PlanRequest(n_gpu_layers=0),
            [(0, 0, 0), (0, 0, 0), (92.10, 90, 17.51)],
        ),
    ],
)
def test_every_buffer_is_as_the_engine_logs_it(
    request_: PlanRequest, rows: list[tuple[float, float, float]]
) -> None:
    path = demo_model()
    assert path is not None
    devices = [
        PlanDevice(name=f"RPC{n}", id=f"RPC{n}", free_bytes=GIB, backend=Backend.RPC)
        for n in range(2)
    ]
    plan = make_plan(read_model(path), devices, request_)
    ours = [
        tuple(round((n or 0) / MIB, 2) for n in (p.model_bytes, p.kv_bytes, p.compute_bytes))
        for p in (*plan.devices, plan.host)
    ]
    assert ours == rows


@settings(max_examples=60, deadline=None)
@given(shares=st.lists(st.floats(0.1, 10), min_size=1, max_size=8))
def test_the_bytes_over_all_cards_do_not_depend_on_the_ratio(shares: list[float]) -> None:
    path = demo_model()
    assert path is not None
    model = read_model(path)
    devices = [
        PlanDevice(name=str(n), id=str(n), free_bytes=GIB, backend=Backend.RPC)
        for n in range(len(shares))
    ]
    plan = make_plan(model, devices, PlanRequest(split=tuple(shares)))
    assert sum(d.n_layers for d in plan.devices) == 31
    assert sum(d.kv_bytes for d in plan.devices) == 90 * MIB
    assert round(sum(d.model_bytes for d in plan.devices) / MIB, 2) == 92.10


@settings(max_examples=60, deadline=None)
@given(contexts=st.lists(st.integers(1, 200_000), min_size=2, max_size=2))
def test_more_context_never_needs_less_memory(contexts: list[int]) -> None:
    path = demo_model()
    assert path is not None
    model = read_model(path)
    devices = [PlanDevice(name="a", id="a", free_bytes=GIB)]
    less, more = (
        make_plan(model, devices, PlanRequest(n_ctx=n)).devices[0].used_bytes
        for n in sorted(contexts)
    )
    assert less <= more


def test_a_plan_that_does_not_fit_says_by_how_much(models: dict[str, Model]) -> None:
    devices = [PlanDevice(name="RTX 3080", id="a", free_bytes=10 * GIB)]
    plan = make_plan(models["qwen3-32b-q4km.gguf"], devices, PlanRequest(n_ctx=8192))
    assert not plan.fits
    assert plan.tightest is not None
    assert plan.tightest.free_bytes < -8 * GIB


def test_an_unknown_architecture_is_said(models: dict[str, Model]) -> None:
    model = replace(models["llama3-8b-q4km.gguf"], architecture="brandnew", metadata={})
    plan = make_plan(model, [PlanDevice(name="a", id="a", free_bytes=GIB)], PlanRequest())
    assert any("brandnew" in note for note in plan.notes)
