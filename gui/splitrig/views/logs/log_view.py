"""The lines themselves: a text that grows at one end, shrinks at the other and stays quick.

The text is plain; colours are laid over the lines in view only, so that a flood costs no more than
putting the text in. Oldest lines are cut off by hand: a text's own limit takes six times as long.
"""

from collections.abc import Sequence

from PySide6.QtCore import Signal, Slot
from PySide6.QtGui import QKeyEvent, QKeySequence, QResizeEvent, QShowEvent, QTextCursor
from PySide6.QtWidgets import QPlainTextEdit

from splitrig.core.log_lines import TIME_CHARS, LogLine
from splitrig.core.log_ring import Numbered
from splitrig.core.log_search import Match
from splitrig.core.log_shown import ShownLines
from splitrig.views.logs.log_marks import LogMarks, VisibleLine
from splitrig.views.theme import Theme

MORE_LINES = 500
"""Of the lines that wait, as many come in when the reader gets to the end."""


def utf16_length(text: str) -> int:
    """Characters as Qt counts them: an emoji is two."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le")) // 2


class LogView(QPlainTextEdit):
    """Follows the newest line until its reader scrolls up; then nothing moves until they are back.

    Lines that come meanwhile wait. What is selected, found or read is never pulled away.

    Signals:
        changed: It follows or not, more or fewer lines wait, or a match was stepped to.

    Attributes:
        following: The newest line is in view and stays there.
        shown: The lines, and what is looked for in them.
    """

    changed = Signal()

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.following = True
        self.shown = ShownLines()
        self._marks = LogMarks(theme)
        self._source_chars = 0
        self._moving = False
        self.setReadOnly(True)
        self.setUndoRedoEnabled(False)
        self.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self.setFont(theme.font("note", mono=True))
        self.setAccessibleName("Log")
        self.setAccessibleDescription("A row for each line of an engine, the newest at the end")
        self.verticalScrollBar().valueChanged.connect(self._on_scrolled)
        self.copyAvailable.connect(self._on_selected)
        theme.changed.connect(self.mark)

    # Lines

    def show_all(self, lines: Sequence[Numbered], *, source_chars: int) -> None:
        """Show other lines, at the place where the reader is.

        Args:
            lines: Everything to show, oldest first.
            source_chars: Width of the column of engines; 0 leaves it out.
        """
        top = self.top_row
        number = self.shown.rows[top][0] if top < len(self.shown) else None
        self._source_chars = source_chars
        self.shown.reset(lines)
        self._moving = True
        self.setPlainText("\n".join(self._row_text(line) for _, line in lines))
        if number is not None and not self.following:
            self._scroll_to(min(self.shown.n_before(number), len(self.shown) - 1))
        self._settle()

    def add(self, lines: Sequence[Numbered], first: int) -> None:
        """Take new lines in.

        Args:
            lines: Those to show, oldest first.
            first: Number of the oldest line that is still kept; older ones go.
        """
        self.shown.hold(lines, first)
        if not self.following:
            self.changed.emit()
            return
        self._moving = True
        self._append(self.shown.take_in())
        self._cut_off(self.shown.n_before(first))
        self._settle()

    @Slot()
    def jump_to_newest(self) -> None:
        """Show the end, and follow it from now on."""
        self.clear_selection()
        self.shown.forget_current()
        self.following = True
        self._moving = True
        self._append(self.shown.take_in())
        self._cut_off(self.shown.n_over())
        self._settle()

    def clear_selection(self) -> None:
        """Select nothing."""
        cursor = self.textCursor()
        if cursor.hasSelection():
            cursor.clearSelection()
            self.setTextCursor(cursor)

    def set_wrapped(self, *, wrapped: bool) -> None:
        """Break long lines, or let them run out of sight."""
        top = self.top_row
        mode = QPlainTextEdit.LineWrapMode
        self._moving = True
        self.setLineWrapMode(mode.WidgetWidth if wrapped else mode.NoWrap)
        if not self.following:
            self._scroll_to(top)
        self._settle()

    def _append(self, lines: Sequence[LogLine]) -> None:
        if lines:
            text = "\n".join(self._row_text(line) for line in lines)
            cursor = QTextCursor(self.document())
            cursor.movePosition(QTextCursor.MoveOperation.End)
            cursor.insertText("\n" + text if len(self.shown) > len(lines) else text)

    def _cut_off(self, n_rows: int) -> None:
        """Remove the oldest rows."""
        if n_rows <= 0:
            return
        cursor = QTextCursor(self.document())
        if n_rows < len(self.shown):
            end = self.document().findBlockByNumber(n_rows).position()
        else:
            end = self.document().characterCount() - 1
        cursor.setPosition(end, QTextCursor.MoveMode.KeepAnchor)
        cursor.removeSelectedText()
        self.shown.drop(n_rows)

    def _row_text(self, line: LogLine) -> str:
        return self._prefix(line) + line.text

    def _prefix(self, line: LogLine) -> str:
        """The columns before the text."""
        source = f"{line.source:<{self._source_chars}}  " if self._source_chars else ""
        return f"{line.time or '':>{TIME_CHARS}} {line.level.letter}  {source}"

    # Place

    @property
    def top_row(self) -> int:
        """The topmost row in view."""
        return self.firstVisibleBlock().blockNumber()

    def _to_end(self) -> None:
        bar = self.verticalScrollBar()
        bar.setValue(bar.maximum())

    def _scroll_to(self, row: int) -> None:
        """Make a row the topmost one."""
        block = self.document().findBlockByNumber(max(row, 0))
        self.verticalScrollBar().setValue(block.firstLineNumber())

    def _settle(self) -> None:
        """After a change of ours: keep the end in view if it is followed, and tell."""
        if self.following:
            self._to_end()
        self._moving = False
        self.mark()
        self.changed.emit()

    @Slot(int)
    def _on_scrolled(self, value: int) -> None:
        if self._moving:
            return
        at_end = value >= self.verticalScrollBar().maximum()
        if at_end and not self.following and not self.textCursor().hasSelection():
            self._read_on()
            return
        if not at_end and self.following:
            self.following = False
            self.changed.emit()
        self.mark()

    def _read_on(self) -> None:
        """The reader got to the end of what is shown: what comes next follows, without a jump."""
        value = self.verticalScrollBar().value()
        self._moving = True
        self._append(self.shown.take_in(MORE_LINES))
        if n_over := self.shown.n_over():
            value -= self.document().findBlockByNumber(n_over).firstLineNumber()
            self._cut_off(n_over)
        self.following = not self.shown.waiting
        self.verticalScrollBar().setValue(max(value, 0))
        self._settle()

    @Slot(bool)
    def _on_selected(self, selected: bool) -> None:  # noqa: FBT001 - the signal's own argument
        """What is being selected must not move."""
        if selected and self.following:
            self.following = False
            self.changed.emit()

    # Search

    def look_for(self, words: str, *, match_case: bool) -> None:
        """Search the lines shown; go to the first match in view or below, else to one above."""
        self.shown.look_for(words, match_case=match_case)
        match = self.shown.first_from(self.top_row)
        if match is None:
            self.clear_selection()
        self._go_to(match)

    def step(self, direction: int) -> None:
        """Go to the next match (1) or the previous one (−1), and on from the other end."""
        self._go_to(self.shown.step(forward=direction > 0, row=self.top_row))

    def _go_to(self, match: Match | None) -> None:
        """Select a match and bring it into view."""
        if match is not None:
            begin, end = self._span(self.shown.rows[match.row][1], match.start, match.length)
            position = self.document().findBlockByNumber(match.row).position()
            cursor = QTextCursor(self.document())
            cursor.setPosition(position + begin)
            cursor.setPosition(position + end, QTextCursor.MoveMode.KeepAnchor)
            self.following = False
            self.setTextCursor(cursor)
        self.mark()
        self.changed.emit()

    def _span(self, line: LogLine, start: int, length: int) -> tuple[int, int]:
        """Where a piece of a line's text lies in its row, as Qt counts."""
        begin = utf16_length(self._prefix(line)) + utf16_length(line.text[:start])
        return begin, begin + utf16_length(line.text[start : start + length])

    # What is seen

    @Slot()
    def mark(self) -> None:
        """Lay the colours over the rows in view."""
        if not self.isVisible():
            return
        lines = []
        block = self.firstVisibleBlock()
        room = self.viewport().height() // max(self.fontMetrics().lineSpacing(), 1) + 2
        search = self.shown.search
        for row in range(block.blockNumber(), min(block.blockNumber() + room, len(self.shown))):
            line = self.shown.rows[row][1]
            starts = search.starts(line.text)
            lines.append(
                VisibleLine(
                    position=block.position(),
                    prefix=utf16_length(self._prefix(line)),
                    length=block.length() - 1,
                    level=line.level,
                    matches=tuple(self._span(line, at, len(search.words)) for at in starts),
                )
            )
            block = block.next()
        self.setExtraSelections(self._marks.marks(QTextCursor(self.document()), lines))

    def showEvent(self, event: QShowEvent) -> None:
        """What was not laid over the rows while nobody saw them."""
        super().showEvent(event)
        self._moving = True
        self._settle()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """The end stays in view."""
        self._moving = True
        super().resizeEvent(event)
        self._settle()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Ctrl+End is the newest line, not only the end of what is shown."""
        if event.matches(QKeySequence.StandardKey.MoveToEndOfDocument):
            self.jump_to_newest()
            event.accept()
            return
        super().keyPressEvent(event)
