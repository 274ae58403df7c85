"""Experts that stay with the processor: what that takes off the cards and puts into RAM.

Source: `--cpu-moe` and `--n-cpu-moe` in common/arg.cpp, which override where the expert tensors
of the first layers go.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from splitrig.core.footprint import Footprint, Size, TensorTable
from splitrig.core.model import Model, Tensor

ALL = -1
"""Of every layer."""
EXPERT = re.compile(r"blk\.\d+\.ffn_(up|down|gate|gate_up)_(ch)?exps")
"""`LLM_FFN_EXPS_REGEX` in common/common.h."""


def expert_layers(model: Model, n_cpu_moe: int) -> int:
    """Layers whose experts stay with the processor; 0 for a model without experts."""
    if not any(EXPERT.match(tensor.name) for tensor in model.tensors):
        return 0
    return model.n_layer if n_cpu_moe < 0 else min(n_cpu_moe, model.n_layer)


def without_experts(
    model: Model, sizes: Footprint, n_layers: int, on_cards: Sequence[int]
) -> tuple[Footprint, int]:
    """The footprint with the experts of the first layers in RAM.

    Args:
        model: The model.
        sizes: Its footprint.
        n_layers: Layers whose experts stay with the processor.
        on_cards: Blocks that lie on cards at all.

    Returns:
        The footprint, and the largest tensor that was moved, bytes.
    """
    experts, largest = _experts(TensorTable(model.tensors), model.n_layer)
    weights = list(sizes.weights)
    host_bytes, moved = sizes.host_model_bytes, 0
    for layer in on_cards:
        if layer < n_layers:
            whole, part = weights[layer], experts[layer]
            weights[layer] = Size(
                whole.plain - part.plain, whole.aligned - part.aligned, whole.rows - part.rows
            )
            host_bytes += part.plain
            moved = max(moved, largest[layer])
    return replace(sizes, weights=tuple(weights), host_model_bytes=host_bytes), moved


def expert_bytes(model: Model, n_cpu_moe: int) -> int:
    """Bytes of the experts of the first layers (negative: of all)."""
    sizes, _ = _experts(TensorTable(model.tensors), model.n_layer)
    return sum(size.plain for size in sizes[: expert_layers(model, n_cpu_moe)])


def is_on_host(tensor: Tensor, n_layers: int) -> bool:
    """A tensor that stays with the processor when the experts of the first layers do."""
    layer = tensor.layer
    return layer is not None and layer < n_layers and bool(EXPERT.match(tensor.name))


@lru_cache(maxsize=8)
def _experts(tensors: TensorTable, n_layer: int) -> tuple[tuple[Size, ...], tuple[int, ...]]:
    """Size of the experts of each layer, and their largest tensor, bytes."""
    sizes, largest = [Size()] * n_layer, [0] * n_layer
    for tensor in tensors.table:
        layer = tensor.layer
        if layer is not None and layer < n_layer and EXPERT.match(tensor.name):
            sizes[layer] += Size.of(tensor.type_name, tensor.shape[0], tensor.n_bytes)
            largest[layer] = max(largest[layer], tensor.n_bytes)
    return tuple(sizes), tuple(largest)
