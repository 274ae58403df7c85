"""What each card carries where every layer is divided: tensor split, and the older row split."""

from collections.abc import Sequence
from dataclasses import dataclass

from splitrig.core.experts import is_on_host
from splitrig.core.footprint import Backend, Footprint, slot_of
from splitrig.core.layer_map import HOST
from splitrig.core.model import Model, Tensor
from splitrig.core.split_mode import TENSOR
from splitrig.core.tensor_split import divisible, parts_of

ROUGHLY = (
    "In a tensor split whole heads go to a card, and what cannot be divided lies on every card: "
    "shares are met only roughly, and together the cards carry more than in a layer split."
)
ESTIMATED = (
    "How this model is divided within its layers is not modelled: weights and KV cache of each "
    "card are estimates by its share."
)
ROWS = (
    "Row split: weights are estimates by the share of each card; the KV cache goes by whole layers."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """Bytes on each card, in the order of the split, and what is to be said of them."""

    model_bytes: tuple[int, ...]
    kv_bytes: tuple[int, ...]
    note: str


def carried(
    model: Model,
    sizes: Footprint,
    backends: Sequence[Backend],
    split: Sequence[float],
    placed: Sequence[int],
    *,
    mode: str,
    expert_layers: int = 0,
) -> Carried:
    """What each card carries.

    Args:
        model: The model.
        sizes: Its footprint, without the experts that stay in RAM.
        backends: What drives each card.
        split: Share per card.
        placed: Device of every layer in a layer split, the output layer last; only whether it is
            on a card at all counts in a tensor split.
        mode: `tensor` or `row`.
        expert_layers: Layers whose experts stay in RAM.
    """
    on_cards = [il for il in range(model.n_layer) if placed[il] != HOST]
    if mode == TENSOR and divisible(model):
        return _divided(model, sizes, backends, split, placed, on_cards, expert_layers)
    whole = [il for il, device in enumerate(placed) if device != HOST]
    total = sum(split)
    weights = tuple(
        round(sum(sizes.weights[il].on(backend) for il in whole) * share / total)
        for backend, share in zip(backends, split, strict=True)
    )
    if mode == TENSOR:
        kv = tuple(
            round(sum(sizes.kv[il].on(backend) for il in on_cards) * share / total)
            for backend, share in zip(backends, split, strict=True)
        )
        return Carried(model_bytes=weights, kv_bytes=kv, note=ESTIMATED)
    kv = tuple(
        sum(sizes.kv[il].on(backend) for il in on_cards if placed[il] == number)
        for number, backend in enumerate(backends)
    )
    return Carried(model_bytes=weights, kv_bytes=kv, note=ROWS)


def _divided(
    model: Model,
    sizes: Footprint,
    backends: Sequence[Backend],
    split: Sequence[float],
    placed: Sequence[int],
    on_cards: Sequence[int],
    expert_layers: int,
) -> Carried:
    tied = all(tensor.name != "output.weight" for tensor in model.tensors)
    tensors = [
        tensor
        for tensor in model.tensors
        if not is_on_host(tensor, expert_layers)
        and _lies_on_cards(model, tensor, placed, tied=tied)
    ]
    parts = parts_of(model, tensors, split, on_cards)
    return Carried(
        model_bytes=tuple(p.weights.on(b) for p, b in zip(parts, backends, strict=True)),
        kv_bytes=tuple(
            round(sum(sizes.kv[il].on(backend) * part.kv_share[il] for il in on_cards))
            for part, backend in zip(parts, backends, strict=True)
        ),
        note=ROUGHLY,
    )


def _lies_on_cards(model: Model, tensor: Tensor, placed: Sequence[int], *, tied: bool) -> bool:
    if tensor.name.startswith(("rope_freqs", "rope_factors")):
        return any(device != HOST for device in placed[:-1])
    layer = slot_of(tensor, model.n_layer)
    if layer is None:
        # a tied embedding lies on the cards once more, as the output
        tied_output = tied and tensor.name == "token_embd.weight"
        return tied_output and placed[model.n_layer] != HOST
    return placed[layer] != HOST
