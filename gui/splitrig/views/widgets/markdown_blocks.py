"""Markdown as a flat list of pieces to draw, grown piece by piece while an answer streams.

No Qt in here. A long table comes in several pieces; one too wide to be drawn comes as its source.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from markdown_it import MarkdownIt
from markdown_it.token import Token

from splitrig.views.widgets.markdown_inline import Span, inline_spans
from splitrig.views.widgets.markdown_parser import (
    OPEN_BLOCK,
    OPEN_LIST,
    OpenTable,
    TableLines,
    inline_parser,
    new_parser,
    table_cells,
)

LONGEST_INLINE = 4_000
"""Characters of one paragraph or cell that still get inline markup; a longer one is shown as it is
written, because it is parsed anew with every token that is added to it (20 ms at this length)."""
PLAIN_PIECE = 2_000
PIECE_ROWS = 60
PIECE_CELLS = 360
"""A piece of a table has at most so many rows, its head counted, and about so many cells."""
MOST_COLUMNS = 30
"""Columns of a table that is drawn as one; a wider one is shown as its source."""
_NEWLINE = re.compile(r"\r\n?|\n")
_TASK = re.compile(r"\[([ xX])\] ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Paragraph:
    """A paragraph, heading or list item.

    Attributes:
        spans: Its text.
        heading: 1–6; 0 for no heading.
        indent: Depth in lists.
        marker: `•`, `3.` or a box, at the first paragraph of a list item.
        quote: Depth in quotes.
    """

    spans: tuple[Span, ...]
    heading: int = 0
    indent: int = 0
    marker: str = ""
    quote: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """A code block; `language` is what the fence says, perhaps nothing."""

    text: str
    language: str = ""
    indent: int = 0


Row = tuple[tuple[Span, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Some rows of a table, at most `PIECE_ROWS`.

    Attributes:
        rows: Cells of each row; the first is the head.
        aligns: `left`, `center` or `right` for each column.
        indent: Depth in lists.
        continued: The rows follow on those of the piece before; none is a head.
    """

    rows: tuple[Row, ...]
    aligns: tuple[str, ...]
    indent: int = 0
    continued: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """A line across."""


Piece = Paragraph | Code | Table | Rule


@dataclass(frozen=True, slots=True)
class _Numbering:
    """How the ordered list goes on whose items so far are finished."""

    markup: str
    following: int


@dataclass(slots=True)
class _Group:
    """Tokens of one block that can become final on its own.

    Attributes:
        tokens: The tokens.
        first_line: Where it begins.
        numbering: For an item of an ordered list.
        needs_lines: Complete lines from the first on that make sure it begins there.
        continues: What to parse it with where the table or list it is of has begun before.
    """

    tokens: list[Token]
    first_line: int
    numbering: _Numbering | None = None
    needs_lines: int = 1
    continues: OpenTable | str | None = None


@dataclass(slots=True)
class BlockStream:
    """Parses a text that only grows; what is finished is never parsed again.

    A block is finished when a further one has begun on complete lines below it; items of an
    outermost list and pieces of an outermost table count as blocks.
    """

    _parser: MarkdownIt = field(default_factory=new_parser)
    _env: dict[str, object] = field(default_factory=dict)
    _done_chars: int = 0
    _spans: dict[str, tuple[Span, ...]] = field(default_factory=dict)
    _numbering: _Numbering | None = None

    def update(self, text: str) -> tuple[list[Piece], list[Piece]]:
        """Parse what is new.

        Args:
            text: The whole text so far; begins with what it was before.

        Returns:
            Pieces that became final with this call, and those that may still change.
        """
        rest = text[self._done_chars :]
        if not rest:
            return [], []
        starts = [0, *(end.end() for end in _NEWLINE.finditer(rest))]
        complete = len(starts) - 1
        groups = _groups(self._parser.parse(rest, self._env), self._numbering)
        n_final = 0
        for at, group in enumerate(groups[1:], 1):
            if group.first_line + group.needs_lines <= complete:
                n_final = at
        inline = _Inline(self._spans)
        final = [piece for group in groups[:n_final] for piece in _Walk(group, inline).run()]
        open_ = [piece for group in groups[n_final:] for piece in _Walk(group, inline).run()]
        self._spans = inline.used
        if n_final:
            self._done_chars += starts[groups[n_final].first_line]
            self._numbering = groups[n_final].numbering
            self._env[OPEN_BLOCK] = groups[n_final].continues
        elif len(groups) == 1:
            self._put_by(groups[0], starts)
        return final, open_

    def _put_by(self, group: _Group, starts: Sequence[int]) -> None:
        """Of a table shown as its source, leave only the last complete line to be parsed again."""
        table = _lines_of(group.tokens[0])
        if table is None or not _is_wide(table):
            return
        last, (_, end) = len(starts) - 2, group.tokens[0].map or (0, 0)
        if group.first_line + group.needs_lines <= last < end:
            self._env[OPEN_BLOCK] = OpenTable(table.aligns, table.lines[: last - end])
            self._done_chars += starts[last]


def pieces(text: str) -> list[Piece]:
    """All pieces of a complete text."""
    final, open_ = BlockStream().update(text)
    return final + open_


def _groups(tokens: Sequence[Token], numbering: _Numbering | None) -> list[_Group]:
    """Cut at the outermost blocks and at the items of outermost lists."""
    groups: list[_Group] = []
    outer: Token | None = None
    number, before = 1, None
    for token in tokens:
        if token.level == 0 and token.nesting >= 0:
            outer = token if token.type in {"ordered_list_open", "bullet_list_open"} else None
            if outer is not None:
                number, before = int(outer.attrGet("start") or 1), None
                if not groups and numbering is not None and numbering.markup == outer.markup:
                    number = numbering.following
                continue
            lines = _lines_of(token)
            if lines is not None and not _is_wide(lines):
                groups += _table_groups(token, lines)
            else:
                needs = 1 if lines is None or lines.continued else 2
                groups.append(_Group([token], (token.map or (0, 0))[0], needs_lines=needs))
        elif outer is not None and token.type == "list_item_open" and token.level == 1:
            ordered = outer.type == "ordered_list_open"
            state = _Numbering(outer.markup, number) if ordered else None
            groups.append(_Group([token], (token.map or (0, 0))[0], state, continues=before))
            number, before = number + 1, OPEN_LIST
        elif groups and not (token.level == 0 and token.type.endswith("_list_close")):
            groups[-1].tokens.append(token)
    return groups


def _lines_of(token: Token) -> TableLines | None:
    lines = token.meta.get("lines")
    return lines if isinstance(lines, TableLines) else None


def _is_wide(table: TableLines) -> bool:
    return len(table.aligns) > MOST_COLUMNS


def _parts(table: TableLines) -> Iterator[tuple[int, TableLines]]:
    """The lines of each piece, and at which line of the table it begins."""
    at, rows = 0, table.lines
    most = min(PIECE_ROWS, PIECE_CELLS // len(table.aligns))
    if not table.continued:
        # The delimiter row is no row of the piece.
        at = most + 1
        yield 0, TableLines(table.aligns, rows[:at])
    while at < len(rows):
        yield at, TableLines(table.aligns, rows[at : at + most], continued=True)
        at += most


def _table_groups(token: Token, table: TableLines) -> Iterator[_Group]:
    first_line = (token.map or (0, 0))[0]
    for at, part in _parts(table):
        piece = token.copy(meta={"lines": part})
        if part.continued:
            yield _Group([piece], first_line + at, continues=OpenTable(table.aligns))
        else:
            yield _Group([piece], first_line + at, needs_lines=2)


class _Walk:
    """Goes through the tokens of one group and collects its pieces."""

    def __init__(self, group: _Group, inline: "_Inline") -> None:
        self._inline_spans = inline
        self._tokens = group.tokens
        self._found: list[Piece] = []
        self._quote = 0
        self._heading = 0
        self._marker = ""
        self._lists: list[int | None] = []
        if group.tokens[0].type == "list_item_open":
            self._lists.append(group.numbering.following if group.numbering else None)

    def run(self) -> list[Piece]:
        for token in self._tokens:
            match token.type:
                case "inline":
                    self._inline(token)
                case "fence" | "code_block":
                    self._flush_marker()
                    words = token.info.split()
                    language = words[0] if words else ""
                    self._add(Code(text=token.content, language=language, indent=self._indent))
                case "hr":
                    self._add(Rule())
                case "heading_open":
                    self._heading = int(token.tag[1])
                case "heading_close":
                    self._heading = 0
                case "blockquote_open":
                    self._quote += 1
                case "blockquote_close":
                    self._quote -= 1
                case "table":
                    self._table(token)
                case _:
                    self._list(token)
        return self._found

    @property
    def _indent(self) -> int:
        return len(self._lists)

    def _add(self, piece: Piece) -> None:
        self._found.append(piece)

    def _list(self, token: Token) -> None:
        match token.type:
            case "bullet_list_open":
                self._flush_marker()
                self._lists.append(None)
            case "ordered_list_open":
                self._flush_marker()
                self._lists.append(int(token.attrGet("start") or 1))
            case "bullet_list_close" | "ordered_list_close":
                self._lists.pop()
            case "list_item_open":
                number = self._lists[-1]
                if number is None:
                    self._marker = "•" if len(self._lists) % 2 else "◦"
                else:
                    self._marker = f"{number}."
                    self._lists[-1] = number + 1
            case "list_item_close":
                self._flush_marker()

    def _flush_marker(self) -> None:
        """An item without text of its own still shows its marker."""
        if self._marker:
            self._paragraph(())

    def _table(self, token: Token) -> None:
        self._flush_marker()
        table = _lines_of(token)
        if table is None:
            return
        if _is_wide(table):
            self._add(Code(text="\n".join(table.lines), indent=self._indent))
            return
        for _, part in _parts(table):
            rows = part.lines if part.continued else (part.lines[0], *part.lines[2:])
            cells = tuple(self._inline_spans.cells(row, len(part.aligns)) for row in rows)
            self._add(
                Table(
                    rows=cells,
                    aligns=part.aligns,
                    indent=self._indent,
                    continued=part.continued,
                )
            )

    def _inline(self, token: Token) -> None:
        if len(token.content) > LONGEST_INLINE:
            self._plain(token.content)
        else:
            self._paragraph(self._inline_spans.read(token.content))

    def _plain(self, text: str) -> None:
        for line in text.splitlines():
            for at in range(0, len(line), PLAIN_PIECE):
                self._paragraph((Span(text=line[at : at + PLAIN_PIECE]),))

    def _paragraph(self, spans: tuple[Span, ...]) -> None:
        marker, self._marker = self._marker, ""
        if marker and spans and (task := _TASK.match(spans[0].text)):
            marker = "☐" if task[1] == " " else "☑"
            spans = (replace(spans[0], text=spans[0].text[task.end() :]), *spans[1:])
        self._add(
            Paragraph(
                spans=spans,
                heading=self._heading,
                indent=self._indent,
                marker=marker,
                quote=self._quote,
            )
        )


class _Inline:
    """Reads inline markup; remembers what the time before has read, for blocks still open."""

    def __init__(self, before: dict[str, tuple[Span, ...]]) -> None:
        self._before = before
        self.used: dict[str, tuple[Span, ...]] = {}

    def cells(self, line: str, columns: int) -> tuple[tuple[Span, ...], ...]:
        """A row of a table."""
        return tuple(
            self.read(cell) if len(cell) <= LONGEST_INLINE else (Span(text=cell),)
            for cell in table_cells(line, columns)
        )

    def read(self, text: str) -> tuple[Span, ...]:
        spans = self._before.get(text)
        if spans is None:
            parser = inline_parser()
            spans = inline_spans(parser.inline.parse(text, parser, {}, []))
        self.used[text] = spans
        return spans
