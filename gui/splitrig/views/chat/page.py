"""The chat: a conversation with the engine that runs, and whatever is shown beside it."""

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtGui import QResizeEvent, QShowEvent
from PySide6.QtWidgets import (
    QComboBox,
    QFrame,
    QHBoxLayout,
    QLabel,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from splitrig.core.chat import Answer, Message, Role, conversation
from splitrig.core.engine import EngineStatus, Phase
from splitrig.views.chat.composer import Composer
from splitrig.views.chat.conversation import COLUMN_PX, Conversation
from splitrig.views.chat.states import EmptyChat, blocked_reason, model_name
from splitrig.views.chat.turns import AnswerView, UserBubble, quiet_button
from splitrig.views.theme import Theme

SIDE_PX = 248
FOLD_BELOW_PX = 1060
"""A page narrower than this begins with the side folded."""
HEAD_PX = 44


class _Turn:
    """A question and its latest answer."""

    def __init__(self, question: UserBubble, answer: AnswerView) -> None:
        self.question = question
        self.answer = answer

    def messages(self) -> tuple[Message, Message]:
        """As the engine gets them."""
        return (
            Message(Role.USER, self.question.text),
            Message(Role.ASSISTANT, self.answer.text),
        )


class ChatPage(QWidget):
    """Asks through signals and shows what its slots are told.

    Signals:
        send_requested: `list[Message]` and `ChatOptions`: the conversation, the question last.
        stop_requested: Stop the answer that is on its way.
        launch_requested: The user wants to launch an engine.
        engine_chosen: `int`, the slot of the engine the user wants to talk to.
    """

    send_requested = Signal(object, object)
    stop_requested = Signal()
    launch_requested = Signal()
    engine_chosen = Signal(int)

    def __init__(self, theme: Theme, *, side: QWidget | None = None) -> None:
        super().__init__()
        self._theme = theme
        self._status = EngineStatus()
        self._turns: list[_Turn] = []
        self._cleared: list[_Turn] = []
        self._current: AnswerView | None = None
        self._current_id: int | None = None
        self._dropped: set[int] = set()
        self.conversation = Conversation(theme)
        self.empty = EmptyChat(theme)
        self.composer = Composer(theme)
        self._stack = QStackedWidget()
        self._stack.addWidget(self.empty)
        self._stack.addWidget(self.conversation)
        left = QVBoxLayout()
        left.setContentsMargins(0, 0, 0, 0)
        left.setSpacing(0)
        left.addWidget(self._build_head(has_side=side is not None))
        left.addWidget(_line())
        left.addWidget(self._stack, 1)
        left.addLayout(self._build_foot())
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(0)
        row.addLayout(left, 1)
        self.side_box = self._build_side(side)
        if self.side_box is not None:
            row.addWidget(self.side_box)
        self._narrow: bool | None = None
        self.conversation.verticalScrollBar().rangeChanged.connect(self._on_scroll_range)
        self.empty.launch_requested.connect(self.launch_requested)
        self.empty.asked.connect(self.ask)
        self.composer.submitted.connect(self.ask)
        self.composer.stop_requested.connect(self.stop_requested)
        self.composer.launch_requested.connect(self.launch_requested)
        theme.changed.connect(self._on_theme)
        self._on_theme()
        self.set_engine(self._status)
        self._show_turns()

    @property
    def busy(self) -> bool:
        """An answer of the conversation shown is on its way."""
        return self._current is not None and self._current in self.answers

    @property
    def answers(self) -> list[AnswerView]:
        """The answers shown, oldest first."""
        return [turn.answer for turn in self._turns]

    @Slot(str)
    def ask(self, text: str) -> None:
        """Send a question, as if it had been written and sent."""
        if self.busy or not text.strip() or blocked_reason(self._status):
            return
        self._forget_cleared()
        question = UserBubble(self._theme, text.strip())
        self.conversation.add(question)
        self._turns.append(_Turn(question, self._new_answer()))
        self._request()

    @Slot()
    def regenerate(self) -> None:
        """Ask the last question once more; its answer so far goes."""
        if self.busy or not self._turns or blocked_reason(self._status):
            return
        last = self._turns[-1]
        self.conversation.remove(last.answer)
        last.answer = self._new_answer()
        self._request()

    @Slot(object)
    def show_answer(self, answer: Answer) -> None:
        """Show an answer and its figures as they stand."""
        self._receive(answer)

    @Slot(object)
    def show_text(self, answer: Answer) -> None:
        """Show an answer as it stands; its figures change less often, see `show_answer`."""
        if self._current is not None and answer.request_id not in self._dropped:
            self._current_id = answer.request_id
            self._current.show_text(answer)

    @Slot(object)
    def show_finished(self, answer: Answer) -> None:
        """The answer is complete, or was stopped."""
        if self._receive(answer):
            self._end()

    @Slot(object)
    def show_failed(self, answer: Answer) -> None:
        """The answer broke off; what was said stays, with the reason under it."""
        if self._receive(answer):
            self._end()

    @Slot(object)
    def set_engine(self, status: EngineStatus) -> None:
        """Follow the engine: only a ready one is asked."""
        self._status = status
        self.engine_box.setCurrentIndex(self.engine_box.findData(status.slot))
        self.empty.show_engine(status)
        reason = blocked_reason(status)
        if reason:
            offers = bool(self._turns) and not status.phase.active
            self.composer.set_blocked(reason, launch=offers)
        else:
            self.composer.set_ready(model_name(status))
        self._show_context()

    @Slot(object)
    def show_engines(self, engines: tuple[EngineStatus, ...]) -> None:
        """Offer a choice where several engines are ready."""
        ready = [status for status in engines if status.phase is Phase.READY]
        rows = [(f"{status.slot}  {model_name(status)}", status.slot) for status in ready]
        box = self.engine_box
        if rows != [(box.itemText(i), box.itemData(i)) for i in range(box.count())]:
            box.clear()
            for text, slot in rows:
                box.addItem(text, slot)
        box.setCurrentIndex(box.findData(self._status.slot))
        box.setVisible(len(rows) > 1)

    @Slot(int)
    def _on_engine_chosen(self, index: int) -> None:
        self.engine_chosen.emit(self.engine_box.itemData(index))

    @Slot()
    def clear(self) -> None:
        """Begin anew; until the next question the old conversation can be brought back.

        An answer on its way is stopped; its view, out of sight, still gets how it ended.
        """
        if self._cleared:
            self._turns, self._cleared = self._cleared, []
        elif self._turns:
            if self.busy:
                self.stop_requested.emit()
            self._cleared, self._turns = self._turns, []
        for turn in self._turns + self._cleared:
            shown = turn in self._turns
            turn.question.setVisible(shown)
            turn.answer.setVisible(shown)
        self._show_turns()
        self.composer.set_busy(busy=self.busy)
        self.set_engine(self._status)
        self.composer.input.setFocus()

    @Slot()
    def toggle_side(self) -> None:
        """Fold the side away, or bring it back."""
        if self.side_box is not None:
            self.side_box.setVisible(not self.side_box.isVisibleTo(self))
            self._on_theme()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """The side folds when the page gets narrow, and comes back when it gets wide."""
        super().resizeEvent(event)
        narrow = event.size().width() < FOLD_BELOW_PX
        if self.side_box is not None and narrow != self._narrow:
            self._narrow = narrow
            self.side_box.setVisible(not narrow)
            self._on_theme()

    def showEvent(self, event: QShowEvent) -> None:
        """Write at once."""
        super().showEvent(event)
        target = self if blocked_reason(self._status) else self.composer.input
        target.setFocus()

    def _new_answer(self) -> AnswerView:
        answer = AnswerView(self._theme)
        answer.regenerate_requested.connect(self.regenerate)
        self.conversation.add(answer)
        return answer

    def _request(self) -> None:
        self._current = self._turns[-1].answer
        self._current_id = None
        for turn in self._turns:
            turn.answer.set_last(last=turn.answer is self._current)
        self._show_turns()
        self.composer.set_busy(busy=True)
        self.conversation.follow()
        messages = [m for turn in self._turns for m in turn.messages()]
        self.send_requested.emit(
            conversation(messages, self.composer.system), self.composer.options
        )

    def _receive(self, answer: Answer) -> bool:
        """Show news of the answer on its way; `False` when they are of another one."""
        if self._current is None or answer.request_id in self._dropped:
            return False
        self._current_id = answer.request_id
        self._current.show_answer(answer)
        self._show_context()
        return True

    def _end(self) -> None:
        self._current = None
        self.composer.set_busy(busy=False)
        self.set_engine(self._status)

    def _forget_cleared(self) -> None:
        if self._current is not None:
            # Its end has not come yet. Where not even its first word has, none of it will:
            # the bridge drops it for the next question.
            self._current = None
            if self._current_id is not None:
                self._dropped.add(self._current_id)
        for turn in self._cleared:
            self.conversation.remove(turn.question)
            self.conversation.remove(turn.answer)
        self._cleared = []

    def _show_turns(self) -> None:
        self._stack.setCurrentIndex(1 if self._turns else 0)
        self.title.setText("Chat" if not self._turns else _first_line(self._turns[0].question.text))
        self.clear_button.setText("Undo clear" if self._cleared else "Clear")
        self.clear_button.setVisible(bool(self._turns or self._cleared))
        self._on_theme()

    def _show_context(self) -> None:
        used = self._turns[-1].answer.stats.context_tokens if self._turns else None
        self.composer.show_context(used, context_size(self._status))

    def _build_head(self, *, has_side: bool) -> QWidget:
        self.title = QLabel("Chat")
        self.title.setFont(self._theme.font("value", 600))
        self.title.setTextFormat(Qt.TextFormat.PlainText)
        self.title.setMinimumWidth(40)
        self.clear_button = quiet_button(self._theme, "trash", "Clear", "Clear the conversation")
        self.clear_button.clicked.connect(self.clear)
        self.side_button = quiet_button(self._theme, "caret-double-right", "", "")
        self.side_button.clicked.connect(self.toggle_side)
        self.side_button.setVisible(has_side)
        self.engine_box = QComboBox()
        self.engine_box.setAccessibleName("Engine that answers")
        self.engine_box.setToolTip("Which of the engines answers")
        self.engine_box.activated.connect(self._on_engine_chosen)
        self.engine_box.hide()
        head = QWidget()
        head.setFixedHeight(HEAD_PX)
        row = QHBoxLayout(head)
        row.setContentsMargins(20, 0, 12, 0)
        row.setSpacing(4)
        row.addWidget(self.title, 1)
        row.addWidget(self.engine_box)
        row.addWidget(self.clear_button)
        row.addWidget(self.side_button)
        return head

    def _build_foot(self) -> QHBoxLayout:
        self.composer.setMaximumWidth(COLUMN_PX)
        foot = self._foot = QHBoxLayout()
        foot.setContentsMargins(24, 8, 24, 16)
        foot.addStretch(1)
        foot.addWidget(self.composer, 1000)
        foot.addStretch(1)
        return foot

    def _build_side(self, side: QWidget | None) -> QWidget | None:
        if side is None:
            return None
        box = QWidget()
        box.setFixedWidth(max(SIDE_PX, side.minimumWidth()) + 1)
        row = QHBoxLayout(box)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(0)
        edge = QFrame()
        edge.setProperty("line", "vertical")
        row.addWidget(edge)
        row.addWidget(side, 1)
        return box

    @Slot(int, int)
    def _on_scroll_range(self, _low: int, high: int) -> None:
        """Keep the message field in line with the column beside the scroll bar."""
        bar = self.conversation.verticalScrollBar().sizeHint().width() if high > 0 else 0
        self._foot.setContentsMargins(24, 8, 24 + bar, 16)

    @Slot()
    def _on_theme(self) -> None:
        clear_icon = "arrow-counter-clockwise" if self._cleared else "trash"
        self.clear_button.setIcon(self._theme.icon(clear_icon, "muted"))
        shown = self.side_box is not None and self.side_box.isVisibleTo(self)
        self.side_button.setIcon(
            self._theme.icon(f"caret-double-{'right' if shown else 'left'}", "muted")
        )
        words = "Hide the graphs" if shown else "Show the graphs"
        self.side_button.setToolTip(words)
        self.side_button.setAccessibleName(words)


def context_size(status: EngineStatus) -> int | None:
    """Tokens one conversation may fill on this engine; `None` when unknown."""
    if status.phase is not Phase.READY or status.request is None:
        return None
    plan = status.request.plan
    if plan.n_ctx <= 0:
        return None
    return plan.n_ctx if plan.kv_unified else plan.n_ctx // max(plan.n_parallel, 1)


def _first_line(text: str, longest: int = 80) -> str:
    line = text.splitlines()[0]
    return line if len(line) <= longest else f"{line[:longest].rstrip()}…"


def _line() -> QFrame:
    line = QFrame()
    line.setProperty("line", "true")
    return line
