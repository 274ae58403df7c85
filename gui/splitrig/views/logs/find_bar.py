"""The search: words, capitals, how many, next and previous."""

from PySide6.QtCore import Qt, QTimer, Signal, Slot
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QHBoxLayout, QLineEdit, QPushButton, QSizePolicy, QWidget

from splitrig.core.units import number_text
from splitrig.views.theme import Theme
from splitrig.views.widgets.texts import IconButton, set_role, text_label

SETTLE_MS = 120
"""After the last key before all lines are searched."""
COUNT_PX = 104


class SearchField(QLineEdit):
    """A field that takes Enter, Shift+Enter and Esc for itself.

    Signals:
        stepped: Enter (1) or Shift+Enter (−1) was pressed.
        left: Esc was pressed.
    """

    stepped = Signal(int)
    left = Signal()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Enter steps, Esc ends."""
        match event.key():
            case Qt.Key.Key_Return | Qt.Key.Key_Enter:
                back = event.modifiers() & Qt.KeyboardModifier.ShiftModifier
                self.stepped.emit(-1 if back else 1)
            case Qt.Key.Key_Escape:
                self.left.emit()
            case _:
                super().keyPressEvent(event)


class FindBar(QWidget):
    """Searches as one types; Enter and Shift+Enter step, Esc ends.

    Signals:
        searched: Words to look for, and whether capitals count; no words end the search.
        stepped: To the next match (1) or the previous one (−1).
        left: Esc was pressed; the search is cleared already.
    """

    searched = Signal(str, bool)
    stepped = Signal(int)
    left = Signal()

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.field = SearchField()
        self.field.setPlaceholderText("Search")
        self.field.setAccessibleName("Search the log")
        self.field.setToolTip("Ctrl+F; Enter for the next match, Shift+Enter for the one before")
        self.field.setClearButtonEnabled(True)
        self.field.setMinimumWidth(120)
        self.field.setMaximumWidth(280)
        self.field.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.field.textEdited.connect(self._on_edited)
        self.field.textChanged.connect(self._on_changed)
        self.field.stepped.connect(self._on_stepped)
        self.field.left.connect(self.end)
        self.case = QPushButton("Aa")
        self.case.setCheckable(True)
        self.case.setProperty("kind", "segment")
        self.case.setProperty("bare", "true")
        self.case.setFixedSize(32, 28)
        self.case.setToolTip("Match case")
        self.case.setAccessibleName("Match case")
        self.case.toggled.connect(self._search)
        self.count = text_label(theme, "", "note", role="muted")
        self.count.setFixedWidth(COUNT_PX)
        self.previous = IconButton(
            theme, "caret-up", kind="quiet", small=True, hint="Previous match (Shift+F3)"
        )
        self.previous.clicked.connect(lambda: self.stepped.emit(-1))
        self.next = IconButton(
            theme, "caret-down", kind="quiet", small=True, hint="Next match (F3)"
        )
        self.next.clicked.connect(lambda: self.stepped.emit(1))
        self._settle = QTimer(self)
        self._settle.setSingleShot(True)
        self._settle.setInterval(SETTLE_MS)
        self._settle.timeout.connect(self._search)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(4)
        row.addWidget(self.field, 1)
        for widget in (self.case, self.previous, self.next, self.count):
            row.addWidget(widget)
        # takes what the field leaves from its greatest width on
        row.addStretch(0)
        self.show_found(None, 0)

    @property
    def words(self) -> str:
        """What is looked for."""
        return self.field.text()

    def show_found(self, ordinal: int | None, total: int) -> None:
        """Say which match is the current one and how many there are."""
        missed = bool(self.words) and not total
        if not self.words:
            text = ""
        elif missed:
            text = "no match"
        elif ordinal is None:
            text = f"{number_text(total)} match{'' if total == 1 else 'es'}"
        else:
            text = f"{number_text(ordinal)} of {number_text(total)}"
        if text != self.count.text():
            self.count.setText(text)
            self.field.setAccessibleDescription(text)
        set_role(self.field, "true" if missed else "false", "invalid")
        for button in (self.previous, self.next):
            button.setEnabled(total > 0)

    @Slot()
    def begin(self) -> None:
        """Begin to search: what is there can be typed over."""
        self.field.setFocus(Qt.FocusReason.ShortcutFocusReason)
        self.field.selectAll()

    @Slot()
    def end(self) -> None:
        """End the search."""
        self.field.clear()
        self._search()
        self.left.emit()

    @Slot()
    def _on_edited(self) -> None:
        self._settle.start()

    @Slot(str)
    def _on_changed(self, text: str) -> None:
        """An emptied field ends the search at once."""
        if not text:
            self._search()

    @Slot()
    def _search(self) -> None:
        self._settle.stop()
        self.searched.emit(self.words, self.case.isChecked())

    @Slot(int)
    def _on_stepped(self, direction: int) -> None:
        if self._settle.isActive():
            self._search()  # goes to a match by itself
        else:
            self.stepped.emit(direction)
