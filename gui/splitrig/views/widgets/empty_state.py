"""What stands where nothing is yet: a line drawing, one sentence, one thing to do."""

from typing import Literal

from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen, QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from splitrig.views.theme import Theme
from splitrig.views.widgets.texts import IconButton, text_label

Drawing = Literal["cards", "model", "chat", "log"]
TEXT_PX = 520
SIDE_PX = 20


class LineDrawing(QWidget):
    """A drawing of lines: one thing missing (dashed), one thing offered (accent)."""

    def __init__(self, theme: Theme, drawing: Drawing, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._drawing: Drawing = drawing
        self.setFixedSize(252, 108)
        theme.changed.connect(self.update)

    def sizeHint(self) -> QSize:
        """A fixed picture."""
        return QSize(252, 108)

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Paint the picture."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        missing = QPen(self._theme.colour("control"), 1.5, Qt.PenStyle.DashLine)
        offered = QPen(self._theme.colour("accent"), 2)
        ground = self._theme.colour("surface")
        {"cards": _draw_cards, "model": _draw_model, "chat": _draw_chat, "log": _draw_log}[
            self._drawing
        ](painter, missing, offered, ground)


def _draw_card(painter: QPainter, box: QRectF, radius: float, *, spokes: bool) -> None:
    """A graphics card from the side: bracket, body, two fans, connector."""
    painter.drawLine(QPointF(box.left(), box.top() - 10), QPointF(box.left(), box.bottom() + 8))
    painter.drawRoundedRect(box, 5, 5)
    contact = QRectF(box.left() + box.width() * 0.16, box.bottom(), box.width() * 0.34, 8)
    painter.drawPolyline(
        [contact.topLeft(), contact.bottomLeft(), contact.bottomRight(), contact.topRight()]
    )
    for part in (0.27, 0.71):
        centre = QPointF(box.left() + box.width() * part, box.center().y())
        painter.drawEllipse(centre, radius, radius)
        if spokes:
            for dx, dy in ((1, 0), (0, 1), (0.707, 0.707), (0.707, -0.707)):
                offset = QPointF(dx * radius, dy * radius)
                painter.drawLine(centre - offset, centre + offset)


def _draw_cards(painter: QPainter, missing: QPen, offered: QPen, ground: QColor) -> None:
    painter.setPen(missing)
    _draw_card(painter, QRectF(2, 12, 172, 72), 21, spokes=False)
    painter.setPen(offered)
    painter.setBrush(ground)
    _draw_card(painter, QRectF(98, 38, 152, 60), 17, spokes=True)


def _draw_model(painter: QPainter, missing: QPen, offered: QPen, ground: QColor) -> None:
    """Layers of a model that are to lie on two cards."""
    painter.setPen(missing)
    painter.drawRoundedRect(QRectF(8, 70, 112, 30), 5, 5)
    painter.drawRoundedRect(QRectF(132, 70, 112, 30), 5, 5)
    painter.setPen(offered)
    painter.setBrush(ground)
    for number in range(4):
        painter.drawRoundedRect(QRectF(74, 44 - number * 13, 104, 9), 3, 3)
    painter.setPen(QPen(missing.color(), 1.5))
    for x, to in ((100, 64), (152, 188)):
        painter.drawLine(QPointF(x, 57), QPointF(to, 66))


def _draw_chat(painter: QPainter, missing: QPen, offered: QPen, ground: QColor) -> None:
    """A question and the answer to come."""
    painter.setPen(offered)
    painter.setBrush(ground)
    painter.drawRoundedRect(QRectF(112, 6, 136, 36), 8, 8)
    painter.drawLine(QPointF(126, 24), QPointF(206, 24))
    painter.setPen(missing)
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.drawRoundedRect(QRectF(4, 54, 168, 50), 8, 8)
    for y, to in ((71, 152), (86, 110)):
        painter.drawLine(QPointF(20, y), QPointF(to, y))


def _draw_log(painter: QPainter, missing: QPen, offered: QPen, ground: QColor) -> None:
    """A sheet with lines to come, and the prompt they come from."""
    painter.setPen(missing)
    painter.drawRoundedRect(QRectF(44, 4, 164, 76), 6, 6)
    for y, to in ((22, 176), (37, 150), (52, 188)):
        painter.drawLine(QPointF(60, y), QPointF(to, y))
    painter.setPen(offered)
    painter.setBrush(ground)
    painter.drawRoundedRect(QRectF(24, 64, 204, 38), 6, 6)
    painter.drawPolyline([QPointF(38, 76), QPointF(46, 83), QPointF(38, 90)])
    painter.drawLine(QPointF(54, 90), QPointF(70, 90))


class EmptyState(QWidget):
    """Drawing, title, sentence, primary action and perhaps a second one.

    Signals:
        action_triggered: The primary action.
        second_triggered: The second action.

    Attributes:
        below: Layout under the actions, for what was checked and the like.
    """

    action_triggered = Signal()
    second_triggered = Signal()

    def __init__(
        self,
        theme: Theme,
        drawing: Drawing,
        title: str,
        sentence: str,
        *,
        action: tuple[str, str] | None = None,
        second: tuple[str, str] | None = None,
        parent: QWidget | None = None,
    ) -> None:
        """Build it; an action is its icon and its label."""
        super().__init__(parent)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self._title = text_label(theme, title, "title", 600)
        self._sentence = text_label(theme, sentence, "answer", role="muted")
        self._sentence.setWordWrap(True)
        self._sentence.setAlignment(Qt.AlignmentFlag.AlignHCenter)
        self._sentence.setMaximumWidth(TEXT_PX)
        middle = Qt.AlignmentFlag.AlignHCenter
        layout = QVBoxLayout(self)
        layout.setContentsMargins(SIDE_PX, 32, SIDE_PX, 20)
        layout.setSpacing(8)
        layout.addStretch(1)
        layout.addWidget(LineDrawing(theme, drawing), 0, middle)
        layout.addSpacing(16)
        layout.addWidget(self._title, 0, middle)
        text = QHBoxLayout()
        text.addStretch(1)
        text.addWidget(self._sentence, TEXT_PX)  # all the width there is, up to its own
        text.addStretch(1)
        layout.addLayout(text)
        row = QHBoxLayout()
        row.setSpacing(12)
        row.addStretch(1)
        self.action_button = self._button(theme, action, "primary", row)
        self.second_button = self._button(theme, second, "", row)
        for button in (self.action_button, self.second_button):
            if button is not None:
                button.setProperty("large", "true")
        if self.action_button is not None:
            self.action_button.clicked.connect(self.action_triggered)
        if self.second_button is not None:
            self.second_button.clicked.connect(self.second_triggered)
        row.addStretch(1)
        layout.addSpacing(12)
        layout.addLayout(row)
        self.below = QVBoxLayout()
        layout.addLayout(self.below)
        layout.addStretch(2)

    @staticmethod
    def _button(
        theme: Theme, action: tuple[str, str] | None, kind: str, row: QHBoxLayout
    ) -> IconButton | None:
        if action is None:
            return None
        button = IconButton(theme, action[0], action[1], kind=kind)
        row.addWidget(button)
        return button

    def set_text(self, title: str, sentence: str) -> None:
        """Say something else."""
        self._title.setText(title)
        self._sentence.setText(sentence)
        self._keep_height()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """The text has another width, and so another height."""
        super().resizeEvent(event)
        self._keep_height()

    def _keep_height(self) -> None:
        """The layout asks for the height at its own width, not at the narrower one of the text."""
        width = min(self.width() - 2 * SIDE_PX, TEXT_PX)
        self._sentence.setMinimumHeight(self._sentence.heightForWidth(width))
