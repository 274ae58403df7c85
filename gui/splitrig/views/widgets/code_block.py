"""A block of code: its language, Copy, and colours that keep up with a stream."""

from collections.abc import Sequence

from PySide6.QtCore import QRectF, QSize, Qt, QTimer, Slot
from PySide6.QtGui import QPainter, QPaintEvent, QPen, QTextCursor, QTextOption, QWheelEvent
from PySide6.QtWidgets import (
    QApplication,
    QFrame,
    QHBoxLayout,
    QLabel,
    QPlainTextEdit,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
)

from splitrig.views.theme import Theme
from splitrig.views.widgets.markdown_code import CodeColours, utf16_length
from splitrig.views.widgets.markdown_text import code_font, scroll_sideways
from splitrig.views.widgets.texts import icon_size

LONGEST_LINE = 2_000
"""Characters of one line that are drawn; the rest goes on below. Copy has them as written."""
LONGEST_LANGUAGE = 30
"""Characters of the language that are shown."""
COPIED_MS = 1500


class _CodeText(QPlainTextEdit):
    """The code itself, as high as its lines, scrolled sideways only."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.setReadOnly(True)
        self.setUndoRedoEnabled(False)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self.setWordWrapMode(QTextOption.WrapMode.NoWrap)
        self.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.viewport().setAutoFillBackground(False)
        self.document().setDocumentMargin(0)
        self.setFont(code_font(theme, "note"))
        self.setTabStopDistance(4 * self.fontMetrics().horizontalAdvance(" "))
        self.horizontalScrollBar().rangeChanged.connect(self.fit)

    @Slot()
    def fit(self) -> None:
        """Take the height of the lines, and of the scroll bar where one is needed."""
        line = self.blockBoundingRect(self.document().firstBlock()).height()
        bar = 12 if self.horizontalScrollBar().maximum() > 0 else 0
        height = round(self.blockCount() * line) + bar
        if height != self.height():
            self.setFixedHeight(height)

    def minimumSizeHint(self) -> QSize:
        """Any width; the code scrolls."""
        return QSize(40, self.height())

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Sideways here, up and down on the page."""
        scroll_sideways(self.horizontalScrollBar(), event)


class CodeBlock(QFrame):
    """Code under a head with its language and Copy."""

    def __init__(self, theme: Theme, language: str = "", text: str = "") -> None:
        super().__init__()
        self._theme = theme
        self._text = ""
        self._language: str | None = None
        self._shown: list[str] = [""]
        self._copied = QTimer(self)
        self._copied.setSingleShot(True)
        self._copied.setInterval(COPIED_MS)
        self._copied.timeout.connect(self._on_copied_over)
        self._name = QLabel()
        self._name.setTextFormat(Qt.TextFormat.PlainText)
        self._name.setProperty("role", "muted")
        self._name.setFont(theme.font("note"))
        self._copy = QPushButton("Copy")
        self._copy.setProperty("kind", "quiet")
        self._copy.setProperty("small", "true")
        self._copy.setIcon(theme.icon("copy", "muted"))
        self._copy.setIconSize(icon_size("Copy"))
        self._copy.setAccessibleName("Copy code")
        self._copy.clicked.connect(self._on_copy)
        self._body = _CodeText(theme)
        self._colours = CodeColours(theme, self._body.document())
        head = QHBoxLayout()
        head.setContentsMargins(12, 2, 4, 2)
        head.addWidget(self._name)
        head.addStretch(1)
        head.addWidget(self._copy)
        inner = QVBoxLayout()
        inner.setContentsMargins(12, 10, 12, 10)
        inner.addWidget(self._body)
        column = QVBoxLayout(self)
        column.setContentsMargins(1, 1, 1, 1)
        column.setSpacing(0)
        column.addLayout(head)
        column.addLayout(inner)
        self.set_code(language, text)

    @property
    def code(self) -> str:
        """The code as the model wrote it."""
        return self._text

    @property
    def coloured(self) -> bool:
        """Every line has its colours."""
        return self._colours.done

    def set_code(self, language: str, text: str) -> None:
        """Show code; what is already there is kept, only the difference is written."""
        same = len(self._shown)
        if language != self._language:
            self._language = language
            self._colours.set_language(language)
            self._name.setText(_shortened(language) or "code")
            same = 0
        self._text = text
        lines = _display_lines(text)
        at = _first_difference(self._shown, lines)
        if at == len(self._shown) == len(lines) and same:
            return
        self._replace_from(at, lines)
        self._shown = lines
        self._body.fit()
        self._colours.show(lines, changed_from=min(at, same))

    def _replace_from(self, at: int, lines: list[str]) -> None:
        """Rewrite from the first line that differs, and in it from the first character."""
        if at == len(self._shown) == len(lines):
            return
        document = self._body.document()
        # Go back one line where lines were only added or removed: its end has to be kept.
        at = min(at, len(self._shown) - 1, len(lines) - 1)
        old, new = self._shown[at], lines[at]
        shared = new[: _first_difference(old, new)]
        cursor = QTextCursor(document)
        cursor.setPosition(document.findBlockByNumber(at).position() + utf16_length(shared))
        cursor.movePosition(QTextCursor.MoveOperation.End, QTextCursor.MoveMode.KeepAnchor)
        cursor.insertText("\n".join([lines[at][len(shared) :], *lines[at + 1 :]]))

    def paintEvent(self, _event: QPaintEvent) -> None:
        """The ground, its edge, and the line under the head."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        border = self._theme.colour("border")
        painter.setPen(QPen(border, 1))
        painter.setBrush(self._theme.colour("sunken"))
        painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), 8, 8)
        painter.fillRect(QRectF(1, self._copy.geometry().bottom() + 3, self.width() - 2, 1), border)
        painter.end()

    @Slot()
    def _on_copy(self) -> None:
        QApplication.clipboard().setText(self._text.removesuffix("\n"))
        self._copy.setText("Copied")
        self._copy.setIcon(self._theme.icon("check", "success"))
        self._copied.start()

    @Slot()
    def _on_copied_over(self) -> None:
        self._copy.setText("Copy")
        self._copy.setIcon(self._theme.icon("copy", "muted"))


def _shortened(language: str) -> str:
    if len(language) <= LONGEST_LANGUAGE:
        return language
    return f"{language[: LONGEST_LANGUAGE - 1]}…"


def _display_lines(text: str) -> list[str]:
    """Lines to draw; a line too long to lay out at once is cut into several."""
    lines = text.rstrip("\n").split("\n")
    if all(len(line) <= LONGEST_LINE for line in lines):
        return lines
    return [
        line[at : at + LONGEST_LINE]
        for line in lines
        for at in range(0, max(len(line), 1), LONGEST_LINE)
    ]


def _first_difference(old: Sequence[str], new: Sequence[str]) -> int:
    for at, (a, b) in enumerate(zip(old, new, strict=False)):
        if a != b:
            return at
    return min(len(old), len(new))
