"""The notice bar beyond its parts: what it never interprets, and what it says to screen readers."""

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QLabel, QPlainTextEdit, QPushButton
from pytestqt.qtbot import QtBot

from splitrig.core.gpu import Severity
from splitrig.views.theme import Theme
from splitrig.views.widgets.notice import NoticeBar


def make(theme: Theme, qtbot: QtBot, **how: bool) -> NoticeBar:
    bar = NoticeBar(theme, **how)
    qtbot.addWidget(bar)
    bar.resize(600, 80)
    return bar


def text_of(bar: NoticeBar) -> str:
    return next(label for label in bar.findChildren(QLabel) if label.text()).text()


def seen(bar: NoticeBar) -> set[str]:
    """Names of the buttons a user sees."""
    buttons = (button for button in bar.findChildren(QPushButton) if button.isVisible())
    return {button.text() or button.toolTip() for button in buttons}


@pytest.mark.parametrize("severity", ["info", "hint", "success", "warning", "danger"])
def test_every_severity_has_its_look(theme: Theme, qtbot: QtBot, severity: str) -> None:
    bar = make(theme, qtbot)
    bar.show_notice(severity, "Title.")
    assert bar.property("notice") == bar.severity == severity
    assert bar.isVisible()
    assert not bar.grab().isNull()


def test_the_severities_of_the_core_will_do(theme: Theme, qtbot: QtBot) -> None:
    bar = make(theme, qtbot)
    for severity in Severity:
        bar.show_notice(severity, "Title.")
        assert bar.property("notice") == severity.value


def test_only_what_there_is_gets_a_button(theme: Theme, qtbot: QtBot) -> None:
    bar = make(theme, qtbot)
    bar.show_notice("info", "Title.")
    assert seen(bar) == {"Close this notice"}
    bar.show_notice("info", "Title.", action="Fix", details="raw")
    assert seen(bar) == {"Close this notice", "Fix", "Details"}
    fixed = make(theme, qtbot, closable=False)
    fixed.show_notice("info", "Title.")
    assert seen(fixed) == set()


def test_words_are_never_markup(theme: Theme, qtbot: QtBot) -> None:
    bar = make(theme, qtbot)
    title, detail = "<b>x</b> & y", "<img src='file:///x'>"
    bar.show_notice("danger", title, detail)
    assert "&lt;b&gt;x&lt;/b&gt; &amp; y" in text_of(bar)
    assert "<img" not in text_of(bar)
    assert bar.title == title
    assert bar.detail == detail
    assert bar.accessibleName() == f"{title} {detail}"


@pytest.mark.parametrize(("stacked", "between"), [(True, "<br>"), (False, "</span> <span")])
def test_the_detail_stands_under_or_behind_the_title(
    theme: Theme, qtbot: QtBot, stacked: bool, between: str
) -> None:
    bar = make(theme, qtbot, stacked=stacked)
    bar.show_notice("info", "Title.", "Detail.")
    assert between in text_of(bar)
    bar.show_notice("info", "Title.")
    assert between not in text_of(bar)
    assert bar.accessibleName() == "Title."


def test_the_next_notice_has_its_details_folded(theme: Theme, qtbot: QtBot) -> None:
    bar = make(theme, qtbot)
    bar.show_notice("info", "One.", details="first")
    fold = next(button for button in bar.findChildren(QPushButton) if button.text() == "Details")
    QTest.mouseClick(fold, Qt.MouseButton.LeftButton)
    lines = bar.findChild(QPlainTextEdit)
    assert lines.isVisible()
    assert fold.text() == "Hide details"
    bar.show_notice("info", "Two.", details="second")
    assert not lines.isVisible()
    assert fold.text() == "Details"
    assert lines.toPlainText() == "second"
    assert lines.isReadOnly()


def test_another_theme_recolours_the_detail(theme: Theme, qtbot: QtBot) -> None:
    bar = make(theme, qtbot)
    bar.show_notice("info", "Title.", "Detail.")
    assert theme.colour("muted").name() in text_of(bar)
    theme.set_dark(dark=False)
    assert theme.colour("muted").name() in text_of(bar)
    theme.set_dark(dark=True)
