"""Brings what the engines write to the Logs page, and out of it into a file."""

from pathlib import Path

from PySide6.QtCore import QObject, QUrl, Slot
from PySide6.QtGui import QDesktopServices

from splitrig.core.engine import EngineStatus
from splitrig.core.engine_words import log_name
from splitrig.core.errors import StoreError
from splitrig.services.engines.line_feed import EngineLogLines
from splitrig.services.report_facts import report_facts
from splitrig.services.store.settings import log_dir
from splitrig.services.store.text_file import save_text
from splitrig.wiring.parts import Bridges, Pages


class Logs(QObject):
    """Joins the Logs page with the engines."""

    def __init__(self, pages: Pages, bridges: Bridges, parent: QObject) -> None:
        super().__init__(parent)
        self._pages, self._engine = pages, bridges.engine
        self._engine.told.connect(self._on_told)
        self._engine.lines_added.connect(self._on_lines)
        page = pages.logs
        page.set_report_facts(report_facts())
        page.folder_requested.connect(self._on_folder)
        page.launch_requested.connect(lambda: pages.window.show_page("launch"))
        page.save_requested.connect(self._on_save)

    @Slot(object)
    def _on_told(self, status: EngineStatus) -> None:
        self._pages.logs.show_status(status, log_name(status))

    @Slot(object, int)
    def _on_lines(self, news: EngineLogLines, skipped: int) -> None:
        name = news.source or log_name(self._engine.status_of(news.slot))
        if news.source and not news.first:
            self._pages.logs.show_start(news.source)
        self._pages.logs.add_lines(news.lines, name, skipped)

    @Slot(object, str)
    def _on_save(self, path: Path, text: str) -> None:
        try:
            save_text(path, text)
        except StoreError as error:
            self._pages.window.show_error(error)

    @Slot()
    def _on_folder(self) -> None:
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(log_dir())))
