"""How vLLM is to lay a folder on the cards, and its plan for it; knows no widgets."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from splitrig.core.errors import SplitError
from splitrig.core.hf_model import HfModel
from splitrig.core.plan import PlanDevice
from splitrig.core.vllm import VllmCard, VllmOptions, VllmPlan
from splitrig.core.vllm_layout import Layout, layouts
from splitrig.core.vllm_plan import make_vllm_plan
from splitrig.views.launch.fit_range import find_stage_range


@dataclass(frozen=True, slots=True, kw_only=True)
class VllmKnobs:
    """The settings that only vLLM has, as in `VllmOptions`.

    Attributes:
        dtype: What weights of 16 bits are computed in.
        kv_dtype: Type of the KV cache.
        fraction: Share of every card's memory; `None` follows the fullest card.
        eager: No captured graphs.
    """

    dtype: str = "auto"
    kv_dtype: str = "auto"
    fraction: float | None = None
    eager: bool = False


class VllmChoice:
    """The layout the user picked, and what was planned last.

    Attributes:
        wanted: The layout picked; `None` leaves it to the plan. It is kept while other cards or
            another model do not allow it.
        plan: The plan; `None` where there is none.
        refusal: Why there is none, in sentences; empty where nothing was refused.
        layouts: Every way to use the cards; empty with one card, and where vLLM does not load.
    """

    def __init__(self) -> None:
        self.wanted: Layout | None = None
        self.plan: VllmPlan | None = None
        self.refusal = ""
        self.layouts: tuple[Layout, ...] = ()
        self._fit_key: object = None
        self._fit: tuple[int, int] | None = None

    def look(self, model: HfModel | None, n_cards: int) -> None:
        """Something else is to be planned.

        Args:
            model: The folder that vLLM is to load; `None` for anything else.
            n_cards: Cards that take part.
        """
        self.plan, self.refusal = None, ""
        self.layouts = ()
        if model is not None and n_cards > 1:
            self.layouts = layouts(model.config, n_cards)

    @property
    def layout(self) -> Layout | None:
        """The layout picked, where these cards and this model allow it."""
        return self.wanted if self.wanted in self.layouts else None

    def sizes(self, n_cards: int, *, own_split: bool) -> tuple[int, int] | tuple[None, None]:
        """Tensor × pipeline parallel; both `None` where the plan is to choose.

        Args:
            n_cards: Cards that take part.
            own_split: The user has set shares, which only a pipeline can follow.
        """
        if (picked := self.layout) is not None:
            return picked.tp, picked.pp
        return (1, n_cards) if own_split and n_cards > 1 else (None, None)

    def make_plan(
        self, model: HfModel, devices: Sequence[PlanDevice], options: VllmOptions
    ) -> VllmPlan | None:
        """Plan a folder for these cards; where that cannot be, `refusal` says why."""
        try:
            self.plan = make_vllm_plan(model, _cards(devices), options)
        except SplitError as error:
            self.refusal = f"{error.message} {error.hint}".strip()
        return self.plan

    def fit_range(
        self, model: HfModel, devices: Sequence[PlanDevice], options: VllmOptions, handle: int
    ) -> tuple[int, int] | None:
        """Fewest and most layers left of a handle with which the plan fits.

        All else stays as it is; `None` when no place fits, or nothing is known. As many plans as
        the two stages have layers, and none at all while only this handle moves.
        """
        plan = self.plan
        if plan is None or plan.layout.pp < 2:
            return None
        stage = min(handle // plan.layout.tp, plan.layout.pp - 2)
        decided, cards = plan.decided(options), _cards(devices)
        others = (*plan.layers[:stage], *plan.layers[stage + 2 :])
        key = (id(model), cards, replace(decided, layers=None, split=None), stage, others)
        if key != self._fit_key:
            self._fit_key = key
            self._fit = find_stage_range(model, cards, decided, stage)
        return self._fit


def _cards(devices: Sequence[PlanDevice]) -> tuple[VllmCard, ...]:
    return tuple(
        VllmCard(
            name=device.name,
            id=device.id,
            free_bytes=device.free_bytes,
            total_bytes=device.total_bytes or device.free_bytes,
        )
        for device in devices
    )
