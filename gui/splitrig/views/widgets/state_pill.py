"""The pill that says what the engine does."""

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QFontMetricsF, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from splitrig.core.attached import is_unloaded
from splitrig.core.engine import EngineStatus, Phase
from splitrig.core.engine_words import engine_name
from splitrig.views.theme import Theme


class StatePill(QWidget):
    """What the engine does, in a rounded border with a dot."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._text = ""
        self._dot = "muted"
        self._edge = "border"
        self._hollow = True
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.show_status(EngineStatus())
        theme.changed.connect(self.update)

    @property
    def text(self) -> str:
        """What it says."""
        return self._text

    def show_status(self, status: EngineStatus) -> None:
        """Say what the engine does."""
        words = {
            Phase.STOPPED: "No engine running",
            Phase.STARTING: "Starting",
            Phase.LOADING: "Loading",
            Phase.READY: f"Running · {engine_name(status)}",
            Phase.STOPPING: "Stopping",
            Phase.FAILED: "Engine failed",
        }
        text = f"Not loaded · {engine_name(status)}" if is_unloaded(status) else words[status.phase]
        if status.phase is Phase.LOADING and status.progress is not None:
            text += f" · {status.progress * 100:.0f} %"
        self._dot = {Phase.STOPPED: "muted", Phase.READY: "success", Phase.FAILED: "danger"}.get(
            status.phase, "warning"
        )
        if is_unloaded(status):
            self._dot = "warning"
        self._edge = "danger" if status.phase is Phase.FAILED else "border"
        self._hollow = status.phase is Phase.STOPPED
        self.setToolTip(status.failure.message if status.failure else "")
        self.setAccessibleName(f"Engine: {text}")
        if text != self._text:
            self._text = text
            self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:
        """24 px high."""
        width = QFontMetricsF(self._theme.font("note", 500)).horizontalAdvance(self._text)
        return QSize(int(width + 1.5) + 34, 24)

    def minimumSizeHint(self) -> QSize:
        """Nothing is cut."""
        return self.sizeHint()

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Border, dot, words."""
        theme = self._theme
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        box = QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5)
        painter.setPen(theme.colour(self._edge))
        painter.drawRoundedRect(box, box.height() / 2, box.height() / 2)
        dot = QRectF(9, self.height() / 2 - 4, 8, 8)
        if self._hollow:
            painter.setPen(QPen(theme.colour(self._dot), 1.5))
            painter.drawEllipse(dot.adjusted(0.75, 0.75, -0.75, -0.75))
        else:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(theme.colour(self._dot))
            painter.drawEllipse(dot)
        painter.setFont(theme.font("note", 500))
        painter.setPen(theme.colour("text"))
        area = self.rect().adjusted(23, 0, 0, 0)
        flags = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft
        painter.drawText(area, flags, self._text)
