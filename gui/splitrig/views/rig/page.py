"""The rig: every card, what it does now and did lately, and what is wrong with it."""

from collections.abc import Sequence

from PySide6.QtCore import QTimer, Signal, Slot
from PySide6.QtGui import QGuiApplication, QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QStackedWidget, QVBoxLayout, QWidget

from splitrig.core.engine import EngineStatus
from splitrig.core.gpu import Note, Rig, Severity
from splitrig.core.history import History
from splitrig.views.rig.body import RigBody
from splitrig.views.rig.empty import NoCards
from splitrig.views.rig.report import headline_of, report_of
from splitrig.views.theme import Theme
from splitrig.views.widgets.texts import IconButton, text_label

COPIED_MS = 1600
LOOKING_AFTER_MS = 300


class RigPage(QWidget):
    """Shows what it is told; asks for nothing but a demo rig or another look.

    Signals:
        demo_requested: Open the demo rig.
        look_again_requested: Ask all sources for cards once more.
    """

    demo_requested = Signal()
    look_again_requested = Signal()

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._rig: Rig | None = None
        self._advice: tuple[Note, ...] = ()
        self._engines: tuple[EngineStatus, ...] = ()
        self.headline = text_label(theme, "", role="muted")
        self.copy = IconButton(theme, "copy", "Copy report", small=True)
        self.copy.clicked.connect(self._on_copy)
        self._copied = QTimer(self)
        self._copied.setSingleShot(True)
        self._copied.setInterval(COPIED_MS)
        self._copied.timeout.connect(self._on_copied_over)
        self.body = RigBody(theme)
        self.empty = NoCards(theme)
        self.empty.demo_requested.connect(self.demo_requested)
        self.empty.look_again_requested.connect(self.look_again_requested)
        self.empty.report_requested.connect(self._on_copy)
        self.looking = text_label(theme, "", role="muted")
        self._stack = QStackedWidget()
        for widget in (self.looking, self.body, self.empty):
            self._stack.addWidget(widget)
        self._looking_timer = QTimer(self)
        self._looking_timer.setSingleShot(True)
        self._looking_timer.setInterval(LOOKING_AFTER_MS)
        self._looking_timer.timeout.connect(self._on_looking)
        self._looking_timer.start()
        self._lay_out()

    def _lay_out(self) -> None:
        head = QHBoxLayout()
        head.setContentsMargins(20, 0, 20, 0)
        head.setSpacing(12)
        head.addWidget(text_label(self._theme, "Rig", "title", 600))
        head.addWidget(self.headline)
        head.addStretch(1)
        head.addWidget(self.copy)
        box = QWidget()
        box.setLayout(head)
        box.setFixedHeight(32)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 12, 0, 0)
        layout.setSpacing(12)
        layout.addWidget(box)
        layout.addWidget(self._stack, 1)
        self.copy.hide()

    # Slots

    @Slot(object)
    def show_rig(self, rig: Rig) -> None:
        """Take a reading of all cards."""
        self._rig = rig
        self._looking_timer.stop()
        headline = headline_of(rig) if rig.gpus else ""
        if headline != self.headline.text():
            self.headline.setText(headline)
        self.copy.setVisible(bool(rig.gpus))
        if rig.gpus:
            self._stack.setCurrentWidget(self.body)
            self.body.show_rig(rig)
            self._show_all_notes()
        else:
            self._stack.setCurrentWidget(self.empty)
            self.empty.show_notes(rig.notes)

    @Slot(object)
    def show_history(self, history: History) -> None:
        """Draw the graphs anew, if they can be seen."""
        self.body.history.show_history(history)

    @Slot(object)
    def show_notes(self, notes: Sequence[Note]) -> None:
        """Take advice on the rig; what the sources themselves report is added to it."""
        self._advice = tuple(notes)
        self._show_all_notes()

    @Slot(object)
    def set_engines(self, engines: tuple[EngineStatus, ...]) -> None:
        """Take the engine's state, which divides the memory into its share and others'."""
        self._engines = engines
        self.body.set_engines(engines)

    def notes(self) -> tuple[Note, ...]:
        """Everything the warnings panel shows: advice, then the sources' own warnings."""
        said = self._rig.notes if self._rig is not None else ()
        known = {(n.id, n.gpu_ids) for n in self._advice}
        own = [n for n in said if n.severity is not Severity.INFO]
        return (*self._advice, *(n for n in own if (n.id, n.gpu_ids) not in known))

    def report(self) -> str:
        """The rig as text."""
        rig = self._rig if self._rig is not None else Rig(time_s=0.0)
        return report_of(rig, self.notes() if rig.gpus else rig.notes, self._engines)

    def _show_all_notes(self) -> None:
        self.body.warnings.show_notes(self.notes())

    @Slot()
    def _on_copy(self) -> None:
        QGuiApplication.clipboard().setText(self.report())
        self.copy.setText("Copied")
        self._copied.start()

    @Slot()
    def _on_copied_over(self) -> None:
        self.copy.setText("Copy report")

    @Slot()
    def _on_looking(self) -> None:
        self.looking.setText("Looking for cards")

    def resizeEvent(self, event: QResizeEvent) -> None:
        """The body lays itself out for its width."""
        super().resizeEvent(event)
        self.body.fit(event.size().width())
