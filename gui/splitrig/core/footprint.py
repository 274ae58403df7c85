"""How many bytes each part of a model takes: weights, KV cache, compute buffer.

Sources: src/llama-model.cpp (placement), src/llama-kv-cache.cpp and llama-kv-cache-iswa.cpp
(cells), ggml/src/ggml-cuda.cu (padding); the compute buffer repeats the largest moment of the
graph in src/llama-graph.cpp.
"""

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from splitrig.core.ggml_types import BY_NAME, device_bytes, padded, row_bytes
from splitrig.core.model import Model, Tensor

CELL_PAD = 256
"""The KV cache grows in steps of 256 cells."""

INPUT_COPIES = 4
"""Copies of the graph's inputs when batches are pipelined (GGML_SCHED_MAX_COPIES)."""

DENSE = frozenset(
    {
        "llama", "qwen2", "qwen3", "gemma", "gemma2", "gemma3", "mistral3", "phi2", "phi3",
        "starcoder2", "stablelm", "internlm2", "granite", "olmo2", "command-r", "cohere2", "glm4",
        "exaone", "exaone4", "smollm3", "seed_oss", "ernie4_5", "hunyuan-dense", "deci", "mimo2",
    }
)  # fmt: skip
MIXTURES = frozenset(
    {
        "qwen2moe", "qwen3moe", "deepseek2", "gpt-oss", "glm4moe", "olmoe", "phimoe", "dbrx",
        "granitemoe", "ernie4_5-moe", "hunyuan-moe", "bailingmoe", "dots1", "llama4",
    }
)  # fmt: skip

WINDOW_PERIOD = {"gemma2": 2, "gemma3": 6, "gpt-oss": 2, "cohere2": 4, "exaone4": 4, "llama4": 4}
"""Every n-th layer sees the whole context, the others a window (`set_swa_pattern`)."""

MLA = frozenset({"deepseek2"})
"""Architectures that keep one compressed key per token and no values."""


ROPE_MLA = 64
"""Width of the part of a compressed key that carries the position, elements."""


class Backend(StrEnum):
    """Which part of the engine drives a device."""

    CUDA = "cuda"
    ROCM = "rocm"
    VULKAN = "vulkan"
    RPC = "rpc"
    RPC_PADDED = "rpc-padded"
    """A card of another machine that pads as CUDA does."""
    CPU = "cpu"

    @property
    def pads_rows(self) -> bool:
        """Quantised rows get room up to 512 elements (ggml-cuda, which also serves ROCm)."""
        return self in (Backend.CUDA, Backend.ROCM, Backend.RPC_PADDED)

    @property
    def pipelined(self) -> bool:
        """It has asynchronous copies and events, so batches can overlap between cards."""
        return self in (Backend.CUDA, Backend.ROCM, Backend.VULKAN)


@dataclass(frozen=True, slots=True)
class Size:
    """Bytes of the same tensors in different places.

    Attributes:
        plain: In the computer's memory, without padding.
        aligned: On a device, every tensor aligned.
        rows: On a device that also pads quantised rows.
    """

    plain: int = 0
    aligned: int = 0
    rows: int = 0

    def __add__(self, other: "Size") -> "Size":
        return Size(self.plain + other.plain, self.aligned + other.aligned, self.rows + other.rows)

    def on(self, backend: Backend) -> int:
        """Bytes on a device that `backend` drives."""
        return self.rows if backend.pads_rows else self.aligned

    @classmethod
    def of(cls, type_name: str, width: int, n_bytes: int) -> "Size":
        """One tensor of rows of `width` elements."""
        return cls(n_bytes, padded(n_bytes), device_bytes(type_name, width, n_bytes))


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """Bytes of a model by layer; lists have one entry a block and one for the output layer.

    Attributes:
        weights: Weights per layer.
        kv: KV cache per layer; 0 for the output layer.
        per_device: Copied to every device that holds a block (rope factors).
        host_model_bytes: Stays in the computer's memory (token embedding).
        largest_tensor: Largest single tensor per layer.
        n_kv: Cells of the full cache that one graph sees.
        n_kv_window: Cells of the windowed cache; 0 if there is none.
        notes: What is not modelled.
    """

    weights: tuple[Size, ...]
    kv: tuple[Size, ...]
    per_device: Size
    host_model_bytes: int
    largest_tensor: tuple[int, ...]
    n_kv: int
    n_kv_window: int
    notes: tuple[str, ...]


def footprint(
    model: Model,
    *,
    n_ctx: int,
    n_ubatch: int,
    cache_type_k: str,
    cache_type_v: str,
    n_parallel: int,
    kv_unified: bool,
) -> Footprint:
    """Bytes of every layer of `model` with this context and cache."""
    table = _weights(TensorTable(model.tensors), model.n_layer)
    streams = 1 if kv_unified else max(n_parallel, 1)
    cells = padded(max(n_ctx // streams, 1), CELL_PAD)
    window_cells = 0
    if model.architecture in WINDOW_PERIOD and model.sliding_window:
        sequences = n_parallel if kv_unified else 1
        window_cells = min(cells, model.sliding_window * sequences + n_ubatch)
        window_cells = min(cells, padded(window_cells, CELL_PAD))
    kv = [
        _layer_kv(model, il, (cells, window_cells), streams, (cache_type_k, cache_type_v))
        for il in range(model.n_layer)
    ]
    return Footprint(
        weights=table.weights,
        kv=(*kv, Size()),
        per_device=table.per_device,
        host_model_bytes=table.host_bytes,
        largest_tensor=table.largest_tensor,
        n_kv=cells,
        n_kv_window=window_cells,
        notes=_notes(model),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Weights:
    """The part of a footprint that no knob changes; fields as in `Footprint`."""

    weights: tuple[Size, ...]
    per_device: Size
    host_bytes: int
    largest_tensor: tuple[int, ...]


class TensorTable:
    """A tensor table that is the same only as itself: comparing all rows would cost a plan."""

    __slots__ = ("table",)

    def __init__(self, table: tuple[Tensor, ...]) -> None:
        self.table = table

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TensorTable) and self.table is other.table

    def __hash__(self) -> int:
        return id(self.table)


@lru_cache(maxsize=8)
def _weights(tensors: TensorTable, n_layer: int) -> _Weights:
    """Sum up the tensor table by layer; kept, for a plan is made at every step of the slider."""
    weights = [Size()] * (n_layer + 1)
    largest = [0] * (n_layer + 1)
    shared = Size()
    host = 0
    tied = all(t.name != "output.weight" for t in tensors.table)
    for tensor in tensors.table:
        size = Size.of(tensor.type_name, tensor.shape[0], tensor.n_bytes)
        if tensor.name.startswith(("rope_freqs", "rope_factors")):
            shared += size
            continue
        layer = slot_of(tensor, n_layer)
        if layer is None:
            host += size.plain
            if not (tied and tensor.name == "token_embd.weight"):
                continue
            layer = n_layer
        weights[layer] += size
        largest[layer] = max(largest[layer], size.plain)
    return _Weights(
        weights=tuple(weights),
        per_device=shared,
        host_bytes=host,
        largest_tensor=tuple(largest),
    )


def windowed(model: Model, layer: int) -> bool:
    """The layer sees only a sliding window."""
    pattern = model.metadata.get(f"{model.architecture}.attention.sliding_window_pattern")
    if isinstance(pattern, tuple) and layer < len(pattern):
        return bool(pattern[layer])
    period = WINDOW_PERIOD.get(model.architecture)
    return period is not None and layer % period < period - 1


def slot_of(tensor: Tensor, n_layer: int) -> int | None:
    """Layer a tensor belongs to; `n_layer` is the output layer, `None` the host's input layer."""
    layer = tensor.layer
    if layer is not None:
        return min(layer, n_layer)
    if tensor.name.startswith(("token_embd", "position_embd", "token_types", "per_layer_tok")):
        return None
    return n_layer


def _layer_kv(
    model: Model, layer: int, cells: tuple[int, int], streams: int, types: tuple[str, str]
) -> Size:
    """KV cache of one layer; `cells` are those of the full and of the windowed cache."""
    heads = model.n_head_kv[layer]
    own = cells[1] if cells[1] and windowed(model, layer) else cells[0]
    key = _cache(types[0], model.head_k * heads, own * streams)
    if _compressed(model):
        return key
    return key + _cache(types[1], model.head_v * heads, own * streams)


def _compressed(model: Model) -> bool:
    """Multi-head latent attention: one compressed key per token, no values."""
    return (
        model.architecture in MLA
        and f"{model.architecture}.attention.kv_lora_rank" in model.metadata
        and f"{model.architecture}.attention.key_length_mla" in model.metadata
    )


def _cache(type_name: str, width: int, cells: int) -> Size:
    if width == 0:
        return Size()
    return Size.of(type_name, width, row_bytes(type_name, width) * cells)


def _notes(model: Model) -> tuple[str, ...]:
    notes = []
    if model.architecture not in DENSE | MIXTURES:
        notes.append(
            f"The architecture {model.architecture} is not modelled; weights are right, KV cache "
            "and compute buffer may be off."
        )
    if any(key.endswith(".ssm.state_size") for key in model.metadata):
        notes.append("Recurrent state is not counted for this model.")
    return tuple(notes)


def compute_bytes(
    model: Model,
    sizes: Footprint,
    *,
    n_ctx: int,
    n_ubatch: int,
    cache_types: tuple[str, str],
    flash_attention: bool,
    n_outputs: int,
    pipelined: bool,
    first: bool,
    has_output: bool,
    partial: bool,
    stages: int,
) -> int:
    """Estimate of one device's compute buffer, bytes.

    Args:
        model: The model.
        sizes: Its footprint for the same context and cache.
        n_ctx: Context, tokens.
        n_ubatch: Tokens computed at once.
        cache_types: ggml types of keys and values; quantised ones are unpacked layer by layer.
        flash_attention: Without it the attention scores themselves dominate.
        n_outputs: Tokens whose logits are kept.
        pipelined: Several cards work on different batches at the same time.
        first: It is the first device that holds layers.
        has_output: It holds the output layer.
        partial: Some layers stay in the computer's memory.
        stages: Largest tensor that stays on the host and is copied over for large batches, bytes.
    """
    tokens = min(n_ctx, n_ubatch)
    per_token = 4 * tokens
    embd = model.n_embd
    heads = max(model.n_head, default=0)
    q = heads * model.head_k
    body, attention = _live_elements(model)
    if _compressed(model):
        body += heads * ROPE_MLA if pipelined and first else 0
    elif partial and not first:
        body -= q
    unpacked = sum(
        2 * sizes.n_kv * max(model.n_head_kv, default=0) * width
        for kind, width in zip(cache_types, (model.head_k, model.head_v), strict=True)
        if kind not in {"f16", "bf16", "f32"}
    )
    body = max(per_token * body, per_token * attention + unpacked)
    if not flash_attention:
        body = max(body, per_token * attention + 4 * heads * sizes.n_kv * tokens)
    inputs = _input_bytes(model, sizes, tokens, cache_types, flash_attention=flash_attention)
    inputs += padded(4 * n_outputs) if has_output else 0
    logits = 4 * n_outputs * (model.n_vocab + embd) if has_output else 0
    if pipelined:
        inputs += per_token * embd * (1 if first else 2)
        return INPUT_COPIES * inputs + max(body, logits) + stages
    return max(body + inputs, logits) + stages


def host_compute_bytes(
    model: Model,
    sizes: Footprint,
    *,
    n_ctx: int,
    n_ubatch: int,
    cache_types: tuple[str, str],
    flash_attention: bool,
    n_outputs: int,
    pipelined: bool,
) -> int:
    """Compute buffer in the computer's memory beside the cards, bytes: inputs and embeddings.

    The arguments are those of `compute_bytes`.
    """
    tokens = min(n_ctx, n_ubatch)
    embedded = 4 * tokens * model.n_embd
    inputs = _input_bytes(model, sizes, tokens, cache_types, flash_attention=flash_attention)
    inputs += 4 * tokens + padded(4 * n_outputs, 64)
    if pipelined:
        return INPUT_COPIES * (inputs + embedded) + embedded
    return inputs + 2 * embedded


def _live_elements(model: Model) -> tuple[int, int]:
    """Elements per token that live at the graph's widest moment, and while attention runs."""
    embd = model.n_embd
    heads = max(model.n_head, default=0)
    q = heads * model.head_k
    dense = 3 * model.n_ff
    experts = 2 * model.n_expert_used * embd
    if _compressed(model):
        attention = 2 * q + heads * _key_mla(model) + 3 * embd
        return max(attention, 2 * embd + dense, embd + experts), attention
    if model.n_expert and model.n_ff_expert:
        dense = max(3 * model.n_expert_used * model.n_ff_expert, experts + embd)
    return 2 * embd + q + dense, 2 * embd + 2 * q


def _input_bytes(
    model: Model,
    sizes: Footprint,
    tokens: int,
    cache_types: tuple[str, str],
    *,
    flash_attention: bool,
) -> int:
    """Inputs of the graph's attention: positions, masks, and which cache rows are written.

    Source: `build_attn_inp_kv` in src/llama-graph.cpp. Without flash attention the values lie
    transposed, and every element has a row number of its own. Quantised caches are rotated by
    a Hadamard matrix, which is an input too.
    """
    element = 2 if flash_attention else 4
    rows = 1
    if not _compressed(model):
        rows += 1 if flash_attention else max(model.n_head_kv, default=0) * model.head_v
    rotation = 0
    for kind, side in zip(cache_types, (_rotated(model.head_k), 64), strict=True):
        if BY_NAME[kind].quantized and side and not _compressed(model):
            rotation += 4 * side * side
    caches = 2 if sizes.n_kv_window else 1
    mask = element * tokens * (sizes.n_kv + sizes.n_kv_window)
    return mask + 4 * tokens + caches * (8 * tokens * rows + rotation)


def _rotated(head: int) -> int:
    """Side of the Hadamard matrix for keys: the largest power of two in the head, 64 at least."""
    side = head & -head
    return side if side >= 64 else 0


def _key_mla(model: Model) -> int:
    value = model.metadata.get(f"{model.architecture}.attention.key_length_mla", model.head_k)
    return value if isinstance(value, int) else model.head_k
