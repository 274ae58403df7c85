"""Reads model headers off the GUI thread and tells the window what is in them."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import QObject, Signal, Slot

from splitrig.bridge.pump import Pump
from splitrig.core.errors import SplitRigError
from splitrig.core.hf_model import HfModel
from splitrig.core.model import Model
from splitrig.services.mailbox import Mailbox
from splitrig.services.models.gguf import read_model
from splitrig.services.models.hf import read_hf_model
from splitrig.services.models.ollama_store import StoreListing, list_models, store_folders


@dataclass(frozen=True, slots=True)
class _ModelRead:
    """A header was read, or could not be."""

    path: Path
    result: Model | HfModel | SplitRigError
    name: str = ""


@dataclass(frozen=True, slots=True)
class _StoreListed:
    """Ollama's models on this machine."""

    listing: StoreListing


class ModelsBridge(QObject):
    """One reader thread per chosen file; only the answer to the last choice is shown.

    Signals:
        model_read: `Model` of the file chosen last, and the name Ollama has for it or nothing.
        folder_read: `HfModel` of the folder chosen last.
        store_listed: `tuple[OllamaModel, ...]`, after `list_store`.
        read_failed: `Path, SplitRigError` of the file chosen last.
    """

    model_read = Signal(object, str)
    folder_read = Signal(object)
    store_listed = Signal(object)
    read_failed = Signal(object, object)

    def __init__(self, pump: Pump, mailbox: Mailbox) -> None:
        super().__init__()
        self._mailbox = mailbox
        self._wanted: Path | None = None
        self._threads: list[threading.Thread] = []
        pump.listen(_ModelRead, self._on_read)
        pump.listen(_StoreListed, lambda news: self.store_listed.emit(news.listing.models))

    @Slot(object)
    def read(self, path: Path, name: str = "") -> None:
        """Read the header of a GGUF file, or a Hugging Face folder; returns at once.

        Args:
            path: File or folder.
            name: What Ollama calls it, if it is one of its models.
        """
        self._wanted = path
        self._spawn(lambda: self._read(path, name), f"read {path.name}")

    @Slot()
    def list_store(self) -> None:
        """Look for Ollama's models; returns at once."""
        self._spawn(
            lambda: self._mailbox.post(_StoreListed(list_models(store_folders()))), "list models"
        )

    def _spawn(self, target: Callable[[], None], name: str) -> None:
        self._threads = [t for t in self._threads if t.is_alive()]
        thread = threading.Thread(target=target, name=name)
        self._threads.append(thread)
        thread.start()

    def close(self) -> None:
        """Wait for readers that are still at work; a header takes well under a second."""
        for thread in self._threads:
            thread.join()

    def _read(self, path: Path, name: str) -> None:
        result: Model | HfModel | SplitRigError
        try:
            result = read_hf_model(path) if path.is_dir() else read_model(path)
        except SplitRigError as error:
            result = error
        self._mailbox.post(_ModelRead(path, result, name))

    def _on_read(self, news: _ModelRead) -> None:
        if news.path != self._wanted:
            return
        if isinstance(news.result, Model):
            self.model_read.emit(news.result, news.name)
        elif isinstance(news.result, HfModel):
            self.folder_read.emit(news.result)
        else:
            self.read_failed.emit(news.path, news.result)
