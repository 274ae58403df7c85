"""How fast a plan can answer: a ceiling no engine passes, and what to expect below it.

One stream, layer split: every token reads every active weight and the KV cache once, card after
card. The ceiling is that time alone; the expectation adds what kernels lose and a fixed cost per
layer, as fitted on published llama.cpp runs on RTX 3090 and 4090.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from splitrig.core.model import Model
from splitrig.core.plan import Plan
from splitrig.core.split_mode import WITHIN

EFFICIENCY = 0.91
"""Share of the memory bandwidth that llama.cpp's kernels reach (0.89 on 3090, 0.94 on 4090)."""
LAYER_S = 95e-6
"""Fixed cost per layer and token, seconds (104 µs on 3090, 86 µs on 4090)."""
BAND = 0.2
"""Spread of the expectation while nothing was measured on the user's own rig."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """tok/s of one stream; `None` where it cannot be told.

    Attributes:
        expected_tok_s: Within ±20 %.
        ceiling_tok_s: What the memory bandwidth allows.
        note: Why there is no figure; empty when there is one.
    """

    expected_tok_s: float | None = None
    ceiling_tok_s: float | None = None
    note: str = ""


def estimate_speed(model: Model, plan: Plan, bandwidths_gbps: Sequence[float | None]) -> Speed:
    """Speed of generation with a full context.

    Args:
        model: The model.
        plan: Where it lies.
        bandwidths_gbps: Memory bandwidth of each device of the plan, GB/s; `None` if unknown.
    """
    if note := _untold(plan):
        return Speed(note=note)
    on_host = model.n_layer + 1 - sum(device.n_layers for device in plan.devices)
    if on_host:
        return Speed(note=f"{on_host} layers stay in the computer's memory; its speed is unknown.")
    active = active_share(model)
    read_s = 0.0
    for device, bandwidth in zip(plan.devices, bandwidths_gbps, strict=True):
        if not device.n_layers:
            continue
        if not bandwidth:
            return Speed(note=f"The memory bandwidth of {device.name} is not known.")
        read_s += (device.model_bytes * active + device.kv_bytes) / (bandwidth * 1e9)
    if read_s <= 0:
        return Speed(note="No card carries a layer.")
    expected_s = read_s / EFFICIENCY + model.n_layer * LAYER_S
    return Speed(expected_tok_s=1 / expected_s, ceiling_tok_s=1 / read_s)


def _untold(plan: Plan) -> str:
    """Why these figures do not fit a plan; empty where they do."""
    if plan.split_mode in WITHIN:
        return (
            "How fast cards are that work on every layer together depends on how they are joined; "
            "it has to be measured."
        )
    if plan.host.expert_layers:
        return (
            f"The experts of {plan.host.expert_layers} layers are computed by the processor, whose "
            "speed is unknown."
        )
    if plan.has_draft:
        return "What a draft model gains depends on the text; it has to be measured."
    return ""


def active_share(model: Model) -> float:
    """Share of the weights that one token reads: all of them, or the experts in use."""
    total = sum(t.n_bytes for t in model.tensors if t.name != "token_embd.weight")
    if not total or not model.n_expert:
        return 1.0
    experts = sum(t.n_bytes for t in model.tensors if "_exps." in t.name)
    return (total - experts + experts * model.n_expert_used / model.n_expert) / total
