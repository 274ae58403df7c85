"""What would make a plan fit, least loss first; every way is a plan that was computed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from splitrig.core.errors import SplitError
from splitrig.core.experts import ALL, expert_layers
from splitrig.core.model import Model
from splitrig.core.plan import Plan, PlanDevice, PlanRequest, make_plan
from splitrig.core.split import counts_for_split, split_for_layers, split_text
from splitrig.core.split_mode import LAYER, NONE, WITHIN
from splitrig.views.launch.wording import room_text

CTX_STEP = 1024
MOVES = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Fix:
    """One way to make it fit.

    Attributes:
        title: What is changed.
        detail: What it costs and what is free then.
        request: The knobs with the change in them.
    """

    title: str
    detail: str
    request: PlanRequest


def ways_to_fit(
    model: Model,
    devices: Sequence[PlanDevice],
    request: PlanRequest,
    *,
    with_experts: bool = False,
    with_split: bool = True,
) -> tuple[Fix, ...]:
    """All single changes after which every card has room; a new split may come along.

    Args:
        model: The model.
        devices: The cards that take part.
        request: What does not fit.
        with_experts: The engine can keep experts with the processor.
        with_split: The engine takes a split.
    """
    split = None
    if with_split:
        split = _mode_fix(model, devices, request) or _split_fix(model, devices, request)
    # where a split alone is enough, the other ways are worth showing only if they keep the split
    resplit = split is None and with_split
    found = [
        split,
        _cache_fix(model, devices, request, resplit=resplit),
        _experts_fix(model, devices, request, resplit=resplit) if with_experts else None,
        _context_fix(model, devices, request, resplit=resplit),
        _layers_fix(model, devices, request, resplit=resplit),
    ]
    return tuple(fix for fix in found if fix is not None)


def best_split(model: Model, devices: Sequence[PlanDevice], request: PlanRequest) -> Plan | None:
    """A plan with a split that fits, found by moving layers from the fullest to the emptiest.

    Returns:
        `None` when no split was found with which every card has room.
    """
    slots = _slots(model, request)
    if not slots or not devices:
        return None
    plan = make_plan(model, devices, replace(request, split=None))
    counts = list(counts_for_split(plan.split, slots))
    seen = set()
    for _ in range(MOVES):
        if tuple(counts) in seen:
            return None
        seen.add(tuple(counts))
        plan = make_plan(model, devices, replace(request, split=split_for_layers(counts)))
        if plan.fits:
            return plan
        free = [d.free_bytes for d in plan.devices]
        full = min(range(len(free)), key=free.__getitem__)
        empty = max(range(len(free)), key=free.__getitem__)
        if free[empty] <= 0 or not counts[full]:
            return None
        used = plan.devices[full]
        per_layer = max((used.model_bytes + used.kv_bytes) // counts[full], 1)
        wanted = max(1, min(-free[full] // per_layer + 1, free[empty] // per_layer))
        delta = min(wanted, counts[full])
        counts[full] -= delta
        counts[empty] += delta
    return None


def _slots(model: Model, request: PlanRequest) -> int:
    slots = model.n_layer + 1
    return slots if request.n_gpu_layers < 0 else min(request.n_gpu_layers, slots)


def _free_text(plan: Plan) -> str:
    tightest = plan.tightest
    if tightest is None:
        return ""
    return f"{tightest.name} then has {room_text(tightest.free_bytes)} free."


def _split_fix(model: Model, devices: Sequence[PlanDevice], request: PlanRequest) -> Fix | None:
    plan = best_split(model, devices, request) if len(devices) > 1 else None
    if plan is None:
        return None
    if request.split_mode in WITHIN:
        return Fix(
            title=f"Another split: {split_text(plan.split)}",
            detail=f"Nothing is lost. {_free_text(plan)}",
            request=replace(request, split=plan.split),
        )
    slots = _slots(model, request)
    now = counts_for_split(request.split or plan.split, slots)
    then = counts_for_split(plan.split, slots)
    title = f"Another split: {split_text(plan.split)}"
    if len(devices) == 2:
        gains = 0 if then[0] > now[0] else 1
        moved = abs(then[0] - now[0])
        layers = f"{moved} layer{'' if moved == 1 else 's'}"
        title = f"Move {layers} to the {devices[gains].name}: split {split_text(plan.split)}"
    return Fix(
        title=title,
        detail=f"Nothing is lost. {_free_text(plan)}",
        request=replace(request, split=plan.split),
    )


def _mode_fix(model: Model, devices: Sequence[PlanDevice], request: PlanRequest) -> Fix | None:
    """Spread what is to lie on the first card alone over all of them."""
    if request.split_mode != NONE or len(devices) < 2:
        return None
    spread = replace(request, split_mode=LAYER)
    plan = _fitting(model, devices, replace(spread, split=None), resplit=True)
    if plan is None:
        return None
    return Fix(
        title=f"Spread the layers over all cards: split {split_text(plan.split)}",
        detail=f"Nothing is lost. {_free_text(plan)}",
        request=replace(spread, split=plan.split),
    )


def _experts_fix(
    model: Model, devices: Sequence[PlanDevice], request: PlanRequest, *, resplit: bool
) -> Fix | None:
    """Keep the experts of as few layers as needed with the processor."""
    most = expert_layers(model, ALL)
    low = expert_layers(model, request.n_cpu_moe) + 1
    if low > most:
        return None
    every = replace(request, n_cpu_moe=most)
    if _fitting(model, devices, every, resplit=resplit) is None:
        return None
    high = most
    while low < high:
        middle = (low + high) // 2
        tried = replace(request, n_cpu_moe=middle)
        if _fitting(model, devices, tried, resplit=resplit) is None:
            low = middle + 1
        else:
            high = middle
    best = _fitting(model, devices, replace(request, n_cpu_moe=low), resplit=resplit)
    if best is None:
        return None
    return Fix(
        title=_with_split(f"Keep the experts of {low} layer{'' if low == 1 else 's'} in RAM",
                          request, best),
        detail=f"The processor computes those; all else stays on the cards. {_free_text(best)}",
        request=replace(request, n_cpu_moe=low, split=best.split),
    )  # fmt: skip


def _fitting(
    model: Model, devices: Sequence[PlanDevice], request: PlanRequest, *, resplit: bool
) -> Plan | None:
    """With the split as it is if possible, else, if that is wanted, with another."""
    try:
        plan = make_plan(model, devices, request)
    except SplitError:
        return None
    if plan.fits:
        return plan
    return best_split(model, devices, request) if resplit else None


def _with_split(title: str, request: PlanRequest, plan: Plan) -> str:
    if plan.split == request.split or len(plan.devices) < 2:
        return title
    return f"{title} and split {split_text(plan.split)}"


def _cache_fix(
    model: Model, devices: Sequence[PlanDevice], request: PlanRequest, *, resplit: bool
) -> Fix | None:
    if "f16" not in (request.cache_type_k, request.cache_type_v):
        return None
    smaller = replace(request, cache_type_k="q8_0", cache_type_v="q8_0", flash_attention=True)
    plan = _fitting(model, devices, smaller, resplit=resplit)
    if plan is None:
        return None
    return Fix(
        title=_with_split("KV cache in q8_0", request, plan),
        detail=f"Half the KV cache, hardly any loss. {_free_text(plan)}",
        request=replace(smaller, split=plan.split),
    )


def _context_fix(
    model: Model, devices: Sequence[PlanDevice], request: PlanRequest, *, resplit: bool
) -> Fix | None:
    context = request.n_ctx or model.n_ctx_train
    low, high = 0, (context - 1) // CTX_STEP
    best: Plan | None = None
    while low < high:
        middle = (low + high + 1) // 2
        plan = _fitting(model, devices, replace(request, n_ctx=middle * CTX_STEP), resplit=resplit)
        if plan is None:
            high = middle - 1
        else:
            low, best = middle, plan
    if best is None:
        return None
    shorter = replace(request, n_ctx=low * CTX_STEP, split=best.split)
    title = f"Context {shorter.n_ctx:,} instead of {context:,}"
    return Fix(
        title=_with_split(title, request, best),
        detail=f"Keeps the KV cache as it is. {_free_text(best)}",
        request=shorter,
    )


def _layers_fix(
    model: Model, devices: Sequence[PlanDevice], request: PlanRequest, *, resplit: bool
) -> Fix | None:
    slots = _slots(model, request)
    low, high = 0, slots - 1
    best: Plan | None = None
    while low < high:
        middle = (low + high + 1) // 2
        plan = _fitting(model, devices, replace(request, n_gpu_layers=middle), resplit=resplit)
        if plan is None:
            high = middle - 1
        else:
            low, best = middle, plan
    if best is None:
        return None
    left = model.n_layer + 1 - low
    return Fix(
        title=f"Leave {left} layer{'' if left == 1 else 's'} in RAM",
        detail=f"Keeps context and KV cache; the processor computes these. {_free_text(best)}",
        request=replace(request, n_gpu_layers=low, split=best.split),
    )
