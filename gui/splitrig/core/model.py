"""A model as its file header describes it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of the model file.

    Attributes:
        name: As in the file, such as `blk.0.attn_q.weight`.
        shape: Elements per dimension in ggml's order: the first is the row width.
        type_name: ggml type, lower case, such as `q4_k`.
        n_bytes: Size of its data without padding, bytes.
    """

    name: str
    shape: tuple[int, ...]
    type_name: str
    n_bytes: int

    @property
    def layer(self) -> int | None:
        """Number of the block it belongs to; `None` for embeddings, output and the like."""
        if not self.name.startswith("blk."):
            return None
        number = self.name.split(".", 2)[1]
        return int(number) if number.isascii() and number.isdecimal() else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What planning and the window need to know of a model file.

    Attributes:
        path: The file (the first part of a split one).
        name: `general.name`, else the file's stem.
        architecture: `general.architecture`, such as `llama`.
        quantization: `general.file_type` in words, such as 'Q4_K_M'; `None` if absent.
        file_bytes: Size of the file(s), bytes.
        n_layer: Blocks, without the output layer.
        n_ctx_train: Longest context the model was trained for, tokens.
        n_embd: Width of the residual stream, elements.
        n_vocab: Entries of the vocabulary.
        n_ff: Width of the feed-forward layer, elements; the largest where layers differ.
        n_head: Query heads per layer, one entry a layer.
        n_head_kv: Key/value heads per layer, one entry a layer; 0 where a layer keeps no KV.
        head_k: Width of a key head, elements.
        head_v: Width of a value head, elements.
        n_expert: Experts of a mixture; 0 for dense models.
        n_expert_used: Experts active per token.
        n_ff_expert: Width of one expert, elements.
        sliding_window: Window of local attention layers, tokens; 0 if none.
        metadata: Scalar metadata and short arrays as they stand in the file.
        tensors: The tensor table.
    """

    path: Path
    name: str
    architecture: str
    quantization: str | None
    file_bytes: int
    n_layer: int
    n_ctx_train: int
    n_embd: int
    n_vocab: int
    n_ff: int
    n_head: tuple[int, ...]
    n_head_kv: tuple[int, ...]
    head_k: int
    head_v: int
    n_expert: int = 0
    n_expert_used: int = 0
    n_ff_expert: int = 0
    sliding_window: int = 0
    metadata: Mapping[str, object] = field(default_factory=dict, repr=False)
    tensors: tuple[Tensor, ...] = field(default=(), repr=False)
