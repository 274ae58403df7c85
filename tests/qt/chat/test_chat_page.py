"""The chat as a user meets it; the engine is played by the answers it would send."""

from dataclasses import replace

import pytest
from chat_samples import Asked, broken, ended, engine, growing, words
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QLabel, QPlainTextEdit, QPushButton, QWidget
from pytestqt.qtbot import QtBot

from splitrig.core.chat import Answer, AnswerStats, Message, Role
from splitrig.core.engine import EngineStatus, Failure, Phase
from splitrig.views.chat.page import ChatPage
from splitrig.views.chat.turns import AnswerView
from splitrig.views.theme import Theme
from splitrig.views.widgets.markdown_text import TextRun


@pytest.fixture
def page(theme: Theme, qtbot: QtBot) -> ChatPage:
    """A page in a window, its engine ready."""
    page = ChatPage(theme)
    qtbot.addWidget(page)
    page.resize(900, 700)
    page.set_engine(engine(n_ctx=4096))
    page.show()
    qtbot.waitExposed(page)
    return page


@pytest.fixture
def asked(page: ChatPage) -> Asked:
    asked = Asked()
    asked.listen(page)
    return asked


def button(view: QWidget, name: str) -> QPushButton:
    """A button by its accessible name."""
    return next(b for b in view.findChildren(QPushButton) if b.accessibleName() == name)


def offers(view: AnswerView) -> set[str]:
    """Names of the buttons a user sees under an answer."""
    return {b.accessibleName() for b in view.findChildren(QPushButton) if b.isVisible()}


def shown_text(view: QWidget) -> str:
    """All text runs on screen, in order."""
    QApplication.processEvents()
    return "\n".join(r.toPlainText() for r in view.findChildren(TextRun) if r.isVisible())


def is_waiting(view: AnswerView) -> bool:
    return view._waiting.isVisible() or view._wait.isActive()


# Asking


def test_a_question_goes_out_with_the_conversation_and_the_options(
    page: ChatPage, asked: Asked
) -> None:
    page.composer.popup.temperature.setValue(0.25)
    page.composer.popup.max_tokens.setValue(512)
    page.composer.popup.system.setPlainText("Be brief.")
    page.ask("  What is a KV cache?  ")
    page.show_finished(ended(growing("Memory.")))
    page.ask("And *why*?\n- so")
    assert asked.conversations[0] == [
        Message(Role.SYSTEM, "Be brief."),
        Message(Role.USER, "What is a KV cache?"),
    ]
    assert asked.conversations[1] == [
        Message(Role.SYSTEM, "Be brief."),
        Message(Role.USER, "What is a KV cache?"),
        Message(Role.ASSISTANT, "Memory."),
        Message(Role.USER, "And *why*?\n- so"),
    ]
    assert asked.options[0].temperature == 0.25
    assert asked.options[0].max_tokens == 512
    assert page.title.text() == "What is a KV cache?"
    # A question is shown as it was written, not as markdown.
    assert "And *why*?\n- so" in shown_text(page)


def test_an_idea_of_the_empty_page_is_a_question(page: ChatPage, asked: Asked) -> None:
    idea = page.empty.ideas[1]
    QTest.mouseClick(idea, Qt.MouseButton.LeftButton)
    assert asked.conversations == [[Message(Role.USER, idea.text())]]
    assert not page.empty.isVisible()
    assert page.conversation.isVisible()


def test_while_an_answer_comes_nothing_else_is_asked(page: ChatPage, asked: Asked) -> None:
    page.ask("one")
    page.ask("two")
    page.ask("   ")
    page.regenerate()
    assert len(asked.conversations) == 1
    assert page.busy
    assert page.composer.stop.isVisible()
    assert not page.composer.send.isVisible()


# Streaming


def test_an_answer_grows_and_ends_with_its_figures(page: ChatPage) -> None:
    page.ask("one")
    view = page.answers[0]
    for text in ("A", "A **b", "A **bold** word"):
        page.show_answer(growing(text))
        view.body.flush()
    assert "A bold word" in shown_text(page)
    assert view.body._caret
    assert (
        words(view.figures_text)
        == "61.3 tok/s first token 0.31 s 74 tokens so far prompt 1,450 tok/s"
    )
    assert offers(view) == set()
    page.show_finished(ended(growing("A **bold** word.", tokens=75)))
    assert "A bold word." in shown_text(page)
    assert not view.body._caret
    assert words(view.figures_text) == "61.3 tok/s first token 0.31 s 75 tokens prompt 1,450 tok/s"
    assert view._figures.toolTip() == ("812 tokens in the prompt, 12 of them still in the cache")
    assert offers(view) == {"Copy answer", "Regenerate answer"}
    assert not page.busy
    assert page.composer.send.isVisible()


def test_figures_that_are_not_reported_are_left_out(page: ChatPage) -> None:
    page.ask("one")
    page.show_finished(ended(Answer(request_id=1, text="x", stats=AnswerStats(tokens=1))))
    assert words(page.answers[0].figures_text) == "1 token"
    assert page.answers[0]._figures.toolTip() == ""


def test_a_short_wait_is_silent_and_a_long_one_tells_how_far_the_prompt_is_read(
    page: ChatPage, qtbot: QtBot
) -> None:
    page.ask("one")
    view = page.answers[0]
    assert not view._waiting.isVisible()
    qtbot.waitUntil(view._waiting.isVisible)
    assert view._wait_text.text() == "Waiting for the engine"
    reading = AnswerStats(prompt_tokens=4000, prompt_read_tokens=1024)
    page.show_answer(Answer(request_id=1, stats=reading))
    assert view._wait_text.text() == "Reading the prompt: 1,024 of 4,000 tokens"
    assert view._progress._share == pytest.approx(0.256)
    page.show_answer(growing("first"))
    assert not is_waiting(view)


def test_an_answer_that_was_cut_off_says_so(page: ChatPage) -> None:
    page.ask("one")
    page.show_finished(ended(growing("half a sen"), "length"))
    assert page.answers[0]._ending.text() == (
        "cut off at the longest answer or the end of the context"
    )
    assert page.answers[0]._ending.isVisible()


def test_copy_gives_the_answer_as_the_model_wrote_it(page: ChatPage) -> None:
    page.ask("one")
    source = "**a** | b\n\n```c\nx\n```\n"
    page.show_finished(ended(growing(source)))
    QTest.mouseClick(button(page.answers[0], "Copy answer"), Qt.MouseButton.LeftButton)
    assert QGuiApplication.clipboard().text() == source


# Thinking


def test_thinking_is_folded_until_it_is_asked_for(page: ChatPage) -> None:
    page.ask("one")
    view = page.answers[0]
    page.show_answer(growing("", reasoning="Let me *see*."))
    head = view.thinking.findChild(QPushButton)
    assert head.text() == "Thinking"
    assert "Let me" not in shown_text(page)
    assert not is_waiting(view)
    QTest.mouseClick(head, Qt.MouseButton.LeftButton)
    assert "Let me see." in shown_text(page)
    page.show_answer(growing("42", reasoning="Let me *see*. Yes."))
    assert head.text() == "Thought before answering"
    assert "Let me see. Yes." in shown_text(page)
    QTest.mouseClick(head, Qt.MouseButton.LeftButton)
    assert "Let me" not in shown_text(page)
    page.show_finished(ended(growing("42", reasoning="Let me *see*. Yes.")))
    QTest.mouseClick(button(view, "Copy answer"), Qt.MouseButton.LeftButton)
    assert QGuiApplication.clipboard().text() == "42"


def test_what_was_thought_is_not_sent_again(page: ChatPage, asked: Asked) -> None:
    page.ask("one")
    page.show_finished(ended(growing("42", reasoning="Hm.")))
    page.ask("two")
    assert asked.conversations[1][1] == Message(Role.ASSISTANT, "42")


# Stop, regenerate, failures


def test_stop_keeps_what_was_said(page: ChatPage, asked: Asked) -> None:
    page.ask("one")
    page.show_answer(growing("Once upon"))
    QTest.mouseClick(page.composer.stop, Qt.MouseButton.LeftButton)
    assert asked.stops == 1
    assert page.busy
    page.show_finished(ended(growing("Once upon a"), "cancelled"))
    view = page.answers[0]
    assert "Once upon a" in shown_text(page)
    assert view._ending.text() == "stopped"
    assert offers(view) == {"Copy answer", "Regenerate answer"}
    assert not page.busy


def test_regenerate_asks_the_same_once_more(page: ChatPage, asked: Asked) -> None:
    page.ask("one")
    page.show_finished(ended(growing("bad")))
    page.ask("two")
    page.show_finished(ended(growing("worse")))
    first, second = page.answers
    assert offers(first) == {"Copy answer"}
    QTest.mouseClick(button(second, "Regenerate answer"), Qt.MouseButton.LeftButton)
    assert asked.conversations[2] == asked.conversations[1]
    assert "worse" not in shown_text(page)
    page.show_finished(ended(growing("good", request_id=3)))
    assert [view.text for view in page.answers] == ["bad", "good"]


def test_a_failed_answer_keeps_its_text_and_says_what_to_do(page: ChatPage) -> None:
    page.ask("one")
    page.show_failed(broken(growing("Once upon")))
    view = page.answers[0]
    assert "Once upon" in shown_text(page)
    assert view.note.isVisible()
    assert view.note.title == "The engine ended after 74 tokens; what it said is kept."
    assert view.note.detail == "Launch it again, then regenerate the answer."
    lines = view.note.findChild(QPlainTextEdit)
    assert lines.toPlainText() == "ConnectionResetError(104)"
    assert not lines.isVisible()
    assert "74 tokens" in words(view.figures_text)
    assert "so far" not in words(view.figures_text)
    assert offers(view) >= {"Copy answer", "Regenerate answer"}
    assert not page.busy


def test_a_failure_before_the_first_word_ends_the_wait(page: ChatPage) -> None:
    page.ask("one")
    page.show_failed(broken(Answer(request_id=1)))
    view = page.answers[0]
    assert not is_waiting(view)
    assert view.note.isVisible()
    assert not view.body.isVisible()
    assert "Copy answer" not in offers(view)
    assert "Regenerate answer" in offers(view)


# Clear and undo


def test_clear_can_be_undone_until_the_next_question(page: ChatPage, asked: Asked) -> None:
    page.ask("one")
    page.show_finished(ended(growing("first")))
    page.clear_button.click()
    assert page.empty.isVisible()
    assert page.clear_button.text() == "Undo clear"
    assert page.title.text() == "Chat"
    assert page.answers == []
    page.clear_button.click()
    assert "first" in shown_text(page)
    assert page.clear_button.text() == "Clear"
    page.clear_button.click()
    page.ask("two")
    assert asked.conversations[1] == [Message(Role.USER, "two")]
    page.show_finished(ended(growing("second", request_id=2)))
    page.clear_button.click()
    page.clear_button.click()
    assert [view.text for view in page.answers] == ["second"]
    assert asked.stops == 0


@pytest.mark.parametrize("said", ["", "Once upon"])
@pytest.mark.parametrize("undo_first", [True, False])
def test_an_answer_that_is_cleared_away_ends_in_its_own_view(
    page: ChatPage, asked: Asked, said: str, undo_first: bool
) -> None:
    page.ask("one")
    news = growing(said) if said else Answer(request_id=1)
    if said:
        page.show_answer(news)
    view = page.answers[0]
    page.clear_button.click()
    assert asked.stops == 1
    assert not page.busy
    assert page.composer.send.isVisible()
    end = ended(replace(news, text=f"{said} a" if said else ""), "cancelled")
    if undo_first:
        page.clear_button.click()
        assert page.busy
        page.show_finished(end)
    else:
        page.show_finished(end)
        page.clear_button.click()
    assert page.answers == [view]
    assert not page.busy
    assert view.text == end.text
    assert not view.body._caret
    assert not is_waiting(view)
    assert "so far" not in words(view.figures_text)
    assert view._ending.text() == "stopped"
    assert "Regenerate answer" in offers(view)
    assert ("Copy answer" in offers(view)) == bool(said)
    assert page.composer.send.isVisible()
    assert asked.stops == 1


def test_a_question_after_clear_gets_only_its_own_answer(page: ChatPage, asked: Asked) -> None:
    page.ask("one")
    page.show_answer(growing("Once upon", request_id=1))
    page.clear()
    page.ask("two")
    assert asked.conversations[1] == [Message(Role.USER, "two")]
    assert page.busy
    # The end of the first comes late.
    page.show_answer(growing("Once upon a", request_id=1))
    page.show_finished(ended(growing("Once upon a", request_id=1), "cancelled"))
    (view,) = page.answers
    assert page.busy
    assert view.text == ""
    page.show_answer(growing("Yes", request_id=2))
    page.show_finished(ended(growing("Yes.", request_id=2)))
    assert view.text == "Yes."
    assert view._ending.text() == ""
    assert not page.busy


def test_a_question_after_clear_before_the_first_word(page: ChatPage) -> None:
    page.ask("one")
    page.clear()
    page.ask("two")
    page.show_finished(ended(growing("Yes.", request_id=2)))
    assert [view.text for view in page.answers] == ["Yes."]
    assert not page.busy


def test_news_without_a_question_are_ignored(page: ChatPage) -> None:
    page.show_answer(growing("x"))
    page.show_finished(ended(growing("x")))
    page.show_failed(broken(growing("x")))
    assert page.answers == []
    assert page.empty.isVisible()


# The engine


@pytest.mark.parametrize(
    ("status", "reason", "launch"),
    [
        (EngineStatus(), "No engine is running.", True),
        (engine(Phase.STARTING), "The engine is starting.", False),
        (replace(engine(Phase.LOADING), progress=0.42), "SmolLM2-135M is loading: 42 %", False),
        (engine(Phase.LOADING), "SmolLM2-135M is loading", False),
        (engine(Phase.STOPPING), "The engine is stopping.", False),
        (engine(Phase.FAILED), "The engine is not running.", True),
        (replace(engine(), url=None), "The engine has no address yet.", False),
    ],
)
def test_without_a_ready_engine_nothing_is_sent_and_the_reason_is_shown(
    page: ChatPage, asked: Asked, status: EngineStatus, reason: str, launch: bool
) -> None:
    page.ask("one")
    page.show_finished(ended(growing("first")))
    page.set_engine(status)
    assert page.composer.input.placeholderText() == reason
    assert page.composer.launch.isVisible() == launch
    page.ask("two")
    page.regenerate()
    assert len(asked.conversations) == 1
    page.set_engine(engine())
    assert page.composer.input.placeholderText() == "Message SmolLM2-135M"
    assert not page.composer.launch.isVisible()
    page.ask("two")
    assert len(asked.conversations) == 2


def test_the_empty_page_says_what_can_be_done(page: ChatPage, qtbot: QtBot) -> None:
    empty = page.empty
    assert empty.title.text() == "Ask SmolLM2-135M"
    assert all(idea.isVisible() for idea in empty.ideas)
    page.set_engine(EngineStatus())
    assert empty.title.text() == "No engine is running"
    assert not any(idea.isVisible() for idea in empty.ideas)
    with qtbot.waitSignal(page.launch_requested, timeout=500):
        QTest.mouseClick(empty.launch, Qt.MouseButton.LeftButton)
    failure = Failure(message="Out of memory on <b>.", hint="Use fewer layers.")
    page.set_engine(replace(engine(Phase.FAILED), failure=failure))
    assert empty.sentence.text() == "Out of memory on <b>. Use fewer layers."
    assert empty.sentence.textFormat() is Qt.TextFormat.PlainText
    page.set_engine(engine(Phase.LOADING))
    assert empty.title.text() == "SmolLM2-135M is loading"
    assert not empty.launch.isVisible()


@pytest.mark.parametrize(
    ("plan", "holds"),
    [
        ({"n_ctx": 1000}, "1,000"),
        ({"n_ctx": 4000, "n_parallel": 4}, "1,000"),
        ({"n_ctx": 4000, "n_parallel": 4, "kv_unified": True}, "4,000"),
    ],
)
def test_the_context_meter_counts_prompt_and_answer(
    page: ChatPage, plan: dict[str, object], holds: str
) -> None:
    page.set_engine(engine(**plan))
    meter = page.composer._context
    assert meter.text() == ""
    page.ask("one")
    page.show_answer(growing("x", tokens=74))
    assert meter.text() == f"886 of {holds} tokens"
    assert meter.property("role") == "muted"
    page.show_finished(ended(growing("x", tokens=3000)))
    assert meter.text() == f"3,812 of {holds} tokens"
    assert meter.property("role") == "warning"
    page.clear()
    assert meter.text() == ""


# Around it


def test_the_view_follows_until_the_reader_scrolls_up(page: ChatPage, qtbot: QtBot) -> None:
    page.ask("one")
    text = "a line of text\n\n" * 60
    page.show_answer(growing(text))
    page.answers[0].body.flush()
    bar = page.conversation.verticalScrollBar()
    qtbot.waitUntil(lambda: bar.maximum() > 300 and bar.value() == bar.maximum())
    bar.setValue(100)
    assert not page.conversation.following
    before = bar.maximum()
    page.show_finished(ended(growing(text * 2)))
    qtbot.waitUntil(lambda: bar.maximum() > before)
    assert bar.value() == 100
    to_end = button(page.conversation, "Go to the newest words")
    assert to_end.isVisible()
    QTest.mouseClick(to_end, Qt.MouseButton.LeftButton)
    assert page.conversation.following
    assert bar.value() == bar.maximum()
    assert not to_end.isVisible()


def test_the_side_folds_on_a_narrow_page(theme: Theme, qtbot: QtBot) -> None:
    page = ChatPage(theme, side=QLabel("graphs"))
    qtbot.addWidget(page)
    page.resize(1300, 600)
    page.show()
    assert page.side_box is not None
    assert page.side_box.isVisible()
    page.resize(900, 600)
    qtbot.waitUntil(lambda: not page.side_box.isVisible())
    assert page.side_button.toolTip() == "Show the graphs"
    QTest.mouseClick(page.side_button, Qt.MouseButton.LeftButton)
    assert page.side_box.isVisible()
    assert page.side_button.toolTip() == "Hide the graphs"


def test_another_theme_keeps_the_conversation(page: ChatPage, theme: Theme) -> None:
    page.ask("What?")
    page.show_answer(growing("# Head\n\ntext https://example.org\n\n- item\n"))
    before = shown_text(page)
    assert "https://example.org" in before
    theme.set_dark(dark=False)
    assert shown_text(page) == before
    theme.set_dark(dark=True)
    assert page.busy
    assert page.answers[0].body._caret


def test_a_long_question_stays_in_its_bubble(page: ChatPage) -> None:
    page.ask("word " * 400)
    run = next(r for r in page.findChildren(TextRun) if r.accessibleName() == "Question")
    edge = page.conversation.viewport()
    assert run.mapTo(edge, QPoint(run.width(), 0)).x() <= edge.width()
    assert run.height() > 100
