"""The life of an engine as a pure function: a status and an event give the next status."""

from collections.abc import Container, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from splitrig.core.engine import (
    Buffers,
    Dialect,
    EngineKind,
    EngineStatus,
    Failure,
    LaunchRequest,
    Phase,
)
from splitrig.core.engine_failure import explain_exit
from splitrig.core.engine_log import (
    ROWS,
    TOGETHER,
    BufferKind,
    BufferSeen,
    Held,
    LayerAssigned,
    LoadLog,
    LogEvent,
    Mark,
    Passed,
    Placed,
    Progressed,
    Several,
    add_event,
)
from splitrig.core.ollama import follows_ratio, not_honoured
from splitrig.core.plan import DevicePlan, Plan
from splitrig.core.split_mode import LAYER
from splitrig.core.units import MIB, mib_text, size_text

LOG_STEP_BYTES = round(0.0101 * MIB)
"""The log rounds to 0.01 MiB, twice where a device has two caches."""
ROUNDED = 8 * MIB
"""An engine whose plan is an estimate writes its sizes in hundredths of a GiB."""
HOST = "host"


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """Start was pressed; `time_s` is `time.monotonic()` here and below."""

    time_s: float
    request: LaunchRequest
    plan: Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Launching:
    """A process is about to be started; again when another port had to be tried.

    It may speak before it is known to exist, so what an earlier one said is forgotten here. The
    build stays: it was asked for before.
    """

    time_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Spawned:
    """The engine's process exists; the fields are those of `EngineStatus`."""

    pid: int | None
    url: str
    api_key: str | None
    command: tuple[str, ...]
    device_names: tuple[str, ...]
    network_urls: tuple[str, ...] = ()
    served_model: str | None = None
    dialect: Dialect = Dialect.OPENAI


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged:
    """The engine's log said something."""

    time_s: float
    event: LogEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Advanced:
    """More of the weights is read; `share` is 0–1."""

    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Healthy:
    """`/health` answered 200."""

    time_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """These processes are the engine's own."""

    pids: frozenset[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metered:
    """Its own counts were looked at; `problem` says why they cannot be read, empty if they can."""

    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StopAsked:
    """The user, or the end of the program, wants it gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exited:
    """The process is gone.

    Attributes:
        exit_code: Negative for a signal; `None` if unknown.
        tail: The last lines of its output.
        out_of_memory: The computer's memory ran out at that moment.
    """

    exit_code: int | None
    tail: tuple[str, ...] = field(default=())
    out_of_memory: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """It could not be started, or had to be given up, for a reason the log does not tell."""

    failure: Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Restarting:
    """The run ended and the engine is to be started again.

    Attributes:
        time_s: When it is to be started, `time.monotonic()`.
        end: How it ended.
        sentence: When it is started again.
    """

    time_s: float
    end: Exited | Broken
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenUp:
    """The run ended and is not followed by another one, although restarts are wanted.

    Attributes:
        end: How it ended.
        sentence: Why it is not started again.
    """

    end: Exited | Broken
    sentence: str


EngineEvent = (
    Restarting
    | GivenUp
    | Begun
    | Launching
    | Spawned
    | Logged
    | Advanced
    | Healthy
    | Counted
    | Metered
    | StopAsked
    | Exited
    | Broken
)

_LOADING = (Phase.STARTING, Phase.LOADING)
_STEP_AFTER = {
    Mark.WEIGHTS: "weights",
    Mark.CONTEXT: "context",
    Mark.WARMUP: "warmup",
}


def step(status: EngineStatus, event: EngineEvent) -> EngineStatus:
    """The status after an event; one that comes too late to matter changes nothing."""
    match event:
        case Begun() if not status.phase.active:
            return EngineStatus(
                slot=status.slot,
                phase=Phase.STARTING,
                request=event.request,
                plan=event.plan,
                step="process",
                step_since_s=event.time_s,
            )
        case StopAsked() if status.phase in (*_LOADING, Phase.READY):
            return replace(status, phase=Phase.STOPPING, step="", step_since_s=None)
        case Exited() | Broken() | Restarting() | GivenUp() if status.phase.active:
            return _over(status, event)
        case Logged() | Counted() | Metered() if status.phase in (*_LOADING, Phase.READY):
            return _observed(status, event)
        case Launching() | Spawned() | Advanced() | Healthy() if status.phase in _LOADING:
            return _came_up(status, event)
    return status


def _over(status: EngineStatus, event: Exited | Broken | Restarting | GivenUp) -> EngineStatus:
    match event:
        case GivenUp():
            return _given_up(step(status, event.end), event.sentence)
        case Exited():
            return _exited(status, event)
        case Restarting():
            return _restarting(status, event)
        case Broken() if status.phase is Phase.STOPPING:
            return _ended(status, Phase.STOPPED)
        case Broken():
            return replace(_ended(status, Phase.FAILED), failure=event.failure)


def _restarting(status: EngineStatus, event: Restarting) -> EngineStatus:
    """The next start of the same; nothing of it when the user wanted it gone meanwhile."""
    ended = step(status, event.end)
    if ended.failure is None:
        return ended
    return EngineStatus(
        slot=status.slot,
        phase=Phase.STARTING,
        request=status.request,
        plan=status.plan,
        restart=f"{ended.failure.message} {event.sentence}",
        step="process",
        step_since_s=event.time_s,
    )


def _given_up(ended: EngineStatus, sentence: str) -> EngineStatus:
    failure = ended.failure
    if failure is None:  # the user wanted it gone meanwhile
        return ended
    return replace(ended, failure=replace(failure, hint=f"{sentence} {failure.hint}".strip()))


def _came_up(status: EngineStatus, event: Launching | Spawned | Advanced | Healthy) -> EngineStatus:
    match event:
        case Launching():
            return EngineStatus(
                slot=status.slot,
                phase=Phase.STARTING,
                request=status.request,
                plan=status.plan,
                build=status.build,
                restart=status.restart,
                step="process",
                step_since_s=status.step_since_s if status.step == "process" else event.time_s,
            )
        case Spawned():
            return replace(
                status,
                pid=event.pid,
                url=event.url,
                api_key=event.api_key,
                command=event.command,
                device_names=event.device_names,
                network_urls=event.network_urls,
                served_model=event.served_model,
                dialect=event.dialect,
            )
        case Advanced():
            share = min(max(event.share, status.progress or 0.0), 1.0)
            return status if share == status.progress else replace(status, progress=share)
        case Healthy():
            return _ready(status, event.time_s)


def _observed(status: EngineStatus, event: Logged | Counted | Metered) -> EngineStatus:
    if isinstance(event, Logged):
        return _logged(status, event)
    if isinstance(event, Metered):
        told = event.problem == status.unmetered
        return status if told else replace(status, unmetered=event.problem)
    return status if event.pids == status.pids else replace(status, pids=event.pids)


def _logged(status: EngineStatus, event: Logged) -> EngineStatus:
    if isinstance(event.event, Several):
        for one in event.event.events:
            status = _logged(status, replace(event, event=one))
        return status
    if isinstance(event.event, Progressed):
        return step(status, Advanced(share=event.event.share))
    log = add_event(status.log, event.event)
    status = replace(status, log=log, build=log.build or status.build)
    if isinstance(event.event, BufferSeen | LayerAssigned | Placed | Held):
        layers = _named_layers(log)
        status = replace(status, actual=actual_buffers(status), layers=layers or status.layers)
        if status.phase is Phase.READY:
            status = _judged(status)  # lines that were read after the engine had answered
    if isinstance(event.event, Passed) and status.phase in _LOADING:
        status = _passed(status, event.event.mark, event.time_s)
    return status


def _passed(status: EngineStatus, mark: Mark, time_s: float) -> EngineStatus:
    if mark is Mark.LOADED:
        return status
    changes: dict[str, Any] = {"phase": Phase.LOADING}
    if mark is Mark.CONTEXT:
        changes["progress"] = 1.0
    following = _STEP_AFTER.get(mark)
    if following is not None:
        changes |= _next_step(status, following, time_s)
    return replace(status, **changes)


def _next_step(status: EngineStatus, following: str, time_s: float) -> dict[str, Any]:
    """Close the step in progress and open `following` (empty for none)."""
    seconds = dict(status.step_seconds)
    if status.step and status.step_since_s is not None:
        seconds[status.step] = seconds.get(status.step, 0.0) + time_s - status.step_since_s
    return {
        "step_seconds": seconds,
        "step": following,
        "step_since_s": time_s if following else None,
    }


def _ready(status: EngineStatus, time_s: float) -> EngineStatus:
    status = replace(
        status,
        phase=Phase.READY,
        progress=1.0,
        **_next_step(status, "", time_s),
    )
    if _is_joined(status):
        return status
    return _judged(replace(status, actual=actual_buffers(status)))


def _is_joined(status: EngineStatus) -> bool:
    """Other machines take part: one log tells of all their cards, and does not say of which."""
    vllm = status.request.vllm if status.request is not None else None
    return vllm is not None and vllm.cluster is not None


def _judged(status: EngineStatus) -> EngineStatus:
    """With what the devices carry compared to the plan."""
    if status.plan is None:
        return status
    if is_shared(status.actual):
        # no card holds whole layers, and none is told of by itself
        return replace(status, mismatches=(), layers={})
    if divides_by_itself(status):
        return replace(status, mismatches=(), layers=_named_layers(status.log))
    wrong = compare(status.plan, status.device_names, status.actual)
    if status.request is not None and status.request.engine is EngineKind.OLLAMA_ATTACHED:
        return replace(status, mismatches=_off_the_cards(status.log))
    if status.request is not None and status.request.engine is EngineKind.OLLAMA:
        wrong = (*_ratio_lost(status, status.plan), *wrong)
    layers = _named_layers(status.log)
    if not layers and not wrong:
        # Layers lie on the cards in order, so the same bytes on each are the same layers.
        devices = zip(status.device_names, status.plan.devices, strict=False)
        layers = {name: device.n_layers for name, device in devices}
    return replace(status, mismatches=wrong, layers=layers)


def _exited(status: EngineStatus, event: Exited) -> EngineStatus:
    if status.phase is Phase.STOPPING:
        return _ended(status, Phase.STOPPED)
    shown = zip(status.device_names, status.plan.devices if status.plan else (), strict=False)
    failure = explain_exit(
        status.log,
        exit_code=event.exit_code,
        tail=event.tail,
        names={name: device.name for name, device in shown},
        was_ready=status.phase is Phase.READY,
        split_mode=status.request.plan.split_mode if status.request is not None else "",
        out_of_memory=event.out_of_memory,
    )
    return replace(_ended(status, Phase.FAILED), failure=failure)


def _ended(status: EngineStatus, phase: Phase) -> EngineStatus:
    """Nothing runs any more; what was asked, planned and measured stays to be looked at."""
    return replace(
        status,
        phase=phase,
        pid=None,
        pids=frozenset(),
        url=None,
        network_urls=(),
        api_key=None,
        unmetered="",
        progress=None,
        step="",
        step_since_s=None,
    )


def _named_layers(log: LoadLog) -> dict[str, int]:
    counts = log.layer_counts()
    return {HOST if name == "CPU" else name: n for name, n in counts.items()}


def actual_buffers(status: EngineStatus) -> dict[str, Buffers]:
    """Bytes per device in the order of the split, then others the log names, then the host.

    Once the engine is ready a device without a buffer holds 0 bytes of it; before, and where the
    log tells of all cards together only, `None`. Empty where other machines take part.
    """
    if _is_joined(status):
        return {}
    model, kv, compute = (
        status.log.bytes_on(kind) for kind in (BufferKind.MODEL, BufferKind.KV, BufferKind.COMPUTE)
    )
    named = dict.fromkeys((*status.device_names, *model, *kv, *compute))
    named.pop(HOST, None)
    told = status.phase is Phase.READY and not is_shared(named)
    silent = 0 if told else None
    return {
        name: Buffers(
            model_bytes=model.get(name, silent),
            kv_bytes=kv.get(name, silent),
            compute_bytes=compute.get(name, silent),
        )
        for name in (*named, HOST)
    }


def is_shared(names: Container[str]) -> bool:
    """Buffers are told of all cards together, as in a tensor or row split."""
    return TOGETHER in names or ROWS in names


def divides_by_itself(status: EngineStatus) -> bool:
    """An Ollama that takes no ratio shares the model out over several cards as it sees fit."""
    request, build = status.request, status.build
    if request is None or request.engine is not EngineKind.OLLAMA or build is None:
        return False
    several = len(status.device_names) > 1 and request.plan.split_mode == LAYER
    return several and not follows_ratio(build)


def _ratio_lost(status: EngineStatus, plan: Plan) -> tuple[str, ...]:
    """That weights lie elsewhere although Ollama was given a ratio."""
    pairs = zip(status.device_names, plan.devices, strict=False)
    moved = any(
        abs((status.actual.get(name, Buffers()).model_bytes or 0) - device.model_bytes)
        > LOG_STEP_BYTES
        for name, device in pairs
    )
    return (not_honoured(plan.split),) if moved and len(plan.devices) > 1 else ()


def _off_the_cards(log: LoadLog) -> tuple[str, ...]:
    """What an engine that chose by itself keeps in the computer's memory."""
    placed = log.placed
    if placed is None or placed.on_cards_bytes >= placed.total_bytes:
        return ()
    off, total = placed.total_bytes - placed.on_cards_bytes, placed.total_bytes
    return (f"{size_text(off)} of {size_text(total)} lie in the computer's memory.",)


def compare(
    plan: Plan, device_names: tuple[str, ...], actual: Mapping[str, Buffers]
) -> tuple[str, ...]:
    """Sentences on weights and KV that lie elsewhere than planned, with both numbers.

    Compute buffers are estimates in the plan and are not judged here.
    """
    found = []
    for name, device in zip(device_names, plan.devices, strict=False):
        found += _differences(name, device, actual.get(name, Buffers()), plan.tolerance)
    strangers = [name for name in actual if name not in (*device_names, HOST)]
    for name in strangers:
        n_bytes = (actual[name].model_bytes or 0) + (actual[name].kv_bytes or 0)
        if n_bytes:
            found.append(f"{name} carries {mib_text(n_bytes)} MiB, but is not part of the plan.")
    return tuple(found)


def allowed_bytes(planned: int, tolerance: float) -> float:
    """How far an actual size may be from the planned one, bytes; `tolerance` is the plan's."""
    return max(LOG_STEP_BYTES, planned * tolerance, ROUNDED * (tolerance > 0))


def _differences(name: str, device: DevicePlan, has: Buffers, tolerance: float) -> list[str]:
    shown = device.name if device.name == name else f"{device.name} ({name})"
    return [
        f"{shown} carries {mib_text(got)} MiB of {what}, planned were {mib_text(planned)}."
        for what, planned, got in (
            ("weights", device.model_bytes, has.model_bytes or 0),
            ("KV cache", device.kv_bytes, has.kv_bytes or 0),
        )
        if abs(got - planned) > allowed_bytes(planned, tolerance)
    ]
