"""Lines that an engine writes only because it is asked how it does."""

from collections.abc import Iterable

IDLE = "update_slots: all slots are idle"
"""llama-server's word after each answer, one to the meter's question included."""


class Chatter:
    """Lets the first of several such lines in a row through.

    The meter asks every second: without this an engine that nobody uses would soon have pushed
    everything else out of what is kept of its log.
    """

    def __init__(self) -> None:
        self._was_idle = False

    def without(self, lines: Iterable[str]) -> list[str]:
        """The lines that say something new."""
        kept = []
        for line in lines:
            idle = line.endswith(IDLE)
            if not (idle and self._was_idle):
                kept.append(line)
            self._was_idle = idle
        return kept
