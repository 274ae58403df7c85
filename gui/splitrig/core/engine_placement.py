"""Where an engine's log puts the model, against where the plan put it."""

from collections.abc import Container, Mapping
from dataclasses import replace

from splitrig.core.engine import Buffers, EngineKind, EngineStatus, Phase
from splitrig.core.engine_log import ROWS, TOGETHER, BufferKind, LoadLog
from splitrig.core.ollama import follows_ratio, not_honoured
from splitrig.core.plan import DevicePlan, Plan
from splitrig.core.split_mode import LAYER
from splitrig.core.units import MIB, mib_text, size_text

LOG_STEP_BYTES = round(0.0101 * MIB)
"""The log rounds to 0.01 MiB, twice where a device has two caches."""
ROUNDED = 8 * MIB
"""An engine whose plan is an estimate writes its sizes in hundredths of a GiB."""
HOST = "host"


def is_joined(status: EngineStatus) -> bool:
    """Other machines take part: one log tells of all their cards, and does not say of which."""
    vllm = status.request.vllm if status.request is not None else None
    return vllm is not None and vllm.cluster is not None


def judged(status: EngineStatus) -> EngineStatus:
    """With what the devices carry compared to the plan."""
    if status.plan is None:
        return status
    if is_shared(status.actual):
        # no card holds whole layers, and none is told of by itself
        return replace(status, mismatches=(), layers={})
    if divides_by_itself(status):
        return replace(status, mismatches=(), layers=named_layers(status.log))
    wrong = compare(status.plan, status.device_names, status.actual)
    if status.request is not None and status.request.engine is EngineKind.OLLAMA_ATTACHED:
        return replace(status, mismatches=_off_the_cards(status.log))
    if status.request is not None and status.request.engine is EngineKind.OLLAMA:
        wrong = (*_ratio_lost(status, status.plan), *wrong)
    layers = named_layers(status.log)
    if not layers and not wrong:
        # Layers lie on the cards in order, so the same bytes on each are the same layers.
        devices = zip(status.device_names, status.plan.devices, strict=False)
        layers = {name: device.n_layers for name, device in devices}
    return replace(status, mismatches=wrong, layers=layers)


def named_layers(log: LoadLog) -> dict[str, int]:
    """Layers on each device as the log names them; the host has those of the processor."""
    counts = log.layer_counts()
    return {HOST if name == "CPU" else name: n for name, n in counts.items()}


def actual_buffers(status: EngineStatus) -> dict[str, Buffers]:
    """Bytes per device in the order of the split, then others the log names, then the host.

    Once the engine is ready a device without a buffer holds 0 bytes of it; before, and where the
    log tells of all cards together only, `None`. Empty where other machines take part.
    """
    if is_joined(status):
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
