"""One question in its bubble, one answer with its figures."""

from PySide6.QtCore import QRectF, Qt, QTimer, Signal, Slot
from PySide6.QtGui import QFontMetrics, QPainter, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import (
    QApplication,
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from splitrig.core.chat import Answer, AnswerPhase, AnswerStats
from splitrig.views.chat.figures import (
    ending,
    figures_html,
    figures_tip,
    prompt_progress,
    waiting_text,
)
from splitrig.views.theme import Theme
from splitrig.views.widgets.markdown import MarkdownView
from splitrig.views.widgets.markdown_text import plain_run
from splitrig.views.widgets.notice import NoticeBar
from splitrig.views.widgets.texts import icon_size

BUBBLE_SHARE = 0.75
WAIT_MS = 300
"""Nothing is said about a wait shorter than this."""
COPIED_MS = 1500


def quiet_button(theme: Theme, icon: str, text: str, tip: str) -> QPushButton:
    """A small button without ground; `tip` is also its accessible name."""
    button = QPushButton(text)
    button.setProperty("kind", "quiet")
    button.setProperty("small", "true")
    button.setIcon(theme.icon(icon, "muted"))
    button.setIconSize(icon_size(text))
    button.setToolTip(tip)
    button.setAccessibleName(tip)
    if not text:
        # The style's padding is for words; an icon alone sits in a square.
        button.setStyleSheet("QPushButton { padding: 0; } QPushButton:focus { padding: 0; }")
        button.setFixedSize(28, 28)
    return button


class UserBubble(QWidget):
    """A question at the right edge, as wide as its text up to three quarters of the column."""

    def __init__(self, theme: Theme, text: str) -> None:
        super().__init__()
        self._theme = theme
        self.text = text
        self._frame = QFrame()
        self._frame.setProperty("panel", "true")
        self._box = QVBoxLayout(self._frame)
        self._box.setContentsMargins(14, 9, 14, 9)
        self._run = plain_run(theme, text)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addStretch(1)
        row.addWidget(self._frame)
        self.setStyleSheet(
            "QTextEdit, QTextEdit:focus { border: 0; padding: 0; background: transparent; }"
        )
        self._fill()
        theme.changed.connect(self._fill)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Follow the column."""
        super().resizeEvent(event)
        self._fit()

    @Slot()
    def _fill(self) -> None:
        self._run.hide()
        self._run.deleteLater()
        self._run = plain_run(self._theme, self.text)
        self._run.setAccessibleName("Question")
        metrics = QFontMetrics(self._theme.font("body"))
        lines = self.text.splitlines() or [""]
        # A line this long is wrapped in any case.
        self._natural_px = max(metrics.horizontalAdvance(x[:400]) for x in lines) + 2
        self._box.addWidget(self._run)
        self._fit()

    def _fit(self) -> None:
        widest = round(self.width() * BUBBLE_SHARE) - 30
        self._run.setFixedWidth(max(min(self._natural_px, widest), 16))


class _Progress(QWidget):
    """A line two pixels high: how much of the prompt is read."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._share: float | None = None
        self.setFixedHeight(2)
        self.setMaximumWidth(240)

    def show_share(self, share: float | None) -> None:
        """Show a share, 0–1; an empty line when it is unknown."""
        self._share = share
        self.update()

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Track and bar."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), self._theme.colour("border"))
        if self._share:
            done = QRectF(0, 0, self.width() * self._share, self.height())
            painter.fillRect(done, self._theme.colour("accent_text"))
        painter.end()


class _Thinking(QWidget):
    """What a reasoning model thought, folded until it is asked for."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._text = ""
        self._running = True
        self._head = QPushButton()
        self._head.setProperty("kind", "quiet")
        self._head.setProperty("small", "true")
        self._head.setCheckable(True)
        # Its words begin where the answer's do.
        self._head.setStyleSheet("QPushButton { margin-left: -10px; }")
        self._head.toggled.connect(self._on_toggled)
        self._body = MarkdownView(theme, colour="muted")
        self._body.hide()
        inner = QHBoxLayout()
        inner.setContentsMargins(14, 0, 0, 0)
        inner.addWidget(self._body)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        column.addWidget(self._head, 0, Qt.AlignmentFlag.AlignLeft)
        column.addLayout(inner)
        theme.changed.connect(self._name)
        self._name()

    def show_text(self, text: str, *, running: bool) -> None:
        """Take the thinking so far; drawn only while it is unfolded."""
        if text == self._text and running == self._running:
            return
        self._text, self._running = text, running
        self._name()
        if self._head.isChecked():
            self._draw()

    def _draw(self) -> None:
        if self._running:
            self._body.set_text(self._text)
        else:
            self._body.finish(self._text)

    @Slot()
    def _name(self) -> None:
        open_ = self._head.isChecked()
        self._head.setText("Thinking" if self._running else "Thought before answering")
        self._head.setIcon(self._theme.icon("caret-down" if open_ else "caret-right", "muted"))

    @Slot()
    def _on_toggled(self) -> None:
        checked = self._head.isChecked()
        self._body.setVisible(checked)
        self._name()
        if checked:
            self._draw()


class AnswerView(QWidget):
    """An answer: thinking, text, what went wrong, figures and what can be done with it.

    Signals:
        regenerate_requested: Ask the same question once more.
    """

    regenerate_requested = Signal()

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._stats = AnswerStats()
        self._running = True
        self._failed = False
        self.thinking = _Thinking(theme)
        self.thinking.hide()
        self.body = MarkdownView(theme)
        self.body.hide()
        self.note = NoticeBar(theme, closable=False, stacked=True)
        self.note.hide()
        self._build_waiting()
        foot = self._build_foot()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(10)
        column.addWidget(self.thinking)
        column.addWidget(self._waiting)
        column.addWidget(self.body)
        column.addWidget(self.note)
        column.addWidget(foot)
        self._wait = QTimer(self)
        self._wait.setSingleShot(True)
        self._wait.setInterval(WAIT_MS)
        self._wait.timeout.connect(self._waiting.show)
        self._wait.start()
        self._copied = QTimer(self)
        self._copied.setSingleShot(True)
        self._copied.setInterval(COPIED_MS)
        self._copied.timeout.connect(self._on_theme)
        theme.changed.connect(self._on_theme)
        self._on_theme()

    @property
    def text(self) -> str:
        """What was said so far."""
        return self.body.text

    @property
    def stats(self) -> AnswerStats:
        """The figures shown."""
        return self._stats

    @property
    def figures_text(self) -> str:
        """The line under the answer as rich text."""
        return self._figures.text()

    def show_answer(self, answer: Answer) -> None:
        """Show an answer and its figures as they stand; its last state ends the streaming."""
        self._stats = answer.stats
        self._wait_text.setText(waiting_text(answer.stats))
        self._progress.show_share(prompt_progress(answer.stats))
        self.show_text(answer)
        self._show_foot()

    def show_text(self, answer: Answer) -> None:
        """Show an answer as it stands, without its figures."""
        self._running = answer.phase is AnswerPhase.STREAMING
        self._failed = answer.phase is AnswerPhase.FAILED
        if answer.reasoning:
            self.thinking.show()
            self.thinking.show_text(answer.reasoning, running=self._running and not answer.text)
        if answer.text:
            self.body.show()
        if answer.text or answer.reasoning or not self._running:
            self._wait.stop()
            self._waiting.hide()
        if self._running:
            self.body.set_text(answer.text)
        else:
            self.body.finish(answer.text)
        if answer.error is not None:
            error = answer.error
            self.note.show_notice("danger", error.message, error.hint, details=error.details)

    def set_last(self, *, last: bool) -> None:
        """Only the last answer can be asked for again."""
        self._last = last
        self._show_foot()

    def _build_waiting(self) -> None:
        self._waiting = QWidget()
        self._waiting.hide()
        self._wait_text = QLabel(waiting_text(self._stats))
        self._wait_text.setProperty("role", "muted")
        self._progress = _Progress(self._theme)
        box = QVBoxLayout(self._waiting)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(8)
        box.addWidget(self._wait_text)
        box.addWidget(self._progress)

    def _build_foot(self) -> QWidget:
        self._last = True
        self._figures = QLabel()
        self._figures.setTextFormat(Qt.TextFormat.RichText)
        self._figures.setProperty("role", "muted")
        self._figures.setFont(self._theme.font("note"))
        # Narrow windows cut the line rather than the column.
        self._figures.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._ending = QLabel()
        self._ending.setProperty("role", "warning")
        self._ending.setFont(self._theme.font("note", 500))
        self._copy = quiet_button(self._theme, "copy", "", "Copy answer")
        self._copy.clicked.connect(self._on_copy)
        self._again = quiet_button(self._theme, "arrow-clockwise", "", "Regenerate answer")
        self._again.clicked.connect(self.regenerate_requested)
        foot = QWidget()
        foot.setMinimumHeight(28)
        row = QHBoxLayout(foot)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(4)
        row.addWidget(self._figures, 1)
        row.addWidget(self._ending)
        row.addSpacing(4)
        row.addWidget(self._copy)
        row.addWidget(self._again)
        return foot

    def _show_foot(self) -> None:
        html = figures_html(self._theme, self._stats, running=self._running)
        if html != self._figures.text():
            self._figures.setText(html)
            self._figures.setToolTip(figures_tip(self._stats))
        words = "" if self._running else ending(self._stats)
        self._ending.setText(words)
        self._ending.setVisible(bool(words))
        self._copy.setVisible(bool(self.text) and not self._running)
        self._again.setVisible(self._last and not self._running)

    @Slot()
    def _on_copy(self) -> None:
        QApplication.clipboard().setText(self.text)
        self._copy.setIcon(self._theme.icon("check", "success"))
        self._copied.start()

    @Slot()
    def _on_theme(self) -> None:
        self._copy.setIcon(self._theme.icon("copy", "muted"))
        self._again.setIcon(self._theme.icon("arrow-clockwise", "muted"))
        self._figures.setText("")
        self._show_foot()
