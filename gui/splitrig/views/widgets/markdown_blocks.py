"""Markdown as a flat list of pieces to draw, grown piece by piece while an answer streams.

No Qt in here. Raw HTML stays text, images become links, and only web and mail addresses are links
at all.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from markdown_it import MarkdownIt
from markdown_it.token import Token

LONGEST_INLINE = 4_000
"""Characters of one paragraph that still get inline markup; a longer one is shown as it is
written, because it is parsed anew with every token that is added to it (20 ms at this length)."""
PLAIN_PIECE = 2_000
FLAGS = frozenset({"strong", "em", "s"})
SAFE_SCHEMES = ("https://", "http://", "mailto:")
_URL = re.compile(r"https?://[^\s<>\"'`]*[^\s<>\"'`.,;:!?)\]}*_]")
_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
_TASK = re.compile(r"\[([ xX])\] ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A run of text of one kind."""

    text: str
    bold: bool = False
    italic: bool = False
    strike: bool = False
    code: bool = False
    href: str | None = None


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table; the first row is its head, alignments are `left`, `center`, `right`."""

    rows: tuple[tuple[tuple[Span, ...], ...], ...]
    aligns: tuple[str, ...]
    indent: int = 0


@dataclass(frozen=True, slots=True)
class Rule:
    """A line across."""


Piece = Paragraph | Code | Table | Rule


@dataclass(frozen=True, slots=True)
class _Numbering:
    """How the ordered list goes on whose items so far are finished."""

    markup: str
    following: int


def _new_parser() -> MarkdownIt:
    # Inline markup is left to `_Walk`, which looks at the length first.
    extended = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    return extended.disable(["inline"])


@dataclass(slots=True)
class BlockStream:
    """Parses a text that only grows; what is finished is never parsed again.

    A block is finished when a further one has begun on a complete line below it; items of an
    outermost list count as blocks.
    """

    _parser: MarkdownIt = field(default_factory=_new_parser)
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
        lines = rest.count("\n")
        groups = _groups(self._parser.parse(rest, self._env), self._numbering)
        n_final = 0
        for at, group in enumerate(groups[1:], 1):
            if group.first_line < lines:
                n_final = at
        inline = _Inline(self._parser, self._env, self._spans)
        final = [piece for group in groups[:n_final] for piece in _Walk(group, inline).run()]
        open_ = [piece for group in groups[n_final:] for piece in _Walk(group, inline).run()]
        self._spans = inline.used
        if n_final:
            self._done_chars += _line_starts(rest)[groups[n_final].first_line]
            self._numbering = groups[n_final].numbering
        return final, open_


def pieces(text: str) -> list[Piece]:
    """All pieces of a complete text."""
    final, open_ = BlockStream().update(text)
    return final + open_


@dataclass(slots=True)
class _Group:
    """Tokens of one block that can become final on its own."""

    tokens: list[Token]
    first_line: int
    numbering: _Numbering | None = None


def _groups(tokens: Sequence[Token], numbering: _Numbering | None) -> list[_Group]:
    """Cut at the outermost blocks and at the items of outermost lists."""
    groups: list[_Group] = []
    outer: Token | None = None
    number = 1
    for token in tokens:
        if token.level == 0 and token.nesting >= 0:
            outer = token if token.type in {"ordered_list_open", "bullet_list_open"} else None
            if outer is not None:
                number = int(outer.attrGet("start") or 1)
                if not groups and numbering is not None and numbering.markup == outer.markup:
                    number = numbering.following
                continue
            groups.append(_Group([token], (token.map or (0, 0))[0]))
        elif outer is not None and token.type == "list_item_open" and token.level == 1:
            ordered = outer.type == "ordered_list_open"
            state = _Numbering(outer.markup, number) if ordered else None
            groups.append(_Group([token], (token.map or (0, 0))[0], state))
            number += 1
        elif groups and not (token.level == 0 and token.type.endswith("_list_close")):
            groups[-1].tokens.append(token)
    return groups


def _line_starts(text: str) -> list[int]:
    starts = [0]
    for line in text.split("\n"):
        starts.append(starts[-1] + len(line) + 1)
    return starts


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
        self._cells: list[tuple[Span, ...]] = []
        self._rows: list[tuple[tuple[Span, ...], ...]] = []
        self._aligns: list[str] = []
        self._in_table = False

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
                case _:
                    self._list(token)
                    self._table(token)
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
        match token.type:
            case "table_open":
                self._flush_marker()
                self._in_table = True
                self._rows, self._aligns = [], []
            case "tr_open":
                self._cells = []
            case "th_open":
                style = str(token.attrGet("style") or "")
                self._aligns.append(style.removeprefix("text-align:") or "left")
            case "tr_close":
                self._rows.append(tuple(self._cells))
            case "table_close":
                self._in_table = False
                self._add(
                    Table(rows=tuple(self._rows), aligns=tuple(self._aligns), indent=self._indent)
                )

    def _inline(self, token: Token) -> None:
        if len(token.content) > LONGEST_INLINE and not self._in_table:
            self._plain(token.content)
            return
        spans = self._inline_spans.read(token.content)
        if self._in_table:
            self._cells.append(spans)
        else:
            self._paragraph(spans)

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

    def __init__(
        self,
        parser: MarkdownIt,
        env: dict[str, object],
        before: dict[str, tuple[Span, ...]],
    ) -> None:
        self._parser = parser
        self._env = env
        self._before = before
        self.used: dict[str, tuple[Span, ...]] = {}

    def read(self, text: str) -> tuple[Span, ...]:
        spans = self._before.get(text)
        if spans is None:
            children: list[Token] = []
            self._parser.inline.parse(text, self._parser, self._env, children)
            spans = inline_spans(children)
        self.used[text] = spans
        return spans


def inline_spans(tokens: Sequence[Token]) -> tuple[Span, ...]:
    """Text runs of one paragraph, neighbours of the same kind joined."""
    found: list[Span] = []
    state = Span(text="")
    for token in tokens:
        name, _, edge = token.type.rpartition("_")
        if name in FLAGS:
            state = _switched(state, name, on=edge == "open")
        elif token.type == "link_open":
            state = replace(state, href=_safe(str(token.attrGet("href") or "")))
        elif token.type == "link_close":
            state = replace(state, href=None)
        elif token.type == "image":
            words = token.content.strip() or "without a title"
            href = _safe(str(token.attrGet("src") or "")) or state.href
            found.append(replace(state, text=f"Image: {words}", href=href))
        elif token.type == "code_inline":
            found.append(replace(state, text=token.content, code=True))
        elif token.type in {"softbreak", "hardbreak"}:
            found.append(replace(state, text=" " if token.type == "softbreak" else "\u2028"))
        elif token.content:
            found += _with_addresses(replace(state, text=_BREAK.sub("\u2028", token.content)))
    return _joined(found)


def _switched(span: Span, tag: str, *, on: bool) -> Span:
    match tag:
        case "strong":
            return replace(span, bold=on)
        case "em":
            return replace(span, italic=on)
        case _:
            return replace(span, strike=on)


def _safe(href: str) -> str | None:
    return href if href.lower().startswith(SAFE_SCHEMES) else None


def _with_addresses(span: Span) -> list[Span]:
    """Bare web addresses become links."""
    if span.href is not None or "://" not in span.text:
        return [span]
    found: list[Span] = []
    at = 0
    for match in _URL.finditer(span.text):
        found.append(replace(span, text=span.text[at : match.start()]))
        found.append(replace(span, text=match[0], href=match[0]))
        at = match.end()
    found.append(replace(span, text=span.text[at:]))
    return [s for s in found if s.text]


def _joined(spans: list[Span]) -> tuple[Span, ...]:
    found: list[Span] = []
    texts: list[str] = []
    for span in spans:
        if found and replace(span, text="") == found[-1]:
            texts[-1] += span.text
        else:
            found.append(replace(span, text=""))
            texts.append(span.text)
    return tuple(replace(s, text=t) for s, t in zip(found, texts, strict=True) if t)
