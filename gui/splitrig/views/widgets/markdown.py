"""Markdown that grows while it is read: finished blocks are drawn once and left alone."""

import time
from dataclasses import replace

from PySide6.QtCore import Qt, QTimer, QUrl, Signal, Slot
from PySide6.QtGui import QCursor, QDesktopServices
from PySide6.QtWidgets import QApplication, QHBoxLayout, QMenu, QVBoxLayout, QWidget

from splitrig.views.theme import Theme
from splitrig.views.widgets.code_block import CodeBlock
from splitrig.views.widgets.markdown_blocks import BlockStream, Code, Paragraph, Piece, Table
from splitrig.views.widgets.markdown_table import TableView
from splitrig.views.widgets.markdown_text import INDENT_PX, MOST_INDENT, Mark, TextRun

TICK_MS = 60
"""Shortest time between two repaints of a growing text."""
REST = 4
"""After a repaint the text rests this many times as long as it took."""
LONGEST_ADDRESS = 90
_STYLE = """
QTextEdit, QPlainTextEdit, QTextEdit:focus, QPlainTextEdit:focus {
  border: 0; padding: 0; background: transparent;
}
"""


_Part = TextRun | CodeBlock | TableView


class _Drawn:
    """An open piece on screen: which widget holds it, and from where on."""

    def __init__(self, piece: Piece, widget: _Part, mark: Mark | None = None) -> None:
        self.piece = piece
        self.widget = widget
        self.mark = mark


class MarkdownView(QWidget):
    """Shows a text that only grows, at most sixteen times a second.

    Signals:
        grown: The text on screen changed.
    """

    grown = Signal()

    def __init__(self, theme: Theme, text: str = "", *, colour: str = "text") -> None:
        super().__init__()
        self._theme = theme
        self._colour = colour
        self._text = ""
        self._shown = ""
        self._caret = False
        self._stream = BlockStream()
        self._widgets: list[_Part] = []
        self._open: list[_Drawn] = []
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(8)
        self.setStyleSheet(_STYLE)
        self._tick = QTimer(self)
        self._tick.setSingleShot(True)
        self._tick.timeout.connect(self._on_tick)
        theme.changed.connect(self._on_theme)
        if text:
            self.finish(text)

    @property
    def text(self) -> str:
        """The source, as it was given."""
        return self._text

    def set_text(self, text: str) -> None:
        """Show a longer version of the text, now or soon, with a caret behind it."""
        self._text = text
        self._caret = True
        if not self._tick.isActive():
            self.flush()

    def finish(self, text: str) -> None:
        """Show the whole text now; it will not grow any more."""
        self._text = text
        self._caret = False
        self.flush()

    @Slot()
    def flush(self) -> None:
        """Draw what is new, now."""
        begin = time.perf_counter()
        self._tick.stop()
        if not self._text.startswith(self._shown):
            self._clear()
        self._shown = self._text
        final, open_ = self._stream.update(self._text)
        self._draw(final, open_)
        self._place_caret()
        self.grown.emit()
        cost_ms = (time.perf_counter() - begin) * 1000
        if self._caret:
            # Long blocks cost more: the next tokens wait longer, the window stays free.
            self._tick.start(max(TICK_MS, round(cost_ms * REST)))

    def _draw(self, final: list[Piece], open_: list[Piece]) -> None:
        if not final and not open_:
            return
        new = final + open_
        same = 0
        for drawn, piece in zip(self._open, new, strict=False):
            if drawn.piece != piece:
                break
            same += 1
        if same < len(self._open) and same < len(new) and self._grow(self._open[same], new[same]):
            same += 1
        self._take_back(same)
        for piece in new[same:]:
            self._open.append(self._add(piece))
        growing = self._open[-1].widget if open_ and self._caret else None
        for drawn in self._open:
            if isinstance(drawn.widget, TableView) and drawn.widget is not growing:
                drawn.widget.settle()
        del self._open[: len(final)]

    def _grow(self, drawn: _Drawn, piece: Piece) -> bool:
        """Let a paragraph, code block or table follow its text without being built anew."""
        if (
            isinstance(drawn.widget, TextRun)
            and isinstance(drawn.piece, Paragraph)
            and isinstance(piece, Paragraph)
            and drawn is self._open[-1]
            and drawn.mark is not None
            and drawn.widget.grow(drawn.mark, drawn.piece, piece)
        ):
            drawn.piece = piece
            return True
        if (
            isinstance(drawn.widget, TableView)
            and isinstance(piece, Table)
            and isinstance(drawn.piece, Table)
            and drawn is self._open[-1]
            and replace(piece, rows=drawn.piece.rows) == drawn.piece
        ):
            drawn.widget.grow(piece)
            drawn.piece = piece
            return True
        if (
            isinstance(drawn.widget, CodeBlock)
            and isinstance(piece, Code)
            and isinstance(drawn.piece, Code)
            and piece.indent == drawn.piece.indent
        ):
            drawn.widget.set_code(piece.language, piece.text)
            drawn.piece = piece
            return True
        return False

    def _take_back(self, keep: int) -> None:
        gone = self._open[keep:]
        del self._open[keep:]
        for drawn in reversed(gone):
            if drawn.mark is not None and isinstance(drawn.widget, TextRun):
                drawn.widget.take_back(drawn.mark)
                if not drawn.widget.is_empty:
                    continue
            elif isinstance(drawn.widget, TableView):
                drawn.widget.take_back()
                if not drawn.widget.is_empty:
                    continue
            self._widgets.remove(drawn.widget)
            box = drawn.widget.parentWidget()
            target = drawn.widget if box is self or box is None else box
            self._column.removeWidget(target)
            target.hide()
            target.deleteLater()

    def _add(self, piece: Piece) -> _Drawn:
        if isinstance(piece, Code):
            block = CodeBlock(self._theme, piece.language, piece.text)
            self._widgets.append(block)
            self._place(block, piece.indent)
            return _Drawn(piece, block)
        last = self._widgets[-1] if self._widgets else None
        if isinstance(piece, Table):
            if piece.continued and isinstance(last, TableView):
                last.add(piece)
                return _Drawn(piece, last)
            return self._add_table(piece)
        if not isinstance(last, TextRun):
            last = TextRun(self._theme, colour=self._colour, ground="window")
            last.link_clicked.connect(self._on_link)
            self._widgets.append(last)
            self._column.addWidget(last)
        return _Drawn(piece, last, last.add(piece))

    def _add_table(self, piece: Table) -> _Drawn:
        width = self.width() - min(piece.indent, MOST_INDENT) * INDENT_PX
        table = TableView(self._theme, piece, width=width, colour=self._colour)
        table.link_clicked.connect(self._on_link)
        self._widgets.append(table)
        self._place(table, piece.indent)
        return _Drawn(piece, table)

    def _place(self, block: CodeBlock | TableView, indent: int) -> None:
        if not indent:
            self._column.addWidget(block)
            return
        box = QWidget()
        row = QHBoxLayout(box)
        row.setContentsMargins(min(indent, MOST_INDENT) * INDENT_PX, 0, 0, 0)
        row.addWidget(block)
        self._column.addWidget(box)

    def _place_caret(self) -> None:
        for widget in self._widgets[-2:]:
            if not isinstance(widget, CodeBlock):
                widget.set_caret(shown=self._caret and widget is self._widgets[-1])

    def _clear(self) -> None:
        while (item := self._column.takeAt(0)) is not None:
            if (widget := item.widget()) is not None:
                widget.hide()
                widget.deleteLater()
        self._widgets = []
        self._open = []
        self._stream = BlockStream()

    @Slot()
    def _on_tick(self) -> None:
        """Draw what came while the text rested."""
        if self._text != self._shown:
            self.flush()

    @Slot()
    def _on_theme(self) -> None:
        self._clear()
        self._shown = ""
        self.flush()

    @Slot(str)
    def _on_link(self, address: str) -> None:
        """Show where a link leads before anything is opened."""
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        short = address if len(address) <= LONGEST_ADDRESS else f"{address[:LONGEST_ADDRESS]}…"
        menu.addAction(short.replace("&", "&&")).setEnabled(False)
        menu.addSeparator()
        opened = menu.addAction("Open in the browser")
        opened.setIcon(self._theme.icon("arrow-square-out"))
        opened.triggered.connect(lambda: QDesktopServices.openUrl(QUrl(address)))
        copied = menu.addAction("Copy address")
        copied.setIcon(self._theme.icon("copy"))
        copied.triggered.connect(lambda: QApplication.clipboard().setText(address))
        menu.popup(QCursor.pos())
