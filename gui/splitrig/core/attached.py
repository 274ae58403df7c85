"""Where a model lies that an Ollama holds for us: it tells one sum, the cards tell the rest."""

from collections.abc import Mapping
from urllib.parse import urlsplit

from splitrig.core.engine import EngineKind, EngineStatus, Phase
from splitrig.core.engine_log import Holding
from splitrig.core.gpu import Note, Rig, Severity
from splitrig.core.share import is_open
from splitrig.core.units import MIB, size_text
from splitrig.core.words import listed

SEEN_SHARE = 0.5
"""Of what Ollama tells, so much must be seen to come onto the cards for them to be named."""
LEAST_SHARE = 0.05
LEAST_BYTES = 16 * MIB
"""A card that grew by less carries none of it."""


def is_attached(status: EngineStatus) -> bool:
    """The engine is an Ollama that ran before."""
    request = status.request
    return request is not None and request.engine is EngineKind.OLLAMA_ATTACHED


def is_unloaded(status: EngineStatus) -> bool:
    """It is there, but has let go of the model: another client, or the end of its time."""
    return status.phase is Phase.READY and status.log.holding is Holding.GONE


def far_host(status: EngineStatus) -> str:
    """The host of an Ollama that may run on another machine; empty for one on loopback."""
    if not is_attached(status) or not status.url:
        return ""
    host = urlsplit(status.url).hostname or ""
    return host if is_open(host) else ""


def placement_notes(status: EngineStatus, before: Rig | None, after: Rig) -> tuple[Note, ...]:
    """Which cards carry the model, or why that cannot be told; empty for other engines.

    Args:
        status: The engine, ready.
        before: The cards right before its start.
        after: The cards right after it was loaded.
    """
    if not is_attached(status) or status.log.holding is None or is_unloaded(status):
        return ()
    message, detail = _words(status, before, after)
    return (Note(id="placed", severity=Severity.INFO, message=message, detail=detail),)


def _words(status: EngineStatus, before: Rig | None, after: Rig) -> tuple[str, str]:
    placed = status.log.placed
    n_bytes = placed.on_cards_bytes if placed is not None else 0
    if not n_bytes:
        return "Ollama tells of no memory on cards: the model lies in the computer's RAM.", ""
    told = f"Ollama tells of {size_text(n_bytes)} on cards in all, not of each."
    if host := far_host(status):
        return f"The cards of the Ollama at {host} may be another machine's; look there.", told
    if status.log.holding is Holding.BEFORE:
        return "It was loaded before Start, so what each card carries cannot be told.", told
    if status.log.holding is Holding.AGAIN:
        return "Ollama has loaded it again, so what each card carries cannot be told.", told
    grown = _grown(before, after)
    if not grown:
        return "The cards do not report their memory, so what each carries is not known.", told
    least = max(LEAST_BYTES, LEAST_SHARE * n_bytes)
    carrying = {gpu_id: more for gpu_id, more in grown.items() if more >= least}
    seen = sum(carrying.values())
    if seen < SEEN_SHARE * n_bytes:
        message = f"Only {size_text(seen)} were seen to come onto the cards."
        return message, f"{told} Another program may have freed memory meanwhile."
    names = {gpu.id: gpu.short_name for gpu in after.gpus}
    parts = [f"{names[gpu_id]} {size_text(more)}" for gpu_id, more in carrying.items()]
    return f"Came onto the cards while it loaded: {listed(parts)}.", told


def _grown(before: Rig | None, after: Rig) -> Mapping[str, int]:
    """Bytes that came onto each card, where both readings tell."""
    grown = {}
    for gpu in after.gpus:
        last = after.samples.get(gpu.id)
        first = before.samples.get(gpu.id) if before is not None else None
        if last is None or first is None:
            continue
        if last.vram_used_bytes is not None and first.vram_used_bytes is not None:
            grown[gpu.id] = last.vram_used_bytes - first.vram_used_bytes
    return grown
