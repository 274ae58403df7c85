"""What an engine says of all cards together, where it does not tell what each one holds."""

from splitrig.core.engine import Buffers, EngineStatus
from splitrig.core.engine_log import ROWS, TOGETHER
from splitrig.core.units import mib_text

NOT_TOLD = "The engine does not tell what each card holds in this split mode."


def told_together(status: EngineStatus) -> str:
    """What is known of all cards together, one sentence; empty where each is told of."""
    if TOGETHER in status.actual:
        return _fullest(status, status.actual[TOGETHER])
    if ROWS in status.actual:
        weights = mib_text(status.actual[ROWS].model_bytes)
        return f"All cards together carry {weights} MiB of divided weights."
    return ""


def _fullest(status: EngineStatus, has: Buffers) -> str:
    """The most that lies on any one card, beside what was planned for that one."""
    devices = status.plan.devices if status.plan is not None else ()
    weights = max((device.model_bytes for device in devices), default=0)
    cache = max((device.kv_bytes for device in devices), default=0)
    return (
        f"The most on any one card is {mib_text(has.model_bytes)} MiB of weights, planned "
        f"{mib_text(weights)}, and {mib_text(has.kv_bytes)} MiB of KV cache, planned "
        f"{mib_text(cache)}."
    )
