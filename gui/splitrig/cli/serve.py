"""`splitrig serve`: start the engine as the window would, and run until stopped."""

import argparse
import json
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

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
    detected_rig,
    plan_request,
    rig_devices,
    stored_settings,
    whole,
)
from splitrig.core.devices import backend_of
from splitrig.core.engine import (
    EngineDevice,
    EngineKind,
    EngineStatus,
    Failure,
    LaunchRequest,
    Phase,
)
from splitrig.core.engine_machine import HOST
from splitrig.core.errors import EngineError, SplitRigError
from splitrig.core.footprint import Backend
from splitrig.core.gpu import Rig
from splitrig.core.plan import Plan, PlanDevice, make_plan
from splitrig.core.restart import policy_of
from splitrig.core.share import LOOPBACK
from splitrig.core.split import count_shares
from splitrig.core.units import mib_text
from splitrig.services.engines.engines import Engines
from splitrig.services.engines.ports import answers
from splitrig.services.engines.probe import ProbeCancelledError, ProbeTimeoutError
from splitrig.services.engines.supervisor import Supervisor
from splitrig.services.mailbox import Mailbox
from splitrig.services.models.gguf import read_model
from splitrig.services.store.settings import log_dir

ENGINES = (
    EngineKind.LLAMA_CPP.value,
    EngineKind.LLAMA_CPP_PYTHON.value,
    EngineKind.OLLAMA.value,
)


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = commands.add_parser("serve", help="start the engine and run it until stopped")
    add_plan_options(parser)
    parser.add_argument("--engine", choices=ENGINES, default=ENGINES[0])
    parser.add_argument("--llama-server", type=Path, metavar="FILE", help="the binary to use")
    add_ollama_options(parser)
    parser.add_argument("--rpc", metavar="HOST:PORT,…", help="servers that lend their devices")
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
    settings = chosen_settings(options, stored_settings().engine)
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
    with stop_on_signals() as stopped:
        try:
            rig = detected_rig(demo=options.demo, stopped=stopped)
            request, plan = _wanted(options, kind, engines, rig, stopped)
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
) -> tuple[LaunchRequest, Plan]:
    """What the options ask for, and the plan for it.

    Raises:
        SplitRigError: The model cannot be read, or there is no device to use.
    """
    model, model_name = chosen_model(kind, options.model)
    if kind is EngineKind.OLLAMA_ATTACHED:
        return attached_request(model, model_name, plan_request(options, 0), options.host)
    rpc = endpoints(options.rpc) if options.rpc is not None else ()
    n_lent = count_shares(options.tensor_split) if options.tensor_split else 2
    devices, names = engine_devices(engines, rig, model, rpc, n_lent, kind=kind, stopped=stopped)
    if not options.json and not names and devices[0].id.startswith("demo-"):
        print(f"No card is used: the processor lends {len(devices)} devices.")
    wanted = plan_request(options, len(devices))
    request = LaunchRequest(
        model=model,
        gpu_ids=() if names else tuple(device.id for device in devices),
        plan=wanted,
        devices=names,
        rpc=rpc,
        port=options.port,
        host=options.host,
        engine=kind,
        model_name=model_name,
    )
    return request, make_plan(read_model(model), devices, wanted)


def engine_devices(
    engines: Engines,
    rig: Rig,
    model: Path,
    rpc: tuple[str, ...],
    n_lent: int = 2,
    *,
    kind: EngineKind = EngineKind.LLAMA_CPP,
    stopped: Sequence[int] = (),
) -> tuple[tuple[PlanDevice, ...], tuple[str, ...]]:
    """Devices to plan for, and the engine's names where they are used as they are.

    Where there is no card at all the processor lends `n_lent` devices, as in the demo.

    Raises:
        EngineError: The engine sees no device to use.
        ProbeCancelledError: `stopped` got an entry meanwhile.
    """
    if stopped:
        raise ProbeCancelledError("Stopped.")
    if rpc:
        listed = _lent_by(engines, rpc, stopped)
        devices = tuple(
            PlanDevice(name=d.name, id=d.name, free_bytes=d.free_bytes, backend=backend_of(d.name))
            for d in listed
        )
        return devices, tuple(d.name for d in listed)
    if rig.demo:
        return rig_devices(rig), ()
    if not rig.gpus:
        return lent_devices(n_lent), ()
    device_map = engines.ask_devices(kind, rig, model, lambda: bool(stopped))
    usable = [g.id for g in rig.gpus if device_map.device(g.id) is not None]
    if not usable:
        reasons = "; ".join(device_map.unmatched_gpus.values()) or "no card was found"
        raise EngineError(
            f"The engine has no card to use: {reasons}.",
            "Try --demo, which lends the processor as two cards.",
        )
    return tuple(d for d in rig_devices(rig, device_map) if d.id in usable), ()


def endpoints(text: str) -> tuple[str, ...]:
    """Addresses of servers that lend their devices.

    Raises:
        EngineError: One is no `HOST:PORT`.
    """
    found = tuple(part.strip() for part in text.split(","))
    for endpoint in found:
        host, _, port = endpoint.rpartition(":")
        if not host or "/" in host or not port.isdecimal() or not 0 < int(port) < 65_536:
            raise EngineError(
                f"'{endpoint}' is no address of an RPC server.",
                "Write HOST:PORT, several with commas, as in 192.168.1.7:50052.",
            )
    return found


def _lent_by(engines: Engines, rpc: tuple[str, ...], stopped: Sequence[int]) -> list[EngineDevice]:
    """The devices these servers lend, in their order.

    Raises:
        EngineError: One of them does not answer, or lends nothing.
    """
    for endpoint in rpc:
        if not answers(endpoint):
            raise EngineError(f"Nothing answers at {endpoint}.", "Start ggml-rpc-server there.")
    try:
        listed = engines.llama_server().list_devices(rpc, lambda: bool(stopped))
    except ProbeTimeoutError as error:
        raise EngineError(
            f"{' or '.join(rpc)} answers, but not as an RPC server should.",
            "It may be another program, or busy: a ggml-rpc-server serves one client at a time.",
        ) from error
    lent = [device for device in listed if device.name.startswith("RPC")]
    for endpoint in rpc:
        if not any(device.description == endpoint for device in lent):
            raise EngineError(f"The server at {endpoint} lends no device.", "Look at its output.")
    return lent


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
    told: Phase | None = None
    while True:
        status = supervisor.status
        if status.phase is not told:
            told = status.phase
            say(status)
        if told is Phase.FAILED:
            return 1
        if told is Phase.STOPPED:
            return 0
        if stopped:
            supervisor.stop()
        time.sleep(0.05)


def devices_json(status: EngineStatus) -> list[dict[str, Any]]:
    """Planned and actual bytes of each device, in the order of the split."""
    if status.plan is None:
        return []
    rows: list[dict[str, Any]] = []
    for name, device in zip(status.device_names, status.plan.devices, strict=True):
        actual = status.actual.get(name)
        rows.append(
            {
                "name": device.name,
                "device": name,
                "layers": status.layers.get(name),
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
            }
        )
    return rows


def _say_json(status: EngineStatus) -> None:
    news: dict[str, object] = {"event": status.phase.value}
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
        }
        news |= placement_json(status)
    if (failure := status.failure) is not None:
        news |= {
            "message": failure.message,
            "hint": failure.hint,
            "exit_code": failure.exit_code,
            "log_tail": list(failure.log_tail),
        }
    print(json.dumps(news), flush=True)


def _say_text(status: EngineStatus) -> None:
    match status.phase:
        case Phase.READY:
            key = f" with the key {status.api_key}" if status.api_key else ""
            print(f"Ready at {status.url}{key}")
            if status.network_urls:
                print(f"Open to the network, unencrypted, at {' and '.join(status.network_urls)}")
            for name, device in zip(
                status.device_names, status.plan.devices if status.plan else (), strict=True
            ):
                actual = status.actual[name]
                print(
                    f"  {device.name}: {device.n_layers} layers, weights "
                    f"{mib_text(actual.model_bytes)} MiB, KV cache {mib_text(actual.kv_bytes)} MiB"
                )
            if held := placement_text(status):
                print(held)
            host = status.actual.get(HOST)
            if host is not None and status.device_names:
                print(f"  RAM: weights {mib_text(host.model_bytes)} MiB")
            for sentence in status.mismatches:
                print(f"  {sentence}")
            print("Ctrl-C stops it.", flush=True)
        case Phase.FAILED if status.failure is not None:
            print(f"{status.failure.message} {status.failure.hint}", flush=True)
        case phase:
            print(f"{phase.value.capitalize()} …" if phase.active else "Stopped.", flush=True)
