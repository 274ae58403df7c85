"""Stands for rocm-smi: of recorded output it prints only what its flags ask for, as the real one.

Used as `script(path)`: the body of a Python program that answers with this recording.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
FLAG_KEYS: Mapping[str, tuple[str, ...]] = {
    "--showid": ("gpu id", "device name", "device id", "device rev", "subsystem id", "guid"),
    "--showuniqueid": ("unique id",),
    "--showdriverversion": ("driver version",),
    "--showproductname": (
        "card series", "card model", "card vendor", "card sku",
        "subsystem id", "device rev", "node id", "guid", "gfx version",
    ),
    "--showbus": ("pci bus",),
    "--showmeminfo": ("vram total",),
    "--showuse": ("gpu use (%)", "gfx activity"),
    "--showtemp": ("temperature (",),
    "--showpower": (
        "average graphics package power (w)", "current socket graphics package power (w)",
    ),
    "--showmaxpower": ("max graphics package power (w)",),
    "--showfan": ("fan speed (", "fan rpm"),
    "--showclocks": (
        "sclk clock", "mclk clock", "fclk clock", "socclk clock", "dcefclk clock",
        "pcie clock level",
    ),
}  # fmt: skip
"""Flag → how the keys it prints begin, lower case, of all versions together.

From ROCm's python_smi_tools/rocm_smi.py: its `main` maps each flag to one `show…` function, and
those print the keys (`showId` printed 'GPU ID' until 5.7). The ids in the block of
`showProductName` came with 6.1; a recording holds what its version printed.
"""


def shown(recorded: Path, flags: Sequence[str]) -> str:
    """What this recording's rocm-smi prints for these flags, as JSON; nothing without a value."""
    starts = tuple(start for flag in flags for start in FLAG_KEYS.get(flag, ()))
    table = json.loads(recorded.read_text(encoding="utf-8"))
    boxes = {
        label: {key: value for key, value in box.items() if key.casefold().startswith(starts)}
        for label, box in table.items()
    }
    boxes = {label: box for label, box in boxes.items() if box}
    return json.dumps(boxes) if boxes and "--json" in flags else ""


def script(recorded: Path) -> str:
    """The body of a Python program that stands for the rocm-smi of this recording."""
    return "\n".join((
        "import sys",
        f"sys.path.insert(0, {str(ROOT)!r})",
        "from pathlib import Path",
        "from tests.fakes.rocm_smi import shown",
        f"print(shown(Path({str(recorded)!r}), sys.argv[1:]))",
    ))  # fmt: skip
