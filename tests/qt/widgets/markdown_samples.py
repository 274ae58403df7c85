"""Markdown in every shape a model writes it, for the tests of its parts."""

from hypothesis import strategies as st

ELEMENTS = {
    "heading": "# One *two* `three`",
    "empty heading": "#\n\n-\n\n1. \n\n>",
    "setext": "Title\n=====",
    "paragraph": "one **bold** *italic* ~~gone~~ `code` ***both***\nnext line",
    "hard break": "one  \ntwo\\\nthree<br>four",
    "bullets": "- one\n- two\n  - inner\n    still inner\n- [ ] open\n- [x] done",
    "numbers": "3. three\n4. four\n\n   more of four\n5) other list",
    "quote": "> one\n> > two\nlazy\n\n> - item",
    "fence": "```python\ndef f():\n\n    return 1\n```",
    "tilde fence": "~~~\n```\n~~~",
    "indented code": "    x = 1\n\n    y = 2",
    "fence in item": "1. do\n   ```sh\n   ls\n   ```\n2. done",
    "unclosed fence": "```\nstill **open**\n\n# no heading",
    "table": "| a | b |\n|:--|--:|\n| 1 | `x \\| y` |\n| **2** | |",
    "bare table": "a | b\n--|:-:\n1 | 2 | 3\n4",
    "table in item": "- item\n\n  | a |\n  |---|\n  | 1 |",
    "table in quote": "> | a | b |\n> |---|---|\n> | 1 | 2 |",
    "rule": "***",
    "link": "[text](https://e.org/a?b=1&c=2 'title') <https://e.org> https://e.org/x_(y).",
    "image": "![a chart](https://e.org/x.png) ![](x.png)",
    "html": "<b onclick='x()'>raw</b>\n\n<script>alert(1)</script>\n\n<!-- hidden -->",
    "reference": "See [1] and [text][two].\n\n[1]: https://e.org/1\n[two]: <https://e.org/2>",
    "entities": "&lt;b&gt; &amp; \\*no\\* &#x41;",
    "emoji": "👩‍👩‍👧 **😀** ~~✅~~",
    "right to left": "**שלום** مرحبا abc\n\n- שלום\n\n| א | ב |\n|---|---|\n| ג | ד |",
    "old newlines": "one\r\rtwo\r\n- a\r- b\r\n",
}
"""Each ends without a newline, except where that is the point."""

SCRAPS = (
    *(
        "# ",
        "## ",
        "a",
        "b c",
        "**",
        "*",
        "`",
        "~~",
        "[t](https://e.org)",
        "<b>",
        "https://e.org/a",
    ),
    *("- ", "* ", "+ ", "-", "1. ", "2. ", "10) ", "> ", "    ", "  ", "   ", "\t", "[ ] ", "\\"),
    *(
        "```",
        "```py",
        "~~~",
        "---",
        "***",
        "===",
        "|",
        "| a | b |",
        "|---|---|",
        "|---|:-:|",
        "| x",
    ),
    *(
        "| a | b | c |\n|---|---|---|\n",
        "| 1 | 2 |\n",
        "> | 1 | 2 |\n",
        "[1]: https://e.org",
        "[1]",
    ),
    *("&amp;", "<br>", "#", "\n", "\n", "\n", "\n\n", "\r\n", "\r", "😀", "שלום", "\0", "\u2028"),
)
"""What goes wrong in combinations: markers, half elements, ends of lines."""

documents = st.one_of(
    st.lists(st.sampled_from(SCRAPS), max_size=30).map("".join),
    st.lists(st.sampled_from(tuple(ELEMENTS.values())), max_size=4).map("\n\n".join),
    st.lists(st.sampled_from((*ELEMENTS.values(), *SCRAPS)), max_size=10).map("".join),
)
"""Whole elements, scraps, and both."""

steps = st.lists(st.integers(1, 40), min_size=1, max_size=5)
"""Characters that come at a time; repeated."""


def prefixes(text: str, by: list[int]) -> list[str]:
    """The growing text, as it is seen after each step."""
    found, end = [], 0
    while end < len(text):
        end += by[len(found) % len(by)]
        found.append(text[:end])
    return found


def table(rows: int, columns: int, cell: str = "{y}.{x}") -> str:
    """A table with a head and `rows` further rows."""
    lines = ["|".join(f" head {x} " for x in range(columns)), "|".join(["---"] * columns)]
    lines += ["|".join(f" {cell.format(y=y, x=x)} " for x in range(columns)) for y in range(rows)]
    return "".join(f"|{line}|\n" for line in lines)
