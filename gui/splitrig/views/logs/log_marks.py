"""What is laid over the lines in view: the colours of their levels, and matches of the search."""

from collections.abc import Iterable
from dataclasses import dataclass

from PySide6.QtGui import QColor, QTextCharFormat, QTextCursor, QTextFormat
from PySide6.QtWidgets import QTextEdit

from splitrig.core.log_lines import Level
from splitrig.views.theme import Theme

MATCH_ALPHA = 0.38
"""How much of the accent lies over a match that is not the current one."""


@dataclass(frozen=True, slots=True)
class VisibleLine:
    """A row in view.

    Attributes:
        position: Its first character in the text.
        prefix: Characters of the columns before its own words.
        length: Characters of the row.
        level: Its level.
        matches: First and last character of each match, in the row.
    """

    position: int
    prefix: int
    length: int
    level: Level
    matches: tuple[tuple[int, int], ...]


class LogMarks:
    """Makes the marks of the lines in view; formats are kept until the theme changes."""

    def __init__(self, theme: Theme) -> None:
        self._theme = theme
        self._formats: dict[str, QTextCharFormat] = {}
        theme.changed.connect(self._on_theme)

    def _on_theme(self) -> None:
        self._formats.clear()

    def marks(
        self, cursor: QTextCursor, lines: Iterable[VisibleLine]
    ) -> list[QTextEdit.ExtraSelection]:
        """The marks, lower ones first.

        Args:
            cursor: Any cursor of the text.
            lines: The rows in view.
        """
        made: list[QTextEdit.ExtraSelection] = []
        last = cursor.document().characterCount() - 1

        def mark(name: str, begin: int, end: int) -> None:
            selection = QTextEdit.ExtraSelection()
            cursor.setPosition(begin)
            cursor.setPosition(end, QTextCursor.MoveMode.KeepAnchor)
            selection.cursor = cursor
            selection.format = self._format(name)
            made.append(selection)

        for line in lines:
            begin, end = line.position, line.position + line.length
            match line.level:
                case Level.ERROR:
                    # To the edge of the view: with the line's end, or, where it has none, at it.
                    mark("error", begin, min(end + 1, last))
                    if end == last:
                        mark("error", end, end)
                case Level.WARNING:
                    mark("warning", begin, end)
                case Level.NOTE:
                    mark("note", begin, end)
                case Level.DEBUG:
                    mark("muted", begin, end)
                case _:
                    mark("muted", begin, begin + line.prefix)
            for start, stop in line.matches:
                mark("match", begin + start, begin + stop)
        return made

    def _format(self, name: str) -> QTextCharFormat:
        made = self._formats.get(name)
        if made is None:
            made = self._formats[name] = self._made(name)
        return made

    def _made(self, name: str) -> QTextCharFormat:
        made = QTextCharFormat()
        colour = self._theme.colour
        match name:
            case "error":
                made.setForeground(colour("danger"))
                made.setBackground(colour("danger_ground"))
                full_width = True
                made.setProperty(QTextFormat.Property.FullWidthSelection, full_width)
            case "warning":
                made.setForeground(colour("warning"))
            case "note":
                made.setForeground(colour("accent_text"))
            case "match":
                ground = QColor(colour("accent"))
                ground.setAlphaF(MATCH_ALPHA)
                made.setBackground(ground)
                made.setForeground(colour("text"))
            case _:
                made.setForeground(colour("muted"))
        return made
