"""Colours of code, worked off in slices of a few milliseconds while the code still grows."""

import importlib
import sys
import time
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QTimer, Slot
from PySide6.QtGui import QTextCharFormat, QTextDocument, QTextLayout

from splitrig.views.theme import Theme

if TYPE_CHECKING:
    from pygments.lexer import Lexer

SLICE_S = 0.005
"""Longest time spent on colours before the window gets its turn, seconds."""
Token = tuple[int, str, str]
"""Position, colour token, text."""


@lru_cache(maxsize=64)
def find_lexer(language: str) -> "Lexer | None":
    """The lexer of a fence's language; `None` for an unknown one."""
    # Late: its tables are only needed once an answer holds code.
    from pygments.lexers import get_lexer_by_name
    from pygments.util import ClassNotFound

    try:
        return get_lexer_by_name(language) if language else None
    except ClassNotFound:
        return None


def lex(lexer: "Lexer", code: str) -> Iterator[Token]:
    """Coloured stretches of `code`, lazily, in order."""
    for position, kind, text in lexer.get_tokens_unprocessed(code):
        yield position, _colour(tuple(kind)), text


def _colour(kind: tuple[str, ...]) -> str:
    """The theme's colour token for a kind of lexer token; empty for plain text."""
    match kind:
        case ("Keyword", *_) | ("Operator", "Word") | ("Name", "Tag"):
            return "code_keyword"
        case ("Literal", "String", *_):
            return "code_string"
        case ("Literal", "Number", *_):
            return "code_number"
        case ("Comment", *_):
            return "code_comment"
        case ("Name", ("Function" | "Class" | "Decorator" | "Builtin" | "Attribute"), *_):
            return "code_function"
        case ("Generic", "Inserted"):
            return "success"
        case ("Generic", "Deleted"):
            return "danger"
    return ""


class CodeColours(QObject):
    """Colours the lines of a document through their layouts; text and selection stay untouched.

    A pass begins at the last line that can be lexed on its own, so that a growing text is not
    lexed from its start with every token; passes take at most a fifth of the time.
    """

    def __init__(self, theme: Theme, document: QTextDocument) -> None:
        super().__init__(document)
        self._theme = theme
        self._document = document
        self._language = ""
        self._lexer: Lexer | None = None
        self._lexer_missing = False
        self._lines: Sequence[str] = ()
        self._stale = False
        self._safe_line = 0
        self._pass: _Pass | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._run)

    def set_language(self, language: str) -> None:
        """Use another language from the first line on."""
        self._language = language
        self._lexer = None
        self._lexer_missing = bool(language)
        self._pass = None
        self._safe_line = 0

    def show(self, lines: Sequence[str], *, changed_from: int) -> None:
        """Colour the lines anew that differ from what was there."""
        self._lines = lines
        if self._lexer is None and not self._lexer_missing:
            return
        if changed_from < self._safe_line:
            self._pass = None
            self._safe_line = 0
        self._stale = True
        if self._lexer_missing:
            self._timer.start(0)
        elif self._pass is None and not self._timer.isActive():
            self._run()

    @property
    def done(self) -> bool:
        """Everything has its colours."""
        if self._lexer_missing:
            return False
        return self._lexer is None or (self._pass is None and not self._stale)

    @Slot()
    def _run(self) -> None:
        if self._lexer_missing:
            self._load_lexer()
            return
        if self._pass is None:
            if not self._stale or self._lexer is None:
                return
            self._stale = False
            rest = "\n".join(self._lines[self._safe_line :]) + "\n"
            self._pass = _Pass(lex(self._lexer, rest), self._document, self._theme, self._safe_line)
        if not self._pass.run():
            self._timer.start(0)
            return
        self._safe_line = self._pass.safe_line
        pause_ms = round(self._pass.spent_s * 4000)
        self._pass = None
        if self._stale:
            self._timer.start(pause_ms)

    def _load_lexer(self) -> None:
        """One step a turn: the first use imports for 17 ms and compiles rules for up to 40 ms."""
        if "pygments.lexers" in sys.modules:
            self._lexer = find_lexer(self._language)
            self._lexer_missing = False
        else:
            importlib.import_module("pygments.lexers")
        self._timer.start(0)


class _Pass:
    """One way through the tokens, interrupted every `SLICE_S`."""

    def __init__(
        self, tokens: Iterator[Token], document: QTextDocument, theme: Theme, line: int
    ) -> None:
        self._tokens = tokens
        self._document = document
        self._theme = theme
        self._block = document.findBlockByNumber(line)
        self._line = line
        self._column = 0
        self._after_blank = False
        self._ranges: list[QTextLayout.FormatRange] = []
        self._formats: dict[str, QTextCharFormat] = {}
        self.safe_line = line
        self.spent_s = 0.0

    def run(self) -> bool:
        """Colour for one slice of time; `True` when everything is done."""
        begin = time.perf_counter()
        dirty_from = self._block.position() if self._block.isValid() else 0
        done = True
        for _, colour, text in self._tokens:
            # A token that begins at the margin after a blank line: whatever came before, most
            # lexers stand at their start again here.
            if self._column == 0 and self._after_blank and not text[0].isspace():
                self.safe_line = self._line
            self._take(colour, text)
            if time.perf_counter() - begin > SLICE_S:
                done = False
                break
        dirty_to = self._block.position() if self._block.isValid() else 0
        if dirty_to > dirty_from:
            self._document.markContentsDirty(dirty_from, dirty_to - dirty_from)
        elif not self._block.isValid():
            end = self._document.characterCount() - 1
            self._document.markContentsDirty(dirty_from, max(end - dirty_from, 0))
        self.spent_s += time.perf_counter() - begin
        return done

    def _take(self, colour: str, text: str) -> None:
        parts = text.split("\n")
        for at, part in enumerate(parts):
            if at:
                self._end_line()
            length = utf16_length(part)
            if colour and length:
                stretch = QTextLayout.FormatRange()
                stretch.start = self._column
                stretch.length = length
                stretch.format = self._format(colour)
                self._ranges.append(stretch)
            self._column += length

    def _end_line(self) -> None:
        if self._block.isValid():
            self._block.layout().setFormats(self._ranges)
            self._after_blank = not self._block.text().strip()
            self._block = self._block.next()
        self._ranges = []
        self._line += 1
        self._column = 0

    def _format(self, colour: str) -> QTextCharFormat:
        if colour not in self._formats:
            fmt = QTextCharFormat()
            fmt.setForeground(self._theme.colour(colour))
            self._formats[colour] = fmt
        return self._formats[colour]


def utf16_length(text: str) -> int:
    """Length as Qt counts it: characters beyond the first plane are two."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2
