"""The life of an engine as a pure function: a status and an event give the next status."""

from dataclasses import replace
from typing import Any

from splitrig.core.engine import EngineStatus, Phase
from splitrig.core.engine_events import (
    Advanced,
    Begun,
    Broken,
    Counted,
    EngineEvent,
    Exited,
    GivenUp,
    Healthy,
    Launching,
    Logged,
    Metered,
    Restarting,
    Spawned,
    StopAsked,
)
from splitrig.core.engine_failure import explain_exit
from splitrig.core.engine_log import (
    BufferSeen,
    Held,
    LayerAssigned,
    Mark,
    Passed,
    Placed,
    Progressed,
    Several,
    add_event,
)
from splitrig.core.engine_placement import actual_buffers, is_joined, judged, named_layers

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
        layers = named_layers(log)
        status = replace(status, actual=actual_buffers(status), layers=layers or status.layers)
        if status.phase is Phase.READY:
            status = judged(status)  # lines that were read after the engine had answered
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
    if is_joined(status):
        return status
    return judged(replace(status, actual=actual_buffers(status)))


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
