"""No card: one sentence, the demo rig, and what was checked."""

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QScrollArea, QVBoxLayout, QWidget

from splitrig.core.gpu import Note, Severity
from splitrig.views.rig.warnings import NoteRow
from splitrig.views.theme import Theme
from splitrig.views.widgets.empty_state import EmptyState
from splitrig.views.widgets.texts import IconButton, Panel, line, text_label

SENTENCE = (
    "Try everything on a demo rig: an RTX 4090 and an RTX 3080 with made-up readings, "
    "and a small real model on the processor."
)
CHECKED_PX = 680


class NoCards(QScrollArea):
    """Shown in place of the page when no source found a card.

    Signals:
        demo_requested: Open the demo rig.
        look_again_requested: Ask all sources once more.
        report_requested: Copy what was checked.
    """

    demo_requested = Signal()
    look_again_requested = Signal()
    report_requested = Signal()

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._notes: tuple[Note, ...] = ()
        self._rows: QWidget | None = None
        self.state = EmptyState(
            theme,
            "cards",
            "No usable graphics card was found",
            SENTENCE,
            action=("play", "Open the demo rig"),
            second=("arrow-clockwise", "Look again"),
        )
        self.state.setProperty("clear", "true")
        self.state.action_triggered.connect(self.demo_requested)
        self.state.second_triggered.connect(self.look_again_requested)
        self.checked = Panel()
        self.checked.setFixedWidth(CHECKED_PX)
        self.checked.body.setContentsMargins(0, 0, 0, 0)
        self.checked.body.setSpacing(0)
        copy = IconButton(theme, "copy", "Copy report", kind="quiet", small=True)
        copy.clicked.connect(self.report_requested)
        head = self.checked.add_head(text_label(theme, "What was checked", "body", 600), copy)
        head.setContentsMargins(16, 8, 8, 8)
        self.checked.hide()
        self.state.below.addSpacing(28)
        self.state.below.addWidget(self.checked, 0, Qt.AlignmentFlag.AlignHCenter)
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.viewport().setAutoFillBackground(False)
        self.setWidget(self.state)

    @property
    def rows(self) -> list[NoteRow]:
        """What was checked, as shown."""
        return self.checked.findChildren(NoteRow)

    def show_notes(self, notes: Sequence[Note]) -> None:
        """List what each source found or why it could not look."""
        new = tuple(notes)
        if new == self._notes:
            return
        self._notes = new
        if self._rows is not None:
            self._rows.setParent(None)
            self._rows.deleteLater()
        self._rows = QWidget()
        column = QVBoxLayout(self._rows)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        for note in new:
            icon = ("minus-circle", "muted") if note.severity is Severity.INFO else None
            column.addWidget(line())
            padded = QVBoxLayout()
            padded.setContentsMargins(16, 0, 16, 0)
            padded.addWidget(NoteRow(self._theme, note, icon=icon))
            column.addLayout(padded)
        self.checked.body.addWidget(self._rows)
        self.checked.setVisible(bool(new))
