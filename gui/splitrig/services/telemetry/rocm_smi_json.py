"""What rocm-smi prints with --json, read for every era of its keys; pure."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from splitrig.core.gpu import GpuInfo, GpuSample, Vendor
from splitrig.core.specs import GpuSpec, SpecTable, hex_digits
from splitrig.services.telemetry.pci import link_from_text, normal_pci

SOURCE = "rocm-smi"
_APU_TARGET = re.compile(r"gfx(90[29c]|1013|103[3567]|1103|115[0123])")
"""gfx targets that exist only as part of a processor (LLVM's AMDGPU usage guide)."""
_APU_IDS = frozenset({
    "15dd",  # Raven
    "15d8",  # Picasso
    "1636",  # Renoir
    "164c",  # Lucienne
    "1638",  # Cezanne
    "15e7",  # Barcelo
    "163f",  # Van Gogh
    "1506",  # Mendocino
    "1681",  # Rembrandt
    "164e",  # Raphael
    "15bf", "15c8",  # Phoenix
    "1900", "1901",  # Hawk Point
    "13c0",  # Granite Ridge
    "150e",  # Strix Point
    "1586",  # Strix Halo
})  # fmt: skip
"""PCI device ids of processors with graphics (pci.ids): before 6.1 no gfx target is printed."""

_MOST_STARTS = 200
"""Brackets in the noise before the JSON that are worth a try."""
_NUMBER = re.compile(r"\(?([+-]?\d{1,20}(?:\.\d{1,20})?)\s*(?:%|W|C|MHz)?\)?", re.IGNORECASE)

Box = Mapping[str, str]
"""One card as printed: key in lower case without a trailing colon → text."""


@dataclass(frozen=True, slots=True)
class RocmCards:
    """The cards of one run, in the order printed."""

    infos: tuple[GpuInfo, ...]
    samples: tuple[GpuSample, ...]


def parse_rocm_smi(text: str, specs: SpecTable) -> RocmCards | None:
    """Read what rocm-smi printed; text before the JSON (warnings) is skipped.

    Every value is optional, and one that is no sensible number is not reported. Never raises.

    Args:
        text: Standard output as it came.
        specs: The table of cards, for names and for what rocm-smi does not tell.

    Returns:
        `None` when there is no JSON of rocm-smi in it.
    """
    table = _table(text)
    if table is None:
        return None
    driver = _clean(_box(table.get("system")).get("driver version")) or None
    infos: list[GpuInfo] = []
    samples: list[GpuSample] = []
    for label, value in table.items():
        if not re.fullmatch(r"card\d{1,4}", label) or not isinstance(value, Mapping):
            continue
        box = _box(value)
        info = _info(label, box, specs, driver)
        twins = sum(i.id.partition("/")[0] == info.id for i in infos)
        if twins:
            # Partitions of one MI300 share address and id, yet each has memory of its own.
            info = replace(info, id=f"{info.id}/{twins}")
        infos.append(info)
        samples.append(_sample(info.id, box))
    return RocmCards(tuple(infos), tuple(samples))


def _table(text: str) -> dict[str, object] | None:
    """The first JSON object that looks like rocm-smi's: it has cards, or the system alone."""
    decoder = json.JSONDecoder()
    for start in _starts(text):
        try:
            value, _ = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            continue
        for candidate in value if isinstance(value, list) else [value]:
            if isinstance(candidate, dict) and any(
                re.fullmatch(r"card\d{1,4}|system", str(key)) for key in candidate
            ):
                return candidate
    return None


def _starts(text: str) -> Iterator[int]:
    for number, match in enumerate(re.finditer(r"[{\[]", text)):
        if number >= _MOST_STARTS:
            return
        yield match.start()


def _box(value: object) -> Box:
    if not isinstance(value, Mapping):
        return {}
    return {
        str(key).strip().rstrip(":").casefold(): str(item)
        for key, item in value.items()
        if isinstance(item, str | int | float) and not isinstance(item, bool)
    }


def _info(label: str, box: Box, specs: SpecTable, driver: str | None) -> GpuInfo:
    device_id, revision = _device_id(box), box.get("device rev")
    total, _ = _vram(box)
    reported = _reported_name(box)
    spec = specs.find(name=reported, device_id=device_id, revision=revision, vram_bytes=total)
    pci = normal_pci(box.get("pci bus", ""))
    uuid = _uuid(box)
    gfx = _clean(box.get("gfx version"))
    gfx = gfx if re.fullmatch(r"gfx[0-9a-f]{3,5}", gfx) else ""
    guid = _clean(box.get("guid"))
    return GpuInfo(
        id=uuid or pci or (f"rocm-{guid}" if guid.isalnum() else f"rocm-{label}"),
        name=_name(reported, spec, device_id),
        vendor=Vendor.AMD,
        pci=pci,
        uuid=uuid,
        vram_total_bytes=total,
        architecture=spec.architecture if spec else None,
        compute_capability=gfx or (spec.compute_capability if spec else None),
        bandwidth_gbps=spec.bandwidth_gbps if spec else None,
        pcie_gen_max=spec.pcie_gen if spec else None,
        pcie_lanes_max=spec.pcie_lanes if spec else None,
        integrated=_APU_TARGET.fullmatch(gfx) is not None
        or hex_digits(device_id, 4) in _APU_IDS
        or (spec is not None and spec.unified),
        source=SOURCE,
        driver=driver,
    )


def _sample(gpu_id: str, box: Box) -> GpuSample:
    total, used = _vram(box)
    gen, lanes = link_from_text(box.get("pcie clock level", ""))
    return GpuSample(
        id=gpu_id,
        vram_used_bytes=used,
        vram_total_bytes=total,
        # 'GPU memory use (%)' is how busy the memory controller is, not how full.
        utilization_pct=_within(box, "gpu use (%)", 0, 100),
        power_w=_first(
            box,
            "average graphics package power (w)",
            "current socket graphics package power (w)",
            most=5000,
        ),
        power_limit_w=_positive(_within(box, "max graphics package power (w)", 0, 5000)),
        temperature_c=_first(
            box,
            "temperature (sensor edge) (c)",
            "temperature (sensor junction) (c)",
            least=-50,
            most=200,
        ),
        fan_pct=_within(box, "fan speed (%)", 0, 200),
        clock_sm_mhz=_megahertz(box, "sclk clock speed"),
        clock_memory_mhz=_megahertz(box, "mclk clock speed"),
        pcie_gen=gen,
        pcie_lanes=lanes,
    )


def _device_id(box: Box) -> str | None:
    """PCI device id: `Device ID` since 6.0, `GPU ID` before, else `Card Model` since 6.1.

    Before 6.1 `Card model` held the subsystem id; those versions print no `Subsystem ID`.
    """
    for key in ("device id", "gpu id"):
        if hex_digits(box.get(key), 4):
            return box[key]
    return box.get("card model") if "subsystem id" in box else None


def _uuid(box: Box) -> str | None:
    """The unique id as ROCm's runtime spells it: `GPU-` and sixteen hex digits."""
    text = box.get("unique id", "").strip().lower()
    match = re.fullmatch(r"(?:0x)?([0-9a-f]{1,16})", text)
    return None if match is None or not match[1].strip("0") else f"GPU-{match[1].zfill(16)}"


def _reported_name(box: Box) -> str | None:
    """`Navi 22 [Radeon RX 6700 XT]` → `Radeon RX 6700 XT`; ids in place of names are none."""
    for key in ("card series", "device name"):
        name = _clean(box.get(key))
        bracket = re.search(r"\[([^\]]+)\]", name)
        name = (bracket[1] if bracket else name).strip()
        if name and name != "N/A" and hex_digits(name, 4) is None:
            return name
    return None


def _name(reported: str | None, spec: GpuSpec | None, device_id: str | None) -> str:
    if spec is not None:
        return spec.full_name
    if reported:
        return reported if reported.startswith("AMD") else f"AMD {reported}"
    digits = hex_digits(device_id, 4)
    return f"AMD GPU 0x{digits}" if digits else "AMD GPU"


def _vram(box: Box) -> tuple[int | None, int | None]:
    """Total and used bytes; a use beyond the total is no reading."""
    total = _bytes(box, "vram total memory (b)") or None
    used = _bytes(box, "vram total used memory (b)")
    if used is not None and total is not None and used > total:
        used = None
    return total, used


def _bytes(box: Box, key: str) -> int | None:
    text = box.get(key, "").strip()
    return int(text) if re.fullmatch(r"[0-9]{1,15}", text) else None


def _number(text: str | None) -> float | None:
    match = _NUMBER.fullmatch(text.strip()) if text else None
    if match is None:
        return None
    value = float(match[1])
    return value if math.isfinite(value) else None


def _within(box: Box, key: str, least: float, most: float) -> float | None:
    value = _number(box.get(key))
    return value if value is not None and least <= value <= most else None


def _first(box: Box, *keys: str, least: float = 0, most: float) -> float | None:
    values = (_within(box, key, least, most) for key in keys)
    return next((value for value in values if value is not None), None)


def _positive(value: float | None) -> float | None:
    return value or None


def _megahertz(box: Box, key: str) -> int | None:
    value = _within(box, key, 0, 20_000)
    return None if value is None else round(value)


def _clean(text: str | None) -> str:
    """Printable text of a sane length: it ends up in a window and on a terminal."""
    return "".join(c for c in (text or "") if c.isprintable()).strip()[:96]
