"""Environment variables that show a program some devices only, and in an order of our own.

For engines that have no option for it. Devices are named as llama.cpp names them when it sees all
of them in the order of the PCI bus (`CUDA_DEVICE_ORDER=PCI_BUS_ID`): `CUDA1` is the second one.
"""

import re
from collections.abc import Mapping, Sequence

VARIABLES: Mapping[str, tuple[str, str]] = {
    "CUDA": ("CUDA_VISIBLE_DEVICES", "-1"),
    "ROCm": ("HIP_VISIBLE_DEVICES", "-1"),
    "Vulkan": ("GGML_VK_VISIBLE_DEVICES", ""),
}
"""By the kind of device: the variable, and its value that shows none of them."""


def visible_devices(names: Sequence[str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """What to set so that exactly these devices are seen.

    A kind of device of which none is named is hidden, so that no card is seen twice through
    another driver. What is not a graphics card (`RPC0`) is left alone.

    Args:
        names: Devices in the order of the split.

    Returns:
        The variables, and the name each device then has, in the same order: the first visible
        one of a kind becomes its number 0.
    """
    seen: dict[str, list[str]] = {kind: [] for kind in VARIABLES}
    renamed = []
    for name in names:
        match = re.fullmatch(r"([A-Za-z]+)(\d+)", name)
        kind, number = (match[1], match[2]) if match else (name, "")
        if kind in seen and number:
            renamed.append(f"{kind}{len(seen[kind])}")
            seen[kind].append(number)
        else:
            renamed.append(name)
    env = {
        variable: ",".join(seen[kind]) if seen[kind] else nothing
        for kind, (variable, nothing) in VARIABLES.items()
    }
    return env, tuple(renamed)
