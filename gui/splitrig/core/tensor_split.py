"""What of each layer lies on which card in a tensor split: llama.cpp's arithmetic, repeated.

Source: `llama_meta_device_get_split_state` in src/llama-model.cpp. Heads, and the columns between
the two halves of a feed-forward layer, go to the cards by their shares in whole steps; the card
that gets what is left over changes from layer to layer. Norms, and an output matrix that is tied
to the embedding, are on every card.
"""

import math
import re
from collections.abc import Sequence
from ctypes import c_float
from dataclasses import dataclass

from splitrig.core.footprint import DENSE, MIXTURES, MLA, Size, windowed
from splitrig.core.ggml_types import BY_NAME, row_bytes
from splitrig.core.model import Model, Tensor

STEP = 128
"""Steps of a feed-forward layer, and the least of attention where heads allow it, elements."""
_ROWS = re.compile(r"attn_[qkv]\.weight|ffn_(up|gate)(_exps)?\.weight")
_COLUMNS = re.compile(r"attn_output\.weight|ffn_down(_exps)?\.weight")
_BIAS = re.compile(r"attn_[qkv]\.bias|ffn_(up|gate)(_exps)?\.bias")
_OTHERWISE = re.compile(r"attn_qkv\.|attn_gate|ffn_gate_up|ssm_|shexp|ffn_down_exps\.bias")
"""Tensors that are divided by rules of their own, which are not repeated here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What lies on one card.

    Attributes:
        weights: Its weights.
        kv_share: Share of the KV cache of every layer, one entry a layer.
    """

    weights: Size
    kv_share: tuple[float, ...]


def divisible(model: Model) -> bool:
    """The arithmetic below holds for this model; for others only shares can be told."""
    return (
        model.architecture in (DENSE | MIXTURES) - MLA
        and min(model.n_head_kv, default=0) > 0
        and not any(_OTHERWISE.search(tensor.name) for tensor in model.tensors)
        and all(q % kv == 0 for q, kv in zip(model.n_head, model.n_head_kv, strict=True))
    )


def parts_of(
    model: Model, tensors: Sequence[Tensor], split: Sequence[float], layers: Sequence[int]
) -> tuple[Parts, ...]:
    """What lies on each card.

    Args:
        model: One that is `divisible`.
        tensors: Those that lie on cards at all.
        split: Share per card.
        layers: The blocks that lie on cards.
    """
    rules = _Rules(model, split)
    sizes = [Size()] * len(split)
    for tensor in tensors:
        for card, size in enumerate(rules.parts(tensor)):
            sizes[card] += size
    shares = [[0.0] * model.n_layer for _ in split]
    for layer in layers:
        for card, share in enumerate(rules.kv_shares(layer)):
            shares[card][layer] = share
    return tuple(
        Parts(weights=size, kv_share=tuple(share))
        for size, share in zip(sizes, shares, strict=True)
    )


def pieces(total: int, split: Sequence[float], step: int, rotation: int) -> list[int]:
    """Elements per card: by the shares, in whole steps, the rest to the last in the rotation."""
    n_cards = len(split)
    edges: list[float] = []
    edge = 0.0
    for place in range(n_cards):
        edge = _float32(edge + _float32(split[(place + rotation) % n_cards]))
        edges.append(edge)
    found, low = [0] * n_cards, 0
    for place in range(n_cards - 1):
        high = int(_float32(_float32(total * edges[place]) / edges[-1]))
        high -= high % step
        found[(place + rotation) % n_cards] = high - low
        low = high
    found[(n_cards - 1 + rotation) % n_cards] = total - low
    return found


class _Rules:
    """How the tensors of one model go to the cards; like tensors are reckoned once."""

    def __init__(self, model: Model, split: Sequence[float]) -> None:
        self._model = model
        self._split = tuple(split)
        self._blocks = {t.name: BY_NAME[t.type_name].block for t in model.tensors}
        self._rotations = _rotations(model, len(split))
        self._known: dict[object, list[Size]] = {}

    def parts(self, tensor: Tensor) -> list[Size]:
        """One tensor's bytes on each card."""
        layer = tensor.layer
        if layer is None:
            if tensor.name != "output.weight":
                return self._everywhere(tensor)
            rotation = self._model.n_layer % len(self._split)
            return _by_rows(tensor, pieces(tensor.shape[1], self._split, 1, rotation))
        name = tensor.name.split(".", 2)[-1]
        step, rotation = self._step(name, layer), self._rotations[layer]
        key = (name, tensor.shape, tensor.type_name, step, rotation)
        if key not in self._known:
            self._known[key] = self._divide(tensor, name, step, rotation)
        return self._known[key]

    def kv_shares(self, layer: int) -> list[float]:
        """Share of a layer's KV cache on each card."""
        width = self._model.n_head_kv[layer] * self._model.head_k
        step = self._step("attn_k.weight", layer)
        return [n / width for n in pieces(width, self._split, step, self._rotations[layer])]

    def _divide(self, tensor: Tensor, name: str, step: int, rotation: int) -> list[Size]:
        if _ROWS.fullmatch(name):
            return _by_rows(tensor, pieces(tensor.shape[1], self._split, step, rotation))
        if _COLUMNS.fullmatch(name) or _BIAS.fullmatch(name):
            return _by_columns(tensor, pieces(tensor.shape[0], self._split, step, rotation))
        return self._everywhere(tensor)

    def _step(self, name: str, layer: int) -> int:
        """Elements that stay together, along the side that is divided."""
        if not name.startswith("attn_"):
            return math.lcm(self._block(layer, "ffn_down", "ffn_down_exps"), STEP)
        model = self._model
        per_key = model.n_head[layer] // model.n_head_kv[layer]
        group = per_key * model.head_k
        block = self._block(layer, "attn_output")
        while block < STEP and block * len(self._split) < group:
            block *= 2
        queries = math.lcm(group, block)
        keys = queries // per_key
        steps = {
            "attn_k": keys,
            "attn_v": keys // model.head_k * model.head_v,
            "attn_output": queries // model.head_k * model.head_v,
        }
        return steps.get(name.partition(".")[0], queries)

    def _block(self, layer: int, *names: str) -> int:
        """Elements in a block of the first of these tensors that the layer has."""
        found = (self._blocks.get(f"blk.{layer}.{name}.weight") for name in names)
        return next((block for block in found if block is not None), 1)

    def _everywhere(self, tensor: Tensor) -> list[Size]:
        size = Size.of(tensor.type_name, tensor.shape[0], tensor.n_bytes)
        return [size] * len(self._split)


def _rotations(model: Model, n_cards: int) -> list[int]:
    """How far the row of cards is turned at each layer: by the earlier layers of its kind."""
    seen = {False: 0, True: 0}
    found = []
    for layer in range(model.n_layer):
        kind = bool(model.sliding_window) and windowed(model, layer)
        found.append(seen[kind] % n_cards)
        seen[kind] += 1
    return found


def _by_rows(tensor: Tensor, rows: Sequence[int]) -> list[Size]:
    row = row_bytes(tensor.type_name, tensor.shape[0]) * math.prod(tensor.shape[2:])
    return [Size.of(tensor.type_name, tensor.shape[0], row * n) if n else Size() for n in rows]


def _by_columns(tensor: Tensor, columns: Sequence[int]) -> list[Size]:
    depth = math.prod(tensor.shape[1:])
    return [
        Size.of(tensor.type_name, n, row_bytes(tensor.type_name, n) * depth) if n else Size()
        for n in columns
    ]


def _float32(value: float) -> float:
    """The nearest 32-bit float, in which the engine reckons."""
    return c_float(value).value
