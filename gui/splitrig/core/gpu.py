"""Cards: what is fixed about them and what was read from them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Vendor(StrEnum):
    """Who made the card."""

    NVIDIA = "NVIDIA"
    AMD = "AMD"
    INTEL = "Intel"
    OTHER = "other"


class Limit(StrEnum):
    """What holds a card's clocks back at the moment, in the words of the window."""

    IDLE = "idle"
    POWER = "power limit"
    HEAT = "heat"
    HARDWARE = "hardware slowdown"
    POWER_BRAKE = "power brake"


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuInfo:
    """One card, as far as it does not change; `None` means not reported.

    Attributes:
        id: Stable key: the driver's UUID, else the PCI address, else `demo-N`. Never an index.
        name: Full product name, such as 'NVIDIA GeForce RTX 4090'.
        vendor: Who made it.
        pci: PCI address as `0000:01:00.0`, lower case.
        uuid: The driver's UUID, such as `GPU-…`.
        vram_total_bytes: All memory on the card, bytes.
        architecture: Marketing name of the chip generation, such as 'Ada Lovelace'.
        compute_capability: CUDA compute capability ('8.9') or gfx target ('gfx1100').
        bandwidth_gbps: Memory bandwidth, GB/s (10⁹ bytes).
        pcie_gen_max: Highest PCIe generation the card itself can do.
        pcie_lanes_max: Most lanes the card itself can use.
        power_limit_default_w: The board's default power limit, W.
        integrated: It shares the processor's memory.
        source: Which source found it: `nvml`, `rocm-smi`, `demo`, …
        driver: Driver version.
    """

    id: str
    name: str
    vendor: Vendor
    pci: str | None = None
    uuid: str | None = None
    vram_total_bytes: int | None = None
    architecture: str | None = None
    compute_capability: str | None = None
    bandwidth_gbps: float | None = None
    pcie_gen_max: int | None = None
    pcie_lanes_max: int | None = None
    power_limit_default_w: float | None = None
    integrated: bool = False
    source: str
    driver: str | None = None

    @property
    def short_name(self) -> str:
        """The name an owner uses: 'RTX 4090', without vendor and product line."""
        return short_card_name(self.name)


def short_card_name(full: str) -> str:
    """'RTX 4090' for 'NVIDIA GeForce RTX 4090'."""
    name = full
    for prefix in ("NVIDIA ", "AMD ", "Intel(R) ", "GeForce ", "Radeon "):
        name = name.removeprefix(prefix)
    return name if name[:1].isalpha() or name[:1].isdigit() else full


def names_among(gpus: Collection[GpuInfo]) -> dict[str, str]:
    """The name each of these cards goes by, by id: its short name, with the address of twins."""
    short = [gpu.short_name for gpu in gpus]
    return {
        gpu.id: f"{name} at {gpu.pci or gpu.id}" if short.count(name) > 1 else name
        for gpu, name in zip(gpus, short, strict=True)
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuProcess:
    """A program that computes on a card.

    Attributes:
        pid: Its process id.
        vram_bytes: Memory it holds on this card, bytes; `None` where the driver does not tell
            (Windows).
    """

    pid: int
    vram_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuSample:
    """One reading of one card; `None` means the driver does not report the value.

    Attributes:
        id: The card's key, as in `GpuInfo.id`.
        vram_used_bytes: Total − free, as nvidia-smi shows it with reserved memory, bytes.
        vram_total_bytes: All memory on the card, bytes.
        utilization_pct: Share of time a kernel was running, percent.
        power_w: Board draw, W.
        power_limit_w: Limit in force now, W.
        temperature_c: Chip temperature, °C.
        fan_pct: Fan speed, percent of its maximum.
        clock_sm_mhz: Clock of the shaders now, MHz.
        clock_memory_mhz: Clock of the memory now, MHz.
        pcie_gen: PCIe generation of the link now; drops at idle.
        pcie_lanes: Lanes of the link now.
        limits: What holds the clocks back now; empty when nothing does, `None` if unknown.
        processes: Programs that compute on it, read every few seconds; `None` if not reported.
        lost: The card stopped answering (fell off the bus); other values are then `None`.
    """

    id: str
    vram_used_bytes: int | None = None
    vram_total_bytes: int | None = None
    utilization_pct: float | None = None
    power_w: float | None = None
    power_limit_w: float | None = None
    temperature_c: float | None = None
    fan_pct: float | None = None
    clock_sm_mhz: int | None = None
    clock_memory_mhz: int | None = None
    pcie_gen: int | None = None
    pcie_lanes: int | None = None
    limits: tuple[Limit, ...] | None = None
    processes: tuple[GpuProcess, ...] | None = None
    lost: bool = False

    @property
    def vram_free_bytes(self) -> int | None:
        """Memory nobody uses, bytes."""
        if self.vram_total_bytes is None or self.vram_used_bytes is None:
            return None
        return max(self.vram_total_bytes - self.vram_used_bytes, 0)


class Severity(StrEnum):
    """How much a note matters."""

    INFO = "info"
    WARNING = "warning"
    DANGER = "danger"


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """One thing worth saying about the rig or a plan, with its number and a way out.

    Attributes:
        id: Stable name of the rule, such as `vram-mismatch`; tests and 'do not warn again' use it.
        severity: How much it matters.
        message: Number first: 'RTX 3080 runs on 4 of its 16 PCIe lanes'.
        detail: What it costs and the way out.
        gpu_ids: Cards it is about.
    """

    id: str
    severity: Severity
    message: str
    detail: str = ""
    gpu_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rig:
    """All cards at one moment.

    Attributes:
        time_s: Time of the reading, seconds on a clock that counts through suspend.
        gpus: The cards in a stable order: PCI address, then id.
        samples: The last reading of each card by id; a card without one has not been read.
        notes: What the sources have to say: driver missing, a tool that hangs, a lost card.
        demo: The readings are made up.
    """

    time_s: float
    gpus: tuple[GpuInfo, ...] = ()
    samples: Mapping[str, GpuSample] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()
    demo: bool = False

    def gpu(self, gpu_id: str) -> GpuInfo | None:
        """The card with this id, or `None`."""
        return next((g for g in self.gpus if g.id == gpu_id), None)
