"""A table that grows: drawn in parts of some rows each, scrolled sideways where it is wide.

Laying a table out costs as much as it has cells, with every token that is added to it. So only
the last part grows. The columns get their widths from the first part; a word of a later one that
does not fit makes its column wider in all of them.
"""

import math
from collections.abc import Sequence
from itertools import zip_longest

from PySide6.QtCore import QSize, QSizeF, Qt, QTimer, Signal, Slot
from PySide6.QtGui import (
    QFontMetricsF,
    QResizeEvent,
    QTextBlockFormat,
    QTextCursor,
    QTextFrameFormat,
    QTextLength,
    QTextTableCellFormat,
    QTextTableFormat,
    QWheelEvent,
)
from PySide6.QtWidgets import QFrame, QLayout, QScrollArea, QSizePolicy, QVBoxLayout, QWidget

from splitrig.views.theme import Theme
from splitrig.views.widgets.markdown_blocks import Row, Table
from splitrig.views.widgets.markdown_inline import Span
from splitrig.views.widgets.markdown_text import TextRun, code_font, scroll_sideways

GAP_PX = 24
"""Between two columns."""
LEAST_PX = 120
"""Text is not wrapped narrower than this, long words not narrower than `WORD_PX`."""
WORD_PX = 260
STEP_PX = 32
"""A column that gets wider for a later row gets wider by a multiple of this."""
MEASURED_CHARS = 400
"""A longer stretch of text is wrapped in any case."""
_SIDES = {"center": Qt.AlignmentFlag.AlignHCenter, "right": Qt.AlignmentFlag.AlignRight}


class _Widths:
    """What the columns would like and what they need, px, without the gaps between them."""

    def __init__(self, theme: Theme, columns: int) -> None:
        self._theme = theme
        self._metrics: dict[tuple[bool, bool, bool], QFontMetricsF] = {}
        self._natural = [0.0] * columns
        self._least = [0.0] * columns
        self._n_taken = 0
        self._open: list[tuple[float, float]] = [(0.0, 0.0)] * columns

    def show_first(self, rows: Sequence[Row]) -> None:
        """Take the first piece into account as it is now; its last row may still change."""
        last = len(rows) - 1
        for y in range(self._n_taken, last):
            self._natural, self._least = self._with(self._cells(rows[y], head=y == 0))
        self._n_taken = last
        self._open = self._cells(rows[last], head=last == 0)

    def widen(self, rows: Sequence[Row], px: Sequence[int]) -> bool:
        """Make room for words of later rows that do not fit; `False` when all do.

        Args:
            rows: The rows.
            px: The columns as they are, gaps counted.
        """
        wider = False
        for row in rows:
            for x, (_, least) in enumerate(self._cells(row, head=False)):
                if least + GAP_PX > px[x]:
                    room = math.ceil(least / STEP_PX) * STEP_PX
                    self._least[x] = max(self._least[x], room)
                    self._natural[x] = max(self._natural[x], room)
                    wider = True
        return wider

    def share(self, available: int) -> list[int]:
        """The width of each column with its gap, so that the table fits if it can."""
        wished, needed = self._with(self._open)
        natural = [math.ceil(width) + GAP_PX + 1 for width in wished]
        least = [math.ceil(width) + GAP_PX + 1 for width in needed]
        spare, missing = available - sum(least), sum(natural) - sum(least)
        if spare >= missing:
            return natural
        if spare <= 0:
            return least
        pairs = zip(least, natural, strict=True)
        return [low + spare * (high - low) // missing for low, high in pairs]

    def _with(self, cells: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
        natural = [max(a, b) for a, (b, _) in zip(self._natural, cells, strict=True)]
        return natural, [max(a, b) for a, (_, b) in zip(self._least, cells, strict=True)]

    def _cells(self, row: Row, *, head: bool) -> list[tuple[float, float]]:
        return [self._cell(spans, head=head) for spans in row]

    def _cell(self, spans: Sequence[Span], *, head: bool) -> tuple[float, float]:
        """Width of a cell on one line, and the least it needs."""
        natural = line = word = 0.0
        for span in spans:
            metrics = self._metrics_of(span, head=head)
            for at, text in enumerate(span.text[:MEASURED_CHARS].split("\u2028")):
                line = metrics.horizontalAdvance(text) + (0 if at else line)
                natural = max(natural, line)
            longest = max(span.text[:MEASURED_CHARS].split(), key=len, default="")
            word = max(word, metrics.horizontalAdvance(longest))
        return natural, min(natural, max(LEAST_PX, min(word, WORD_PX)))

    def _metrics_of(self, span: Span, *, head: bool) -> QFontMetricsF:
        key = (span.bold or head, span.italic, span.code)
        if key not in self._metrics:
            font = self._theme.font("body", 600 if key[0] else 400)
            if span.code:
                font = code_font(self._theme, "body")
                font.setWeight(font.Weight.DemiBold if key[0] else font.Weight.Normal)
            font.setItalic(span.italic)
            self._metrics[key] = QFontMetricsF(font)
        return self._metrics[key]


class _Part(TextRun):
    """Some rows of a table in columns of given widths.

    Signals:
        resized: Its height changed.
    """

    resized = Signal()

    def __init__(self, theme: Theme, piece: Table, widths: Sequence[int], *, colour: str) -> None:
        super().__init__(theme, colour=colour, step="body")
        self.piece = piece
        self.widths: Sequence[int] = widths
        self.setFixedWidth(sum(widths))
        edit = self._end()
        edit.beginEditBlock()
        self._table = edit.insertTable(len(piece.rows), len(piece.aligns), _layout(widths))
        self._fill(0, ())
        edit.endEditBlock()

    def set_widths(self, widths: Sequence[int]) -> None:
        """Change the widths of the columns."""
        if widths == self.widths:
            return
        self.widths = widths
        self._table.setFormat(_layout(widths))
        self.setFixedWidth(sum(widths))

    def show_piece(self, piece: Table, widths: Sequence[int]) -> None:
        """Show other rows; only what differs is written."""
        old, self.piece = self.piece.rows, piece
        edit = self._end()
        edit.beginEditBlock()
        self.set_widths(widths)
        more = len(piece.rows) - len(old)
        if more > 0:
            self._table.appendRows(more)
        elif more < 0:
            self._table.removeRows(len(piece.rows), -more)
        self._fill(_first_difference(old, piece.rows), old)
        edit.endEditBlock()

    def _fill(self, first: int, old: Sequence[Row]) -> None:
        for y, row in enumerate(self.piece.rows[first:], first):
            before = old[y] if y < len(old) else ()
            for x, (spans, was) in enumerate(zip_longest(row, before)):
                if spans != was:
                    self._fill_cell(y, x, spans)

    def _fill_cell(self, y: int, x: int, spans: Sequence[Span]) -> None:
        head = y == 0 and not self.piece.continued
        cell = self._table.cellAt(y, x)
        cell.setFormat(self._cell_format(y, head=head))
        at = cell.firstCursorPosition()
        at.setPosition(cell.lastCursorPosition().position(), QTextCursor.MoveMode.KeepAnchor)
        at.removeSelectedText()
        block = QTextBlockFormat()
        block.setAlignment(_SIDES.get(self.piece.aligns[x], Qt.AlignmentFlag.AlignLeft))
        at.setBlockFormat(block)
        self._add_spans(at, spans, self._base("body", 600 if head else 400), "body")

    def _cell_format(self, y: int, *, head: bool) -> QTextTableCellFormat:
        fmt = QTextTableCellFormat()
        fmt.setLeftPadding(0)
        fmt.setRightPadding(GAP_PX)
        # Where two parts meet, each has half of the border between them.
        fmt.setTopPadding(4.5 if self.piece.continued and y == 0 else 5)
        fmt.setBottomPadding(5)
        fmt.setBottomBorder(1)
        fmt.setBottomBorderStyle(QTextFrameFormat.BorderStyle.BorderStyle_Solid)
        fmt.setBottomBorderBrush(self._theme.colour("control" if head else "border"))
        return fmt

    def _last_word(self) -> QTextCursor:
        row = self.piece.rows[-1]
        x = max((x for x, cell in enumerate(row) if cell), default=0)
        return self._table.cellAt(len(self.piece.rows) - 1, x).lastCursorPosition()

    @Slot(QSizeF)
    def _on_size(self, size: QSizeF) -> None:
        super()._on_size(size)
        self.resized.emit()


class TableView(QScrollArea):
    """The parts of one table, one below the other; nothing shows where they meet.

    Signals:
        link_clicked: The address.
    """

    link_clicked = Signal(str)

    def __init__(self, theme: Theme, piece: Table, *, width: int, colour: str = "text") -> None:
        """Begin a table.

        Args:
            theme: Colours and fonts.
            piece: Its first rows.
            width: What it has to fill at most, px; follows the widget's own later on.
            colour: Token of the text colour.
        """
        super().__init__()
        self._theme = theme
        self._colour = colour
        self._parts: list[_Part] = []
        self._wishes = _Widths(theme, len(piece.aligns))
        self._n_measured = 0
        self._column_px: list[int] = []
        self._lagging = QTimer(self)
        self._lagging.setInterval(0)
        self._lagging.timeout.connect(self._on_lagging)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self.setAccessibleName("Table")
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.horizontalScrollBar().setSingleStep(30)
        body = QWidget()
        body.setProperty("clear", "true")
        self._column = QVBoxLayout(body)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(0)
        self._column.setSizeConstraint(QLayout.SizeConstraint.SetFixedSize)
        self.setWidget(body)
        self.resize(width, self.height())
        self.add(piece)

    @property
    def rows(self) -> list[Row]:
        """All rows shown, the head first."""
        return [row for part in self._parts for row in part.piece.rows]

    @property
    def column_px(self) -> list[int]:
        """Width of each column."""
        return list(self._column_px)

    @property
    def is_empty(self) -> bool:
        """Every piece was taken back."""
        return not self._parts

    def add(self, piece: Table) -> None:
        """Add further rows; what was there does not grow any more."""
        if self._parts:
            self._parts[-1].set_caret(shown=False)
            self.settle()
        self._n_measured = 0
        self._measure(piece)
        part = _Part(self._theme, piece, self._column_px, colour=self._colour)
        part.link_clicked.connect(self.link_clicked)
        part.resized.connect(self._fit)
        self._parts.append(part)
        self._column.addWidget(part)
        self._fit()

    def grow(self, piece: Table) -> None:
        """Show the last piece as it is now, longer or a little shorter."""
        self._measure(piece)
        self._parts[-1].show_piece(piece, self._column_px)

    def settle(self) -> None:
        """The last row does not change any more either."""
        piece = self._parts[-1].piece
        if piece.continued:
            self._widen(piece.rows[self._n_measured :])
            self._n_measured = len(piece.rows)

    def take_back(self) -> None:
        """Remove the last piece."""
        part = self._parts.pop()
        self._column.removeWidget(part)
        part.hide()
        part.deleteLater()
        self._n_measured = len(self._parts[-1].piece.rows) if self._parts else 0
        self._fit()

    def set_caret(self, *, shown: bool) -> None:
        """Show or hide the block behind the last word of an answer that still grows."""
        self._parts[-1].set_caret(shown=shown)

    def minimumSizeHint(self) -> QSize:
        """Any width; the table scrolls."""
        return QSize(40, self.height())

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Wrap to the new width, part by part so that the window stays free."""
        super().resizeEvent(event)
        if self._parts and event.size().width() != event.oldSize().width():
            self._share()
            self._parts[0].set_widths(self._column_px)
            self._fit()

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Sideways here, up and down on the page."""
        scroll_sideways(self.horizontalScrollBar(), event)

    def _measure(self, piece: Table) -> None:
        """Find the widths for a piece that is shown now; its last row may still change."""
        if piece.continued:
            self._widen(piece.rows[self._n_measured : -1])
            self._n_measured = max(self._n_measured, len(piece.rows) - 1)
        else:
            self._wishes.show_first(piece.rows)
            self._share()

    def _widen(self, rows: Sequence[Row]) -> None:
        if self._wishes.widen(rows, self._column_px):
            self._share()

    def _share(self) -> None:
        column_px = self._wishes.share(self.width())
        if column_px != self._column_px:
            self._column_px = column_px
            self._lagging.start()
            self._fit()

    @Slot()
    def _on_lagging(self) -> None:
        for part in self._parts:
            if part.widths != self._column_px:
                part.set_widths(self._column_px)
                return
        self._lagging.stop()

    @Slot()
    def _fit(self) -> None:
        """Take the height of the parts, and of the scroll bar where one is needed."""
        wide = sum(self._column_px) > self.width()
        bar = self.horizontalScrollBar().sizeHint().height() if wide else 0
        height = sum(part.height() for part in self._parts) + bar
        if height != self.height():
            self.setFixedHeight(height)


def _layout(widths: Sequence[int]) -> QTextTableFormat:
    layout = QTextTableFormat()
    layout.setBorderCollapse(True)
    layout.setBorder(0)
    layout.setCellSpacing(0)
    layout.setCellPadding(0)
    fixed = QTextLength.Type.FixedLength
    layout.setColumnWidthConstraints([QTextLength(fixed, width) for width in widths])
    return layout


def _first_difference(old: Sequence[Row], new: Sequence[Row]) -> int:
    for at, (a, b) in enumerate(zip(old, new, strict=False)):
        if a != b:
            return at
    return min(len(old), len(new))
