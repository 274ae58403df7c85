"""Engines that an earlier run left behind are told of, and ended if the user wants it."""

from datetime import datetime

from PySide6.QtCore import QObject

from splitrig.bridge.pump import Pump
from splitrig.core.orphan import freed_sentence, orphans_hint, orphans_sentence
from splitrig.services.engines.orphan_jobs import OrphanJobs, OrphansEnded, OrphansFound
from splitrig.views.main_window import MainWindow


class Orphans(QObject):
    """Joins the window's notice with the search for such engines."""

    def __init__(self, window: MainWindow, pump: Pump, jobs: OrphanJobs, parent: QObject) -> None:
        super().__init__(parent)
        self._window, self._jobs = window, jobs
        pump.listen(OrphansFound, self._on_found)
        pump.listen(OrphansEnded, self._on_ended)

    def _on_found(self, found: OrphansFound) -> None:
        """What they hold, and a way to end them."""
        now = datetime.now().astimezone()
        self._window.show_notice(
            "warning",
            orphans_sentence(found.orphans, now),
            orphans_hint(found.orphans),
            action="End it" if len(found.orphans) == 1 else "End them",
            on_action=lambda: self._jobs.end(found.orphans),
        )

    def _on_ended(self, news: OrphansEnded) -> None:
        if news.error is not None:
            self._window.show_error(news.error)
            return
        left = any(freed.left for freed in news.freed)
        words = " ".join(freed_sentence(freed) for freed in news.freed)
        self._window.show_notice("danger" if left else "success", words)
