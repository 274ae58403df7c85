"""A card's memory is divided only as far as it is known."""

from pathlib import Path

from splitrig.core.engine import Buffers, EngineStatus, LaunchRequest, Phase
from splitrig.core.gpu import GpuInfo, GpuSample, Vendor
from splitrig.core.plan import DevicePlan, HostPlan, Plan, PlanRequest
from splitrig.core.usage import engine_bytes, usage_of

GPU = GpuInfo(id="b", name="B", vendor=Vendor.NVIDIA, vram_total_bytes=1000, source="demo")
SAMPLE = GpuSample(id="b", vram_used_bytes=700, vram_total_bytes=1000)


def device(name: str, overhead: int) -> DevicePlan:
    return DevicePlan(
        name=name, id=name, first_layer=0, n_blocks=1, has_output=False, model_bytes=1,
        kv_bytes=1, compute_bytes=None, overhead_bytes=overhead, free_bytes=0,
    )  # fmt: skip


def running(phase: Phase = Phase.READY, actual: dict[str, Buffers] | None = None) -> EngineStatus:
    return EngineStatus(
        phase=phase,
        request=LaunchRequest(model=Path("m.gguf"), gpu_ids=("a", "b"), plan=PlanRequest()),
        plan=Plan(
            devices=(device("A", 5), device("B", 50)),
            host=HostPlan(model_bytes=0, kv_bytes=0, compute_bytes=None),
            split=(1, 1),
            fits=True,
        ),
        device_names=("CUDA1", "CUDA0"),
        actual={} if actual is None else actual,
    )


def test_without_an_engine_everything_in_use_belongs_to_others() -> None:
    usage = usage_of(GPU, SAMPLE, ())
    assert (usage.engine_bytes, usage.others_bytes, usage.free_bytes) == (0, 700, 300)


def test_while_the_engine_has_not_said_nothing_is_claimed() -> None:
    usage = usage_of(GPU, SAMPLE, [running(Phase.LOADING)])
    assert usage.engine_bytes is None
    assert usage.others_bytes is None
    assert usage.free_bytes == 300


def test_buffers_and_planned_overhead_are_the_engines() -> None:
    actual = {"CUDA0": Buffers(model_bytes=300, kv_bytes=100, compute_bytes=None)}
    assert engine_bytes(running(actual=actual), "b") == 450
    usage = usage_of(GPU, SAMPLE, [running(actual=actual)])
    assert (usage.engine_bytes, usage.others_bytes) == (450, 250)


def test_the_engine_never_holds_more_than_is_in_use() -> None:
    actual = {"CUDA0": Buffers(model_bytes=5000)}
    usage = usage_of(GPU, SAMPLE, [running(actual=actual)])
    assert (usage.engine_bytes, usage.others_bytes) == (700, 0)


def test_a_card_the_engine_does_not_use_and_one_whose_engine_failed_hold_nothing_of_it() -> None:
    assert engine_bytes(running(), "c") == 0
    assert engine_bytes(running(Phase.FAILED), "b") == 0


def test_a_lost_card_reports_its_size_only() -> None:
    usage = usage_of(GPU, GpuSample(id="b", lost=True), ())
    assert (usage.total_bytes, usage.used_bytes, usage.others_bytes) == (1000, None, None)
