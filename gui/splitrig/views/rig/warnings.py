"""What is worth saying about the rig: each with its number, its cost and the way out."""

from collections.abc import Sequence

from PySide6.QtCore import QSize, Qt
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from splitrig.core.gpu import Note, Severity
from splitrig.views.theme import Theme
from splitrig.views.widgets.badge import Badge, Tone
from splitrig.views.widgets.texts import IconLabel, Panel, kept_together, line, text_label

ICONS = {
    Severity.INFO: ("info", "accent_text"),
    Severity.WARNING: ("warning", "warning"),
    Severity.DANGER: ("x-circle", "danger"),
}
TONES: dict[Severity, Tone] = {
    Severity.INFO: "accent",
    Severity.WARNING: "warning",
    Severity.DANGER: "danger",
}
_ORDER = (Severity.DANGER, Severity.WARNING, Severity.INFO)


class NoteRow(QWidget):
    """Icon, the message with its number, and below it what it costs and what helps.

    Attributes:
        note: What it shows.
    """

    def __init__(
        self,
        theme: Theme,
        note: Note,
        *,
        icon: tuple[str, str] | None = None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.note = note
        self.setAccessibleName(f"{note.message}. {note.detail}")
        name, colour = ICONS[note.severity] if icon is None else icon
        text = QVBoxLayout()
        text.setSpacing(2)
        for words, step, weight, role in (
            (note.message, "body", 500, ""),
            (note.detail, "note", 400, "muted"),
        ):
            if words:
                label = text_label(theme, kept_together(words), step, weight, role=role)
                label.setWordWrap(True)
                label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
                text.addWidget(label)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 12, 0, 12)
        row.setSpacing(10)
        row.addWidget(IconLabel(theme, name, 18, colour), 0, Qt.AlignmentFlag.AlignTop)
        row.addLayout(text, 1)


class WarningsPanel(Panel):
    """The list of notes; says so when there is none."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent=parent)
        self._theme = theme
        self._notes: tuple[Note, ...] | None = None
        self._list: QWidget | None = None
        self.setAccessibleName("Warnings")
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Preferred)
        self.count = Badge(theme)
        head = QHBoxLayout()
        head.setContentsMargins(16, 12, 16, 12)
        head.setSpacing(8)
        head.addWidget(text_label(theme, "Warnings", "body", 600))
        head.addWidget(self.count)
        head.addStretch(1)
        self.body.setContentsMargins(0, 0, 0, 0)
        self.body.setSpacing(0)
        self.body.addLayout(head)
        self.body.addStretch(1)
        self.show_notes(())

    def sizeHint(self) -> QSize:
        """As high as its sentences are at this width; a scroll area asks nothing else."""
        hint = super().sizeHint()
        return QSize(hint.width(), self.heightForWidth(max(self.width(), self.minimumWidth())))

    @property
    def rows(self) -> list[NoteRow]:
        """The rows shown, worst first."""
        return [] if self._list is None else self._list.findChildren(NoteRow)

    def show_notes(self, notes: Sequence[Note]) -> None:
        """Show these notes, worst first; the same ones again cost nothing."""
        ordered = tuple(sorted(notes, key=lambda n: _ORDER.index(n.severity)))
        if ordered == self._notes:
            return
        self._notes = ordered
        if self._list is not None:
            self._list.setParent(None)
            self._list.deleteLater()
        self._list = self._make_list(ordered)
        self.body.insertWidget(1, self._list)
        worst = ordered[0].severity if ordered else None
        self.count.setVisible(worst is not None)
        if worst is not None:
            self.count.set_badge(str(len(ordered)), TONES[worst])

    def _make_list(self, notes: Sequence[Note]) -> QWidget:
        box = QWidget()
        column = QVBoxLayout(box)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        if not notes:
            calm = Note(id="none", severity=Severity.INFO, message="Nothing to warn about")
            row: QWidget = NoteRow(self._theme, calm, icon=("check-circle", "success"))
            column.addWidget(line())
            column.addWidget(_padded(row))
            row.setObjectName("calm")
        for note in notes:
            column.addWidget(line())
            column.addWidget(_padded(NoteRow(self._theme, note)))
        return box


def _padded(row: QWidget) -> QWidget:
    """The lines between the rows reach from edge to edge, the rows do not."""
    box = QWidget()
    layout = QVBoxLayout(box)
    layout.setContentsMargins(14, 0, 16, 0)
    layout.addWidget(row)
    return box
