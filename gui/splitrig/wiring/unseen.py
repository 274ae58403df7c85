"""What happens to engines that the window does not show at the moment is told in its notice."""

from PySide6.QtCore import QObject, Slot

from splitrig.bridge.engine import EngineBridge
from splitrig.core.engine import EngineStatus, Phase
from splitrig.core.engine_words import named
from splitrig.views.main_window import MainWindow


class Unseen(QObject):
    """Joins the window's notice with the engines beside the one shown."""

    def __init__(self, window: MainWindow, engine: EngineBridge, parent: QObject) -> None:
        super().__init__(parent)
        self._window, self._engine = window, engine
        self._restarts: dict[int, str] = {}  # what the notice said of each engine's restart
        engine.failed_unseen.connect(self._on_failed)
        engine.restarting_unseen.connect(self._on_restarting)
        engine.told.connect(self._on_told)
        engine.shown_changed.connect(self._on_shown)

    @Slot(object)
    def _on_failed(self, status: EngineStatus) -> None:
        failure = status.failure
        if failure is not None:
            title = f"{named(status)}: {failure.message}"
            self._window.show_notice("danger", title, failure.hint)

    @Slot(object)
    def _on_restarting(self, status: EngineStatus) -> None:
        self._tell(status, status.restart)

    @Slot(object)
    def _on_told(self, status: EngineStatus) -> None:
        """A restart came to its end: it runs again, or it was stopped meanwhile."""
        if status.slot not in self._restarts:
            return
        if status.phase is Phase.READY and self._says(status.slot):
            self._tell(status, "it crashed and was started again; it runs now.")
        if status.phase is Phase.STOPPED and self._says(status.slot):
            self._window.notice.hide()
        if status.phase is Phase.READY or not status.phase.active:
            self._restarts.pop(status.slot)

    @Slot(int)
    def _on_shown(self, slot: int) -> None:
        """Its own page tells of it now."""
        if self._says(slot):
            self._window.notice.hide()
        self._restarts.pop(slot, None)

    def _tell(self, status: EngineStatus, sentence: str) -> None:
        self._restarts[status.slot] = f"{named(status)}: {sentence}"
        self._window.show_notice(
            "warning",
            self._restarts[status.slot],
            action="Show it",
            on_action=lambda: self._show(status.slot),
        )

    def _says(self, slot: int) -> bool:
        """The notice in view is of this engine's restart."""
        notice = self._window.notice
        return not notice.isHidden() and notice.title == self._restarts.get(slot)

    def _show(self, slot: int) -> None:
        self._window.show_page("launch")
        self._engine.show(slot)
