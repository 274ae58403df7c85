"""The engine for the window: start, stop, and signals for what it does."""

from collections.abc import Sequence

from PySide6.QtCore import QObject, Signal, Slot

from splitrig.bridge.pump import Pump
from splitrig.core.engine import EngineStatus, LaunchRequest
from splitrig.core.errors import SplitRigError
from splitrig.core.gpu import Rig
from splitrig.core.plan import Plan
from splitrig.services.engines.line_feed import EngineLogLines, GapCounter
from splitrig.services.engines.supervisor import DevicesFound, Supervisor


class EngineBridge(QObject):
    """Owns nothing but the last status; the supervisor does the work.

    Signals:
        status_changed: `EngineStatus`, on each change.
        lines_added: New lines of an engine's log: the lines, the engine's name, and how many
            came before them and were dropped.
        devices_found: `DevicesFound`, what the engine can see.
        failed: `SplitRigError` when a start could not even be tried.
    """

    status_changed = Signal(object)
    lines_added = Signal(object, str, int)
    devices_found = Signal(object)
    failed = Signal(object)

    def __init__(self, pump: Pump, supervisor: Supervisor) -> None:
        super().__init__()
        self._supervisor = supervisor
        self.status = EngineStatus()
        self._gaps = GapCounter()
        pump.listen(EngineStatus, self._on_status)
        pump.listen(EngineLogLines, self._on_lines)
        pump.listen(DevicesFound, self.devices_found.emit)

    def start(self, request: LaunchRequest, plan: Plan, rig: Rig) -> None:
        """Start the engine; returns at once, `status_changed` tells the rest."""
        try:
            self._supervisor.start(request, plan, rig)
        except SplitRigError as error:
            self.failed.emit(error)

    @Slot()
    def stop(self) -> None:
        """Stop the engine; returns at once."""
        self._supervisor.stop()

    def command_for(self, request: LaunchRequest) -> Sequence[str]:
        """The command Start would run, for showing; empty when there is no engine to run."""
        try:
            return self._supervisor.command_for(request)
        except SplitRigError:
            return ()  # Start itself says why

    def _on_status(self, status: EngineStatus) -> None:
        self.status = status
        self.status_changed.emit(status)

    def _on_lines(self, news: EngineLogLines) -> None:
        self.lines_added.emit(news.lines, news.source, self._gaps.skipped_before(news))
