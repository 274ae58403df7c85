"""Where a handle of the split may stand so that every card has room; knows no widgets."""

from collections.abc import Sequence
from dataclasses import replace

from splitrig.core.errors import SplitError
from splitrig.core.model import Model
from splitrig.core.plan import PlanDevice, PlanRequest, make_plan
from splitrig.core.split import split_for_layers


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
