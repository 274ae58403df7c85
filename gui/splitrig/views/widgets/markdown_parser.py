"""markdown-it as answers need it: nothing vanishes, tables are cheap.

Two rules of our own. A table is one token with its lines, not three tokens a cell, and can go on
where an earlier parse has left it. What is nested too deep to be drawn is a block of its source;
markdown-it would skip it.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from markdown_it.rules_block.table import table as gfm_table

DEEPEST = 32
"""Levels of nesting that are drawn; a list has two, a quote one."""
OPEN_BLOCK = "open_block"
"""Key in the parser's environment: the block that the first line goes on with, `OPEN_LIST` or an
`OpenTable`."""
OPEN_LIST = "list"
_PIPE = re.compile(r"(?<!\\)\|")


@dataclass(frozen=True, slots=True)
class OpenTable:
    """A table whose first lines are finished.

    Attributes:
        aligns: `left`, `center` or `right` for each column.
        lines: The finished lines where they are still needed, otherwise none.
    """

    aligns: tuple[str, ...]
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TableLines:
    """What a `table` token carries in its `meta` under `lines`.

    Attributes:
        aligns: `left`, `center` or `right` for each column.
        lines: The source, head and delimiter row first unless `continued`.
        continued: The lines are rows that follow on those of an earlier parse.
    """

    aligns: tuple[str, ...]
    lines: tuple[str, ...]
    continued: bool = False


@lru_cache(maxsize=1)
def inline_parser() -> MarkdownIt:
    """For the text of one block; nested brackets cost too much beyond its 20 levels."""
    return MarkdownIt("commonmark", {"html": False}).enable("strikethrough")


def new_parser() -> MarkdownIt:
    """For blocks only.

    Definitions of references stay text: they may come after what refers to them is on screen.
    """
    options = {"html": False, "maxNesting": DEEPEST + 2}
    parser = MarkdownIt("commonmark", options).enable("table")
    parser.disable(["inline", "reference"])
    ruler = parser.block.ruler
    ruler.at("table", _table, {"alt": ["paragraph"]})
    ruler.before("table", "too_deep", _too_deep)
    return parser


def table_cells(line: str, columns: int) -> list[str]:
    """The cells of a row; with too many pipes the last cell has the rest as it is written."""
    line = line.strip().removeprefix("|")
    cells = _PIPE.split(line, maxsplit=columns - 1) if columns > 1 else [line]
    last = cells[-1].strip()
    while last.endswith("|") and not last.endswith("\\|"):
        last = last[:-1].rstrip()
    cells[-1] = last
    cells += [""] * (columns - len(cells))
    return [cell.strip().replace("\\|", "|") for cell in cells]


def _too_deep(state: StateBlock, start: int, end: int, silent: bool) -> bool:  # noqa: FBT001 - the parser's interface
    if silent or state.level < DEEPEST:
        return False
    token = state.push("code_block", "code", 0)
    token.content = state.getLines(start, end, state.blkIndent, keepLastLF=False)
    token.map = [start, end]
    state.line = end
    return True


def _table(state: StateBlock, start: int, end: int, silent: bool) -> bool:  # noqa: FBT001 - the parser's interface
    first = start == 0 and state.level == 0 and not silent
    open_ = state.env.get(OPEN_BLOCK) if first else None
    if open_ == OPEN_LIST:
        # An item with pipes in it; elsewhere it could be the head of a table.
        return False
    if open_ is None and not gfm_table(state, start, end, silent=True):
        return False
    if silent:
        return True
    stop = start if open_ is not None else start + 2
    around, state.parentType = state.parentType, "table"
    while stop < end and _is_row(state, stop, end):
        stop += 1
    state.parentType = around
    lines = tuple(_line(state, at) for at in range(start, stop))
    if isinstance(open_, OpenTable):
        found = TableLines(open_.aligns, open_.lines + lines, continued=not open_.lines)
    else:
        found = TableLines(_aligns(lines[1]), lines)
    token = state.push("table", "table", 0)
    token.map = [start, stop]
    token.meta = {"lines": found}
    state.line = stop
    return True


def _is_row(state: StateBlock, line: int, end: int) -> bool:
    """A line of a table's body: not empty, not indented, and it begins no other block."""
    if state.sCount[line] < state.blkIndent or state.isEmpty(line) or state.is_code_block(line):
        return False
    if state.src[state.bMarks[line] + state.tShift[line]] == "|":
        return True
    look_only = True
    rules = state.md.block.ruler.getRules("blockquote")
    return not any(rule(state, line, end, look_only) for rule in rules)


def _line(state: StateBlock, line: int) -> str:
    return state.src[state.bMarks[line] + state.tShift[line] : state.eMarks[line]]


def _aligns(delimiter: str) -> tuple[str, ...]:
    sides = {(True, True): "center", (False, True): "right"}
    cells = [cell.strip() for cell in delimiter.split("|")]
    return tuple(
        sides.get((cell.startswith(":"), cell.endswith(":")), "left") for cell in cells if cell
    )
