"""Something that is folded away until it is wanted."""

from PySide6.QtCore import Qt, Slot
from PySide6.QtWidgets import QVBoxLayout, QWidget

from splitrig.views.theme import Theme
from splitrig.views.widgets.texts import IconButton


class Fold(QWidget):
    """A button with a caret, and below it the content while it is open.

    Attributes:
        head: The button.
        content: What is folded; it has a column for a layout.
        column: That layout.
    """

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.head = IconButton(theme, "caret-right", " ", kind="quiet", small=True)
        self.head.setCheckable(True)
        self.head.setProperty("fold", "true")
        self.head.toggled.connect(self._on_toggled)
        self.content = QWidget()
        self.column = QVBoxLayout(self.content)
        self.column.setContentsMargins(0, 0, 0, 0)
        self.column.setSpacing(0)
        self.content.hide()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.head, 0, Qt.AlignmentFlag.AlignLeft)
        layout.addWidget(self.content)

    def set_title(self, title: str) -> None:
        """Say what is folded."""
        self.head.setText(title)
        self._say()

    def set_open(self, *, open_: bool) -> None:
        """Open or close it."""
        self.head.setChecked(open_)

    @Slot(bool)
    def _on_toggled(self, open_: bool) -> None:  # noqa: FBT001 - the signal's own argument
        self.head.set_icon("caret-down" if open_ else "caret-right")
        self.content.setVisible(open_)
        self._say()

    def _say(self) -> None:
        state = "open" if self.head.isChecked() else "folded"
        self.head.setAccessibleName(f"{self.head.text()}, {state}")
