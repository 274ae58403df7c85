"""Rigs and histories for the tests of everything that shows readings."""

from pathlib import Path

from splitrig.core.engine import Buffers, EngineStatus, LaunchRequest, Phase
from splitrig.core.gpu import GpuInfo, GpuSample, Limit, Note, Rig, Vendor
from splitrig.core.history import History
from splitrig.core.plan import PlanRequest
from splitrig.core.units import GIB

BIG = ("NVIDIA GeForce RTX 4090", 24)
SMALL = ("NVIDIA GeForce RTX 3080", 10)
EIGHT = [("NVIDIA GeForce RTX 3090", 24)] * 4 + [("NVIDIA Tesla P40", 22)] * 4


def rig_of(
    *cards: tuple[str, int],
    time_s: float = 100.0,
    load: float | None = 60.0,
    lost: tuple[int, ...] = (),
    notes: tuple[Note, ...] = (),
    demo: bool = False,
) -> Rig:
    """Cards with readings that follow from their number."""
    gpus, samples = [], {}
    for i, (name, gib) in enumerate(cards):
        gpus.append(
            GpuInfo(
                id=f"id{i}",
                name=name,
                vendor=Vendor.NVIDIA,
                pci=f"0000:0{i + 1}:00.0",
                vram_total_bytes=gib * GIB,
                pcie_gen_max=4,
                pcie_lanes_max=16,
                source="nvml",
                driver="580.65",
            )
        )
        samples[f"id{i}"] = (
            GpuSample(id=f"id{i}", lost=True)
            if i in lost
            else GpuSample(
                id=f"id{i}",
                vram_used_bytes=gib * GIB // 2,
                vram_total_bytes=gib * GIB,
                utilization_pct=load,
                power_w=200.0 + i,
                power_limit_w=320.0,
                temperature_c=58.0 + i,
                fan_pct=None if i == 1 else 34.0,
                clock_sm_mhz=1725,
                clock_memory_mhz=10251,
                pcie_gen=4,
                pcie_lanes=4 if i == 1 else 16,
                limits=(Limit.POWER,) if i == 0 else (),
            )
        )
    return Rig(time_s=time_s, gpus=tuple(gpus), samples=samples, notes=notes, demo=demo)


def filled(*cards: tuple[str, int], n: int = 60, tok_s: float | None = 33.0) -> History:
    """A history of `n` seconds."""
    history = History(capacity=600)
    for second in range(n):
        history.append(rig_of(*cards, time_s=100.0 + second), tok_s=tok_s, prompt_tok_s=0.0)
    return history


def ready(n_cards: int, engine_gib: int) -> EngineStatus:
    """An engine that holds `engine_gib` on each of the first `n_cards` cards."""
    names = tuple(f"CUDA{i}" for i in range(n_cards))
    return EngineStatus(
        phase=Phase.READY,
        request=LaunchRequest(
            model=Path("Qwen3-32B.gguf"),
            gpu_ids=tuple(f"id{i}" for i in range(n_cards)),
            plan=PlanRequest(),
        ),
        device_names=names,
        actual={name: Buffers(model_bytes=engine_gib * GIB) for name in names},
    )
