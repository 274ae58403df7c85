"""One tab an engine, and one for what is to be started next."""

from PySide6.QtCore import QRectF, QSize, Qt, Signal, Slot
from PySide6.QtGui import QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QButtonGroup, QHBoxLayout, QPushButton, QWidget

from splitrig.core.engine import EngineStatus, Phase
from splitrig.core.engine_words import engine_name, model_stem
from splitrig.views.theme import Theme

DRAFT = 0
NAME_PX = 240
_DOTS = {Phase.READY: "success", Phase.FAILED: "danger", Phase.STOPPED: "muted"}


class _Tab(QPushButton):
    """A dot in the colour of the state, and the model's name."""

    def __init__(self, theme: Theme, slot: int) -> None:
        super().__init__()
        self._theme = theme
        self.slot = slot
        self._dot = "muted"
        self.setCheckable(True)
        self.setProperty("kind", "tab")

    def show_status(self, status: EngineStatus) -> None:
        name = self.fontMetrics().elidedText(
            model_stem(status), Qt.TextElideMode.ElideMiddle, NAME_PX
        )
        self.setText(f"{status.slot}  {name}")
        state = status.phase.value
        self._dot = _DOTS.get(status.phase, "warning")
        self.setToolTip(f"{model_stem(status)}, {engine_name(status)}, {state}")
        self.setAccessibleName(f"Engine {status.slot}, {model_stem(status)}, {state}")
        self.update()

    def sizeHint(self) -> QSize:
        """With room for the dot."""
        return super().sizeHint() + QSize(16, 0)

    def paintEvent(self, event: QPaintEvent) -> None:
        """The dot before the text."""
        super().paintEvent(event)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(Qt.PenStyle.NoPen))
        painter.setBrush(self._theme.colour(self._dot))
        painter.drawEllipse(QRectF(10, self.height() / 2 - 4, 8, 8))


class EngineTabs(QWidget):
    """Hidden until an engine runs; the arrow keys go from tab to tab.

    Signals:
        chosen: The slot of the tab the user chose, or `DRAFT`.
    """

    chosen = Signal(int)

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._shown = DRAFT
        self.tabs: dict[int, _Tab] = {}
        self._group = QButtonGroup(self)
        self._group.idClicked.connect(self._on_clicked)
        self.new = QPushButton("New engine")
        self.new.setCheckable(True)
        self.new.setProperty("kind", "tab")
        self.new.setProperty("plain", "true")
        self.new.setToolTip("Start another engine beside those that run")
        self._group.addButton(self.new, DRAFT)
        self._row = QHBoxLayout(self)
        self._row.setContentsMargins(0, 0, 0, 0)
        self._row.setSpacing(6)
        self._row.addWidget(self.new)
        self._row.addStretch(1)
        self.setAccessibleName("Engines")
        self.hide()

    def show_engines(self, engines: tuple[EngineStatus, ...], shown: int) -> None:
        """Show a tab for each engine that runs.

        Args:
            engines: Those that run.
            shown: Slot of the one the page shows; any other number stands for the next start.
        """
        running = {status.slot: status for status in engines}
        for slot in [slot for slot in self.tabs if slot not in running]:
            tab = self.tabs.pop(slot)
            self._group.removeButton(tab)
            self._row.removeWidget(tab)
            tab.hide()
            tab.deleteLater()
        for slot, status in sorted(running.items()):
            if slot not in self.tabs:
                self.tabs[slot] = _Tab(self._theme, slot)
                self._group.addButton(self.tabs[slot], slot)
                self._row.insertWidget(sorted(running).index(slot), self.tabs[slot])
            self.tabs[slot].show_status(status)
        self._shown = shown if shown in running else DRAFT
        self._group.button(self._shown).setChecked(True)
        self.setVisible(bool(running))

    @Slot(int)
    def _on_clicked(self, slot: int) -> None:
        if slot != self._shown:
            self._shown = slot
            self.chosen.emit(slot)
