"""After a start: the cards are read once more and compared with what the engine says."""

import time
from collections.abc import Callable

from splitrig.cli.options import detected_rig
from splitrig.core.engine import EngineStatus, Phase
from splitrig.core.gpu import Note, Rig
from splitrig.core.verify import verify

PIDS_S = 1.0
"""Longest wait until the processes of an engine that is ready have been counted."""


class Proof:
    """What is not as it should be, told once each time an engine became ready.

    Where it was started again after a crash the memory in use is not compared: nobody has read the
    cards in between.
    """

    def __init__(self, before: Rig, cancelled: Callable[[], bool]) -> None:
        """Remember the cards right before the start.

        Args:
            before: They.
            cancelled: Asked during a reading whether to give it up.
        """
        self._rig = before
        self._before: Rig | None = before
        self._cancelled = cancelled
        self._ready_s: float | None = None
        self._told = False

    def follow(self, status: EngineStatus) -> tuple[Note, ...] | None:
        """Take the engine as it is now; blocks for up to some seconds while the cards are read.

        Returns:
            The findings, the gravest first, as soon as they can be had; `None` before and after.
        """
        if status.phase is not Phase.READY:
            if self._ready_s is not None:
                self._ready_s, self._told, self._before = None, False, None
            return None
        now_s = time.monotonic()
        if self._ready_s is None:
            self._ready_s = now_s
        counted = status.pids or status.pid is None or now_s - self._ready_s > PIDS_S
        if self._told or not counted:
            return None
        self._told = True
        return verify(status, self._before, self._now(), status.pids)

    def _now(self) -> Rig:
        """The cards now; those of the demo rig, and none, are as they were."""
        if self._rig.demo or not self._rig.gpus:
            return self._rig
        return detected_rig(cancelled=self._cancelled)
