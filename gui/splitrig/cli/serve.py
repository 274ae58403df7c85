"""`splitrig serve`: start the engine as the window would, and run until stopped."""

import argparse
import json
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import psutil

from splitrig.cli.extra import HELP as EXTRA_HELP
from splitrig.cli.extra import check_taken, checked
from splitrig.cli.ollama_options import (
    add_ollama_options,
    attached_request,
    chosen_kind,
    chosen_model,
    chosen_settings,
    placement_json,
    placement_text,
)
from splitrig.cli.options import (
    add_plan_options,
    check_mode,
    detected_rig,
    plan_request,
    rig_devices,
    stored_settings,
    whole,
    with_companions,
)
from splitrig.cli.ray_cards import add_ray_options, check_ray, join_ray
from splitrig.cli.remote_cards import Chosen, choose_remote, cost_lines, server_json
from splitrig.cli.vllm_options import add_vllm_options, folder_request, with_vllm
from splitrig.core.engine import (
    EngineKind,
    EngineStatus,
    Failure,
    LaunchRequest,
    Phase,
)
from splitrig.core.engine_machine import HOST, is_shared
from splitrig.core.engine_remarks import note_of
from splitrig.core.engine_rules import divided_by_engine, rules_of
from splitrig.core.errors import EngineError, SplitRigError
from splitrig.core.footprint import Backend
from splitrig.core.gpu import Rig
from splitrig.core.plan import DevicePlan, Plan, PlanDevice, make_plan
from splitrig.core.remote import parse_endpoints
from splitrig.core.remote_cost import LinkCost, link_costs
from splitrig.core.restart import policy_of
from splitrig.core.share import LOOPBACK
from splitrig.core.split import count_shares
from splitrig.core.told_together import told_together
from splitrig.core.units import mib_text
from splitrig.services.engines.engines import Engines
from splitrig.services.engines.probe import ProbeCancelledError
from splitrig.services.engines.supervisor import Supervisor
from splitrig.services.mailbox import Mailbox
from splitrig.services.models.gguf import read_model
from splitrig.services.store.settings import log_dir

ENGINES = (
    EngineKind.LLAMA_CPP.value,
    EngineKind.LLAMA_CPP_PYTHON.value,
    EngineKind.OLLAMA.value,
    EngineKind.VLLM.value,
)


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "serve", help="start the engine and run it until stopped", epilog=EXTRA_HELP
    )
    add_plan_options(parser)
    parser.add_argument("--engine", choices=ENGINES, default=ENGINES[0])
    parser.add_argument("--llama-server", type=Path, metavar="FILE", help="the binary to use")
    add_ollama_options(parser)
    parser.add_argument("--vllm", type=Path, metavar="FILE", help="the vllm or its environment")
    add_vllm_options(parser)
    add_ray_options(parser)
    parser.add_argument("--rpc", metavar="HOST:PORT,…", help="servers that lend their devices")
    parser.add_argument(
        "--local-cards",
        action="store_true",
        help="with --rpc: this machine's cards as well, before those lent",
    )
    parser.add_argument("--port", type=whole(0, 65_535), default=0, help="0: a free one")
    parser.add_argument(
        "--host",
        default=LOOPBACK,
        metavar="ADDRESS",
        help="0.0.0.0 opens it to the network, with the key",
    )
    parser.add_argument("--demo", action="store_true", help="lend the processor as two cards")


def run(options: argparse.Namespace) -> int:
    """Run until Ctrl-C, SIGTERM, or the end of the engine; 1 if it failed."""
    say = _say_json if options.json else _say_text
    kind = chosen_kind(options)
    settings = with_vllm(options, chosen_settings(options, stored_settings().engine))
    if options.llama_server is not None:
        settings = settings.model_copy(update={"llama_server": options.llama_server})
    engines = Engines(Mailbox(), settings)
    supervisor = Supervisor(
        Mailbox(),
        engines,
        log_dir=log_dir(),
        start_timeout_s=settings.start_timeout_s,
    )
    supervisor.restart = policy_of(settings)
    with stop_on_signals() as stopped, ExitStack() as helpers:
        try:
            rig = detected_rig(demo=options.demo, stopped=stopped)
            request, plan = _wanted(options, kind, engines, rig, stopped, helpers)
            supervisor.start(request, plan, rig)
            return _watch(supervisor, say, stopped)
        except ProbeCancelledError:
            say(EngineStatus(phase=Phase.STOPPED))
            return 0
        except SplitRigError as error:
            if not options.json:
                raise
            failure = Failure(message=error.message, hint=error.hint)
            say(EngineStatus(phase=Phase.FAILED, failure=failure))
            return 1
        finally:
            supervisor.close()


def _wanted(
    options: argparse.Namespace,
    kind: EngineKind,
    engines: Engines,
    rig: Rig,
    stopped: Sequence[int],
    helpers: ExitStack,
) -> tuple[LaunchRequest, Plan]:
    """What the options ask for, and the plan for it; says what cards of other machines cost.

    What has to run beside the engine is ended by `helpers`.

    Raises:
        SplitRigError: The model cannot be read, or there is no device to use.
    """
    check_taken(options, kind)
    check_ray(options, kind)
    model, model_name = chosen_model(kind, options.model)
    if kind is EngineKind.OLLAMA_ATTACHED:
        return attached_request(model, model_name, plan_request(options, 0), options.host)
    chosen = _remote(options, kind, engines, rig, model, stopped)
    if chosen is not None:
        devices = chosen.devices
    else:
        n_lent = count_shares(options.tensor_split) if options.tensor_split else 2
        devices = engine_devices(engines, rig, model, n_lent, kind=kind, stopped=stopped)
    if kind is EngineKind.VLLM:
        devices, cluster = join_ray(options, engines, devices, (rig, model), stopped, helpers)
        return folder_request(options, devices, plan_request(options, len(devices)), cluster)
    if not options.json and devices[0].id.startswith("demo-"):
        print(f"No card is used: the processor lends {len(devices)} devices.")
    extra = checked(options.extra, engines, lambda: bool(stopped))
    read = read_model(model)
    wanted = with_companions(plan_request(options, len(devices)), options, read)
    check_mode(wanted, devices)
    plan = make_plan(read, devices, wanted)
    plan = divided_by_engine(plan, rules_of(kind, engines.get(kind).check(lambda: bool(stopped))))
    plan = replace(plan, notes=(*plan.notes, *map(str, extra.warnings)))
    if chosen is not None:
        _say_remote(chosen, link_costs(read, plan, wanted, chosen.cards), as_json=options.json)
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
    options: argparse.Namespace,
    kind: EngineKind,
    engines: Engines,
    rig: Rig,
    model: Path,
    stopped: Sequence[int],
) -> Chosen | None:
    """The cards of `--rpc`, with this machine's own where they are wanted; `None` without it.

    Raises:
        SplitRigError: They cannot be used, or the options do not go together.
    """
    if options.rpc is None:
        if options.local_cards:
            raise SplitRigError("--local-cards goes with --rpc.", "Leave it out.")
        return None
    if kind is not EngineKind.LLAMA_CPP:
        raise SplitRigError(
            f"{kind.value} does not use llama.cpp's RPC.", "Leave --rpc out, or take llama.cpp."
        )
    endpoints = parse_endpoints(options.rpc, default_port=None)
    local = (rig, model) if options.local_cards else None
    return choose_remote(engines, endpoints, lambda: bool(stopped), local=local)


def engine_devices(
    engines: Engines,
    rig: Rig,
    model: Path,
    n_lent: int = 2,
    *,
    kind: EngineKind = EngineKind.LLAMA_CPP,
    stopped: Sequence[int] = (),
) -> tuple[PlanDevice, ...]:
    """This machine's devices to plan for.

    Where there is no card at all the processor lends `n_lent` devices, as in the demo.

    Raises:
        EngineError: The engine sees no device to use.
        ProbeCancelledError: `stopped` got an entry meanwhile.
    """
    if stopped:
        raise ProbeCancelledError("Stopped.")
    if rig.demo:
        return rig_devices(rig)
    if not rig.gpus:
        return lent_devices(n_lent)
    device_map = engines.ask_devices(kind, rig, model, lambda: bool(stopped))
    usable = [g.id for g in rig.gpus if device_map.device(g.id) is not None]
    if not usable:
        reasons = "; ".join(device_map.unmatched_gpus.values()) or "no card was found"
        raise EngineError(
            f"The engine has no card to use: {reasons}.",
            "Try --demo, which lends the processor as two cards.",
        )
    return tuple(d for d in rig_devices(rig, device_map) if d.id in usable)


def lent_devices(n_devices: int) -> tuple[PlanDevice, ...]:
    """Devices lent by the processor, which share the free memory of the computer."""
    free_bytes = psutil.virtual_memory().available // n_devices
    return tuple(
        PlanDevice(name=f"RPC{n}", id=f"demo-{n}", free_bytes=free_bytes, backend=Backend.RPC)
        for n in range(n_devices)
    )


@contextmanager
def stop_on_signals() -> Iterator[list[int]]:
    """Collect Ctrl-C and SIGTERM instead of ending at once."""
    received: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda n, _frame: received.append(n)) for number in numbers]
    try:
        yield received
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _watch(supervisor: Supervisor, say: Callable[[EngineStatus], None], stopped: list[int]) -> int:
    """Tell each change until the end; an engine that ends by itself is a failure."""
    told: tuple[Phase, str] | None = None
    while True:
        status = supervisor.status
        if (status.phase, status.restart) != told:
            told = (status.phase, status.restart)
            say(status)
        if status.phase is Phase.FAILED:
            return 1
        if status.phase is Phase.STOPPED:
            return 0
        if stopped:
            supervisor.stop()
        time.sleep(0.05)


def devices_json(status: EngineStatus) -> list[dict[str, Any]]:
    """Planned and actual bytes of each device, in the order of the split.

    A card of another machine that Ray hands out has no name of the engine's own.
    """
    if status.plan is None:
        return []
    rows: list[dict[str, Any]] = []
    for name, device in _named(status):
        actual = status.actual.get(name) if name is not None else None
        rows.append(
            {
                "name": device.name,
                "device": name,
                "layers": status.layers.get(name) if name is not None else None,
                "planned": {
                    "layers": device.n_layers,
                    "model_bytes": device.model_bytes,
                    "kv_bytes": device.kv_bytes,
                    "compute_bytes": device.compute_bytes,
                },
                "actual": {
                    "model_bytes": actual.model_bytes if actual else None,
                    "kv_bytes": actual.kv_bytes if actual else None,
                    "compute_bytes": actual.compute_bytes if actual else None,
                },
                "share": device.share,
            }
        )
    return rows


def _named(status: EngineStatus) -> list[tuple[str | None, DevicePlan]]:
    """The engine's word for each card of the plan; Ray's cards of other machines stand last."""
    planned = status.plan.devices if status.plan is not None else ()
    missing = [None] * (len(planned) - len(status.device_names))
    return list(zip((*status.device_names, *missing), planned, strict=True))


def notes_of(status: EngineStatus) -> list[str]:
    """What the plan assumes, and what the engine does otherwise than asked."""
    notes = [told_together(status)] if is_shared(status.actual) else []
    notes += status.plan.notes if status.plan is not None else ()
    return notes + [f"{n.message} {n.detail}" for n in map(note_of, status.log.remarks)]


def _say_remote(chosen: Chosen, costs: Sequence[LinkCost], *, as_json: bool) -> None:
    """What is used on other machines, what it costs, and what to beware of."""
    if as_json:
        news = {
            "event": "remote",
            "servers": [server_json(server) for server in chosen.servers],
            "costs": [asdict(cost) for cost in costs],
        }
        print(json.dumps(news), flush=True)
        return
    for line in cost_lines(chosen.servers, costs):
        print(line, flush=True)


def _say_json(status: EngineStatus) -> None:
    news: dict[str, object] = {"event": status.phase.value}
    if status.phase is Phase.STARTING and status.restart:
        news["restart"] = status.restart
    if status.phase is Phase.READY:
        news |= {
            "url": status.url,
            "network_urls": list(status.network_urls),
            "api_key": status.api_key,
            "pid": status.pid,
            "build": status.build,
            "command": list(status.command),
            "devices": devices_json(status),
            "mismatches": list(status.mismatches),
            "notes": notes_of(status),
        }
        news |= placement_json(status)
    if (failure := status.failure) is not None:
        news |= {
            "message": failure.message,
            "hint": failure.hint,
            "exit_code": failure.exit_code,
            "log_tail": list(failure.log_tail),
        }
        if failure.fallback is not None:
            news["try"] = failure.fallback.option
    print(json.dumps(news), flush=True)


def _carries(status: EngineStatus, name: str | None, device: DevicePlan) -> str:
    """What a card carries; where the engine tells of all together only, what was planned."""
    if is_shared(status.actual):
        share = f"{(device.share or 0) * 100:.0f} % of every layer, planned "
        planned = device.model_bytes, device.kv_bytes
        return share + f"{mib_text(planned[0])} MiB of weights, {mib_text(planned[1])} MiB of KV"
    actual = status.actual.get(name) if name is not None else None
    if actual is None:  # one log of several machines tells of none of them
        return (
            f"{device.n_layers} layers, planned {mib_text(device.model_bytes)} MiB of weights, "
            f"{mib_text(device.kv_bytes)} MiB of KV"
        )
    return (
        f"{device.n_layers} layers, weights {mib_text(actual.model_bytes)} MiB, "
        f"KV cache {mib_text(actual.kv_bytes)} MiB"
    )


def _say_text(status: EngineStatus) -> None:
    match status.phase:
        case Phase.READY:
            key = f" with the key {status.api_key}" if status.api_key else ""
            print(f"Ready at {status.url}{key}")
            if status.network_urls:
                print(f"Open to the network, unencrypted, at {' and '.join(status.network_urls)}")
            for name, device in _named(status):
                print(f"  {device.name}: {_carries(status, name, device)}")
            if held := placement_text(status):
                print(held)
            host = status.actual.get(HOST)
            if host is not None and status.device_names:
                print(f"  RAM: weights {mib_text(host.model_bytes)} MiB")
            for sentence in (*status.mismatches, *notes_of(status)):
                print(f"  {sentence}")
            print("Ctrl-C stops it.", flush=True)
        case Phase.FAILED if status.failure is not None:
            print(f"{status.failure.message} {status.failure.hint}", flush=True)
            if status.failure.fallback is not None:
                print(f"Try it with {status.failure.fallback.option}.", flush=True)
        case Phase.STARTING if status.restart:
            print(status.restart, flush=True)
        case phase:
            print(f"{phase.value.capitalize()} …" if phase.active else "Stopped.", flush=True)
