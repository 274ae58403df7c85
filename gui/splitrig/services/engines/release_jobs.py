"""Looks for, installs and removes official builds on a thread, for the window."""

import logging
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from splitrig.core.engine_choice import Choice, newest_choice
from splitrig.core.engine_fit import Machine
from splitrig.core.engine_install import Progress
from splitrig.core.engine_release import Release
from splitrig.core.errors import CancelledError, EngineError, SplitRigError
from splitrig.services.engines import installed as store
from splitrig.services.engines.install import Outcome, install
from splitrig.services.engines.releases import API, Releases
from splitrig.services.mailbox import Mailbox
from splitrig.services.net.http import Cancelled

log = logging.getLogger(__name__)

TELL_S = 0.1
"""Shortest time between two posts of progress, seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasesListed:
    """What GitHub offers.

    Attributes:
        releases: The newest ones; empty when they could not be listed.
        machine: What they were chosen for; `None` when that was not found out.
        choice: The build for this machine.
        error: Why there is none.
    """

    releases: tuple[Release, ...] = ()
    machine: Machine | None = None
    choice: Choice | None = None
    error: SplitRigError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallEnded:
    """An installation is over.

    Attributes:
        id: What was to be installed.
        outcome: What it led to; `None` when it failed or was cancelled.
        error: Why it failed; `CancelledError` when the user gave it up.
    """

    id: str
    outcome: Outcome | None = None
    error: SplitRigError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRemoved:
    """A removal is over; `error` says why it failed."""

    id: str
    error: SplitRigError | None = None


class ReleaseJobs:
    """Runs one job at a time and posts what comes of it; no method blocks but `close`.

    Posts: `Progress` now and then, and exactly one of `ReleasesListed`, `InstallEnded` and
    `EngineRemoved` for every job.
    """

    def __init__(self, mailbox: Mailbox, *, api: str = API, root: Path | None = None) -> None:
        self._mailbox = mailbox
        self._api = api
        self._root = root
        self._cancelled = threading.Event()
        self._thread: threading.Thread | None = None
        self._sweeping: threading.Thread | None = None
        self._busy = False
        self._told: _Told | None = None

    @property
    def progress(self) -> Progress | None:
        """How far the last installation is; newer than what was posted when bytes stand still."""
        return self._told.last if self._told is not None else None

    @property
    def busy(self) -> bool:
        """Whether a job runs; none does any more when its last word is posted."""
        return self._busy

    def look(self, find_machine: Callable[[Cancelled], Machine]) -> None:
        """List the releases and choose one for a machine.

        Args:
            find_machine: Says which, on the job's thread; asked whether to give up meanwhile.

        Raises:
            EngineError: Another job runs.
        """

        def job() -> object:
            releases: tuple[Release, ...] = ()
            machine = None
            try:
                releases = Releases(self._api, cancelled=self._cancelled.is_set).newest()
                machine = find_machine(self._cancelled.is_set)
                choice = newest_choice(releases, machine)
            except SplitRigError as error:
                return ReleasesListed(releases=releases, machine=machine, error=error)
            return ReleasesListed(releases=releases, machine=machine, choice=choice)

        self._start(job, lambda error: ReleasesListed(error=error))

    def install(self, choice: Choice, *, unchecked: bool = False) -> None:
        """Install a build.

        Args:
            choice: What to install.
            unchecked: Take files without a checksum as well.

        Raises:
            EngineError: Another job runs.
        """
        engine_id = choice.asset.id
        told = self._told = _Told(self._mailbox)

        def job() -> object:
            try:
                outcome = install(
                    choice,
                    root=self._root,
                    on_progress=told,
                    cancelled=self._cancelled.is_set,
                    unchecked=unchecked,
                )
            except SplitRigError as error:
                return InstallEnded(id=engine_id, error=error)
            return InstallEnded(id=engine_id, outcome=outcome)

        self._start(job, lambda error: InstallEnded(id=engine_id, error=error))

    def remove(self, engine_id: str, *, in_use: Collection[Path] = ()) -> None:
        """Remove a build.

        Args:
            engine_id: Its name.
            in_use: Files that must stay.

        Raises:
            EngineError: Another job runs.
        """

        def job() -> object:
            try:
                taken = (*in_use, *store.running(self._root))
                store.remove(engine_id, in_use=taken, root=self._root)
            except SplitRigError as error:
                return EngineRemoved(id=engine_id, error=error)
            return EngineRemoved(id=engine_id)

        self._start(job, lambda error: EngineRemoved(id=engine_id, error=error))

    def sweep(self) -> None:
        """Remove what crashes left, in the background; jobs wait for it."""
        if self._sweeping is None:
            self._sweeping = threading.Thread(
                target=store.clean, args=(self._root,), name="engine-sweep"
            )
            self._sweeping.start()

    def cancel(self) -> None:
        """Give up the job that runs; its last word follows soon."""
        self._cancelled.set()

    def close(self) -> None:
        """Give up what runs and wait for it; blocks for 2 s at most, while an engine is tried."""
        self.cancel()
        for thread in (self._thread, self._sweeping):
            if thread is not None:
                thread.join()

    def _start(self, job: Callable[[], object], failed: Callable[[SplitRigError], object]) -> None:
        if self.busy:
            raise EngineError(
                "Another engine is being fetched or removed.", "Wait until it is done."
            )
        self._cancelled.clear()

        def run() -> None:
            if self._sweeping is not None:
                self._sweeping.join()
            try:
                last_word = job()
            except Exception as unexpected:
                log.exception("a job on engines failed")
                last_word = failed(
                    EngineError(
                        "It broke off on an error in this program.",
                        "Try again; the log has the details.",
                        details=repr(unexpected),
                    )
                )
            self._busy = False
            self._mailbox.post(last_word)

        if self._thread is not None:
            self._thread.join()  # it has nothing left to do but to post
        self._busy = True
        self._thread = threading.Thread(target=run, name="engine-releases")
        self._thread.start()


class _Told:
    """Posts progress, each new step at once and bytes now and then."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox
        self._step: tuple[object, str] | None = None
        self._next = 0.0
        self.last: Progress | None = None

    def __call__(self, progress: Progress) -> None:
        self.last = progress
        step = (progress.step, progress.file)
        if step == self._step and time.monotonic() < self._next:
            return
        self._step, self._next = step, time.monotonic() + TELL_S
        self._mailbox.post(progress)


def was_cancelled(error: SplitRigError | None) -> bool:
    """Whether the user gave it up, so that there is nothing to tell."""
    return isinstance(error, CancelledError)
