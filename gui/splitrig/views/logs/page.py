"""The engine's output, searchable, ready for a bug report."""

from collections.abc import Sequence

from PySide6.QtCore import Signal, Slot
from PySide6.QtGui import QGuiApplication, QTextCursor, QTextDocument
from PySide6.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPlainTextEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from splitrig.core.engine import EngineStatus
from splitrig.views.theme import Theme
from splitrig.views.widgets.texts import IconButton

MOST_LINES = 5000


class LogsPage(QWidget):
    """Shows the last lines of the engine; new ones are followed while the end is in view.

    Signals:
        folder_requested: Open the folder that holds the whole log.
    """

    folder_requested = Signal()

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._status = EngineStatus()
        title = QLabel("Logs")
        title.setFont(theme.font("title", 600))
        self._count = QLabel("The engine has not written anything yet")
        self._count.setProperty("role", "muted")
        self._search = QLineEdit()
        self._search.setPlaceholderText("Search")
        self._search.setAccessibleName("Search the log")
        self._search.setClearButtonEnabled(True)
        self._search.setMaximumWidth(260)
        self._search.textChanged.connect(self._on_search)
        self._search.returnPressed.connect(self._on_next)
        self._copy = IconButton(theme, "copy", "Copy for a bug report", small=True)
        self._copy.clicked.connect(self._on_copy)
        folder = QPushButton("Open folder")
        folder.setProperty("small", "true")
        folder.clicked.connect(self.folder_requested)
        self._text = QPlainTextEdit()
        self._text.setReadOnly(True)
        self._text.setMaximumBlockCount(MOST_LINES)
        self._text.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self._text.setFont(theme.font("note", mono=True))
        self._text.setAccessibleName("Output of the engine")
        head = QHBoxLayout()
        head.setSpacing(12)
        head.addWidget(title)
        head.addWidget(self._count)
        head.addStretch(1)
        head.addWidget(self._search)
        head.addWidget(folder)
        head.addWidget(self._copy)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(20, 12, 20, 16)
        layout.setSpacing(12)
        layout.addLayout(head)
        layout.addWidget(self._text, 1)

    @Slot(object)
    def add_lines(self, lines: Sequence[str]) -> None:
        """Append new lines; the view stays where it is unless it shows the end."""
        bar = self._text.verticalScrollBar()
        at_end = bar.value() >= bar.maximum() - 4
        self._text.appendPlainText("\n".join(lines))
        if at_end:
            bar.setValue(bar.maximum())
        self._count.setText(f"the last {self._text.blockCount():,} lines of the engine")

    @Slot(object)
    def show_status(self, status: EngineStatus) -> None:
        """Remember what ran, for the report."""
        self._status = status

    @Slot(str)
    def _on_search(self, _text: str) -> None:
        self._text.moveCursor(QTextCursor.MoveOperation.End)
        self._find(QTextDocument.FindFlag.FindBackward)

    @Slot()
    def _on_next(self) -> None:
        self._find(QTextDocument.FindFlag.FindBackward)

    def _find(self, flag: QTextDocument.FindFlag) -> None:
        """Select the next hit upwards; mark the field when there is none."""
        wanted = self._search.text()
        found = True
        if wanted and not self._text.find(wanted, flag):
            self._text.moveCursor(QTextCursor.MoveOperation.End)
            found = self._text.find(wanted, flag)
        self._search.setProperty("invalid", "false" if found else "true")
        self._search.setToolTip("" if found else "Not in the lines shown")
        self._search.style().unpolish(self._search)
        self._search.style().polish(self._search)

    @Slot()
    def _on_copy(self) -> None:
        QGuiApplication.clipboard().setText(self.report())

    def report(self) -> str:
        """Command, state and lines as text; the key is never part of them."""
        status = self._status
        head = [
            f"engine: {status.build or 'unknown build'}, {status.phase}",
            f"command: {' '.join(status.command) or 'none yet'}",
        ]
        if status.failure is not None:
            head.append(f"failure: {status.failure.message} {status.failure.hint}")
        return "\n".join([*head, "", self._text.toPlainText()])
