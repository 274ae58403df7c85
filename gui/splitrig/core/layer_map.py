"""Which card holds which layer: llama.cpp's own arithmetic, repeated bit by bit.

Source: `llama_model::load_tensors` in src/llama-model.cpp. Everything there is 32-bit floating
point, so it is here.
"""

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np

HOST = -1
"""Device number of a layer that stays in the computer's memory."""


def layer_devices(split: Sequence[float], n_layer: int, n_gpu_layers: int) -> tuple[int, ...]:
    """Device of every layer; the last entry is the output layer.

    Args:
        split: Share per device, any positive scale.
        n_layer: Blocks of the model.
        n_gpu_layers: Layers to offload with the output counted; negative means all.

    Returns:
        `n_layer + 1` device numbers; `HOST` for layers that are not offloaded.
    """
    slots = n_layer + 1
    wanted = slots if n_gpu_layers < 0 else n_gpu_layers
    first = max(slots - wanted, 0)
    active = min(wanted, slots)
    edges = cumulative_edges(split)
    devices = []
    for layer in range(slots):
        if layer < first or active == 0:
            devices.append(HOST)
            continue
        position = np.float32(layer - first) / np.float32(active)
        # upper_bound: the first edge that lies beyond the position
        devices.append(min(bisect_right(edges, float(position)), len(edges) - 1))
    return tuple(devices)


def cumulative_edges(split: Sequence[float]) -> list[float]:
    """Right edge of each device's share on a scale from 0 to 1, in float32 steps."""
    total = np.float32(0)
    sums = []
    for share in split:
        total = np.float32(total + np.float32(share))
        sums.append(total)
    return [float(np.float32(s / total)) for s in sums]


def layer_counts(devices: Sequence[int], n_devices: int) -> tuple[int, ...]:
    """Layers per device, the output layer counted."""
    return tuple(sum(d == number for d in devices) for number in range(n_devices))
