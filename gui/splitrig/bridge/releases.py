"""The llama.cpp builds for the window: those that are here, and official ones got and removed."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from PySide6.QtCore import QObject, QTimer, Signal, Slot

from splitrig.bridge.pump import Pump
from splitrig.core.engine_build import Job, JobKind, Ready
from splitrig.core.engine_choice import Choice
from splitrig.core.engine_fit import Machine
from splitrig.core.engine_install import Progress, Step
from splitrig.core.engine_offer import offers_of
from splitrig.core.errors import CancelledError, EngineError, SplitRigError
from splitrig.core.gpu import GpuInfo, Rig
from splitrig.core.pace import Pace
from splitrig.services.engines.build_list import BuildList, BuildsListed
from splitrig.services.engines.install import Outcome
from splitrig.services.engines.installed import engines_dir
from splitrig.services.engines.machine import this_machine
from splitrig.services.engines.release_jobs import (
    EngineRemoved,
    InstallEnded,
    ReleaseJobs,
    ReleasesListed,
)
from splitrig.services.engines.releases import API
from splitrig.services.mailbox import Mailbox
from splitrig.services.net.http import Cancelled
from splitrig.services.telemetry.cuda import cuda_version
from splitrig.services.telemetry.sampler import default_sources, read_rig

TELL_MS = 500
"""The speed is told so often even when nothing arrives: a silence must show."""


class ReleasesBridge(QObject):
    """Lists builds, and runs one job at a time.

    Nothing is asked of the network but by `look` and `install`.

    Signals:
        listed: `tuple[Build, ...]`, every llama-server here: downloaded ones first.
        job_changed: `Job` that runs now, or `None`.
        offered: `Offers`, what a look found.
        progressed: `Progress, float | None`: how far an installation is, bytes per second.
        installed: `Ready`, a build is there.
        removed: `str`, the id of a build that is gone.
        failed: `Job, SplitRigError`; `CancelledError` when the user gave it up.
        changed: Builds came or went: engines must be looked for anew.
    """

    listed = Signal(object)
    job_changed = Signal(object)
    offered = Signal(object)
    progressed = Signal(object, object)
    installed = Signal(object)
    removed = Signal(str)
    failed = Signal(object, object)
    changed = Signal()

    def __init__(
        self,
        pump: Pump,
        mailbox: Mailbox,
        chosen: Path | None = None,
        *,
        rig: Callable[[], Rig | None] = lambda: None,
        engine_runs: Callable[[], bool] = lambda: False,
        api: str = API,
        machine: Callable[[], Machine] | None = None,
    ) -> None:
        """Start nothing yet.

        Args:
            pump: Brings the news.
            mailbox: Takes them.
            chosen: The llama-server named in the settings.
            rig: The cards as they were read last.
            engine_runs: Whether an engine has the cards now.
            api: Address of the list of releases.
            machine: What a build has to run on; `None` for this machine.
        """
        super().__init__()
        self._jobs = ReleaseJobs(mailbox, api=api)
        self._list = BuildList(mailbox)
        self._chosen = chosen
        self._rig = rig
        self._engine_runs = engine_runs
        self._find = machine
        self._machine: Machine | None = None
        self._pace = Pace()
        self.job: Job | None = None
        self._ticker = QTimer(self)
        self._ticker.setInterval(TELL_MS)
        self._ticker.timeout.connect(self._on_tick)
        pump.listen(BuildsListed, lambda news: self.listed.emit(news.builds))
        pump.listen(ReleasesListed, self._on_listed)
        pump.listen(Progress, self._show_progress)
        pump.listen(InstallEnded, self._on_installed)
        pump.listen(EngineRemoved, self._on_removed)

    # What is here

    @Slot()
    def refresh(self) -> None:
        """List the builds that are here anew; returns at once."""
        rig = self._rig()
        cards = () if rig is None else tuple(gpu.id for gpu in rig.gpus)
        self._list.refresh(self._chosen, cards=cards, for_devices=not self._engine_runs())

    def choose(self, chosen: Path | None) -> None:
        """Take over which llama-server the settings name."""
        if chosen != self._chosen:
            self._chosen = chosen
            self.refresh()

    def sweep(self) -> None:
        """Remove what crashes of earlier runs left, in the background."""
        self._jobs.sweep()

    # What is done

    @Slot()
    def look(self) -> None:
        """Ask GitHub for official builds; `offered` or `failed` tells the rest."""
        self._start(Job(kind=JobKind.LOOK), lambda: self._jobs.look(self._machine_finder()))

    @Slot(object)
    def install(self, choice: Choice) -> None:
        """Fetch a build; `installed` or `failed` tells the rest."""
        self._install(choice, unchecked=False)

    @Slot(object)
    def install_unchecked(self, choice: Choice) -> None:
        """Fetch a build although GitHub names no checksum for it: the user was asked."""
        self._install(choice, unchecked=True)

    def _install(self, choice: Choice, *, unchecked: bool) -> None:
        self._pace = Pace()
        job = Job(kind=JobKind.INSTALL, id=choice.asset.id)
        self._start(job, lambda: self._jobs.install(choice, unchecked=unchecked))

    @Slot(str)
    def remove(self, engine_id: str) -> None:
        """Remove a downloaded build; `removed` or `failed` tells the rest."""
        job = Job(kind=JobKind.REMOVE, id=engine_id)
        self._start(job, lambda: self._remove(engine_id))

    @Slot()
    def cancel(self) -> None:
        """Give up the job that runs."""
        self._jobs.cancel()

    def close(self) -> None:
        """Give up everything and wait for it, for 2 s at most."""
        self._ticker.stop()
        self._list.close()
        self._jobs.close()

    def _start(self, job: Job, begin: Callable[[], None]) -> None:
        try:
            begin()
        except EngineError as error:
            self.failed.emit(job, error)
            return
        self._set_job(job)

    def _set_job(self, job: Job | None) -> None:
        self.job = job
        self.job_changed.emit(job)
        if job is not None and job.kind is JobKind.INSTALL:
            self._ticker.start()
        else:
            self._ticker.stop()

    def _remove(self, engine_id: str) -> None:
        """Begin to remove it, unless it is the one that was chosen.

        Raises:
            EngineError: It is, or another job runs.
        """
        folder = engines_dir() / engine_id
        if self._chosen is not None and self._chosen.resolve().is_relative_to(folder.resolve()):
            raise EngineError(
                f"{engine_id} is the one chosen.",
                "Choose another one, or Automatic, then remove it.",
            )
        self._jobs.remove(engine_id)

    def _machine_finder(self) -> Callable[[Cancelled], Machine]:
        """Says what a build has to run on; it is asked on the job's thread."""
        if self._find is not None:
            find = self._find
            return lambda _: find()
        rig = self._rig()
        # the demo rig's cards are made up
        known = None if rig is None or rig.demo else rig.gpus

        def machine(cancelled: Cancelled) -> Machine:
            """Raises `CancelledError` when it is given up."""
            gpus = known if known is not None else _cards(cancelled)
            if cancelled():
                raise CancelledError
            return this_machine(gpus, cuda=cuda_version())

        return machine

    # What came of it

    def _on_listed(self, news: ReleasesListed) -> None:
        self._set_job(None)
        if news.error is not None:
            self.failed.emit(Job(kind=JobKind.LOOK), news.error)
        elif news.choice is not None and news.machine is not None:
            self._machine = news.machine
            self.offered.emit(offers_of(news.releases, news.choice, news.machine))

    def _show_progress(self, progress: Progress) -> None:
        now_s = time.monotonic()
        self._pace.add(now_s, progress.fetched_bytes)
        downloads = progress.step is Step.DOWNLOAD
        self.progressed.emit(progress, self._pace.bytes_s(now_s) if downloads else None)

    @Slot()
    def _on_tick(self) -> None:
        progress = self._jobs.progress
        if progress is not None:
            self._show_progress(progress)

    def _on_installed(self, news: InstallEnded) -> None:
        if news.outcome is None:
            self._on_tick()  # how much is kept of what was cancelled
        self._set_job(None)
        if news.outcome is None:
            error = news.error or CancelledError()
            self.failed.emit(Job(kind=JobKind.INSTALL, id=news.id), error)
            return
        self.installed.emit(_ready(news.outcome, self._machine))
        self._on_changed()

    def _on_removed(self, news: EngineRemoved) -> None:
        self._set_job(None)
        error: SplitRigError | None = news.error
        if error is not None:
            self.failed.emit(Job(kind=JobKind.REMOVE, id=news.id), error)
        else:
            self.removed.emit(news.id)
        self._on_changed()  # also what could only be removed in part is gone

    def _on_changed(self) -> None:
        self.refresh()
        self.changed.emit()


def _cards(cancelled: Cancelled) -> Sequence[GpuInfo]:
    """The real cards of this machine; blocks for some seconds where rocm-smi is asked."""
    return read_rig(default_sources(), cancelled=cancelled).gpus


def _ready(outcome: Outcome, machine: Machine | None) -> Ready:
    return Ready(
        id=outcome.engine.id,
        path=outcome.engine.path,
        devices=outcome.devices,
        n_cards=len(machine.cards) if machine is not None else 0,
        fresh=outcome.fresh,
        checked=outcome.engine.checked,
    )
