"""Markdown as pieces: the same however it streams in, and nothing of it vanishes."""

import re

import pytest
from hypothesis import given, settings
from markdown_samples import ELEMENTS, documents, prefixes, steps, table

from splitrig.views.widgets import markdown_blocks
from splitrig.views.widgets.markdown_blocks import (
    LONGEST_INLINE,
    MOST_COLUMNS,
    PIECE_ROWS,
    BlockStream,
    Code,
    Paragraph,
    Piece,
    Rule,
    Table,
    pieces,
)
from splitrig.views.widgets.markdown_inline import Span


def streamed(text: str, by: list[int]) -> list[Piece]:
    """The pieces after the text came in steps."""
    stream = BlockStream()
    final: list[Piece] = []
    open_: list[Piece] = []
    for part in prefixes(text, by):
        new, open_ = stream.update(part)
        final += new
    return final + open_


def spans_of(piece: Piece) -> list[Span]:
    if isinstance(piece, Paragraph):
        return list(piece.spans)
    if isinstance(piece, Table):
        return [span for row in piece.rows for cell in row for span in cell]
    return []


def all_text(found: list[Piece]) -> str:
    """What a reader sees, markers and addresses included."""
    lines = [span.href or "" for piece in found for span in spans_of(piece)]
    for piece in found:
        if isinstance(piece, Code):
            lines.append(f"{piece.language} {piece.text}")
        elif isinstance(piece, Paragraph):
            lines.append(f"{piece.marker} {''.join(span.text for span in piece.spans)}")
        elif isinstance(piece, Table):
            cells = [cell for row in piece.rows for cell in row]
            lines += ["".join(span.text for span in cell) for cell in cells]
    return "\n".join(lines)


def texts(text: str) -> list[str]:
    return ["".join(span.text for span in spans_of(piece)) for piece in pieces(text)]


# Streaming


@settings(max_examples=400, deadline=None)
@given(documents, steps)
def test_streaming_gives_what_one_piece_gives(text: str, by: list[int]) -> None:
    assert streamed(text, by) == pieces(text)


@settings(max_examples=400, deadline=None)
@given(documents, steps)
def test_streaming_gives_the_same_where_tables_are_cut(text: str, by: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(markdown_blocks, "PIECE_ROWS", 2)
        patch.setattr(markdown_blocks, "MOST_COLUMNS", 2)
        assert streamed(text, by) == pieces(text)


@pytest.mark.parametrize("name", ELEMENTS)
@pytest.mark.parametrize("after", ["", "\n", "\n\nlast", "\n- last\n"])
def test_every_element_streams_character_by_character(name: str, after: str) -> None:
    text = ELEMENTS[name] + after
    assert streamed(text, [1]) == pieces(text)


@pytest.mark.parametrize(
    "text",
    [
        table(3 * PIECE_ROWS, 3),
        f"text\n{table(PIECE_ROWS, 3)}\nmore\n\n{table(PIECE_ROWS + 1, 40)}- end",
        table(30, MOST_COLUMNS + 1) + "\nend",
        "- a\n\n  " + table(2 * PIECE_ROWS, 2).replace("\n", "\n  "),
        "".join("  " * i + f"- level {i}\n" for i in range(60)),
        "word " * 2000,
        "".join(f"{i}. item\n" for i in range(1, 300)),
    ],
)
def test_long_texts_stream_the_same(text: str) -> None:
    assert streamed(text, [97]) == pieces(text)


@pytest.mark.parametrize(
    ("text", "most_chars"),
    [(table(2000, 3), 3000), (table(60, 40), 1500), ("text\n\n" * 2000, 300)],
)
def test_what_is_finished_is_not_parsed_again(text: str, most_chars: int) -> None:
    stream = BlockStream()
    left = []
    for part in prefixes(text, [200]):
        stream.update(part)
        left.append(len(part) - stream._done_chars)
    assert max(left) < most_chars


# Elements


def test_inline_markup_becomes_flags() -> None:
    (piece,) = pieces("a **b** *c* ~~d~~ `e` ***f***\ng")
    assert isinstance(piece, Paragraph)
    assert piece.spans == (
        Span(text="a "),
        Span(text="b", bold=True),
        Span(text=" "),
        Span(text="c", italic=True),
        Span(text=" "),
        Span(text="d", strike=True),
        Span(text=" "),
        Span(text="e", code=True),
        Span(text=" "),
        Span(text="f", bold=True, italic=True),
        Span(text=" g"),
    )


def test_headings_lists_quotes_and_rules_keep_their_depth() -> None:
    text = "## Two\n\n- a\n  - b\n\n    more\n- [x] c\n- [ ] d\n\n7. e\n8. f\n\n> g\n> > h\n\n---\n"
    found = [
        (p.heading, p.indent, p.marker, p.quote, "".join(s.text for s in p.spans))
        if isinstance(p, Paragraph)
        else type(p)
        for p in pieces(text)
    ]
    assert found == [
        (2, 0, "", 0, "Two"),
        (0, 1, "•", 0, "a"),
        (0, 2, "◦", 0, "b"),
        (0, 2, "", 0, "more"),
        (0, 1, "☑", 0, "c"),
        (0, 1, "☐", 0, "d"),
        (0, 1, "7.", 0, "e"),
        (0, 1, "8.", 0, "f"),
        (0, 0, "", 1, "g"),
        (0, 0, "", 2, "h"),
        Rule,
    ]


def test_numbers_go_on_while_the_list_streams() -> None:
    text = "".join(f"{n}. item\n\n    more\n" for n in range(5, 12)) + "\ntext\n\n1. new\n"
    markers = [p.marker for p in streamed(text, [7]) if isinstance(p, Paragraph) and p.marker]
    assert markers == [f"{n}." for n in range(5, 12)] + ["1."]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("```python title=x\na\n\n  b\n```\n", Code(text="a\n\n  b\n", language="python")),
        ("```\nopen", Code(text="open")),
        ("```\nopen\n\n# still", Code(text="open\n\n# still")),
        ("~~~~c\n```\n~~~~", Code(text="```\n", language="c")),
        ("    x\n\n    y", Code(text="x\n\ny\n")),
        ("- a\n  ```\n  x\n", Code(text="x\n", indent=1)),
    ],
)
def test_code_is_kept_to_the_letter(text: str, expected: Code) -> None:
    assert pieces(text)[-1] == expected


@pytest.mark.parametrize(
    "text",
    ["<b>x</b>", "<img src=x onerror=y>", "<!-- c -->", "a <script>x</script> b", "<details>"],
)
def test_raw_html_is_text(text: str) -> None:
    assert texts(text) == [text]


def test_a_written_line_break_is_one() -> None:
    assert texts("a<br>b<BR />c  \nd") == ["a\u2028b\u2028c\u2028d"]


# Links and images


@pytest.mark.parametrize(
    ("text", "words", "href"),
    [
        ("[a](https://e.org/?b=1&c=2)", "a", "https://e.org/?b=1&c=2"),
        ("<mailto:a@e.org>", "mailto:a@e.org", "mailto:a@e.org"),
        ("https://e.org/x_y", "https://e.org/x_y", "https://e.org/x_y"),
        ("(https://e.org).", "https://e.org", "https://e.org"),
        ("![chart](https://e.org/x.png)", "Image: chart", "https://e.org/x.png"),
        ("![](http://e.org/x.png)", "Image: without a title", "http://e.org/x.png"),
        ("[![logo](x.png)](https://e.org)", "Image: logo", "https://e.org"),
    ],
)
def test_web_addresses_become_links(text: str, words: str, href: str) -> None:
    links = [(s.text, s.href) for s in spans_of(pieces(text)[0]) if s.href is not None]
    assert links == [(words, href)]


@pytest.mark.parametrize(
    "text",
    [
        "[a](javascript:alert(1))",
        "[a](file:///etc/passwd)",
        "[a](data:text/html,x)",
        "[a](vbscript:x)",
        "[a](notes.md)",
        "<ftp://e.org>",
        "![a](file:///etc/passwd)",
        "![a](notes.png)",
        "`https://e.org`",
    ],
)
def test_everything_else_is_no_link(text: str) -> None:
    assert all(span.href is None for piece in pieces(text) for span in spans_of(piece))


def test_definitions_of_references_stay_text_with_their_address() -> None:
    text = (
        "See [1] and [the text][two].\n\n[1]: https://example.org/one\n[two]: <https://e.org/2>\n"
    )
    assert texts(text) == [
        "See [1] and [the text][two].",
        "[1]: https://example.org/one\u2028[two]: https://e.org/2",
    ]
    hrefs = [s.href for piece in pieces(text) for s in spans_of(piece) if s.href is not None]
    assert hrefs == ["https://example.org/one", "https://e.org/2"]
    assert streamed(text, [5]) == pieces(text)


# Nothing vanishes


@pytest.mark.parametrize("name", ELEMENTS)
def test_no_word_of_an_element_vanishes(name: str) -> None:
    shown = all_text(pieces(ELEMENTS[name]))
    # Titles of links, entities, and the file of a picture that no link can lead to.
    markup = {"title", "amp", "lt", "gt", "br", "x41", "x", "png"}
    words = [word for word in re.findall(r"\w+", ELEMENTS[name]) if word not in markup]
    assert [word for word in words if word not in shown] == []


@pytest.mark.parametrize(
    "text",
    [
        "".join("  " * i + f"- level {i}\n" for i in range(400)),
        "".join("   " * i + f"1. level {i}\n" for i in range(200)),
        "".join("> " * i + f"level {i}\n\n" for i in range(200)),
        "".join("> - " * i + f"level {i}\n\n" for i in range(60)),
        "- " * 300 + "level 0",
    ],
)
def test_deeply_nested_text_is_still_there(text: str) -> None:
    shown = all_text(pieces(text))
    levels = re.findall(r"level \d+", text)
    assert [level for level in levels if level not in shown] == []
    assert streamed(text[:6000], [211]) == pieces(text[:6000])


def test_text_nested_too_deep_is_shown_as_its_source() -> None:
    text = "".join("  " * i + f"- level {i}\n" for i in range(40))
    found = pieces(text)
    drawn = [p for p in found if isinstance(p, Paragraph)]
    assert len(drawn) >= 15
    assert isinstance(found[-1], Code)
    source = found[-1].text
    n = len(drawn) - 1
    assert source.startswith(f"level {n}\n- level {n + 1}\n  - level {n + 2}\n")
    assert source.endswith("- level 39")


def test_a_long_paragraph_is_shown_as_it_is_written() -> None:
    text = "**word** " * 1000
    assert len(text) > LONGEST_INLINE
    found = pieces(text)
    assert "".join(span.text for piece in found for span in spans_of(piece)) == text.strip()
    assert not any(span.bold for piece in found for span in spans_of(piece))


# Tables


def test_a_table_has_its_cells_and_sides() -> None:
    (piece,) = pieces("| a | **b** |  c |\n|:-:|--:|---|\n| 1 | x \\| y |\n")
    assert isinstance(piece, Table)
    assert piece.aligns == ("center", "right", "left")
    assert piece.rows == (
        ((Span(text="a"),), (Span(text="b", bold=True),), (Span(text="c"),)),
        ((Span(text="1"),), (Span(text="x | y"),), ()),
    )


@pytest.mark.parametrize(
    ("row", "cells"),
    [
        ("| 1 | 2 |", ["1", "2"]),
        ("1 | 2", ["1", "2"]),
        ("| 1 |", ["1", ""]),
        ("| | 2", ["", "2"]),
        ("| 1 | 2 | |", ["1", "2"]),
        ("| 1 | 2 | 3 |", ["1", "2 | 3"]),
        ("| 1 | `a || b` |", ["1", "a || b"]),
        ("| 1 | a \\|", ["1", "a |"]),
    ],
)
def test_no_cell_of_a_row_is_lost(row: str, cells: list[str]) -> None:
    (piece,) = pieces(f"| a | b |\n|---|---|\n{row}\n")
    assert isinstance(piece, Table)
    assert ["".join(span.text for span in cell) for cell in piece.rows[1]] == cells


@pytest.mark.parametrize("row", ["| 1 | 2 |", "| 1", "1", ""])
def test_a_table_of_one_column(row: str) -> None:
    (piece,) = pieces(f"| a |\n|---|\n{row}\n")
    assert isinstance(piece, Table)
    assert all(len(cells) == 1 for cells in piece.rows)


def test_a_long_table_comes_in_pieces_that_go_on() -> None:
    rows = 3 * PIECE_ROWS
    found = pieces(f"{table(rows, 2)}\nend")
    tables = [piece for piece in found if isinstance(piece, Table)]
    assert [len(piece.rows) for piece in tables] == [PIECE_ROWS] * 3 + [1]
    assert [piece.continued for piece in tables] == [False, True, True, True]
    cells = [row[0][0].text for piece in tables for row in piece.rows]
    assert cells == ["head 0", *(f"{y}.0" for y in range(rows))]
    assert isinstance(found[-1], Paragraph)


def test_pieces_of_a_table_with_many_columns_are_shorter() -> None:
    found = pieces(table(100, MOST_COLUMNS))
    cells = [len(piece.rows) * MOST_COLUMNS for piece in found if isinstance(piece, Table)]
    assert max(cells) <= markdown_blocks.PIECE_CELLS
    assert sum(cells) == 101 * MOST_COLUMNS


def test_a_table_too_wide_to_draw_is_shown_as_its_source() -> None:
    text = table(30, MOST_COLUMNS + 1)
    assert pieces(text) == [Code(text=text.rstrip("\n"))]
    inner = "  ".join(f"- item\n\n{text}".splitlines(keepends=True))
    assert pieces(inner)[-1] == Code(text=text.rstrip("\n"), indent=1)


def test_half_a_delimiter_row_ends_nothing_too_early() -> None:
    text = "para\n| a | b |\n|---|--x\n"
    assert streamed(text, [1]) == pieces(text)
    (piece,) = pieces(text)
    assert isinstance(piece, Paragraph)
