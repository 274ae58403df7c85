"""Reads model headers off the GUI thread and tells the window what is in them."""

import threading
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import QObject, Signal, Slot

from splitrig.bridge.pump import Pump
from splitrig.core.errors import SplitRigError
from splitrig.core.model import Model
from splitrig.services.mailbox import Mailbox
from splitrig.services.models.gguf import read_model


@dataclass(frozen=True, slots=True)
class _ModelRead:
    """A header was read, or could not be."""

    path: Path
    result: Model | SplitRigError


class ModelsBridge(QObject):
    """One reader thread per chosen file; only the answer to the last choice is shown.

    Signals:
        model_read: `Model` of the file chosen last.
        read_failed: `Path, SplitRigError` of the file chosen last.
    """

    model_read = Signal(object)
    read_failed = Signal(object, object)

    def __init__(self, pump: Pump, mailbox: Mailbox) -> None:
        super().__init__()
        self._mailbox = mailbox
        self._wanted: Path | None = None
        self._threads: list[threading.Thread] = []
        pump.listen(_ModelRead, self._on_read)

    @Slot(object)
    def read(self, path: Path) -> None:
        """Read the header of `path`; returns at once."""
        self._wanted = path
        self._threads = [t for t in self._threads if t.is_alive()]
        thread = threading.Thread(target=self._read, args=(path,), name=f"read {path.name}")
        self._threads.append(thread)
        thread.start()

    def close(self) -> None:
        """Wait for readers that are still at work; a header takes well under a second."""
        for thread in self._threads:
            thread.join()

    def _read(self, path: Path) -> None:
        try:
            result: Model | SplitRigError = read_model(path)
        except SplitRigError as error:
            result = error
        self._mailbox.post(_ModelRead(path, result))

    def _on_read(self, news: _ModelRead) -> None:
        if news.path != self._wanted:
            return
        if isinstance(news.result, Model):
            self.model_read.emit(news.result)
        else:
            self.read_failed.emit(news.path, news.result)
