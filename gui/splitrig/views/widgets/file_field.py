"""One file that may be chosen: its name, a way to choose, a way to take it away."""

from pathlib import Path

from PySide6.QtCore import Signal, Slot
from PySide6.QtWidgets import QFileDialog, QHBoxLayout, QLineEdit, QVBoxLayout, QWidget

from splitrig.views.theme import Theme
from splitrig.views.widgets.texts import IconButton, set_role, text_label


class FileField(QWidget):
    """Caption, name, buttons, and a line of words under it.

    Signals:
        chosen: `Path` the user picked; nothing is shown of it before `show_file`.
        cleared: The user wants none.

    Attributes:
        choose: Opens the dialog.
        clear: Takes the file away.
    """

    chosen = Signal(object)
    cleared = Signal()

    def __init__(
        self, theme: Theme, caption: str, words: str, *, parent: QWidget | None = None
    ) -> None:
        """Make it without a file.

        Args:
            theme: The look.
            caption: What the file is.
            words: What it is for; stands under it until something else is to be said.
            parent: Qt parent.
        """
        super().__init__(parent)
        self._caption, self._words = caption, words
        self._folder = Path.home()
        self._closed = ""
        self.name = QLineEdit()
        self.name.setReadOnly(True)
        self.name.setPlaceholderText("none")
        self.name.setAccessibleName(caption)
        self.name.setFixedHeight(32)
        self.choose = IconButton(theme, "folder-plus", "", hint=f"Choose: {caption.lower()}")
        self.clear = IconButton(theme, "x", "", hint=f"Without: {caption.lower()}")
        self.choose.clicked.connect(self.open_dialog)
        self.clear.clicked.connect(self.cleared)
        self.note = text_label(theme, words, "note", role="muted")
        self.note.setWordWrap(True)
        label = text_label(theme, caption, "note", role="muted")
        label.setBuddy(self.name)
        row = QHBoxLayout()
        row.setSpacing(6)
        row.addWidget(self.name, 1)
        row.addWidget(self.choose)
        row.addWidget(self.clear)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addWidget(label)
        column.addLayout(row)
        column.addWidget(self.note)
        self.show_file(None)

    def set_folder(self, folder: Path) -> None:
        """Where the dialog opens."""
        self._folder = folder

    def show_file(self, path: Path | None) -> None:
        """Show the file in use; `None` for none."""
        self.name.setText(path.name if path is not None else "")
        self.name.setCursorPosition(0)
        self.name.setToolTip(str(path) if path is not None else self._closed)
        self.clear.setVisible(path is not None)
        self._show_words(self._closed or self._words, "muted")

    def show_problem(self, sentence: str) -> None:
        """Say why the file picked last cannot be used; what was in use stays."""
        self._show_words(sentence, "danger")

    def close_with(self, reason: str) -> None:
        """Close it because of `reason`; empty opens it."""
        self._closed = reason
        for widget in (self.name, self.choose, self.clear):
            widget.setEnabled(not reason)
        self.name.setToolTip(reason)
        self._show_words(reason or self._words, "muted")

    @Slot()
    def open_dialog(self) -> None:
        """Let the user pick a file."""
        title = f"Choose: {self._caption.lower()}"
        name, _ = QFileDialog.getOpenFileName(
            self, title, str(self._folder), "GGUF files (*.gguf);;All files (*)"
        )
        if name:
            self.chosen.emit(Path(name))

    def _show_words(self, words: str, role: str) -> None:
        self.note.setText(words)
        set_role(self.note, role)
        self.name.setAccessibleDescription(words)
