"""Notes one below the other, the later ones folded away."""

from collections.abc import Sequence

from PySide6.QtCore import Qt, Slot
from PySide6.QtWidgets import QPushButton, QVBoxLayout, QWidget

from splitrig.core.gpu import Note
from splitrig.views.theme import Theme
from splitrig.views.widgets.notice import NoticeBar

MOST_NOTES = 2
"""More are folded away."""


class NoteList(QWidget):
    """Each note with its number and its way out; takes no room without one.

    Attributes:
        more: Shows the rest.
    """

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._notices: list[NoticeBar] = []
        self._notes: tuple[Note, ...] = ()
        self._column = QVBoxLayout()
        self._column.setSpacing(8)
        self.more = QPushButton()
        self.more.setProperty("kind", "quiet")
        self.more.setProperty("small", "true")
        self.more.setCheckable(True)
        self.more.toggled.connect(self._on_more)
        self.more.hide()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(12)
        layout.addLayout(self._column)
        layout.addWidget(self.more, 0, Qt.AlignmentFlag.AlignLeft)
        self.hide()

    @property
    def notices(self) -> list[NoticeBar]:
        """Those shown now."""
        return [notice for notice in self._notices if not notice.isHidden()]

    def show_notes(self, notes: Sequence[Note]) -> None:
        """Show these instead."""
        self._notes = tuple(notes)
        self.setVisible(bool(notes))
        folded = len(notes) - MOST_NOTES
        self.more.setVisible(folded > 0)
        self.more.setText("Show fewer" if self.more.isChecked() else f"Show {folded} more")
        shown = notes if self.more.isChecked() else notes[:MOST_NOTES]
        while len(self._notices) < len(shown):
            notice = NoticeBar(self._theme, closable=False, stacked=True)
            self._notices.append(notice)
            self._column.addWidget(notice)
        for index, notice in enumerate(self._notices):
            if index < len(shown):
                note = shown[index]
                if (note.message, note.detail) != (notice.title, notice.detail):
                    notice.show_notice(note.severity, note.message, note.detail)
                notice.show()
            else:
                notice.hide()

    @Slot(bool)
    def _on_more(self, _open: bool) -> None:  # noqa: FBT001 - the signal's own argument
        self.show_notes(self._notes)
