"""The rig as text, for a bug report or a forum."""

from collections.abc import Sequence

from splitrig.core.engine import EngineStatus
from splitrig.core.gpu import GpuInfo, Note, Rig
from splitrig.core.units import gib_text
from splitrig.core.usage import usage_of
from splitrig.views.rig.readings import readings_of


def report_of(rig: Rig, notes: Sequence[Note], engines: Sequence[EngineStatus]) -> str:
    """Cards, readings and notes as plain text. No name of the user or the machine is in it."""
    lines = [f"SplitRig, {headline_of(rig)}"]
    for number, gpu in enumerate(rig.gpus):
        lines += ["", *_card_lines(number, gpu, rig, engines)]
    if notes:
        lines += ["", "Notes"]
        lines += [f"- [{n.severity}] {n.message} {n.detail}".rstrip() for n in notes]
    return "\n".join(lines) + "\n"


def headline_of(rig: Rig) -> str:
    """`2 cards · 34.0 GiB · NVIDIA driver 580.65`, as far as it is known."""
    n = len(rig.gpus)
    parts = ["no card" if n == 0 else "1 card" if n == 1 else f"{n} cards"]
    total = sum(g.vram_total_bytes or 0 for g in rig.gpus)
    if total:
        parts.append(f"{gib_text(total)} GiB")
    drivers = {(g.vendor.value, g.driver): None for g in rig.gpus if g.driver}
    parts += [f"{vendor} driver {driver}" for vendor, driver in drivers]
    if rig.demo:
        parts.append("demo readings")
    return " · ".join(parts)


def _card_lines(number: int, gpu: GpuInfo, rig: Rig, engines: Sequence[EngineStatus]) -> list[str]:
    sample = rig.samples.get(gpu.id)
    usage = usage_of(gpu, sample, engines)
    r = readings_of(gpu, sample, usage)
    shown = {
        "VRAM": r.vram,
        "load": r.load,
        "power": r.power,
        "temperature": r.temperature,
        "fan": r.fan,
        "clocks, MHz": r.clocks,
        "PCIe link": r.link,
    }
    what = [gpu.pci or "no PCI address", gpu.source]
    what += [t for t in (gpu.architecture, gpu.compute_capability) if t]
    lines = [f"{number}  {gpu.name} ({', '.join(what)})"]
    lines += [f"   {name}: {value.text} {value.rest}".rstrip() for name, value in shown.items()]
    lines.append(f"   limited by: {r.limit.text}")
    return lines
