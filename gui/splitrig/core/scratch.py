"""What a placement takes besides the layers on the cards: compute buffers, and the host's part."""

from collections.abc import Sequence
from dataclasses import dataclass

from splitrig.core.footprint import Footprint, compute_bytes, host_compute_bytes
from splitrig.core.ggml_types import padded
from splitrig.core.layer_map import HOST
from splitrig.core.model import Model


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """What the size of a graph depends on, whichever card computes it.

    Attributes:
        n_ctx: Context, tokens.
        n_ubatch: Tokens computed at once.
        cache_types: ggml types of keys and values.
        flash_attention: Flash attention is on.
        n_outputs: Tokens whose logits are kept.
        pipelined: Several cards work on different batches at the same time.
    """

    n_ctx: int
    n_ubatch: int
    cache_types: tuple[str, str]
    flash_attention: bool
    n_outputs: int
    pipelined: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """Where the layers of a model lie.

    Attributes:
        layers: Device of every layer, the output layer last.
        used: Devices that hold a layer.
        helper: Device that computes the host's tensors when batches are large; `None` for none.
        on_host: Largest tensor of a layer on a device that was kept in RAM all the same, bytes.
    """

    layers: Sequence[int]
    used: Sequence[int]
    helper: int | None
    on_host: int = 0


def device_scratch(
    model: Model, sizes: Footprint, graph: Graph, placed: Placed, number: int
) -> int:
    """Compute buffer of device `number`, bytes; 0 for a card that holds no layer."""
    if number not in placed.used:
        return 0
    left = (sizes.largest_tensor[il] for il, d in enumerate(placed.layers) if d == HOST)
    return compute_bytes(
        model,
        sizes,
        n_ctx=graph.n_ctx,
        n_ubatch=graph.n_ubatch,
        cache_types=graph.cache_types,
        flash_attention=graph.flash_attention,
        n_outputs=graph.n_outputs,
        pipelined=graph.pipelined,
        first=number == (placed.used[0] if HOST not in placed.layers else placed.helper),
        has_output=placed.layers[model.n_layer] == number,
        partial=HOST in placed.layers,
        stages=max(placed.on_host, *left, 0) if number == placed.helper else 0,
    )


def host_scratch(model: Model, sizes: Footprint, graph: Graph, placed: Placed) -> int:
    """Compute buffer in the computer's memory, bytes: inputs, and room to compute if it must."""
    beside = host_compute_bytes(
        model,
        sizes,
        n_ctx=graph.n_ctx,
        n_ubatch=graph.n_ubatch,
        cache_types=graph.cache_types,
        flash_attention=graph.flash_attention,
        n_outputs=graph.n_outputs,
        pipelined=graph.pipelined,
    )
    if HOST not in placed.layers or placed.helper is not None:
        return beside
    work = compute_bytes(
        model,
        sizes,
        n_ctx=graph.n_ctx,
        n_ubatch=graph.n_ubatch,
        cache_types=graph.cache_types,
        flash_attention=graph.flash_attention,
        n_outputs=graph.n_outputs,
        pipelined=False,
        first=True,
        has_output=not placed.used,
        partial=False,
        stages=0,
    )
    tokens = min(graph.n_ctx, graph.n_ubatch)
    return max(beside, work + 4 * tokens * (model.n_embd + 1) + padded(4 * graph.n_outputs, 64))


def host_weights(model: Model, sizes: Footprint, host_layers: Sequence[int]) -> int:
    """Weights in the computer's memory: the input embedding and what is not offloaded, bytes."""
    n_bytes = sizes.host_model_bytes + sum(sizes.weights[il].plain for il in host_layers)
    if model.n_layer in host_layers and all(t.name != "output.weight" for t in model.tensors):
        # a tied embedding is not kept twice on the host
        n_bytes -= next((t.n_bytes for t in model.tensors if t.name == "token_embd.weight"), 0)
    if any(il < model.n_layer for il in host_layers):
        n_bytes += sizes.per_device.plain
    return n_bytes
