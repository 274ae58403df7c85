"""Builds the fake NVML and writes the rigs it shows.

A child process sees a rig with `environment(folder, MIXED)`; `write` changes it while the child
runs. The program under test knows nothing of this: it loads `libnvidia-ml.so.1` as always.
"""

import hashlib
import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

SOURCE = Path(__file__).with_name("fake_nvml.c")
LIBRARY = "libnvidia-ml.so.1"
VARIABLE = "SPLITRIG_FAKE_NVML"
DRIVER = "580.65.06"
SCENARIO = "rig.txt"

_4090 = {
    "device_id": "0x2684", "total_mib": 24564, "used_mib": 420, "reserved_mib": 438,
    "load": 3, "power_mw": 24150, "limit_mw": 450000, "default_mw": 450000, "temperature": 41,
    "fan": 0, "sm_mhz": 210, "memory_mhz": 405, "max_memory_mhz": 10501, "bus_bits": 384,
    "gen": 1, "lanes": 16, "max_gen": 4, "max_lanes": 16, "own_gen": 4, "reasons": 1,
    "arch": 8, "major": 8, "minor": 9,
}  # fmt: skip
_3080 = {
    "device_id": "0x2206", "total_mib": 10240, "used_mib": 210, "reserved_mib": 245,
    "load": 0, "power_mw": 31000, "limit_mw": 320000, "default_mw": 320000, "temperature": 38,
    "fan": 30, "sm_mhz": 210, "memory_mhz": 405, "max_memory_mhz": 9501, "bus_bits": 320,
    "gen": 1, "lanes": 16, "max_gen": 4, "max_lanes": 16, "own_gen": 4, "reasons": 1,
    "arch": 7, "major": 8, "minor": 6,
}  # fmt: skip
_3090 = {
    **_3080, "device_id": "0x2204", "total_mib": 24576, "limit_mw": 350000, "default_mw": 350000,
    "max_memory_mhz": 9751, "bus_bits": 384,
}  # fmt: skip


def card(name: str, number: int, values: Mapping[str, object], **changes: object) -> str:
    """The statements of one card; `lost=True` loses it, other changes replace values."""
    lost = changes.pop("lost", False)
    uuid = f"GPU-{number:08x}-5711-0000-0000-{number:012x}"
    lines = [f"card {name}", f"uuid {uuid}", f"pci 00000000:{number + 1:02X}:00.0"]
    lines += [f"{key} {value}" for key, value in {**values, **changes}.items()]
    return "\n".join([*lines, *(["lost"] if lost else [])]) + "\n"


def rig(*cards: str, driver: str = DRIVER) -> str:
    """A scenario with these cards."""
    return f"driver {driver}\n" + "".join(cards)


RTX_4090 = card("NVIDIA GeForce RTX 4090", 0, _4090)
RTX_3080 = card("NVIDIA GeForce RTX 3080", 1, _3080)
TWO_EQUAL = rig(*(card("NVIDIA GeForce RTX 3090", n, _3090) for n in range(2)))
MIXED = rig(RTX_4090, RTX_3080)
HALF_FULL = rig(card("NVIDIA GeForce RTX 4090", 0, _4090, used_mib=12_000))
_BUSY = {"gen": 4, "sm_mhz": 1740, "memory_mhz": 9501, "power_mw": 244000, "reasons": 4}
EIGHT_CARDS = rig(
    *(
        card("NVIDIA GeForce RTX 3090", n, _3090, load=60 + n, used_mib=900 + 100 * n, **_BUSY)
        for n in range(8)
    )
)
ONE_LOST = rig(RTX_4090, card("NVIDIA GeForce RTX 3080", 1, _3080, lost=True))
DRIVER_MISMATCH = f"driver {DRIVER}\ninit 18\n"
DRIVER_ABSENT = None
"""For `environment`: no library can be loaded at all."""


def changed(number: int = 1, **changes: object) -> str:
    """MIXED with the second (or the first) card changed."""
    kinds = [("NVIDIA GeForce RTX 4090", _4090), ("NVIDIA GeForce RTX 3080", _3080)]
    kinds[number] = (str(changes.pop("name", kinds[number][0])), kinds[number][1])
    return rig(
        *(
            card(name, n, values, **(changes if n == number else {}))
            for n, (name, values) in enumerate(kinds)
        )
    )


def build(dest: Path | None = None) -> Path:
    """Compile the library once per source text and return its path.

    Args:
        dest: Folder for it; a folder of this user under the temporary folder by default.
    """
    digest = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]
    if dest is None:
        user = os.environ.get("USER", "user")
        dest = Path(tempfile.gettempdir()) / f"splitrig-fake-nvml-{user}-{digest}"
    library = dest / LIBRARY
    if not library.exists():
        dest.mkdir(parents=True, exist_ok=True)
        part = dest / f"{LIBRARY}.{os.getpid()}"
        flags = ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-pthread"]
        subprocess.run(["cc", *flags, "-o", part, SOURCE], check=True)
        part.replace(library)
    return library


def write(path: Path, scenario: str) -> None:
    """Write a scenario so that a reader sees the old one or the new one, never half of it."""
    part = path.with_name(path.name + ".part")
    part.write_text(scenario, encoding="utf-8")
    part.replace(path)


def environment(folder: Path, scenario: str | None) -> dict[str, str]:
    """Variables for a child process that is to see this rig; written to `folder`/rig.txt.

    `None` hides any NVIDIA driver: the child finds a library it cannot load.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if scenario is None:
        broken = folder / "no-driver"
        broken.mkdir(exist_ok=True)
        (broken / LIBRARY).touch()
        return {"LD_LIBRARY_PATH": _before(broken), VARIABLE: ""}
    write(folder / SCENARIO, scenario)
    return {"LD_LIBRARY_PATH": _before(build().parent), VARIABLE: str(folder / SCENARIO)}


def _before(folder: Path) -> str:
    old = os.environ.get("LD_LIBRARY_PATH", "")
    return f"{folder}:{old}" if old else str(folder)
