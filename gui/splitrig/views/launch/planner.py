"""What the user has chosen on the Launch page, and the plan that follows; knows no widgets."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from splitrig.core.engine import EngineKind, LaunchRequest
from splitrig.core.engine_rules import (
    FOLDED,
    EngineRules,
    Ratio,
    divided_by_engine,
    lost_on_switch,
    reads,
    rules_of,
    why_not_here,
)
from splitrig.core.errors import EngineError, SplitRigError
from splitrig.core.extra_arguments import CheckedArguments, check_line
from splitrig.core.footprint import Backend
from splitrig.core.gpu import Rig
from splitrig.core.hf_model import HfModel
from splitrig.core.llama_arguments import rules_with, unsupported
from splitrig.core.model import Model
from splitrig.core.ollama import unplanned
from splitrig.core.ollama_model import ServedModel
from splitrig.core.plan import Plan, PlanDevice, PlanRequest, card_devices, make_plan
from splitrig.core.ray import is_far
from splitrig.core.server_options import Options
from splitrig.core.share import LOOPBACK
from splitrig.core.speed import Speed, estimate_speed
from splitrig.core.split import counts_for_split
from splitrig.core.split_mode import SplitChoice, SplitNeeds, split_choices
from splitrig.core.vllm import VllmOptions, VllmPlan
from splitrig.core.vllm_command import check_vllm_line
from splitrig.views.launch.card_choice import CardChoice
from splitrig.views.launch.fit_range import find_fit_range
from splitrig.views.launch.knobs import Knobs
from splitrig.views.launch.own_cards import OwnCards
from splitrig.views.launch.ray_choice import RayChoice
from splitrig.views.launch.remote_choice import RemoteChoice, RemoteEntry
from splitrig.views.launch.shares import Shares, by_free_memory
from splitrig.views.launch.vllm_choice import VllmChoice


class Planner:
    """Rig, model and choices in; devices, plan and request out.

    Attributes:
        rig: The last reading taken over.
        model: The GGUF file that is to be loaded.
        model_name: What Ollama calls it, if it is one of its models.
        folder: The Hugging Face folder that is to be loaded instead.
        served: The model of a running Ollama that is to be loaded instead; only its name is known.
        vllm: How vLLM is to lay that folder on the cards, and its plan.
        knobs: The settings below the split.
        port: Wanted TCP port; 0 for a free one.
        host: Address to listen on.
        engine: Which engine is to load it.
        engine_build: What that engine says of itself; `None` before it was asked.
        engine_error: Why that engine cannot be used.
        options: What that engine's command line takes; empty where it is not known.
        remote: Cards of other machines, over llama.cpp's RPC.
        ray: Cards of other machines for vLLM.
    """

    def __init__(self) -> None:
        self.rig = Rig(time_s=0.0)
        self.model: Model | None = None
        self.model_name = ""
        self.folder: HfModel | None = None
        self.served: ServedModel | None = None
        self.vllm = VllmChoice()
        self.knobs = Knobs()
        self.port, self.host = 0, LOOPBACK
        self.engine = EngineKind.LLAMA_CPP
        self.engine_build: str | None = None
        self.engine_error: SplitRigError | None = None
        self.options = Options()
        self.remote = RemoteChoice()
        self.ray = RayChoice()
        self._own = OwnCards()
        self._shares = Shares()
        self._fit_key: object = None
        self._fit: tuple[int, int] | None = None

    # What is there

    @property
    def cards(self) -> tuple[CardChoice, ...]:
        """All cards of this machine, in the rig's order."""
        return self._own.choices(self.rig)

    @property
    def all_cards(self) -> tuple[CardChoice, ...]:
        """This machine's cards, and behind them those of other machines."""
        own = self.cards
        if self.engine is EngineKind.VLLM:
            used = [card for card in own if card.used]
            return (*own, *self.ray.choices(used, len(self.rig.gpus)))
        far = tuple(entry.card for entry in self.remote_entries if entry.card is not None)
        return (*own, *far)

    @property
    def remote_entries(self) -> tuple[RemoteEntry, ...]:
        """Cards of other machines, and servers of which none is known."""
        return self.remote.entries(len(self.rig.gpus), self.rules.no_remote)

    @property
    def used_cards(self) -> tuple[CardChoice, ...]:
        """The cards that take part, in the order of the split."""
        return tuple(card for card in self.all_cards if card.used)

    @property
    def devices(self) -> tuple[PlanDevice, ...]:
        """The used cards as the plan takes them."""
        ids = [card.id for card in self.used_cards]
        own = card_devices(self.rig, ids, self._own.backends)
        far = [card for card in map(self.remote.card, ids) if card is not None]
        joined = [
            PlanDevice(
                name=card.name,
                id=card.id,
                free_bytes=card.free_bytes or 0,
                total_bytes=card.total_bytes,
            )
            for card in self.used_cards
            if is_far(card.id)
        ]
        return (*own, *(card.plan_device() for card in far), *joined)

    @property
    def own_device_names(self) -> tuple[str, ...]:
        """What the engine calls the cards of this machine that take part, where it said so."""
        ids = [card.id for card in self.used_cards]
        return tuple(self._own.names[i] for i in ids if i in self._own.names)

    def set_rig(self, rig: Rig) -> None:
        """Take a new reading over."""
        self.rig = rig
        self.settle()

    def set_blocked(self, reasons: Mapping[str, str]) -> None:
        """Cards the engine cannot use, with the reason."""
        self._own.blocked = dict(reasons)
        self.settle()

    def set_backends(self, backends: Mapping[str, Backend]) -> None:
        """Which part of the engine drives a card; it decides how rows are padded."""
        self._own.backends = dict(backends)
        self.settle()

    def set_device_names(self, names: Mapping[str, str]) -> None:
        """What the engine calls this machine's cards, by card id."""
        self._own.names = dict(names)

    def settle(self) -> None:
        """Follow a change of the cards."""
        self._shares.settle(self.devices)

    def switch(self, gpu_id: str, *, on: bool) -> None:
        """Use a card or leave it out; one that another engine uses only if the user says so."""
        far = self.remote.card(gpu_id) is not None
        (self.remote if far else self._own).switch(gpu_id, on=on)
        self.settle()

    def set_in_use(self, users: Mapping[str, str]) -> None:
        """Cards that other engines use, by id, with who does."""
        self._own.set_in_use(users)
        self.remote.set_in_use(users)
        self.settle()

    # The split

    @property
    def n_slots(self) -> int:
        """Layers to lie on the cards, the output counted."""
        if self.folder is not None:
            return self.folder.config.n_layer
        if self.model is None:
            return 0
        slots = self.model.n_layer + 1
        wanted = self.knobs.n_gpu_layers
        return slots if wanted < 0 else min(wanted, slots)

    @property
    def shares(self) -> tuple[float, ...]:
        """Share per used card; by free memory where the engine takes none."""
        if not self._takes_split:
            return by_free_memory(self.devices)
        return self._shares.values

    @property
    def _takes_split(self) -> bool:
        return self.rules.ratio is not Ratio.NONE

    @property
    def auto(self) -> bool:
        """The split follows free memory."""
        return self._shares.auto or not self._takes_split

    @property
    def counts(self) -> tuple[int, ...]:
        """Layers per used card, the output counted."""
        shares = self.shares
        if not shares or not self.n_slots:
            return (0,) * len(shares)
        return counts_for_split(shares, self.n_slots)

    def set_shares(self, shares: Sequence[float]) -> None:
        """Take the user's split.

        Raises:
            SplitError: It gives no card a layer.
        """
        self._shares.take(shares, self.devices)

    def set_auto(self) -> None:
        """Follow free memory from now on."""
        self._shares.follow(self.devices)

    def set_even(self) -> None:
        """The same share for every card."""
        self._shares.take_even(self.devices)

    # What follows

    def plan_request(self) -> PlanRequest:
        """The knobs as core wants them."""
        knobs = self.knobs
        return PlanRequest(
            split=(self.shares or None) if self._takes_split else None,
            n_ctx=knobs.n_ctx,
            n_gpu_layers=knobs.n_gpu_layers,
            cache_type_k=knobs.cache_type_k,
            cache_type_v=knobs.cache_type_v,
            flash_attention=knobs.flash_attention,
            n_parallel=knobs.n_parallel,
            split_mode=knobs.split_mode,
            n_cpu_moe=knobs.n_cpu_moe,
            draft=knobs.draft,
            projector=knobs.projector,
        )

    def plan(self) -> Plan | None:
        """Where everything goes; `None` without a model or a card."""
        ours = self.folder if self.engine is EngineKind.VLLM else None
        self.vllm.look(ours, len(self.devices))
        if self.folder is not None:
            return self._plan_folder(self.folder) if self.devices else None
        if self.has_model and not self.rules.picks_cards:
            return unplanned()
        if self.model is None or not self.devices:
            return None
        plan = make_plan(self.model, self.devices, self.plan_request())
        return divided_by_engine(plan, self.rules)

    def launch_request(self) -> LaunchRequest | None:
        """What Start would ask for."""
        if self.folder is not None:
            return self._folder_request(self.folder)
        cards = self.used_cards if self.rules.picks_cards else ()
        path, name = self._named_model()
        if path is None or (self.rules.picks_cards and not cards):
            return None
        try:
            names, rpc = self._names_and_servers(cards)
        except EngineError:
            return None  # `obstacle` says why
        return LaunchRequest(
            model=path,
            gpu_ids=tuple(card.id for card in cards),
            devices=names,
            rpc=rpc,
            plan=self.plan_request(),
            engine=self.engine,
            model_name=name,
            port=self.port,
            host=self.host,
            extra_arguments=self.extra.arguments,
        )

    def _named_model(self) -> tuple[Path | None, str]:
        """The file, and what Ollama calls it; the name stands for a file that is not known."""
        if self.served is not None and self.has_model:
            return Path(self.served.name), self.served.name
        return (self.model.path if self.model is not None else None), self.model_name

    def _names_and_servers(
        self, cards: Sequence[CardChoice]
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The engine's names of the cards, and the servers to name; both empty without remote ones.

        Raises:
            EngineError: A server cannot be used, or the engine did not name a card yet.
        """
        ids = [card.id for card in cards]
        if not any(self.remote.card(card_id) for card_id in ids):
            return (), ()
        own = [card_id for card_id in ids if self.remote.card(card_id) is None]
        names = dict(self._own.names)
        if self.rig.demo:  # the processor lends these, through a server that is named first
            names = {card_id: f"RPC{n}" for n, card_id in enumerate(own)}
        for card_id in own:
            if card_id not in names:
                raise EngineError("The engine has not named this machine's cards yet.")
        use = self.remote.use(ids, first=len(own) if self.rig.demo else 0)
        names |= use.names
        return tuple(names[card_id] for card_id in ids), use.rpc

    @property
    def _remote_obstacle(self) -> str:
        """Why a start with the cards of other machines has to wait; empty when it need not."""
        cards = self.used_cards
        try:
            self._names_and_servers(cards)
        except EngineError as error:
            return f"{error.message} {error.hint}".strip()
        return self.remote.waiting_for([card.id for card in cards])

    @property
    def extra(self) -> CheckedArguments:
        """The extra arguments with what is to be said of them."""
        if self.engine is EngineKind.VLLM:
            return check_vllm_line(self.knobs.extra_line, self.options.by_name)
        windows = sys.platform == "win32"
        return check_line(self.knobs.extra_line, self.options, windows=windows)

    @property
    def split_choices(self) -> tuple[SplitChoice, ...]:
        """How the model can be divided, with the reasons where it cannot."""
        needs = SplitNeeds(
            backends=[device.backend for device in self.devices],
            flash_attention=self.knobs.flash_attention,
        )
        return split_choices(self.rules.split_modes, self.options, needs)

    @property
    def rules(self) -> EngineRules:
        """What the engine chosen can do; of llama.cpp, what the very binary can."""
        rules = rules_of(self.engine, self.engine_build)
        return rules_with(rules, self.options) if self.engine is EngineKind.LLAMA_CPP else rules

    @property
    def obstacle(self) -> str:
        """Why the engine chosen cannot load the model here; empty when it can."""
        rules = self.rules
        here = why_not_here(self.engine, sys.platform)
        if here or not self.has_model:
            return here
        if self.rig.demo and rules.picks_cards and not rules.lends:
            return f"{rules.name} cannot use the demo rig, whose cards the processor lends."
        wrong = ""
        if self.folder is not None:
            wrong = reads(rules, self.folder.path, is_folder=True, in_store=False)
        elif self.model is not None:
            stored = bool(self.model_name)
            wrong = reads(rules, self.model.path, is_folder=False, in_store=stored)
        error = self.engine_error.message if self.engine_error is not None else ""
        wrong = wrong or error or self.vllm.refusal or self._remote_obstacle
        return wrong or self._unfit_knob()

    def _unfit_knob(self) -> str:
        """Why a folded setting cannot be used as it is; empty when all can."""
        chosen = [c for c in self.split_choices if c.mode == self.knobs.split_mode]
        if self.used_cards and chosen and chosen[0].reason:
            return chosen[0].reason
        extra = self.extra
        if extra.refused:
            return str(extra.refused[0])
        return unsupported(self.plan_request(), self.options, extra) if self.devices else ""

    def choose_engine(self, kind: EngineKind) -> tuple[str, ...]:
        """Load with another engine from now on; what it saw of the cards is not known yet.

        Returns:
            Sentences on what does not carry over.
        """
        before = self.rules
        self.engine, self.engine_build, self.engine_error = kind, None, None
        self.options = Options()
        self.set_device_names({})
        self.set_blocked({})
        return self._lost_since(before)

    def use_options(self, options: Options) -> tuple[str, ...]:
        """The engine's command line takes these.

        Returns:
            Sentences on settings made before that it does not take.
        """
        before = self.rules
        self.options = options
        return self._lost_since(before)

    def _lost_since(self, before: EngineRules) -> tuple[str, ...]:
        start = Knobs()
        used = {k for k in FOLDED if getattr(self.knobs, k) != getattr(start, k)}
        several = len(self.used_cards) > 1
        return lost_on_switch(
            before,
            self.rules,
            several_cards=several,
            used=used,
            split_mode=self.knobs.split_mode,
        )

    @property
    def has_model(self) -> bool:
        """A file or a folder is chosen, or a model that the engine chosen has by that name."""
        by_name = self.served is not None and not self.rules.picks_cards
        return self.model is not None or self.folder is not None or by_name

    def use_model(self, model: Model, name: str = "") -> None:
        """Load this file, which Ollama may have a name for."""
        self.model, self.model_name, self.folder, self.served = model, name, None, None

    def use_folder(self, model: HfModel) -> None:
        """Load this Hugging Face folder."""
        self.model, self.model_name, self.folder, self.served = None, "", model, None

    def use_served(self, model: ServedModel) -> None:
        """Load this model of a running Ollama."""
        self.model, self.model_name, self.folder, self.served = None, "", None, model

    def vllm_options(self) -> VllmOptions:
        """The knobs as vLLM takes them: a split of the user's own makes a pipeline of it.

        Unless another layout was picked.
        """
        cards = len(self.devices)
        tp, pp = self.vllm.sizes(cards, own_split=not self.auto)
        knobs = self.knobs.vllm
        return VllmOptions(
            tp=tp,
            pp=pp,
            split=self.shares if not self.auto and cards > 1 else None,
            n_ctx=self.knobs.n_ctx,
            max_num_seqs=self.knobs.n_parallel if self.knobs.n_parallel > 1 else None,
            dtype=knobs.dtype,
            kv_dtype=knobs.kv_dtype,
            fraction=knobs.fraction,
            eager=knobs.eager,
            cluster=self.ray.joined(cards),
        )

    def _plan_folder(self, model: HfModel) -> Plan | None:
        plan = self.vllm.make_plan(model, self.devices, self.vllm_options())
        return plan.as_plan() if plan is not None else None

    @property
    def vllm_plan(self) -> VllmPlan | None:
        """The plan for a folder, as far as there is one."""
        return self.vllm.plan

    def _folder_request(self, model: HfModel) -> LaunchRequest | None:
        plan = self.vllm_plan
        if plan is None:
            return None
        return LaunchRequest(
            model=model.path,
            gpu_ids=tuple(card.id for card in self.used_cards if not is_far(card.id)),
            plan=replace(self.plan_request(), n_ctx=plan.n_ctx),
            engine=self.engine,
            vllm=plan.decided(self.vllm_options()),
            port=self.port,
            host=self.host,
            extra_arguments=self.extra.arguments,
        )

    def speed(self, plan: Plan) -> Speed:
        """What to expect; nothing on a demo rig, whose cards do not compute."""
        if self.model is None or self.rig.demo:
            return Speed()
        found = {gpu.id: gpu.bandwidth_gbps for gpu in self.rig.gpus}
        return estimate_speed(self.model, plan, [found.get(d.id) for d in plan.devices])

    def fit_range(self, handle: int) -> tuple[int, int] | None:
        """Fewest and most layers left of a handle with which every card has room.

        All else stays as it is; `None` when no place fits. Some 2·log2(layers) plans, and none
        at all while only this handle moves.
        """
        if self.folder is not None:
            return self.vllm.fit_range(self.folder, self.devices, self.vllm_options(), handle)
        counts, devices, model = self.counts, self.devices, self.model
        if model is None or handle + 1 >= len(counts) or not self.n_slots:
            return None
        pair = counts[handle] + counts[handle + 1]
        others = (*counts[:handle], pair, *counts[handle + 2 :])
        request = replace(self.plan_request(), split=None)
        key = (id(model), devices, handle, others, request)
        if key != self._fit_key:
            self._fit_key = key
            self._fit = find_fit_range(model, devices, request, counts, handle)
        return self._fit
