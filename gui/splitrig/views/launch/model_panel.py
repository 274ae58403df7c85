"""Which model and which engine: name and size, and the ways to others."""

from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import QRectF, QSize, Qt, Signal, Slot
from PySide6.QtGui import QAction, QPainter, QPaintEvent
from PySide6.QtWidgets import QFileDialog, QHBoxLayout, QMenu, QVBoxLayout, QWidget

from splitrig.core.engine import EngineKind
from splitrig.core.engine_rules import RULES, EngineRules
from splitrig.core.hf_model import HfModel
from splitrig.core.model import Model
from splitrig.core.ollama_model import OllamaModel, ServedListing, ServedModel, StoreListing
from splitrig.core.units import size_text
from splitrig.views.launch.engine_row import EngineRow
from splitrig.views.launch.wording import file_text, folder_text, model_name, model_text
from splitrig.views.theme import Theme
from splitrig.views.widgets.badge import Badge
from splitrig.views.widgets.texts import ElidedLabel, IconButton, Panel, line, text_label

TILE_PX = 40
MOST_NOTES = 5
NOTE_CHARS = 90


class ModelTile(QWidget):
    """A cube on a tinted square."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self.setFixedSize(TILE_PX, TILE_PX)
        theme.changed.connect(self.update)

    def sizeHint(self) -> QSize:
        """40 px square."""
        return QSize(TILE_PX, TILE_PX)

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Ground and cube."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self._theme.colour("tint"))
        painter.drawRoundedRect(QRectF(self.rect()), 6, 6)
        self._theme.icon("cube", "accent_text").paint(painter, 9, 9, 22, 22)


class ModelHead(QWidget):
    """Tile, name, quantisation and one line of facts; shared by the two faces of the page."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._name = ElidedLabel(text_label(theme, "", "value", 600))
        self._badge = Badge(theme)
        self._facts = ElidedLabel(text_label(theme, "", "note", role="muted"))
        first = QHBoxLayout()
        first.setSpacing(8)
        first.addWidget(self._name)
        first.addWidget(self._badge)
        first.addStretch(1)
        words = QVBoxLayout()
        words.setSpacing(1)
        words.addLayout(first)
        words.addWidget(self._facts)
        self.row = QHBoxLayout(self)
        self.row.setContentsMargins(0, 0, 0, 0)
        self.row.setSpacing(12)
        self.row.addWidget(ModelTile(theme))
        self.row.addLayout(words, 1)

    def show_text(
        self, name: str, facts: str, quantization: str | None = None, *, tip: str = ""
    ) -> None:
        """Show a model, or what stands instead of one."""
        self._name.setText(name)
        self._name.setToolTip(tip or name)
        self._facts.setText(facts)
        self._facts.setToolTip(facts)
        self._badge.set_badge(quantization or "")
        self._badge.setVisible(bool(quantization))


class ModelPanel(Panel):
    """The chosen model, and a menu: a file, one used before, the demo model; and the engine.

    Signals:
        chosen: `Path` of the file or folder the user picked.
        stored_chosen: `OllamaModel` the user picked.
        served_chosen: `ServedModel` the user picked, of an Ollama that runs.
        list_wanted: Look for Ollama's models again; answer with `offer_stored`, `offer_served`.

    Attributes:
        engine: The engine that is to load it.
    """

    chosen = Signal(object)
    stored_chosen = Signal(object)
    served_chosen = Signal(object)
    list_wanted = Signal()

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent=parent)
        self._recent: tuple[Path, ...] = ()
        self._demo: Path | None = None
        self._stored = StoreListing(())
        self._served: ServedListing | None = None
        self._rules = RULES[EngineKind.LLAMA_CPP]
        self._folder = Path.home()
        self.head = ModelHead(theme)
        self.change = IconButton(theme, "caret-down", "Choose")
        self.change.setLayoutDirection(Qt.LayoutDirection.RightToLeft)
        self.change.setIconSize(QSize(12, 12))
        self.change.clicked.connect(self.open_menu)
        self.head.row.addWidget(self.change)
        self.body.addWidget(self.head)
        self.body.setSpacing(10)
        self.body.addWidget(line())
        self.engine = EngineRow(theme)
        self.body.addWidget(self.engine)
        self.menu = QMenu(self)
        self.menu.triggered.connect(self._on_action)
        self.show_model(None)

    def show_model(self, model: Model | None) -> None:
        """Show a model, or that there is none."""
        if model is None:
            self.head.show_text("No model chosen", "Drop a GGUF file anywhere on this page")
            self.change.setText("Choose")
            return
        self._folder = model.path.parent
        name = model_name(model.path, model.quantization)
        self.head.show_text(name, model_text(model), model.quantization, tip=str(model.path))
        self.change.setText("Change")

    def show_stored(self, model: Model, name: str) -> None:
        """Show a model of Ollama's; its file has no name to show."""
        self.show_model(model)
        self.head.show_text(name, model_text(model), model.quantization, tip=str(model.path))

    def show_folder(self, model: HfModel) -> None:
        """Show a Hugging Face folder."""
        self._folder = model.path.parent
        kind = model.config.quantization or model.config.dtype
        self.head.show_text(model.name, folder_text(model), kind, tip=str(model.path))
        self.change.setText("Change")

    def show_served(self, model: ServedModel) -> None:
        """Show a model of a running Ollama."""
        self.head.show_text(model.name, model.facts, model.quantization or None)
        self.change.setText("Change")

    def show_rules(self, rules: EngineRules) -> None:
        """Offer what the engine chosen loads: a running Ollama its own models only."""
        self._rules = rules

    def offer_stored(self, listing: StoreListing) -> None:
        """Ollama's models on this machine."""
        before, self._stored = self._stored, listing
        self._refresh(changed=listing != before)

    def offer_served(self, listing: ServedListing) -> None:
        """The models of the Ollama that runs."""
        before, self._served = self._served, listing
        self._refresh(changed=listing != before)

    def show_recent(self, recent: Sequence[Path]) -> None:
        """Files used before, the last one first."""
        self._recent = tuple(recent)

    def set_demo(self, demo: Path | None) -> None:
        """The demo model; `None` when it is not installed."""
        self._demo = demo

    def fill_menu(self) -> QMenu:
        """Build the menu from what is known now."""
        self.menu.clear()
        self.menu.setToolTipsVisible(True)
        if not self._rules.picks_cards:
            self._fill_served()
            return self.menu
        self.menu.addAction("Choose a file…", self.open_dialog)
        self.menu.addAction("Choose a folder…", self.open_folder_dialog)
        recent = [path for path in self._recent if path != self._demo]
        if recent:
            self.menu.addSeparator()
        for path in recent:
            action = self.menu.addAction(file_text(path))
            action.setToolTip(str(path))
            action.setData(path)
        if self._stored.models or self._stored.notes:
            stored = self.menu.addMenu("Ollama's models")
            stored.setToolTipsVisible(True)
            for model in self._stored.models:
                action = stored.addAction(f"{model.name}  ·  {size_text(model.n_bytes)}")
                action.setData(model)
            _add_notes(stored, self._stored.notes)
        if self._demo is not None:
            self.menu.addSeparator()
            action = self.menu.addAction("Demo model, SmolLM2 135M")
            action.setData(self._demo)
        return self.menu

    def _fill_served(self) -> None:
        """The models of the Ollama that runs, or why there are none."""
        listing = self._served
        if listing is None:
            _add_notes(self.menu, ("Asking the running Ollama for its models …",))
        elif listing.error is not None:
            _add_notes(self.menu, (str(listing.error),))
        else:
            where = listing.url.partition("://")[2]
            has = "" if listing.models else " has no model yet"
            _add_notes(self.menu, (f"Ollama at {where}{has}",))
            for model in listing.models:
                size = size_text(model.n_bytes)
                parts = filter(None, (model.name, size, model.quantization))
                action = self.menu.addAction("  ·  ".join(parts))
                action.setData(model)
        self.menu.addSeparator()
        self.menu.addAction("Ask again", self.open_menu)

    def _refresh(self, *, changed: bool) -> None:
        """Bring an open menu up to date, and leave one alone that is."""
        if changed and self.menu.isVisible():
            self.fill_menu()
            self.menu.adjustSize()

    @Slot()
    def open_menu(self) -> None:
        """Show the ways to another model; what Ollama has is looked for again meanwhile."""
        self.list_wanted.emit()
        self.fill_menu().popup(self.change.mapToGlobal(self.change.rect().bottomLeft()))

    @Slot(object)
    def _on_action(self, action: QAction) -> None:
        if isinstance(action.data(), Path):
            self.chosen.emit(action.data())
        elif isinstance(action.data(), OllamaModel):
            self.stored_chosen.emit(action.data())
        elif isinstance(action.data(), ServedModel):
            self.served_chosen.emit(action.data())

    @Slot()
    def open_folder_dialog(self) -> None:
        """Let the user pick a folder as Hugging Face has them."""
        name = QFileDialog.getExistingDirectory(self, "Choose a model folder", str(self._folder))
        if name:
            self.chosen.emit(Path(name))

    @Slot()
    def open_dialog(self) -> None:
        """Let the user pick a file."""
        name, _ = QFileDialog.getOpenFileName(
            self, "Choose a model", str(self._folder), "GGUF models (*.gguf);;All files (*)"
        )
        if name:
            self.chosen.emit(Path(name))


def _add_notes(menu: QMenu, notes: Sequence[str]) -> None:
    """Sentences that cannot be chosen, the whole of them as a tip."""
    for note in notes[:MOST_NOTES]:
        short = note if len(note) <= NOTE_CHARS else f"{note[: NOTE_CHARS - 1]}…"
        action = menu.addAction(short)
        action.setToolTip(note)
        action.setEnabled(False)
    if len(notes) > MOST_NOTES:
        menu.addAction(f"and {len(notes) - MOST_NOTES} more").setEnabled(False)
