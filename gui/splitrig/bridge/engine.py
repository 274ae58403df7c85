"""The engines for the window: start, stop, which one is shown, and signals for what they do."""

from collections.abc import Sequence

from PySide6.QtCore import QObject, Signal, Slot

from splitrig.bridge.pump import Pump
from splitrig.core.engine import EngineStatus, LaunchRequest, Phase
from splitrig.core.errors import SplitRigError
from splitrig.core.gpu import Rig
from splitrig.core.plan import Plan
from splitrig.services.engines.engines import DevicesFound
from splitrig.services.engines.fleet import Fleet
from splitrig.services.engines.line_feed import EngineLogLines, GapCounter
from splitrig.services.engines.meter import EngineMetered

DRAFT = 0
"""Shown instead of an engine: what is to be started next."""


class EngineBridge(QObject):
    """Keeps the last status of every engine, and which of them the window shows.

    A new engine is shown as soon as it starts. How the one shown ended stays in view until the
    user turns to another.

    Signals:
        status_changed: `EngineStatus` of the engine shown, on each change of it and when another
            one is shown.
        engines_changed: `tuple[EngineStatus, ...]`, those that run, on each change of any.
        shown_changed: `int`, the slot shown from now on, or `DRAFT`.
        told: `EngineStatus` of any engine, on each change.
        lines_added: `EngineLogLines`, new lines of an engine's log, and how many before them were
            dropped.
        metered: `EngineMetered`, how fast an engine works, every second where it counts.
        devices_found: `DevicesFound`, what an engine can see.
        failed: `SplitRigError` when a start could not even be tried.
        failed_unseen: `EngineStatus` of an engine that failed while another one is shown.
        restarting_unseen: The same of one that crashed and is started again.

    Attributes:
        shown: The slot shown, or `DRAFT`.
    """

    status_changed = Signal(object)
    engines_changed = Signal(object)
    shown_changed = Signal(int)
    told = Signal(object)
    lines_added = Signal(object, int)
    metered = Signal(object)
    devices_found = Signal(object)
    failed = Signal(object)
    failed_unseen = Signal(object)
    restarting_unseen = Signal(object)

    def __init__(self, pump: Pump, fleet: Fleet) -> None:
        super().__init__()
        self._fleet = fleet
        self._statuses: dict[int, EngineStatus] = {}
        self._before: dict[int, Rig] = {}
        self.shown = DRAFT
        self._gaps = GapCounter()
        pump.listen(EngineStatus, self._on_status)
        pump.listen(EngineLogLines, self._on_lines)
        pump.listen(DevicesFound, self.devices_found.emit)
        pump.listen(EngineMetered, self.metered.emit)

    @property
    def status(self) -> EngineStatus:
        """The engine shown."""
        return self._statuses.get(self.shown, EngineStatus())

    @property
    def running(self) -> tuple[EngineStatus, ...]:
        """The engines that run, in the order of their slots."""
        return tuple(s for _, s in sorted(self._statuses.items()) if s.phase.active)

    def status_of(self, slot: int) -> EngineStatus:
        """The last status of a slot."""
        return self._statuses.get(slot, EngineStatus(slot=slot))

    def before(self, slot: int) -> Rig | None:
        """The cards right before the engine of a slot was started."""
        return self._before.get(slot)

    def start(self, request: LaunchRequest, plan: Plan, rig: Rig) -> None:
        """Start one more engine and show it; returns at once, `status_changed` tells the rest."""
        try:
            slot = self._fleet.start(request, plan, rig)
        except SplitRigError as error:
            self.failed.emit(error)
            return
        self._before[slot] = rig
        self._statuses.pop(slot, None)  # of the engine that had the slot before
        self._set_shown(slot)

    @Slot()
    def stop(self) -> None:
        """Stop the engine shown; returns at once."""
        self._fleet.stop(self.shown)

    @Slot(int)
    def show(self, slot: int) -> None:
        """Show another engine, or with `DRAFT` none."""
        if slot != self.shown:
            self._set_shown(slot)
            self.status_changed.emit(self.status)

    def command_for(self, request: LaunchRequest) -> Sequence[str]:
        """The command Start would run, for showing; empty until the engine said what it can do.

        Raises:
            EngineError: There is none, or not yet; why.
        """
        return self._fleet.command_for(request)

    def _set_shown(self, slot: int) -> None:
        self.shown = slot
        self.shown_changed.emit(slot)

    def _on_status(self, status: EngineStatus) -> None:
        before = self._statuses.get(status.slot)
        self._statuses[status.slot] = status
        self.told.emit(status)
        self.engines_changed.emit(self.running)
        if status.slot == self.shown:
            self.status_changed.emit(status)
        elif status.phase is Phase.FAILED and (before is None or before.phase.active):
            self.failed_unseen.emit(status)
        elif status.restart and (before is None or status.restart != before.restart):
            self.restarting_unseen.emit(status)

    def _on_lines(self, news: EngineLogLines) -> None:
        self.lines_added.emit(news, self._gaps.skipped_before(news))
