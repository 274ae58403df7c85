"""Markdown on screen: the same however it grew, harmless, and to the letter where it is copied."""

import base64
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from markdown_samples import ELEMENTS, documents, prefixes, steps, table
from PySide6.QtCore import QObject, QPoint, QRect, Qt, QUrl, Slot
from PySide6.QtGui import QDesktopServices, QFont, QGuiApplication, QTextCursor, QTextDocument
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QMenu, QPushButton
from pytestqt.qtbot import QtBot

from splitrig.views.theme import Theme
from splitrig.views.widgets import markdown_blocks
from splitrig.views.widgets.code_block import CodeBlock
from splitrig.views.widgets.markdown import MarkdownView
from splitrig.views.widgets.markdown_table import TableView
from splitrig.views.widgets.markdown_text import TextRun

WIDTH = 640
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
)


def make(theme: Theme, text: str = "") -> MarkdownView:
    view = MarkdownView(theme, text)
    view.resize(WIDTH, 400)
    return view


@pytest.fixture
def view(theme: Theme, qtbot: QtBot) -> MarkdownView:
    """An empty view in a window."""
    made = make(theme)
    qtbot.addWidget(made)
    made.show()
    qtbot.waitExposed(made)
    return made


def run_content(run: TextRun) -> list[object]:
    """Every stretch of text with what can be seen of its format, block by block."""
    found: list[object] = []
    block = run.document().firstBlock()
    while block.isValid():
        shape = block.blockFormat()
        found.append((shape.leftMargin(), shape.topMargin(), shape.textIndent()))
        inner = block.begin()
        while not inner.atEnd():
            text = inner.fragment().text()
            look = inner.fragment().charFormat()
            font = look.font()
            flags = (
                font.bold(),
                font.italic(),
                font.strikeOut(),
                font.families(),
                font.pixelSize(),
            )
            found.append((text, *flags, look.foreground().color().name(), look.anchorHref()))
            inner += 1
        block = block.next()
    return found


def content(view: MarkdownView) -> list[object]:
    """What each part of a view shows."""
    found: list[object] = []
    for part in view._widgets:
        if isinstance(part, TextRun):
            found.append(run_content(part))
        elif isinstance(part, CodeBlock):
            found.append((part._name.text(), part.code, part._body.toPlainText()))
        else:
            parts = [run_content(run) for run in part._parts]
            found.append((part.rows, part.column_px, parts))
    return found


def runs(view: MarkdownView) -> list[TextRun]:
    """The text runs of a view, those of its tables included."""
    found: list[TextRun] = []
    for part in view._widgets:
        found += [part] if isinstance(part, TextRun) else getattr(part, "_parts", [])
    return found


def plain(view: MarkdownView) -> str:
    return "\n".join(run.toPlainText() for run in runs(view))


# Growing


def check_growth(theme: Theme, text: str, by: list[int]) -> None:
    grown, whole = make(theme), make(theme, text)
    for part in prefixes(text, by):
        grown.set_text(part)
        grown.flush()
    grown.finish(text)
    assert content(grown) == content(whole)
    grown.deleteLater()
    whole.deleteLater()


examples = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@examples
@given(text=documents, by=steps)
def test_what_grew_looks_like_what_came_at_once(
    theme: Theme, qapp: QApplication, text: str, by: list[int]
) -> None:
    check_growth(theme, text, by)


@examples
@given(text=documents, by=steps)
def test_what_grew_looks_the_same_where_tables_are_cut(
    theme: Theme, qapp: QApplication, text: str, by: list[int]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(markdown_blocks, "PIECE_ROWS", 2)
        patch.setattr(markdown_blocks, "MOST_COLUMNS", 2)
        check_growth(theme, text, by)


@pytest.mark.parametrize("name", ELEMENTS)
def test_every_element_grows_character_by_character(theme: Theme, qtbot: QtBot, name: str) -> None:
    text = f"first\n\n{ELEMENTS[name]}\n\nlast"
    grown, whole = make(theme), make(theme, text)
    qtbot.addWidget(grown)
    qtbot.addWidget(whole)
    for part in prefixes(text, [1]):
        grown.set_text(part)
        grown.flush()
    grown.finish(text)
    assert content(grown) == content(whole)
    assert grown.text == text


def test_what_is_finished_is_drawn_once(view: MarkdownView) -> None:
    view.set_text("# one\n\ntwo\n\n```\nthree\n```\n\nfour")
    view.flush()
    first, code, _ = view._widgets
    changes: list[int] = []
    first.document().contentsChange.connect(lambda at, *_: changes.append(at))
    code._body.document().contentsChange.connect(lambda at, *_: changes.append(at))
    view.set_text("# one\n\ntwo\n\n```\nthree\n```\n\nfour five\n\n| a |\n|---|\n| b |\n")
    view.flush()
    assert changes == []
    assert view._widgets[:2] == [first, code]


def test_news_are_gathered_between_two_repaints(view: MarkdownView, qtbot: QtBot) -> None:
    view.set_text("one")
    view.set_text("one two")
    view.set_text("one two three")
    assert plain(view) == "one"
    assert view.text == "one two three"
    qtbot.waitUntil(lambda: plain(view) == "one two three")


def test_another_text_takes_the_place_of_the_first(view: MarkdownView) -> None:
    view.finish("# one\n\n| a |\n|---|\n\n```\nx\n```")
    view.finish("two")
    assert plain(view) == "two"
    assert not any(block.isVisible() for block in view.findChildren(CodeBlock))
    assert len(view._widgets) == 1


@pytest.mark.parametrize("text", ["word", "- a\n- b", "| a | b |\n|---|---|\n| c |", "> q"])
def test_the_caret_stands_behind_the_last_word_while_it_grows(
    view: MarkdownView, theme: Theme, text: str
) -> None:
    def caret() -> QRect:
        """Where the caret's colour is painted."""
        for _ in range(3):
            QApplication.processEvents()
        image, colour = view.grab().toImage(), theme.colour("accent_text").rgb()
        points = [
            QPoint(x, y)
            for y in range(image.height())
            for x in range(image.width())
            if image.pixel(x, y) == colour
        ]
        xs, ys = [p.x() for p in points], [p.y() for p in points]
        return QRect(QPoint(min(xs), min(ys)), QPoint(max(xs), max(ys))) if points else QRect()

    view.resize(160, 90)
    view.set_text(text)
    view.flush()
    before = caret()
    assert before.height() > 8
    view.set_text(f"{text} mm")
    view.flush()
    assert caret().left() > before.left()
    view.finish(f"{text} mm")
    assert caret().isEmpty()


def test_an_unclosed_fence_is_code_until_it_is_closed(view: MarkdownView) -> None:
    view.set_text("```python\nx = **1**")
    view.flush()
    assert view.findChild(CodeBlock).code.rstrip("\n") == "x = **1**"
    view.finish("```python\nx = **1**\n```\n**bold**")
    assert view.findChild(CodeBlock).code == "x = **1**\n"
    assert plain(view) == "bold"


# Harmless


class Opened(QObject):
    """Takes the addresses that would go to the browser."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    @Slot(QUrl)
    def open(self, url: QUrl) -> None:
        self.found.append(url.toString())


@pytest.fixture
def opened():
    """What is opened in the browser during the test."""
    taker = Opened()
    for scheme in ("https", "http", "mailto"):
        QDesktopServices.setUrlHandler(scheme, taker, "open")
    yield taker
    for scheme in ("https", "http", "mailto"):
        QDesktopServices.unsetUrlHandler(scheme)


def click_link(view: MarkdownView) -> QMenu:
    """Click on the first link; returns the menu that opens."""
    QApplication.processEvents()
    run = view.findChild(TextRun)
    cursor = QTextCursor(run.document())
    while not cursor.charFormat().isAnchor():
        assert cursor.movePosition(QTextCursor.MoveOperation.NextCharacter)
    cursor.movePosition(QTextCursor.MoveOperation.NextCharacter)
    place = run.cursorRect(cursor).center()
    QTest.mouseClick(run.viewport(), Qt.MouseButton.LeftButton, pos=place)
    return next(menu for menu in view.findChildren(QMenu) if menu.isVisible())


popups = pytest.mark.qt_log_ignore("plugin does not support (raise|grabbing)")


@popups
def test_a_link_shows_where_it_leads_before_it_is_opened(
    view: MarkdownView, opened: Opened
) -> None:
    address = "https://example.org/a?b=1&c=2"
    view.finish(f"[click me]({address})")
    menu = click_link(view)
    shown, _, browse, copy = menu.actions()
    assert shown.text().replace("&&", "&") == address
    assert not shown.isEnabled()
    assert opened.found == []
    copy.trigger()
    assert QGuiApplication.clipboard().text() == address
    assert opened.found == []
    browse.trigger()
    assert opened.found == [address]
    menu.close()


@popups
def test_a_long_address_is_shown_in_short_and_copied_whole(
    view: MarkdownView, opened: Opened
) -> None:
    address = "https://example.org/" + "a" * 400
    view.finish(address)
    menu = click_link(view)
    assert len(menu.actions()[0].text()) < 100
    menu.actions()[3].trigger()
    assert QGuiApplication.clipboard().text() == address
    menu.close()


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("![a]({})", "![a]({})"),
        ("<img src='{}'>", "<img src='{}'>"),
        ("[![a]({})](https://e.org)", "![a]({})"),
        ("![a](http://127.0.0.1:9/x.png)", "Image: a"),
    ],
)
def test_pictures_are_never_fetched(
    view: MarkdownView, tmp_path: Path, source: str, shown: str
) -> None:
    file = tmp_path / "x.png"
    file.write_bytes(PIXEL)
    address = QUrl.fromLocalFile(str(file))
    view.finish(source.format(address.toString()))
    # U+FFFC would stand for a picture.
    assert plain(view) == shown.format(address.toString())
    kind = QTextDocument.ResourceType.ImageResource.value
    assert view.findChild(TextRun).loadResource(kind, address) is None


def test_raw_html_is_shown_as_it_is_written(view: MarkdownView) -> None:
    text = "<h1>big</h1> <a href='https://e.org'>x</a> &lt;b&gt;"
    view.finish(text)
    assert plain(view) == text.replace("&lt;", "<").replace("&gt;", ">")
    # One line in one size, and no link but the bare address.
    sizes = {entry[5] for entry in run_content(view._widgets[0]) if isinstance(entry[0], str)}
    assert len(sizes) == 1


# Looks


def test_copy_takes_the_source_of_each_block(view: MarkdownView) -> None:
    one, two = "\tif (a && b)\n\n    {<b>}\n", "| not | a table |\n|---|---|"
    view.finish(f"```c\n{one}```\n\ntext\n\n~~~\n{two}\n~~~\n")
    QApplication.processEvents()
    copies = [b for b in view.findChildren(QPushButton) if b.accessibleName() == "Copy code"]
    taken = []
    for copy in copies:
        QTest.mouseClick(copy, Qt.MouseButton.LeftButton)
        taken.append(QGuiApplication.clipboard().text())
    assert taken == [one.removesuffix("\n"), two]


def test_another_theme_changes_colours_and_nothing_else(theme: Theme, qtbot: QtBot) -> None:
    text = "\n\n".join(ELEMENTS.values()) + "\n\n" + table(100, 4)
    view = make(theme)
    qtbot.addWidget(view)
    for part in prefixes(text, [500]):
        view.set_text(part)
        view.flush()

    def without_colours() -> str:
        colours = {theme.colour(name).name() for name in ("text", "muted", "accent_text")}
        shown = repr(content(view))
        for colour in colours:
            shown = shown.replace(colour, "")
        return shown

    dark = without_colours()
    colour = theme.colour("text").name()
    assert colour in repr(content(view))
    theme.set_dark(dark=False)
    assert without_colours() == dark
    assert colour not in repr(content(view))
    theme.set_dark(dark=True)
    assert view._caret


def test_a_reference_keeps_its_address_in_every_theme(view: MarkdownView, theme: Theme) -> None:
    text = "See [1].\n\n[1]: https://example.org\n"
    for part in prefixes(text, [3]):
        view.set_text(part)
        view.flush()
    assert plain(view) == "See [1].\n[1]: https://example.org"
    theme.set_dark(dark=False)
    assert plain(view) == "See [1].\n[1]: https://example.org"
    theme.set_dark(dark=True)


def test_inline_markup_is_seen(view: MarkdownView) -> None:
    view.finish("a **b** *c* ~~d~~ `e` https://e.org\n\n# big")
    document = view._widgets[0].document()
    looks = {}
    inner = document.firstBlock().begin()
    while not inner.atEnd():
        looks[inner.fragment().text()] = inner.fragment().charFormat()
        inner += 1
    assert looks["b"].fontWeight() == QFont.Weight.DemiBold
    assert looks["c"].fontItalic()
    assert looks["d"].fontStrikeOut()
    assert "Mono" in looks["e"].font().families()[0]
    assert looks["https://e.org"].fontUnderline()
    heading = document.lastBlock().begin().fragment().charFormat()
    assert heading.font().pixelSize() > looks["b"].font().pixelSize()


def test_scripts_of_every_direction_and_emoji_are_drawn(view: MarkdownView) -> None:
    text = "\n\n".join(ELEMENTS[name] for name in ("emoji", "right to left", "entities"))
    for part in prefixes(text + "\n\n```\n👩‍👩‍👧 שלום\n```\n\ud83d", [1]):
        view.set_text(part)
        view.flush()
        assert not view.grab().isNull()
    assert "שלום" in plain(view)
    assert "👩‍👩‍👧" in view.findChild(CodeBlock).code


def test_deep_lists_leave_room_for_their_text(view: MarkdownView) -> None:
    view.finish("".join("  " * i + f"- level {i}\n" for i in range(40)))
    QApplication.processEvents()
    for run in runs(view):
        block = run.document().firstBlock()
        while block.isValid():
            assert block.blockFormat().leftMargin() < WIDTH / 2
            block = block.next()
    assert view.findChild(CodeBlock).width() > WIDTH / 2


def test_the_height_follows_the_text(view: MarkdownView, qtbot: QtBot) -> None:
    view.finish("word " * 200)
    run = view._widgets[0]
    qtbot.waitUntil(lambda: run.height() > 100)
    tall = run.height()
    view.resize(WIDTH * 2, 400)
    qtbot.waitUntil(lambda: run.height() < tall)
    assert isinstance(run, TextRun)
    assert run.verticalScrollBar().maximum() == 0


def test_a_table_stands_where_it_belongs(view: MarkdownView) -> None:
    view.finish("before\n\n| a |\n|---|\n| b |\n\nafter\n\n- item\n\n  | c |\n  |---|\n")
    QApplication.processEvents()
    kinds = [type(part) for part in view._widgets]
    assert kinds == [TextRun, TableView, TextRun, TableView]
    tops = [part.mapTo(view, QPoint()).y() for part in view._widgets]
    assert tops == sorted(tops)
    lefts = [part.mapTo(view, QPoint()).x() for part in view._widgets]
    assert lefts[1] == 0
    assert lefts[3] > 0
