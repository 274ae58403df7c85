"""The demo rig: two cards that do not exist, with readings that follow the real engine."""

import math
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from splitrig.core.gpu import GpuInfo, GpuSample, Limit, Note, Vendor
from splitrig.core.units import GIB, MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class _Character:
    """How a made-up card behaves; idle and busy are the ends between which it moves."""

    others_bytes: int
    idle_w: float
    busy_w: float
    limit_w: float
    idle_c: float
    busy_c: float
    busy_pct: float
    clock_sm_mhz: int
    clock_memory_mhz: int
    fan_stops: bool
    lanes: int


_GPUS = (
    GpuInfo(
        id="demo-0",
        name="NVIDIA GeForce RTX 4090",
        vendor=Vendor.NVIDIA,
        pci="0000:01:00.0",
        vram_total_bytes=24 * GIB,
        architecture="Ada Lovelace",
        compute_capability="8.9",
        bandwidth_gbps=1008.0,
        pcie_gen_max=4,
        pcie_lanes_max=16,
        power_limit_default_w=450.0,
        source="demo",
    ),
    GpuInfo(
        id="demo-1",
        name="NVIDIA GeForce RTX 3080",
        vendor=Vendor.NVIDIA,
        pci="0000:05:00.0",
        vram_total_bytes=10 * GIB,
        architecture="Ampere",
        compute_capability="8.6",
        bandwidth_gbps=760.0,
        pcie_gen_max=4,
        pcie_lanes_max=16,
        power_limit_default_w=320.0,
        source="demo",
    ),
)

_CHARACTERS = {
    "demo-0": _Character(
        others_bytes=912 * MIB, idle_w=23, busy_w=216, limit_w=450, idle_c=39, busy_c=58,
        busy_pct=61, clock_sm_mhz=2610, clock_memory_mhz=10251, fan_stops=True, lanes=16,
    ),
    "demo-1": _Character(
        others_bytes=204 * MIB, idle_w=29, busy_w=178, limit_w=320, idle_c=42, busy_c=69,
        busy_pct=41, clock_sm_mhz=1905, clock_memory_mhz=9251, fan_stops=False, lanes=4,
    ),
}  # fmt: skip

_LOAD_S, _POWER_S, _HEAT_S = 0.4, 1.5, 25.0
"""Time constants with which load, watts and degrees follow the engine, seconds."""


@dataclass(frozen=True, slots=True)
class _Engine:
    """What the engine does since a moment, and how far each curve had come by then."""

    bytes_by_gpu: Mapping[str, int]
    busy: Mapping[str, bool]
    since_s: float
    levels: Mapping[tuple[str, float], float]

    def level(self, gpu_id: str, constant_s: float, now_s: float) -> float:
        """Between 0 (idle) and 1 (as busy as it gets), approached exponentially."""
        target = float(self.busy.get(gpu_id, False))
        start = self.levels.get((gpu_id, constant_s), 0.0)
        passed_s = max(now_s - self.since_s, 0.0)
        return target + (start - target) * math.exp(-passed_s / constant_s)


class DemoSource:
    """A 4090 and a 3080 in a 4-lane slot; the same moment always reads the same."""

    name = "demo"
    interval_s = 0.0
    limit_s = 0.0
    notes: tuple[Note, ...] = ()
    needs_probe = False

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._engine = _Engine({}, {}, clock(), {})

    def set_engine_load(self, bytes_by_gpu: Mapping[str, int], *, busy: Collection[str]) -> None:
        """Let the cards carry what real engines carry; any thread.

        Args:
            bytes_by_gpu: Bytes on each card by its id; a missing card carries nothing.
            busy: Cards by id whose engine reads a prompt or writes an answer.
        """
        now_s = self._clock()
        with self._lock:
            old = self._engine
            levels = {
                (gpu.id, constant_s): old.level(gpu.id, constant_s, now_s)
                for gpu in _GPUS
                for constant_s in (_LOAD_S, _POWER_S, _HEAT_S)
            }
            at_work = {g.id: g.id in busy and bytes_by_gpu.get(g.id, 0) > 0 for g in _GPUS}
            self._engine = _Engine(dict(bytes_by_gpu), at_work, now_s, levels)

    def probe(self) -> tuple[GpuInfo, ...]:
        """The two cards."""
        return _GPUS

    def sample(self) -> Mapping[str, GpuSample]:
        """Both cards now."""
        now_s = self._clock()
        with self._lock:
            engine = self._engine
        return {gpu.id: _sample(gpu, engine, now_s) for gpu in _GPUS}

    def close(self) -> None:
        """Nothing to let go of."""


def _sample(gpu: GpuInfo, engine: _Engine, now_s: float) -> GpuSample:
    character = _CHARACTERS[gpu.id]
    load, power, heat = (engine.level(gpu.id, s, now_s) for s in (_LOAD_S, _POWER_S, _HEAT_S))
    total = gpu.vram_total_bytes or 0
    loaded = max(engine.bytes_by_gpu.get(gpu.id, 0), 0)
    phase = 0.0 if gpu.id == "demo-0" else 2.0
    ripple = 0.6 * math.sin(now_s / 1.7 + phase) + 0.4 * math.sin(now_s / 0.6 + 2 * phase)
    awake = load > 0.05
    # An engine that waits keeps the clocks up a little, as a CUDA context does.
    watts = character.idle_w + (9 if loaded else 0)
    watts += power * (character.busy_w - character.idle_w) + ripple * (0.6 + 5 * power)
    temperature = character.idle_c + heat * (character.busy_c - character.idle_c) + 0.4 * ripple
    return GpuSample(
        id=gpu.id,
        vram_used_bytes=min(character.others_bytes + loaded, total),
        vram_total_bytes=total,
        utilization_pct=round(max(load * (character.busy_pct + 4 * ripple) + 1 + ripple, 0.0)),
        power_w=round(watts, 1),
        power_limit_w=character.limit_w,
        temperature_c=round(temperature),
        fan_pct=_fan_pct(temperature, stops=character.fan_stops),
        clock_sm_mhz=15 * round((210 + load * (character.clock_sm_mhz - 210)) / 15),
        clock_memory_mhz=character.clock_memory_mhz if awake else 405,
        # Like a real link it slows down at idle and keeps its lanes.
        pcie_gen=gpu.pcie_gen_max if awake else 1,
        pcie_lanes=character.lanes,
        limits=() if awake else (Limit.IDLE,),
    )


def _fan_pct(temperature_c: float, *, stops: bool) -> float:
    """A usual fan curve: off below 45 °C on cards that can, then 30 % and up."""
    if stops and temperature_c < 45:
        return 0.0
    return float(round(min(30 + max(temperature_c - 45, 0) * 1.1, 100)))
