"""Reads model headers off the GUI thread and tells the window what is in them."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import QObject, Signal, Slot

from splitrig.bridge.pump import Pump
from splitrig.core.companion import Projector
from splitrig.core.errors import SplitRigError
from splitrig.core.hf_model import HfModel
from splitrig.core.model import Model
from splitrig.core.ollama_model import ServedListing, StoreListing
from splitrig.services.engines.engines import Engines
from splitrig.services.mailbox import Mailbox
from splitrig.services.models.companions import find_projectors, read_draft, read_projector
from splitrig.services.models.gguf import read_model
from splitrig.services.models.hf import read_hf_model
from splitrig.services.models.ollama_store import list_models, store_folders


@dataclass(frozen=True, slots=True)
class _ModelRead:
    """A header was read, or could not be; and the projectors beside the file."""

    path: Path
    result: Model | HfModel | SplitRigError
    name: str = ""
    projectors: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class _DraftRead:
    """A draft model was read, or could not be."""

    path: Path
    result: Model | SplitRigError


@dataclass(frozen=True, slots=True)
class _ProjectorRead:
    """A projector was read, or could not be."""

    path: Path
    result: Projector | SplitRigError


class ModelsBridge(QObject):
    """One reader thread per chosen file; only the answer to the last choice is shown.

    Signals:
        model_read: `Model` of the file chosen last, and the name Ollama has for it or nothing.
        folder_read: `HfModel` of the folder chosen last.
        store_listed: `StoreListing`, after `list_store`.
        served_listed: `ServedListing`, after `list_served`.
        read_failed: `Path, SplitRigError` of the file chosen last.
        projectors_found: `tuple[Path, ...]`, beside the model that was read.
        draft_read: `Model` of the draft model chosen last.
        draft_failed: `SplitRigError`: it cannot be used.
        projector_read: `Projector` chosen last.
        projector_failed: `SplitRigError`: it cannot be used.
    """

    model_read = Signal(object, str)
    folder_read = Signal(object)
    store_listed = Signal(object)
    served_listed = Signal(object)
    read_failed = Signal(object, object)
    projectors_found = Signal(object)
    draft_read = Signal(object)
    draft_failed = Signal(object)
    projector_read = Signal(object)
    projector_failed = Signal(object)

    def __init__(self, pump: Pump, mailbox: Mailbox, engines: Engines) -> None:
        super().__init__()
        self._mailbox, self._engines = mailbox, engines
        self._wanted: Path | None = None
        self._draft: Path | None = None
        self._projector: Path | None = None
        self._threads: list[threading.Thread] = []
        pump.listen(_ModelRead, self._on_read)
        pump.listen(_DraftRead, self._on_draft)
        pump.listen(_ProjectorRead, self._on_projector)
        pump.listen(StoreListing, self.store_listed.emit)
        pump.listen(ServedListing, self.served_listed.emit)

    @Slot(object)
    def read(self, path: Path, name: str = "") -> None:
        """Read the header of a GGUF file, or a Hugging Face folder; returns at once.

        Args:
            path: File or folder.
            name: What Ollama calls it, if it is one of its models.
        """
        self._wanted = path
        self._spawn(lambda: self._mailbox.post(_read(path, name)), f"read {path.name}")

    @Slot()
    def list_store(self) -> None:
        """Look for Ollama's models; returns at once."""
        self._spawn(lambda: self._mailbox.post(list_models(store_folders())), "list models")

    @Slot()
    def list_served(self) -> None:
        """Ask the Ollama that runs already for its models; returns at once."""
        self._spawn(lambda: self._mailbox.post(self._engines.served_models()), "ask for models")

    @Slot(object, object)
    def read_draft(self, path: Path, model: Model) -> None:
        """Read a model that is to draft for `model`; returns at once."""
        self._draft = path
        self._spawn(lambda: self._mailbox.post(_read_draft(path, model)), f"read {path.name}")

    @Slot(object)
    def read_projector(self, path: Path) -> None:
        """Read a projector; returns at once."""
        self._projector = path
        self._spawn(lambda: self._mailbox.post(_read_projector(path)), f"read {path.name}")

    def _spawn(self, target: Callable[[], None], name: str) -> None:
        self._threads = [t for t in self._threads if t.is_alive()]
        thread = threading.Thread(target=target, name=name)
        self._threads.append(thread)
        thread.start()

    def close(self) -> None:
        """Wait for readers that are still at work; a header takes well under a second."""
        for thread in self._threads:
            thread.join()

    def _on_read(self, news: _ModelRead) -> None:
        if news.path != self._wanted:
            return
        if isinstance(news.result, Model):
            self.model_read.emit(news.result, news.name)
            self.projectors_found.emit(news.projectors)
        elif isinstance(news.result, HfModel):
            self.folder_read.emit(news.result)
        else:
            self.read_failed.emit(news.path, news.result)

    def _on_draft(self, news: _DraftRead) -> None:
        if news.path != self._draft:
            return
        if isinstance(news.result, Model):
            self.draft_read.emit(news.result)
        else:
            self.draft_failed.emit(news.result)

    def _on_projector(self, news: _ProjectorRead) -> None:
        if news.path != self._projector:
            return
        if isinstance(news.result, Projector):
            self.projector_read.emit(news.result)
        else:
            self.projector_failed.emit(news.result)


def _read(path: Path, name: str) -> _ModelRead:
    try:
        if path.is_dir():
            return _ModelRead(path, read_hf_model(path), name)
        return _ModelRead(path, read_model(path), name, find_projectors(path))
    except SplitRigError as error:
        return _ModelRead(path, error, name)


def _read_draft(path: Path, model: Model) -> _DraftRead:
    try:
        return _DraftRead(path, read_draft(path, model))
    except SplitRigError as error:
        return _DraftRead(path, error)


def _read_projector(path: Path) -> _ProjectorRead:
    try:
        return _ProjectorRead(path, read_projector(path))
    except SplitRigError as error:
        return _ProjectorRead(path, error)
