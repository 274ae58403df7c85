"""What the amdgpu driver tells of a card in files; reading them takes microseconds."""

from pathlib import Path

from splitrig.core.gpu import GpuSample
from splitrig.services.telemetry.drm import AMD, devices_of, read_text
from splitrig.services.telemetry.pci import normal_pci

_MOST_BYTES = 2**50
_MOST_W, _LEAST_C, _MOST_C = 5000.0, -50.0, 200.0
"""Beyond these a number is no reading."""


def devices_by_pci(drm_root: Path) -> dict[str, Path]:
    """Device folder of each AMD card by its PCI address."""
    found = {_pci(device): device for device in devices_of(drm_root, AMD)}
    return {pci: device for pci, device in found.items() if pci is not None}


def vram_total_bytes(device: Path) -> int | None:
    """All memory of the card, or what the BIOS carved out for a processor's graphics, bytes."""
    return _whole(device / "mem_info_vram_total", most=_MOST_BYTES)


def is_suspended(device: Path) -> bool:
    """The card sleeps, and reading its files would wake it; this one does not."""
    return read_text(device / "power" / "runtime_status") == "suspended"


def read_sample(gpu_id: str, device: Path) -> GpuSample:
    """The readings that change from second to second.

    Sources: mem_info_vram_used, gpu_busy_percent; of hwmon power1_average, where there is none
    power1_input (µW), and temp1_input (the edge sensor, m°C).
    """
    total = vram_total_bytes(device)
    microwatts = _hwmon(device, "power1_average")
    if microwatts is None:
        microwatts = _hwmon(device, "power1_input")
    millidegrees = _hwmon(device, "temp1_input")
    load = _whole(device / "gpu_busy_percent", most=100)
    return GpuSample(
        id=gpu_id,
        vram_total_bytes=total,
        vram_used_bytes=_whole(device / "mem_info_vram_used", most=total or _MOST_BYTES),
        utilization_pct=None if load is None else float(load),
        power_w=_within(microwatts, 1e-6, 0, _MOST_W),
        temperature_c=_within(millidegrees, 1e-3, _LEAST_C, _MOST_C),
    )


def _pci(device: Path) -> str | None:
    """From `PCI_SLOT_NAME` of uevent, else from the folder the link leads to."""
    lines = (read_text(device / "uevent") or "").splitlines()
    named = (line.removeprefix("PCI_SLOT_NAME=") for line in lines if "PCI_SLOT_NAME=" in line)
    return normal_pci(next(named, device.resolve().name))


def _hwmon(device: Path, name: str) -> int | None:
    files = sorted(device.glob(f"hwmon/hwmon*/{name}"))
    return _number(files[0]) if files else None


def _number(file: Path) -> int | None:
    text = read_text(file) or ""
    digits = text.removeprefix("-")
    return int(text) if digits.isdecimal() and len(digits) <= 15 else None


def _whole(file: Path, *, most: int) -> int | None:
    value = _number(file)
    return value if value is not None and 0 <= value <= most else None


def _within(value: int | None, unit: float, least: float, most: float) -> float | None:
    scaled = None if value is None else round(value * unit, 3)
    return scaled if scaled is not None and least <= scaled <= most else None
