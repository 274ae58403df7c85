"""What the options of `splitrig serve` ask for: the request, the plan for it, and its cards."""

import argparse
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from splitrig.cli.extra import checked
from splitrig.cli.ollama_options import attached_request, chosen_model, chosen_settings
from splitrig.cli.options import (
    check_mode,
    in_order,
    plan_request,
    rig_devices,
    unusable,
    with_companions,
)
from splitrig.cli.ray_cards import join_ray
from splitrig.cli.remote_cards import Chosen, choose_remote
from splitrig.cli.serve_news import News
from splitrig.cli.vllm_options import check_vllm_extra, folder_request, with_vllm
from splitrig.core.card_choice import named_cards
from splitrig.core.engine import EngineKind, LaunchRequest
from splitrig.core.engine_rules import divided_by_engine, rules_of
from splitrig.core.errors import EngineError, SplitRigError
from splitrig.core.footprint import Backend
from splitrig.core.gpu import Rig
from splitrig.core.plan import Plan, PlanDevice, make_plan
from splitrig.core.remote import parse_endpoints
from splitrig.core.remote_cost import link_costs
from splitrig.core.settings import EngineSettings
from splitrig.core.split import read_shares
from splitrig.services.engines.engines import Engines
from splitrig.services.engines.probe import ProbeCancelledError
from splitrig.services.models.gguf import read_model


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a request is made with.

    Attributes:
        engines: The engines of this machine.
        rig: Its cards.
        stopped: Gets an entry when the user wants to stop.
        helpers: Ends what has to run beside the engine.
        news: Says what is worth a word on the way.
    """

    engines: Engines
    rig: Rig
    stopped: Sequence[int]
    helpers: ExitStack
    news: News

    def cancelled(self) -> bool:
        """Whether the user wants to stop."""
        return bool(self.stopped)


def wanted_settings(options: argparse.Namespace, settings: EngineSettings) -> EngineSettings:
    """The settings with the programs that the options name instead."""
    settings = with_vllm(options, chosen_settings(options, settings))
    if options.llama_server is None:
        return settings
    return settings.model_copy(update={"llama_server": options.llama_server})


def wanted_request(
    options: argparse.Namespace, kind: EngineKind, about: Surroundings
) -> tuple[LaunchRequest, Plan]:
    """What the options ask for, and the plan for it; says what cards of other machines cost.

    Raises:
        SplitRigError: The model cannot be read, or there is no device to use.
    """
    engines, rig = about.engines, about.rig
    model, model_name = chosen_model(kind, options.model)
    if kind is EngineKind.OLLAMA_ATTACHED:
        return attached_request(model, model_name, plan_request(options, 0), options.host)
    only = named_cards(options.gpus, rig.gpus) if options.gpus is not None else None
    chosen = _remote(options, about, model, only)
    if chosen is not None:
        devices = chosen.devices
    else:
        split = options.tensor_split
        n_lent = len(read_shares(split)) if split is not None else 2
        devices = engine_devices(
            engines, rig, model, n_lent, kind=kind, stopped=about.stopped, only=only
        )
    if kind is EngineKind.VLLM:
        check_vllm_extra(options)
        devices, cluster = join_ray(
            options, engines, devices, (rig, model), about.stopped, about.helpers
        )
        return folder_request(options, devices, plan_request(options, len(devices)), cluster)
    if devices[0].id.startswith("demo-"):
        about.news.lent(len(devices))
    extra = checked(options.extra, engines, about.cancelled)
    read = read_model(model)
    wanted = with_companions(plan_request(options, len(devices)), options, read)
    check_mode(wanted, devices)
    plan = make_plan(read, devices, wanted)
    plan = divided_by_engine(plan, rules_of(kind, engines.get(kind).check(about.cancelled)))
    plan = replace(plan, notes=(*plan.notes, *map(str, extra.warnings)))
    if chosen is not None:
        about.news.remote(chosen, link_costs(read, plan, wanted, chosen.cards))
    request = LaunchRequest(
        model=model,
        gpu_ids=tuple(device.id for device in devices),
        plan=wanted,
        devices=chosen.names if chosen is not None else (),
        rpc=chosen.rpc if chosen is not None else (),
        port=options.port,
        host=options.host,
        engine=kind,
        model_name=model_name,
        extra_arguments=extra.arguments,
    )
    return request, plan


def _remote(
    options: argparse.Namespace, about: Surroundings, model: Path, only: tuple[str, ...] | None
) -> Chosen | None:
    """The cards of `--rpc`, with this machine's own where they are wanted; `None` without it.

    Raises:
        SplitRigError: They cannot be used, or the options do not go together.
    """
    if options.rpc is None:
        if options.local_cards:
            raise SplitRigError("--local-cards goes with --rpc.", "Leave it out.")
        return None
    endpoints = parse_endpoints(options.rpc, default_port=None)
    if only is not None and not options.local_cards:
        raise SplitRigError(
            "--gpus chooses among this machine's cards, and with --rpc they do not take part.",
            "Add --local-cards, or leave --gpus out.",
        )
    local = (about.rig, model) if options.local_cards else None
    return choose_remote(about.engines, endpoints, about.cancelled, local=local, only=only)


def engine_devices(
    engines: Engines,
    rig: Rig,
    model: Path,
    n_lent: int = 2,
    *,
    kind: EngineKind = EngineKind.LLAMA_CPP,
    stopped: Sequence[int] = (),
    only: Sequence[str] | None = None,
) -> tuple[PlanDevice, ...]:
    """This machine's devices to plan for.

    Where there is no card at all the processor lends `n_lent` devices, as in the demo.

    Args:
        engines: The engines of this machine.
        rig: Its cards.
        model: To tell the engine's devices apart with.
        n_lent: Devices that the processor lends.
        kind: Which engine.
        stopped: Gets an entry when the user wants to stop.
        only: The cards to use, in this order; `None` takes all.

    Raises:
        EngineError: The engine sees no device to use, or none for a card of `only`.
        ProbeCancelledError: `stopped` got an entry meanwhile.
    """
    if stopped:
        raise ProbeCancelledError("Stopped.")
    if rig.demo:
        return in_order(rig_devices(rig), only)
    if not rig.gpus:
        return lent_devices(n_lent)
    device_map = engines.ask_devices(kind, rig, model, lambda: bool(stopped))
    for gpu_id in only or ():
        if device_map.device(gpu_id) is None:
            raise unusable(rig, device_map, gpu_id)
    usable = [g.id for g in rig.gpus if device_map.device(g.id) is not None]
    if not usable:
        reasons = "; ".join(device_map.unmatched_gpus.values()) or "no card was found"
        raise EngineError(
            f"The engine has no card to use: {reasons}.",
            "Try --demo, which lends the processor as two cards.",
        )
    devices = [d for d in rig_devices(rig, device_map) if d.id in usable]
    return in_order(devices, only)


def lent_devices(n_devices: int) -> tuple[PlanDevice, ...]:
    """Devices lent by the processor, which share the free memory of the computer."""
    free_bytes = psutil.virtual_memory().available // n_devices
    return tuple(
        PlanDevice(name=f"RPC{n}", id=f"demo-{n}", free_bytes=free_bytes, backend=Backend.RPC)
        for n in range(n_devices)
    )
