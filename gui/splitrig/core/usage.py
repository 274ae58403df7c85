"""Who holds a card's memory: our engine, others, nobody."""

from collections.abc import Iterable
from dataclasses import dataclass

from splitrig.core.engine import Buffers, EngineStatus
from splitrig.core.gpu import GpuInfo, GpuSample


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """One card's memory, bytes; `None` where it is not known.

    Attributes:
        total_bytes: All memory of the card.
        used_bytes: Everything in use.
        engine_bytes: Held by our engines; 0 when none runs, `None` while it has not said.
    """

    total_bytes: int | None
    used_bytes: int | None
    engine_bytes: int | None

    @property
    def others_bytes(self) -> int | None:
        """Held by everybody else; `None` as long as the engine's share is unknown."""
        if self.used_bytes is None or self.engine_bytes is None:
            return None
        return max(self.used_bytes - self.engine_bytes, 0)

    @property
    def free_bytes(self) -> int | None:
        """Held by nobody."""
        if self.total_bytes is None or self.used_bytes is None:
            return None
        return max(self.total_bytes - self.used_bytes, 0)


def engine_bytes(status: EngineStatus, gpu_id: str) -> int | None:
    """What the running engine says it took on a card, bytes, with its planned overhead.

    Returns:
        0 for a card the engine does not use or when none runs; `None` while it has not said.
    """
    request = status.request
    if not status.phase.active or request is None or gpu_id not in request.gpu_ids:
        return 0
    at = request.gpu_ids.index(gpu_id)
    if at >= len(status.device_names):
        return None
    buffers = status.actual.get(status.device_names[at])
    if buffers is None or buffers.model_bytes is None:
        return None
    planned = status.plan.devices if status.plan is not None else ()
    overhead = planned[at].overhead_bytes if at < len(planned) else 0
    return _sum(buffers) + overhead


def usage_of(gpu: GpuInfo, sample: GpuSample | None, engines: Iterable[EngineStatus]) -> Usage:
    """Divide a card's memory; the engines' share never exceeds what is in use."""
    total = gpu.vram_total_bytes
    used = None
    if sample is not None and not sample.lost:
        total = sample.vram_total_bytes if sample.vram_total_bytes is not None else total
        used = sample.vram_used_bytes
    shares = [engine_bytes(status, gpu.id) for status in engines]
    engine = None if None in shares else sum(share or 0 for share in shares)
    if engine is not None and used is not None:
        engine = min(engine, used)
    return Usage(total_bytes=total, used_bytes=used, engine_bytes=engine)


def _sum(buffers: Buffers) -> int:
    return sum(n or 0 for n in (buffers.model_bytes, buffers.kv_bytes, buffers.compute_bytes))
