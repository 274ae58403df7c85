"""NVIDIA cards through NVML (nvidia-ml-py, which loads the driver's own library)."""

import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pynvml

from splitrig.core.gpu import GpuInfo, GpuProcess, GpuSample, Limit, Note, Vendor, names_among
from splitrig.core.specs import GpuSpec, SpecTable
from splitrig.services.telemetry import nvml_words as words
from splitrig.services.telemetry.drm import DRM_ROOT, NVIDIA, devices_of
from splitrig.services.telemetry.pci import normal_pci
from splitrig.services.telemetry.source import SourceFailedError

_ARCHITECTURES = {
    2: "Kepler",
    3: "Maxwell",
    4: "Pascal",
    5: "Volta",
    6: "Turing",
    7: "Ampere",
    8: "Ada Lovelace",
    9: "Hopper",
    10: "Blackwell",
    13: "Rubin",
}
"""NVML_DEVICE_ARCH_*, spelled as in the table of cards."""

_ALL_LANES = 16
PROCESSES_EVERY_S = 4.0
"""Asking for the processes costs milliseconds a card, the rest microseconds."""
_IDLE, _POWER_CAP, _HW_SLOWDOWN, _SW_HEAT, _HW_HEAT, _BRAKE = 1, 4, 8, 0x20, 0x40, 0x80


class _LostError(Exception):
    """The card does not answer any more."""


@dataclass(slots=True)
class _Card:
    """A card in the driver's hands.

    Attributes:
        handle: The driver's own name for it.
        never: The calls it will not answer.
        failed: Error of the last call that should have answered (999: unknown).
        processes: Programs that computed on it when last asked.
        processes_s: When that was, `time.monotonic()`.
    """

    handle: Any
    never: set[str] = field(default_factory=set)
    failed: int | None = None
    processes: tuple[GpuProcess, ...] | None = None
    processes_s: float = -PROCESSES_EVERY_S

    def ask(self, *calls: Callable[..., Any], args: tuple[object, ...] = ()) -> Any | None:
        """The answer of the first call this card and driver know; `None` if there is none.

        Raises:
            _LostError: The card fell off the bus.
            SourceFailedError: The driver as a whole is gone.
        """
        failed = None
        for call in calls:
            if call.__name__ in self.never:
                continue
            try:
                return call(self.handle, *args)
            except pynvml.NVMLError as error:
                if error.value in words.LOST:
                    raise _LostError from error
                if error.value in words.FATAL:
                    raise SourceFailedError(words.note_for(error.value)) from error
                if error.value in words.NEVER:
                    self.never.add(call.__name__)
                else:
                    failed = error.value
            except pynvml.NVMLLibraryMismatchError as error:
                raise SourceFailedError(words.note_for(words.VERSION_MISMATCH)) from error
            except UnicodeDecodeError:
                self.never.add(call.__name__)
        self.failed = failed or self.failed
        return None

    def watts(self, call: Callable[..., Any]) -> float | None:
        """A power reading, W (NVML counts milliwatts)."""
        milliwatts = self.ask(call)
        return None if milliwatts is None else float(milliwatts) / 1000

    def programs(self) -> tuple[GpuProcess, ...] | None:
        """Programs that compute on it, at most as old as `PROCESSES_EVERY_S`."""
        now_s = time.monotonic()
        if now_s - self.processes_s >= PROCESSES_EVERY_S:
            self.processes_s = now_s
            found = self.ask(
                pynvml.nvmlDeviceGetComputeRunningProcesses_v3,
                pynvml.nvmlDeviceGetComputeRunningProcesses_v2,
            )
            self.processes = (
                None
                if found is None
                else tuple(GpuProcess(pid=int(p.pid), vram_bytes=p.usedGpuMemory) for p in found)
            )
        return self.processes

    def memory(self) -> tuple[int, int] | None:
        """Total and free bytes; version 2 of the call, version 1 on old drivers."""

        def version_2(handle: Any) -> Any:
            return pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2)

        memory = self.ask(version_2, pynvml.nvmlDeviceGetMemoryInfo)
        return None if memory is None or not memory.total else (memory.total, memory.free)


class NvmlSource:
    """Every NVIDIA card the driver shows; a card once seen stays in view when it is lost.

    Args:
        specs: The table of cards.
        drm_root: Where the kernel lists its cards, to tell 'no card' from 'no driver'.
    """

    name = "nvml"
    interval_s = 0.0
    limit_s = 0.0

    def __init__(self, specs: SpecTable, *, drm_root: Path = DRM_ROOT) -> None:
        self._specs = specs
        self._drm_root = drm_root
        self._lock = threading.Lock()
        self._open = False
        self._closed = False
        self._cards: dict[str, _Card] = {}
        self._infos: dict[str, GpuInfo] = {}
        self._lost: set[str] = set()
        self._count = 0
        self._unnamed = 0
        self._stale = True
        self._state: Note | None = None

    @property
    def notes(self) -> tuple[Note, ...]:
        """The driver's state, then each lost card, then each that fails on some calls."""
        notes = [] if self._state is None else [self._state]
        if self._unnamed:
            notes.append(words.unnamed_note(self._unnamed, self._count))
        names = names_among(self._infos.values())
        notes += [words.lost_note(i, name) for i, name in names.items() if i in self._lost]
        for gpu_id, card in self._cards.items():
            if card.failed is not None and gpu_id not in self._lost:
                notes.append(words.incomplete_note(gpu_id, names[gpu_id], card.failed))
        return tuple(notes)

    @property
    def needs_probe(self) -> bool:
        """The driver failed, showed no card, or shows another number of cards by now."""
        return self._stale or not self._infos

    def probe(self) -> tuple[GpuInfo, ...]:
        """Open the driver anew and look at every card.

        Raises:
            SourceFailedError: The driver is there and does not work.
        """
        with self._lock:
            if self._closed:
                return ()
            self._stale = True
            self._shut()
            try:
                pynvml.nvmlInit()
                self._open = True
                self._count = pynvml.nvmlDeviceGetCount()
                driver = _text(pynvml.nvmlSystemGetDriverVersion())
            except pynvml.NVMLError as error:
                return self._without_driver(error)
            except pynvml.NVMLLibraryMismatchError as error:
                self._state = None
                raise SourceFailedError(words.note_for(words.VERSION_MISMATCH)) from error
            self._find_cards(driver)
            self._state = None if self._infos or self._count else words.note_for(words.NOT_FOUND)
            self._stale = False
            return tuple(self._infos.values())

    def sample(self) -> Mapping[str, GpuSample]:
        """The fast set of every card; a lost card yields a sample that says so.

        Raises:
            SourceFailedError: The driver as a whole is gone.
        """
        with self._lock:
            if self._closed or not self._open:
                return {}
            try:
                # A card that appears or goes shows here first.
                self._stale = pynvml.nvmlDeviceGetCount() != self._count
            except pynvml.NVMLError as error:
                if error.value in words.FATAL:
                    self._stale = True
                    raise SourceFailedError(words.note_for(error.value)) from error
            return {gpu_id: self._sample_or_lost(gpu_id) for gpu_id in self._infos}

    def close(self) -> None:
        """Let go of the driver, unless a call hangs in it; then only no new one starts."""
        self._closed = True
        if self._lock.acquire(timeout=0.1):
            self._shut()
            self._lock.release()

    def _shut(self) -> None:
        if self._open:
            self._open = False
            # A driver that cannot even be left is told of by the next call that needs it.
            with contextlib.suppress(pynvml.NVMLError):
                pynvml.nvmlShutdown()

    def _without_driver(self, error: pynvml.NVMLError) -> tuple[GpuInfo, ...]:
        """No driver is a normal state; a driver that fails is not."""
        note = words.note_for(error.value, str(error))
        self._count = self._unnamed = 0
        self._cards.clear()
        if error.value not in words.NORMAL:
            self._state = None
            raise SourceFailedError(note) from error
        built_in = error.value == words.LIBRARY_NOT_FOUND and devices_of(self._drm_root, NVIDIA)
        self._state = words.driver_missing_note() if built_in else note
        self._infos.clear()
        self._lost.clear()
        return ()

    def _find_cards(self, driver: str) -> None:
        """Look at each index; what is known from before and not found now is lost."""
        self._cards.clear()
        self._unnamed = 0
        found: dict[str, GpuInfo] = {}
        for index in range(self._count):
            try:
                card = _Card(pynvml.nvmlDeviceGetHandleByIndex(index))
                info = self._describe(card, driver)
            except (pynvml.NVMLError, _LostError):
                self._unnamed += 1
                continue
            if info is None:
                self._unnamed += 1
                continue
            found[info.id] = info
            self._cards[info.id] = card
        self._lost = {gpu_id for gpu_id in self._infos if gpu_id not in found}
        # A silent index is one of the lost cards while there are any.
        self._unnamed = max(self._unnamed - len(self._lost), 0)
        self._infos = {**{i: self._infos[i] for i in self._lost}, **found}

    def _describe(self, card: _Card, driver: str) -> GpuInfo | None:
        """What does not change about a card; `None` without a key to know it by."""
        uuid = _text(card.ask(pynvml.nvmlDeviceGetUUID)) or None
        raw = card.ask(pynvml.nvmlDeviceGetPciInfo)
        pci = None if raw is None else normal_pci(_text(raw.busId))
        key = uuid or pci
        if key is None:
            return None
        name = _text(card.ask(pynvml.nvmlDeviceGetName)) or "NVIDIA GPU"
        memory = card.memory()
        total = None if memory is None else memory[0]
        device_id = None if raw is None else f"{raw.pciDeviceId >> 16:04x}"
        spec = self._specs.find(name=name, device_id=device_id, vram_bytes=total)
        capability = card.ask(pynvml.nvmlDeviceGetCudaComputeCapability)
        architecture = _ARCHITECTURES.get(card.ask(pynvml.nvmlDeviceGetArchitecture) or 0)
        return GpuInfo(
            id=key,
            name=name,
            vendor=Vendor.NVIDIA,
            pci=pci,
            uuid=uuid,
            vram_total_bytes=total,
            architecture=architecture or (spec.architecture if spec else None),
            compute_capability=None if capability is None else "{}.{}".format(*capability),
            bandwidth_gbps=_bandwidth_gbps(card, spec),
            pcie_gen_max=card.ask(pynvml.nvmlDeviceGetGpuMaxPcieLinkGeneration)
            or (spec.pcie_gen if spec else None),
            pcie_lanes_max=_own_lanes(card, spec),
            power_limit_default_w=card.watts(pynvml.nvmlDeviceGetPowerManagementDefaultLimit),
            integrated=spec is not None and spec.unified,
            source=self.name,
            driver=driver or None,
        )

    def _sample_or_lost(self, gpu_id: str) -> GpuSample:
        card = self._cards.get(gpu_id)
        try:
            sample = None if card is None else _sample(gpu_id, card)
        except _LostError:
            sample = None
        except SourceFailedError:
            self._stale = True
            raise
        if sample is None:
            self._lost.add(gpu_id)
            return GpuSample(id=gpu_id, lost=True)
        self._lost.discard(gpu_id)
        return sample


def _sample(gpu_id: str, card: _Card) -> GpuSample:
    card.failed = None
    memory = card.memory()
    rates = card.ask(pynvml.nvmlDeviceGetUtilizationRates)
    return GpuSample(
        id=gpu_id,
        vram_used_bytes=None if memory is None else memory[0] - memory[1],
        vram_total_bytes=None if memory is None else memory[0],
        utilization_pct=None if rates is None else float(rates.gpu),
        power_w=card.watts(pynvml.nvmlDeviceGetPowerUsage),
        power_limit_w=card.watts(pynvml.nvmlDeviceGetEnforcedPowerLimit),
        temperature_c=_float(
            card.ask(
                # The first one leaves the library in CUDA 14, the second came with driver 570.
                pynvml.nvmlDeviceGetTemperature,
                pynvml.nvmlDeviceGetTemperatureV,
                args=(pynvml.NVML_TEMPERATURE_GPU,),
            )
        ),
        fan_pct=_float(card.ask(pynvml.nvmlDeviceGetFanSpeed)),
        clock_sm_mhz=card.ask(pynvml.nvmlDeviceGetClockInfo, args=(pynvml.NVML_CLOCK_SM,)),
        clock_memory_mhz=card.ask(pynvml.nvmlDeviceGetClockInfo, args=(pynvml.NVML_CLOCK_MEM,)),
        pcie_gen=card.ask(pynvml.nvmlDeviceGetCurrPcieLinkGeneration) or None,
        pcie_lanes=card.ask(pynvml.nvmlDeviceGetCurrPcieLinkWidth) or None,
        processes=card.programs(),
        limits=limits_from(
            card.ask(
                pynvml.nvmlDeviceGetCurrentClocksEventReasons,
                pynvml.nvmlDeviceGetCurrentClocksThrottleReasons,
            )
        ),
    )


def limits_from(reasons: int | None) -> tuple[Limit, ...] | None:
    """NVML's bits as limits, worst first; `None` when the driver does not tell.

    The hardware-slowdown bit is set along with heat and power brake, so it only counts alone.
    """
    if reasons is None:
        return None
    limits = []
    if reasons & (_SW_HEAT | _HW_HEAT):
        limits.append(Limit.HEAT)
    if reasons & _BRAKE:
        limits.append(Limit.POWER_BRAKE)
    if reasons & _HW_SLOWDOWN and not reasons & (_HW_HEAT | _BRAKE):
        limits.append(Limit.HARDWARE)
    if reasons & _POWER_CAP:
        limits.append(Limit.POWER)
    if reasons & _IDLE:
        limits.append(Limit.IDLE)
    return tuple(limits)


def _bandwidth_gbps(card: _Card, spec: GpuSpec | None) -> float | None:
    """Highest memory clock × 2 (double data rate) × bus bytes, GB/s; else the table's figure."""
    bits = card.ask(pynvml.nvmlDeviceGetMemoryBusWidth)
    clock_mhz = card.ask(pynvml.nvmlDeviceGetMaxClockInfo, args=(pynvml.NVML_CLOCK_MEM,))
    if bits and clock_mhz:
        return round(float(clock_mhz * 2 * bits / 8 / 1000), 1)
    return None if spec is None else spec.bandwidth_gbps


def _own_lanes(card: _Card, spec: GpuSpec | None) -> int | None:
    """Lanes of the card itself.

    NVML's maximum is that of card and slot together, so on its own it tells only when it is 16.
    """
    both: int = card.ask(pynvml.nvmlDeviceGetMaxPcieLinkWidth) or 0
    own = spec.pcie_lanes if spec is not None else None
    if own is not None:
        return max(both, own)
    return both if both == _ALL_LANES else None


def _text(value: object) -> str:
    """A string of the binding, which returns bytes or str by version, without filler."""
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")
    return text.replace("\0", "").strip()


def _float(value: int | None) -> float | None:
    return None if value is None else float(value)
