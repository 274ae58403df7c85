"""A choice of a few: exclusive buttons in one frame."""

from collections.abc import Sequence

from PySide6.QtCore import Signal, Slot
from PySide6.QtWidgets import QButtonGroup, QFrame, QHBoxLayout, QPushButton, QWidget


class Segmented(QFrame):
    """One of a few is chosen; the arrow keys move the choice.

    Signals:
        chosen: Index of what the user chose (not emitted by `set_current`).
    """

    chosen = Signal(int)

    def __init__(
        self, labels: Sequence[str], current: int = 0, *, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setProperty("segmented", "true")
        self.labels = tuple(labels)
        self._group = QButtonGroup(self)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(2, 2, 2, 2)
        layout.setSpacing(2)
        for index, label in enumerate(self.labels):
            button = QPushButton(label)
            button.setCheckable(True)
            button.setProperty("kind", "segment")
            button.setChecked(index == current)
            self._group.addButton(button, index)
            layout.addWidget(button)
        self._group.idClicked.connect(self._on_clicked)
        self._last = current

    @property
    def current(self) -> int:
        """Index of what is chosen."""
        return self._group.checkedId()

    @property
    def current_label(self) -> str:
        """Label of what is chosen."""
        return self.labels[self.current]

    def set_current(self, index: int) -> None:
        """Choose without telling anyone."""
        self._last = index
        self._group.button(index).setChecked(True)

    def set_label(self, index: int, label: str) -> None:
        """Rename a choice."""
        button = self._group.button(index)
        if button.text() != label:
            button.setText(label)
            self.labels = (*self.labels[:index], label, *self.labels[index + 1 :])

    def set_hint(self, index: int, hint: str) -> None:
        """Say more of a choice in its tooltip."""
        self._group.button(index).setToolTip(hint)

    def set_choice_enabled(self, index: int, reason: str = "") -> None:
        """Close a choice, with the reason as its tooltip; no reason opens it again."""
        button = self._group.button(index)
        button.setEnabled(not reason)
        button.setToolTip(reason)

    def set_choice_visible(self, index: int, *, visible: bool) -> None:
        """Show a choice or leave it out."""
        self._group.button(index).setVisible(visible)

    @Slot(int)
    def _on_clicked(self, index: int) -> None:
        if index != self._last:
            self._last = index
            self.chosen.emit(index)
