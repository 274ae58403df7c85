"""What an engine holds on each card."""

from splitrig.core.engine import EngineStatus, Phase


def bytes_by_card(status: EngineStatus) -> dict[str, int]:
    """Bytes of an engine by card id; empty when it is not loaded.

    Where the log tells of all cards together only, the plan's bytes stand for those of each.
    """
    if status.plan is None or not status.phase.active:
        return {}
    held = {}
    for name, device in zip(status.device_names, status.plan.devices, strict=False):
        actual = status.actual.get(name)
        if actual is not None:
            parts = (actual.model_bytes, actual.kv_bytes, actual.compute_bytes)
            if actual.model_bytes is None and status.phase is Phase.READY:
                parts = (device.model_bytes, device.kv_bytes, device.compute_bytes)
            held[device.id] = sum(part or 0 for part in parts)
    return held
