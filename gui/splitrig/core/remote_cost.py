"""What a network link to a card costs: for each token, and while the weights are sent.

Counted on the wire of llama.cpp b10068 (protocol 4.0.3) with two to three servers: for one token
the engine sends each server its inputs in six small messages without waiting, and then asks once
for the result.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from splitrig.core.ggml_types import BY_NAME
from splitrig.core.model import Model, Tensor
from splitrig.core.plan import DevicePlan, Plan, PlanRequest
from splitrig.core.remote import RemoteCard
from splitrig.core.split_mode import WITHIN

HEADER_BYTES = 2100
"""Descriptions of the tensors that are sent for one token, and its positions and indices."""
LOAD_ROUND_TRIPS = 30
"""Waits per server while a model is loaded, whatever its size."""
ODD_ROUND_TRIPS = 8.5
"""Waits for each quantised tensor whose rows are no multiple of 512 elements: its size is asked
for several times, and a connection is opened anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkCost:
    """What the link costs one card; `None` where it was not measured.

    Attributes:
        card_id: Key of the card.
        token_ms: Added to every token; a floor, since TCP may need more than one round trip.
        load_s: Added to the load.
        each_layer: Every layer waits for the link, as in a tensor split; what that costs is not
            known, and neither of the others is set.
    """

    card_id: str
    token_ms: float | None
    load_s: float | None
    each_layer: bool = False


def link_costs(
    model: Model, plan: Plan, request: PlanRequest, cards: Mapping[str, RemoteCard]
) -> tuple[LinkCost, ...]:
    """What the links of a plan cost, one entry for each remote card that carries a layer.

    Args:
        model: The model.
        plan: Where it lies.
        request: What was planned; its context is taken to be full.
        cards: Remote cards by the ids the plan uses.
    """
    if plan.split_mode in WITHIN:
        ids = [device.id for device in plan.devices if device.share and device.id in cards]
        return tuple(
            LinkCost(card_id=card_id, token_ms=None, load_s=None, each_layer=True)
            for card_id in ids
        )
    used = [device for device in plan.devices if device.n_layers]
    costs = []
    for at, device in enumerate(used):
        card = cards.get(device.id)
        if card is None:
            continue
        before = cards.get(used[at - 1].id) if at else None
        after = cards.get(used[at + 1].id) if at + 1 < len(used) else None
        # between two cards of one server the result does not cross the link
        arrives = before is None or before.endpoint != card.endpoint
        leaves = after is None or after.endpoint != card.endpoint
        up = _inputs(model, request) + (4 * model.n_embd if arrives else 0)
        down = 4 * (model.n_vocab if device.has_output else model.n_embd) if leaves else 0
        costs.append(
            LinkCost(
                card_id=device.id,
                token_ms=_token_ms(card, up, down),
                load_s=_load_s(card, device, model),
            )
        )
    return tuple(costs)


def _inputs(model: Model, request: PlanRequest) -> int:
    """Bytes that every server gets for one token besides the activations.

    The mask grows with the context, one number a cell.
    """
    n_ctx = request.n_ctx or model.n_ctx_train
    return HEADER_BYTES + n_ctx * (2 if request.flash_attention else 4)


def _token_ms(card: RemoteCard, up: int, down: int) -> float | None:
    link = card.link
    if link.latency_ms is None:
        return None
    sent_ms = up / link.up_mb_s / 1e3 if link.up_mb_s else 0.0
    fetched_ms = down / link.down_mb_s / 1e3 if link.down_mb_s else 0.0
    return link.latency_ms + sent_ms + fetched_ms


def _load_s(card: RemoteCard, device: DevicePlan, model: Model) -> float | None:
    link = card.link
    if link.latency_ms is None or not link.up_mb_s:
        return None
    waits = LOAD_ROUND_TRIPS + ODD_ROUND_TRIPS * sum(
        _is_odd(t) for t in model.tensors if _lies_on(device, t)
    )
    return device.model_bytes / (link.up_mb_s * 1e6) + waits * link.latency_ms / 1e3


def _lies_on(device: DevicePlan, tensor: Tensor) -> bool:
    layer = tensor.layer
    if layer is None:
        return device.has_output and tensor.name.startswith("output")
    first = device.first_layer
    return first is not None and first <= layer < first + device.n_blocks


def _is_odd(tensor: Tensor) -> bool:
    known = BY_NAME.get(tensor.type_name)
    return known is not None and known.quantized and tensor.shape[0] % 512 != 0
