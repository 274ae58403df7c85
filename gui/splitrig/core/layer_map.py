"""Which card holds which layer: llama.cpp's own arithmetic, repeated bit by bit.

Source: `llama_model::load_tensors` in src/llama-model.cpp. Everything there is 32-bit floating
point, so it is here.
"""

from bisect import bisect_right
from collections.abc import Sequence
from ctypes import c_float

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
        position = _float32((layer - first) / active)
        # upper_bound: the first edge that lies beyond the position
        devices.append(min(bisect_right(edges, position), len(edges) - 1))
    return tuple(devices)


def cumulative_edges(split: Sequence[float]) -> list[float]:
    """Right edge of each device's share on a scale from 0 to 1, in float32 steps."""
    total = 0.0
    sums = []
    for share in split:
        total = _float32(total + _float32(share))
        sums.append(total)
    return [_float32(s / total) for s in sums]


def _float32(value: float) -> float:
    """The nearest 32-bit float.

    One operation in 64 bits, then rounded, gives what the same operation gives in 32 bits.
    """
    return c_float(value).value


def layer_counts(devices: Sequence[int], n_devices: int) -> tuple[int, ...]:
    """Layers per device, the output layer counted."""
    return tuple(sum(d == number for d in devices) for number in range(n_devices))
