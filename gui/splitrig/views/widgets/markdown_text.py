"""A stretch of rich text without scroll bars: paragraphs, lists, quotes and rules.

Built with a text cursor, never from HTML, so that nothing a model writes is ever interpreted.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from PySide6.QtCore import QRectF, QSize, QSizeF, Qt, QUrl, Signal, Slot
from PySide6.QtGui import (
    QBrush,
    QFont,
    QPainter,
    QPaintEvent,
    QTextBlockFormat,
    QTextCharFormat,
    QTextCursor,
    QTextFormat,
    QTextLength,
    QTextOption,
    QWheelEvent,
)
from PySide6.QtWidgets import QFrame, QScrollBar, QSizePolicy, QTextBrowser

from splitrig.views.theme import Theme
from splitrig.views.widgets.markdown_blocks import Paragraph, Rule
from splitrig.views.widgets.markdown_code import utf16_length
from splitrig.views.widgets.markdown_inline import Span

INDENT_PX = 26
MARKER_PX = 22
QUOTE_PX = 16
PARAGRAPH_GAP_PX = 8
ITEM_GAP_PX = 4
HEADING_GAP_PX = 16
MOST_INDENT = 10
"""Lists and quotes nested deeper than this do not move further to the right."""
NOTHING = "\u200b"
"""Stands in an empty block, which would take over the format of what is removed behind it."""
_QUOTE = int(QTextFormat.Property.UserProperty.value) + 1
_HEADING_STEPS = {1: "title", 2: "value"}


def code_font(theme: Theme, step: str) -> QFont:
    """The mono font without ligatures: `--` and `!=` stay what they are."""
    font = theme.font(step, mono=True)
    font.setFeature(QFont.Tag("calt"), 0)
    return font


def scroll_sideways(bar: QScrollBar, event: QWheelEvent) -> None:
    """Take a turn of the wheel that is meant sideways; the page gets the others."""
    turn = event.angleDelta()
    sideways = abs(turn.x()) > abs(turn.y())
    if sideways or event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
        bar.setValue(bar.value() - (turn.x() if sideways else turn.y()) // 2)
        event.accept()
    else:
        event.ignore()


@dataclass(frozen=True, slots=True)
class Mark:
    """Where a piece begins in its run, so that it can be taken back."""

    position: int
    reuse_block: bool


class TextRun(QTextBrowser):
    """Pieces one below the other; its height is that of its text.

    With a `ground`, a token such as `window`, it paints that behind the text. Nothing below it has
    to be painted then whenever a word is added.

    Signals:
        link_clicked: The address.
    """

    link_clicked = Signal(str)

    def __init__(
        self, theme: Theme, *, colour: str = "text", step: str = "answer", ground: str = ""
    ) -> None:
        super().__init__()
        self._theme = theme
        self._ground = ground
        self._colour = colour
        self._step = step
        self._fresh = True
        self._caret = False
        self._caret_area = QRectF()
        self._quotes = False
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setOpenLinks(False)
        self.setUndoRedoEnabled(False)
        self.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setWordWrapMode(QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.viewport().setAutoFillBackground(False)
        self.viewport().setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent, bool(ground))
        document = self.document()
        document.setDocumentMargin(0)
        document.setDefaultFont(theme.font(step))
        document.documentLayout().documentSizeChanged.connect(self._on_size)
        self.anchorClicked.connect(self._on_anchor)
        self.setFixedHeight(theme.font_size(step).line)

    @property
    def is_empty(self) -> bool:
        """Nothing was added yet."""
        return self._fresh and self.document().characterCount() <= 1

    def add(self, piece: Paragraph | Rule) -> Mark:
        """Add a piece at the end."""
        cursor = self._end()
        mark = Mark(cursor.position(), self._fresh)
        # One layout at the end, not one for each stretch of text.
        cursor.beginEditBlock()
        if isinstance(piece, Paragraph):
            self._add_paragraph(cursor, piece)
        else:
            self._add_rule(cursor)
        cursor.endEditBlock()
        return mark

    def grow(self, mark: Mark, old: Paragraph, new: Paragraph) -> bool:
        """Turn the paragraph at the end into a longer one; only what differs is written.

        Returns:
            False when it differs in more than its text; then nothing is changed.
        """
        if not old.spans or not new.spans or replace(new, spans=old.spans) != old:
            return False
        kept, length = _kept(old.spans, new.spans)
        marker = f"{old.marker}\t" if old.marker else ""
        start = mark.position + (0 if mark.reuse_block else 1) + utf16_length(marker)
        cursor = self._end()
        cursor.setPosition(start + length, QTextCursor.MoveMode.KeepAnchor)
        cursor.beginEditBlock()
        cursor.removeSelectedText()
        self._add_spans(cursor, kept, *self._base_of(new))
        cursor.endEditBlock()
        return True

    def take_back(self, mark: Mark) -> None:
        """Remove everything from a piece on."""
        cursor = self._end()
        cursor.setPosition(mark.position, QTextCursor.MoveMode.KeepAnchor)
        cursor.removeSelectedText()
        self._fresh = mark.reuse_block

    def set_caret(self, *, shown: bool) -> None:
        """Show or hide the block behind the last word of an answer that still grows."""
        if shown or self._caret:
            self.viewport().update(self._caret_area.toAlignedRect())
            self._caret_area = self._caret_place() if shown else QRectF()
            self.viewport().update(self._caret_area.toAlignedRect())
        self._caret = shown

    def loadResource(self, type_: int, name: QUrl | str) -> None:
        """Load nothing, ever: no file, no image, no address."""

    def minimumSizeHint(self) -> QSize:
        """Any width; the text wraps."""
        return QSize(40, self.height())

    def wheelEvent(self, event: QWheelEvent) -> None:
        """The page scrolls, not the text."""
        event.ignore()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Text, the bars beside quotes, and the caret."""
        if self._ground:
            ground = QPainter(self.viewport())
            ground.fillRect(event.rect(), self._theme.colour(self._ground))
            ground.end()
        super().paintEvent(event)
        if not (self._quotes or self._caret):
            return
        painter = QPainter(self.viewport())
        if self._quotes:
            self._paint_quotes(painter)
        if self._caret:
            place = self._caret_place()
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(self._theme.colour("accent_text"))
            painter.drawRoundedRect(place, 1, 1)
        painter.end()

    def _caret_place(self) -> QRectF:
        """Where the caret is painted: behind the last word."""
        at = self.cursorRect(self._last_word())
        size = self._theme.font_size(self._step).size + 2
        top = at.center().y() - size / 2 + 0.5
        left = min(at.left() + 3, self.viewport().width() - 8)
        return QRectF(left, top, 8, size)

    def _paint_quotes(self, painter: QPainter) -> None:
        """A bar for each depth of quoting, unbroken between paragraphs of one quote."""
        colour = self._theme.colour("control")
        bottoms: dict[int, float] = {}
        block = self.document().firstBlock()
        while block.isValid():
            depth = block.blockFormat().intProperty(_QUOTE)
            bottoms = {level: y for level, y in bottoms.items() if level < depth}
            if depth:
                cursor = QTextCursor(block)
                top = self.cursorRect(cursor).top() - 2
                cursor.movePosition(QTextCursor.MoveOperation.EndOfBlock)
                bottom = self.cursorRect(cursor).bottom() + 3
                for level in range(depth):
                    begin = bottoms.get(level, top)
                    area = QRectF(level * QUOTE_PX, begin, 2, bottom - begin)
                    painter.fillRect(area, colour)
                    bottoms[level] = bottom
            block = block.next()

    def _last_word(self) -> QTextCursor:
        return self._end()

    def _end(self) -> QTextCursor:
        cursor = QTextCursor(self.document())
        cursor.movePosition(QTextCursor.MoveOperation.End)
        return cursor

    def _begin_block(self, cursor: QTextCursor, block: QTextBlockFormat) -> None:
        if self._fresh:
            cursor.setBlockFormat(block)
            self._fresh = False
        else:
            cursor.insertBlock(block, QTextCharFormat())

    def _add_paragraph(self, cursor: QTextCursor, piece: Paragraph) -> None:
        first = cursor.position() == 0
        block = QTextBlockFormat()
        step = _HEADING_STEPS.get(piece.heading, self._step)
        block.setLineHeight(
            self._theme.font_size(step).line,
            QTextBlockFormat.LineHeightTypes.MinimumHeight.value,
        )
        in_list = piece.indent > 0
        # Neighbouring margins do not add up, the larger one counts.
        gap = ITEM_GAP_PX if in_list else PARAGRAPH_GAP_PX
        block.setBottomMargin(gap)
        if not first:
            block.setTopMargin(HEADING_GAP_PX if piece.heading else gap)
        quote = min(piece.quote, MOST_INDENT)
        block.setLeftMargin(min(piece.indent, MOST_INDENT) * INDENT_PX + quote * QUOTE_PX)
        if quote:
            self._quotes = True
            block.setProperty(_QUOTE, quote)
        if piece.marker:
            block.setTextIndent(-MARKER_PX)
            # Counted from where the line begins; the further ones are for numbers like '100.'.
            stops = [MARKER_PX + 8 * n for n in range(4)]
            block.setTabPositions([QTextOption.Tab(x, QTextOption.TabType.LeftTab) for x in stops])
        self._begin_block(cursor, block)
        base, step = self._base_of(piece)
        if piece.marker:
            cursor.insertText(f"{piece.marker}\t", base)
        self._add_spans(cursor, piece.spans or (Span(text=NOTHING),), base, step)

    def _base_of(self, piece: Paragraph) -> tuple[QTextCharFormat, str]:
        """The format of a paragraph's plain text, and its step of the type scale."""
        step = _HEADING_STEPS.get(piece.heading, self._step)
        return self._base(step, 600 if piece.heading else 400, muted=piece.quote > 0), step

    def _add_spans(
        self, cursor: QTextCursor, spans: Sequence[Span], base: QTextCharFormat, step: str
    ) -> None:
        for span in spans:
            cursor.insertText(span.text, self._format(span, base, step))

    def _base(self, step: str, weight: int, *, muted: bool = False) -> QTextCharFormat:
        fmt = QTextCharFormat()
        fmt.setFont(self._theme.font(step, weight))
        fmt.setForeground(self._theme.colour("muted" if muted else self._colour))
        return fmt

    def _format(self, span: Span, base: QTextCharFormat, step: str) -> QTextCharFormat:
        fmt = QTextCharFormat(base)
        if span.code:
            mono = code_font(self._theme, "body")
            mono.setPixelSize(self._theme.font_size(step).size - 1)
            fmt.setFont(mono)
            fmt.setBackground(self._theme.colour("hover"))
        if span.bold:
            fmt.setFontWeight(600)
        if span.italic:
            fmt.setFontItalic(True)
        if span.strike:
            fmt.setFontStrikeOut(True)
        if span.href is not None:
            fmt.setAnchor(True)
            fmt.setAnchorHref(span.href)
            fmt.setToolTip(span.href)
            fmt.setForeground(self._theme.colour("accent_text"))
            fmt.setFontUnderline(True)
        return fmt

    def _add_rule(self, cursor: QTextCursor) -> None:
        block = QTextBlockFormat()
        block.setProperty(
            QTextFormat.Property.BlockTrailingHorizontalRulerWidth,
            QTextLength(QTextLength.Type.PercentageLength, 100),
        )
        block.setBackground(QBrush(self._theme.colour("border")))
        block.setLineHeight(2, QTextBlockFormat.LineHeightTypes.FixedHeight.value)
        block.setTopMargin(6)
        block.setBottomMargin(14)
        self._begin_block(cursor, block)
        cursor.insertText(NOTHING)

    @Slot(QSizeF)
    def _on_size(self, size: QSizeF) -> None:
        height = max(1, round(size.height()))
        if height != self.height():
            self.setFixedHeight(height)

    @Slot(QUrl)
    def _on_anchor(self, url: QUrl) -> None:
        self.link_clicked.emit(url.toString())


def _kept(old: Sequence[Span], new: Sequence[Span]) -> tuple[tuple[Span, ...], int]:
    """What of `new` has to be written behind the part of `old` that stays, and its length.

    The length is in UTF-16 units, as Qt counts.
    """
    same = 0
    length = 0
    for before, after in zip(old, new, strict=False):
        if before != after:
            break
        same += 1
        length += utf16_length(before.text)
    rest = tuple(new[same:])
    if same < len(old) and rest:
        before, after = old[same], rest[0]
        if after.text.startswith(before.text) and replace(after, text=before.text) == before:
            length += utf16_length(before.text)
            rest = (replace(after, text=after.text[len(before.text) :]), *rest[1:])
    return rest, length


def plain_run(theme: Theme, text: str, *, step: str = "body") -> TextRun:
    """A run that shows `text` exactly as it is, line by line."""
    run = TextRun(theme, step=step)
    fmt = QTextCharFormat()
    fmt.setFont(theme.font(step))
    fmt.setForeground(theme.colour("text"))
    QTextCursor(run.document()).insertText(text, fmt)
    return run
