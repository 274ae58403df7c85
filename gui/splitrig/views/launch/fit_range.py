"""Where a handle of the split may stand so that every card has room; knows no widgets."""

from collections.abc import Sequence
from dataclasses import replace

from splitrig.core.errors import SplitError
from splitrig.core.hf_model import HfModel
from splitrig.core.model import Model
from splitrig.core.plan import PlanDevice, PlanRequest, make_plan
from splitrig.core.split import split_for_layers
from splitrig.core.vllm import VllmCard, VllmOptions
from splitrig.core.vllm_plan import make_vllm_plan


def find_stage_range(
    model: HfModel, cards: Sequence[VllmCard], options: VllmOptions, stage: int
) -> tuple[int, int] | None:
    """Fewest and most layers of a stage with which vLLM fits; the next one has the others.

    Args:
        model: The folder.
        cards: In the order of the stages.
        options: As the plan decided them, with `layers`.
        stage: Number of the stage.
    """
    layers = options.layers or ()
    pair = layers[stage] + layers[stage + 1]

    def fits(left: int) -> bool:
        moved = (*layers[:stage], left, pair - left, *layers[stage + 2 :])
        return make_vllm_plan(model, cards, replace(options, layers=moved)).fits

    places = [left for left in range(1, pair) if fits(left)]
    return (places[0], places[-1]) if places else None


def find_fit_range(
    model: Model,
    devices: tuple[PlanDevice, ...],
    request: PlanRequest,
    counts: Sequence[int],
    handle: int,
) -> tuple[int, int] | None:
    """Bisect both ends: the left card fills up as layers are added, the right one empties."""
    pair = counts[handle] + counts[handle + 1]

    def free_with(left: int) -> list[int]:
        moved = [*counts[:handle], left, pair - left, *counts[handle + 2 :]]
        try:
            shares = split_for_layers(moved)
        except SplitError:
            return [-1] * len(devices)
        plan = make_plan(model, devices, replace(request, split=shares))
        return [d.free_bytes for d in plan.devices]

    least, high = 0, pair
    while least < high:
        middle = (least + high) // 2
        if free_with(middle)[handle + 1] >= 0:
            high = middle
        else:
            least = middle + 1
    most, low = pair, 0
    while low < most:
        middle = (low + most + 1) // 2
        if free_with(middle)[handle] >= 0:
            low = middle
        else:
            most = middle - 1
    if least > most or any(n < 0 for n in free_with(least)):
        return None
    return least, most
