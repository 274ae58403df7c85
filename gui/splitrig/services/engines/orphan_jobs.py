"""Looks for engines that a crash has left, and ends them, on threads of its own."""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from splitrig.core.errors import SplitRigError
from splitrig.core.orphan import Freed, Orphan
from splitrig.services.engines.orphans import end_orphan, find_orphans
from splitrig.services.mailbox import Mailbox

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class OrphansFound:
    """Engines of an earlier run that are still there; never posted for none."""

    orphans: tuple[Orphan, ...]


@dataclass(frozen=True, slots=True)
class OrphansEnded:
    """What was asked to be ended is gone, or why it is not.

    Attributes:
        freed: What each of them held.
        error: Why one could not be ended; those after it were not tried.
    """

    freed: tuple[Freed, ...]
    error: SplitRigError | None = None


class OrphanJobs:
    """Posts `OrphansFound` after `look` and `OrphansEnded` after `end`."""

    def __init__(self, mailbox: Mailbox, *, records: Path | None = None) -> None:
        self._mailbox = mailbox
        self._records = records
        self._threads: list[threading.Thread] = []

    def look(self) -> None:
        """Look in the background; takes some 0.1 s, right after a crash up to 3 s."""
        self._spawn(self._look)

    def end(self, orphans: Sequence[Orphan]) -> None:
        """End these in the background, each only if it is still the same process."""
        self._spawn(lambda: self._end(tuple(orphans)))

    def close(self) -> None:
        """Wait for what is being done."""
        for thread in self._threads:
            thread.join()

    def _spawn(self, target: Callable[[], None]) -> None:
        self._threads = [t for t in self._threads if t.is_alive()]
        thread = threading.Thread(target=target, name="orphans")
        self._threads.append(thread)
        thread.start()

    def _look(self) -> None:
        try:
            found = find_orphans(self._records)
        except SplitRigError as error:
            log.warning("orphans could not be looked for: %s", error)
            return
        if found:
            self._mailbox.post(OrphansFound(tuple(found)))

    def _end(self, orphans: tuple[Orphan, ...]) -> None:
        freed: list[Freed] = []
        error: SplitRigError | None = None
        try:
            freed.extend(end_orphan(orphan, self._records) for orphan in orphans)
        except SplitRigError as trouble:
            error = trouble
        self._mailbox.post(OrphansEnded(tuple(freed), error))
