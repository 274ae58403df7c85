"""`splitrig gpus`: the cards and what they read now."""

import argparse
import json
import textwrap
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from splitrig.cli.table import table
from splitrig.core.advice import advise
from splitrig.core.errors import TelemetryError
from splitrig.core.gpu import GpuInfo, GpuSample, Note, Rig, Severity
from splitrig.core.units import MISSING, gib_text, number_text
from splitrig.services.telemetry.sampler import SOURCE_NAMES, default_sources, read_rig

_HEAD = ("Card", "PCI", "VRAM GiB", "Load %", "Power W", "°C", "Fan %", "PCIe", "Limit")


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = commands.add_parser("gpus", help="list the cards and what they read now")
    parser.add_argument("--source", choices=SOURCE_NAMES, help="one source instead of all")
    parser.add_argument(
        "--sysfs-root", type=Path, metavar="DIR", help="folder that stands for /sys/class/drm"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    """Read every source once and print the cards.

    Returns:
        0, also when the machine has no card; 1 if there is none because a source failed.

    Raises:
        TelemetryError: The source does not work yet, or there is no such folder.
    """
    root: Path | None = options.sysfs_root
    if root is not None and not root.is_dir():
        raise TelemetryError(f"There is no folder {root}.", "It should hold cardN folders.")
    rig = read_rig(default_sources(only=options.source, drm_root=root))
    advice = advise(rig)
    print(json.dumps(as_json(rig, advice), indent=2) if options.json else as_text(rig, advice))
    return int(not rig.gpus and any(note.severity is not Severity.INFO for note in rig.notes))


def as_json(rig: Rig, advice: tuple[Note, ...]) -> dict[str, object]:
    """The rig as the command's JSON; `null` where nothing is reported."""
    return {
        "gpus": [_card_json(gpu, rig.samples.get(gpu.id)) for gpu in rig.gpus],
        "notes": [asdict(note) for note in (*rig.notes, *advice)],
        "demo": rig.demo,
    }


def _card_json(gpu: GpuInfo, sample: GpuSample | None) -> dict[str, object]:
    fixed: Mapping[str, object] = asdict(gpu)
    now: Mapping[str, object] = asdict(sample if sample is not None else GpuSample(id=gpu.id))
    # The fixed total is the one to trust; a sample only fills in for it.
    total = gpu.vram_total_bytes if gpu.vram_total_bytes is not None else now["vram_total_bytes"]
    return {**fixed, **now, "vram_total_bytes": total}


def as_text(rig: Rig, advice: tuple[Note, ...]) -> str:
    """A table of the cards, and below it what there is to say."""
    parts = []
    if rig.gpus:
        rows = [_row(gpu, rig.samples.get(gpu.id) or GpuSample(id=gpu.id)) for gpu in rig.gpus]
        parts.append(table(_HEAD, rows, left=2))
    else:
        parts.append("No usable graphics card was found.")
    if rig.demo:
        parts.append("Demo rig: these cards and readings are made up.")
    # Beside cards that work, a driver that was not found is no news.
    found = [note for note in rig.notes if not rig.gpus or note.severity is not Severity.INFO]
    parts += [_paragraph(note) for note in (*found, *advice)]
    return "\n\n".join(parts)


def _paragraph(note: Note) -> str:
    mark = "" if note.severity is Severity.INFO else "! "
    detail = textwrap.fill(note.detail, 96, initial_indent="  ", subsequent_indent="  ")
    return f"{mark}{note.message}.\n{detail}".rstrip()


def _row(gpu: GpuInfo, sample: GpuSample) -> tuple[str, ...]:
    total = gpu.vram_total_bytes or sample.vram_total_bytes
    limits = sample.limits
    if sample.lost:
        limit = "lost"
    elif limits is None:
        limit = MISSING
    else:
        limit = ", ".join(limits) or "none"
    link = MISSING
    if sample.pcie_gen is not None and sample.pcie_lanes is not None:
        link = f"{sample.pcie_gen}.0 ×{sample.pcie_lanes}"
    return (
        gpu.short_name,
        gpu.pci or MISSING,
        f"{gib_text(sample.vram_used_bytes)} / {gib_text(total)}",
        number_text(sample.utilization_pct),
        f"{number_text(sample.power_w)} / {number_text(sample.power_limit_w)}",
        number_text(sample.temperature_c),
        number_text(sample.fan_pct),
        link,
        limit,
    )
