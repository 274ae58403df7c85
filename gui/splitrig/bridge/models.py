"""Reads model headers off the GUI thread and tells the window what is in them."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import QObject, Signal, Slot

from splitrig.bridge.pump import Pump
from splitrig.core.companion import Projector
from splitrig.core.errors import SplitRigError
from splitrig.core.model import Model
from splitrig.services.mailbox import Mailbox
from splitrig.services.models.companions import find_projectors, read_draft, read_projector
from splitrig.services.models.gguf import read_model


@dataclass(frozen=True, slots=True)
class _ModelRead:
    """A header was read, or could not be; and the projectors beside the file."""

    path: Path
    result: Model | SplitRigError
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
        model_read: `Model` of the file chosen last.
        read_failed: `Path, SplitRigError` of the file chosen last.
        projectors_found: `tuple[Path, ...]`, beside the model that was read.
        draft_read: `Model` of the draft model chosen last.
        draft_failed: `SplitRigError`: it cannot be used.
        projector_read: `Projector` chosen last.
        projector_failed: `SplitRigError`: it cannot be used.
    """

    model_read = Signal(object)
    read_failed = Signal(object, object)
    projectors_found = Signal(object)
    draft_read = Signal(object)
    draft_failed = Signal(object)
    projector_read = Signal(object)
    projector_failed = Signal(object)

    def __init__(self, pump: Pump, mailbox: Mailbox) -> None:
        super().__init__()
        self._mailbox = mailbox
        self._wanted: Path | None = None
        self._draft: Path | None = None
        self._projector: Path | None = None
        self._threads: list[threading.Thread] = []
        pump.listen(_ModelRead, self._on_read)
        pump.listen(_DraftRead, self._on_draft)
        pump.listen(_ProjectorRead, self._on_projector)

    @Slot(object)
    def read(self, path: Path) -> None:
        """Read the header of `path`; returns at once."""
        self._wanted = path
        self._spawn(path, lambda: self._mailbox.post(_read(path)))

    @Slot(object, object)
    def read_draft(self, path: Path, model: Model) -> None:
        """Read a model that is to draft for `model`; returns at once."""
        self._draft = path
        self._spawn(path, lambda: self._mailbox.post(_read_draft(path, model)))

    @Slot(object)
    def read_projector(self, path: Path) -> None:
        """Read a projector; returns at once."""
        self._projector = path
        self._spawn(path, lambda: self._mailbox.post(_read_projector(path)))

    def close(self) -> None:
        """Wait for readers that are still at work; a header takes well under a second."""
        for thread in self._threads:
            thread.join()

    def _spawn(self, path: Path, work: Callable[[], None]) -> None:
        self._threads = [t for t in self._threads if t.is_alive()]
        thread = threading.Thread(target=work, name=f"read {path.name}")
        self._threads.append(thread)
        thread.start()

    def _on_read(self, news: _ModelRead) -> None:
        if news.path != self._wanted:
            return
        if isinstance(news.result, Model):
            self.model_read.emit(news.result)
            self.projectors_found.emit(news.projectors)
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


def _read(path: Path) -> _ModelRead:
    try:
        model = read_model(path)
    except SplitRigError as error:
        return _ModelRead(path, error)
    return _ModelRead(path, model, find_projectors(path))


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
