"""Where a question is written, and how it is to be answered."""

from PySide6.QtCore import QPoint, QRectF, Qt, Signal, Slot
from PySide6.QtGui import QFocusEvent, QKeyEvent, QPainter, QPaintEvent, QPen, QResizeEvent
from PySide6.QtWidgets import (
    QDoubleSpinBox,
    QFrame,
    QHBoxLayout,
    QLabel,
    QPlainTextEdit,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from splitrig.core.chat import ChatOptions
from splitrig.core.units import number_text
from splitrig.views.chat.turns import quiet_button
from splitrig.views.theme import Theme
from splitrig.views.widgets.texts import IconButton, set_role

MOST_LINES = 8
NEARLY_FULL = 0.9
DEFAULT_TEMPERATURE = 0.8


class _Input(QPlainTextEdit):
    """Grows with its lines; Enter sends, Shift and Enter begin a new line.

    Signals:
        submitted: Enter.
        escaped: Esc.
        focused: The focus came or went.
    """

    submitted = Signal()
    escaped = Signal()
    focused = Signal()

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.setFont(theme.font("answer"))
        self.setTabChangesFocus(True)
        self.setAccessibleName("Message")
        self.setStyleSheet(
            "QPlainTextEdit, QPlainTextEdit:focus"
            " { border: 0; padding: 0; background: transparent; }"
        )
        self.document().setDocumentMargin(2)
        self.textChanged.connect(self._fit)
        self._fit()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Enter and Esc are ours."""
        enter = event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter)
        if enter and not event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
            self.submitted.emit()
        elif event.key() == Qt.Key.Key_Escape:
            self.escaped.emit()
        else:
            super().keyPressEvent(event)

    def focusInEvent(self, event: QFocusEvent) -> None:
        """The frame around shows the focus."""
        super().focusInEvent(event)
        self.focused.emit()

    def focusOutEvent(self, event: QFocusEvent) -> None:
        """The frame around shows the focus."""
        super().focusOutEvent(event)
        self.focused.emit()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Another width wraps otherwise."""
        super().resizeEvent(event)
        self._fit()

    @Slot()
    def _fit(self) -> None:
        lines = max(1, min(round(self.document().size().height()), MOST_LINES))
        height = lines * self.fontMetrics().lineSpacing() + 6
        if height != self.height():
            self.setFixedHeight(height)


class OptionsPopup(QFrame):
    """Temperature, longest answer and system prompt.

    Signals:
        changed: One of them.
    """

    changed = Signal()

    def __init__(self, theme: Theme, parent: QWidget) -> None:
        super().__init__(parent, Qt.WindowType.Popup)
        self.setProperty("panel", "raised")
        self.setFixedWidth(320)
        self.temperature = QDoubleSpinBox()
        self.temperature.setRange(0, 2)
        self.temperature.setSingleStep(0.1)
        self.temperature.setDecimals(2)
        self.temperature.setValue(DEFAULT_TEMPERATURE)
        self.max_tokens = QSpinBox()
        self.max_tokens.setRange(0, 1_000_000)
        self.max_tokens.setSingleStep(256)
        self.max_tokens.setSuffix(" tokens")
        self.max_tokens.setSpecialValueText("No limit")
        self.max_tokens.setGroupSeparatorShown(True)
        self.system = QPlainTextEdit()
        self.system.setPlaceholderText("None: the model answers as it was trained to.")
        self.system.setFixedHeight(96)
        self.system.setTabChangesFocus(True)
        column = QVBoxLayout(self)
        column.setContentsMargins(16, 14, 16, 16)
        column.setSpacing(6)
        rows: tuple[tuple[str, str, QWidget], ...] = (
            ("Temperature", "0 always takes the likeliest token.", self.temperature),
            ("Longest answer", "The context ends every answer, too.", self.max_tokens),
            ("System prompt", "Goes before every conversation.", self.system),
        )
        for at, (name, help_text, field) in enumerate(rows):
            label = QLabel(name)
            label.setFont(theme.font("body", 500))
            label.setBuddy(field)
            note = QLabel(help_text)
            note.setFont(theme.font("note"))
            note.setProperty("role", "muted")
            field.setAccessibleName(name)
            if at:
                column.addSpacing(6)
            column.addWidget(label)
            column.addWidget(field)
            column.addWidget(note)
        for spin in (self.temperature, self.max_tokens):
            spin.setFixedHeight(32)
        self.temperature.valueChanged.connect(self.changed)
        self.max_tokens.valueChanged.connect(self.changed)
        self.system.textChanged.connect(self.changed)

    @property
    def options(self) -> ChatOptions:
        """As chosen."""
        return ChatOptions(
            temperature=round(self.temperature.value(), 2),
            max_tokens=self.max_tokens.value() or None,
        )

    def open_above(self, button: QWidget) -> None:
        """Show over the button, its left edges in line."""
        self.adjustSize()
        self.move(button.mapToGlobal(QPoint(0, -self.height() - 8)))
        self.show()
        self.temperature.setFocus()


class Composer(QWidget):
    """The message field with its row of buttons.

    Signals:
        submitted: The text of a question.
        stop_requested: Stop the answer.
        launch_requested: There is no engine; take the user to where one is launched.
    """

    submitted = Signal(str)
    stop_requested = Signal()
    launch_requested = Signal()

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._busy = False
        self._blocked = ""
        self._used: int | None = None
        self._holds: int | None = None
        self.input = _Input(theme)
        self.popup = OptionsPopup(theme, self)
        self._build_row()
        column = QVBoxLayout(self)
        column.setContentsMargins(12, 10, 8, 8)
        column.setSpacing(6)
        column.addWidget(self.input)
        column.addLayout(self._row)
        self.input.submitted.connect(self._on_submit)
        self.input.escaped.connect(self._on_escape)
        self.input.focused.connect(self.update)
        self.input.textChanged.connect(self._show_state)
        self.popup.changed.connect(self._on_options)
        theme.changed.connect(self._on_theme)
        self._on_theme()
        self._on_options()

    @property
    def options(self) -> ChatOptions:
        """How the next question is to be answered."""
        return self.popup.options

    @property
    def system(self) -> str:
        """The system prompt; may be empty."""
        return self.popup.system.toPlainText()

    def set_ready(self, model: str) -> None:
        """An engine waits for questions."""
        self._blocked = ""
        self.input.setPlaceholderText(f"Message {model}")
        self._show_state()

    def set_blocked(self, reason: str, *, launch: bool) -> None:
        """No question can be sent now, for a reason; `launch` offers the way out."""
        self._blocked = reason
        self.input.setPlaceholderText(reason)
        self.launch.setVisible(launch)
        self._show_state()

    def set_busy(self, *, busy: bool) -> None:
        """An answer is on its way: Send becomes Stop."""
        self._busy = busy
        self._show_state()

    def show_context(self, used: int | None, holds: int | None) -> None:
        """Tokens in use, and how many there is room for."""
        self._used, self._holds = used, holds
        if used is None or not holds:
            self._context.setText("")
            return
        full = used >= holds * NEARLY_FULL
        self._context.setText(f"{number_text(used)} of {number_text(holds)} tokens")
        self._context.setToolTip(
            "The context is nearly full: clear the chat, or launch with a longer one."
            if full
            else "Tokens of the context this conversation fills."
        )
        set_role(self._context, "warning" if full else "muted")

    def paintEvent(self, _event: QPaintEvent) -> None:
        """The field's ground and edge; accent while it has the focus."""
        focus = self.input.hasFocus()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        edge = "accent" if focus else "border" if self._blocked else "control"
        width = 2 if focus else 1
        painter.setPen(QPen(self._theme.colour(edge), width))
        painter.setBrush(self._theme.colour("surface"))
        inset = width / 2
        area = QRectF(self.rect()).adjusted(inset, inset, -inset, -inset)
        painter.drawRoundedRect(area, 8, 8)
        painter.end()

    def _build_row(self) -> None:
        self.options_button = quiet_button(
            self._theme, "sliders-horizontal", "Temperature", "How to answer"
        )
        self.options_button.clicked.connect(self._on_open_options)
        self._context = QLabel()
        self._context.setFont(self._theme.font("note"))
        self._context.setProperty("role", "muted")
        self.send = IconButton(self._theme, "paper-plane-right", "Send", kind="primary")
        self.send.clicked.connect(self._on_submit)
        self.stop = IconButton(self._theme, "stop", "Stop")
        self.stop.clicked.connect(self.stop_requested)
        self.stop.hide()
        self.launch = IconButton(self._theme, "rocket-launch", "Launch an engine")
        self.launch.clicked.connect(self.launch_requested)
        self.launch.hide()
        self._row = QHBoxLayout()
        self._row.setSpacing(8)
        self._row.addWidget(self.options_button)
        self._row.addStretch(1)
        self._row.addWidget(self._context)
        self._row.addWidget(self.launch)
        self._row.addWidget(self.send)
        self._row.addWidget(self.stop)
        self.options_button.setStyleSheet("margin-left: -6px;")

    def _show_state(self) -> None:
        if not self._blocked:
            self.launch.hide()
        self.input.setReadOnly(bool(self._blocked) and not self._busy)
        self.send.setVisible(not self._busy and not self.launch.isVisibleTo(self))
        self.stop.setVisible(self._busy)
        written = bool(self.input.toPlainText().strip())
        self.send.setEnabled(written and not self._blocked)
        self.send.setToolTip(self._blocked or "" if written else "Write a message first.")
        self.update()

    @Slot()
    def _on_submit(self) -> None:
        text = self.input.toPlainText().strip()
        if text and not self._busy and not self._blocked:
            self.input.clear()
            self.submitted.emit(text)

    @Slot()
    def _on_escape(self) -> None:
        if self._busy:
            self.stop_requested.emit()

    @Slot()
    def _on_open_options(self) -> None:
        self.popup.open_above(self.options_button)

    @Slot()
    def _on_options(self) -> None:
        options = self.options
        parts = [f"Temperature {options.temperature:g}"]
        if options.max_tokens:
            parts.append(f"up to {number_text(options.max_tokens)} tokens")
        if self.system.strip():
            parts.append("system prompt")
        self.options_button.setText(" · ".join(parts))

    @Slot()
    def _on_theme(self) -> None:
        self.options_button.setIcon(self._theme.icon("sliders-horizontal", "muted"))
