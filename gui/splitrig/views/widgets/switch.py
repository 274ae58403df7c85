"""A switch: a check box painted as a track with a knob."""

from PySide6.QtCore import QPoint, QRectF, QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QCheckBox, QSizePolicy, QWidget

from splitrig.views.theme import Theme

TRACK = QSize(32, 18)
GAP_PX = 10
RING_PX = 3


class Switch(QCheckBox):
    """On or off; takes its label along as a target."""

    def __init__(self, theme: Theme, text: str = "", parent: QWidget | None = None) -> None:
        super().__init__(text, parent)
        self._theme = theme
        self.setAccessibleName(text)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setFont(theme.font())
        theme.changed.connect(self.update)

    def sizeHint(self) -> QSize:
        """Track, gap and text; at least 28 px high, so that it is easily hit."""
        width = TRACK.width() + 2 * RING_PX
        if self.text():
            width += GAP_PX + self.fontMetrics().horizontalAdvance(self.text())
        return QSize(width, max(28, self.fontMetrics().height() + 8))

    def minimumSizeHint(self) -> QSize:
        """Never smaller than it wants to be."""
        return self.sizeHint()

    def hitButton(self, pos: QPoint) -> bool:
        """Track and text are one target."""
        return self.rect().contains(pos)

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Track, knob, text, focus ring."""
        theme = self._theme
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        top = (self.height() - TRACK.height()) / 2
        track = QRectF(RING_PX, top, TRACK.width(), TRACK.height())
        self._paint_track(painter, track)
        if self.hasFocus():
            painter.setPen(QPen(theme.colour("accent"), 2))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            ring = track.adjusted(-2, -2, 2, 2)
            painter.drawRoundedRect(ring, ring.height() / 2, ring.height() / 2)
        if self.text():
            painter.setFont(self.font())
            painter.setPen(theme.colour("text" if self.isEnabled() else "muted"))
            left = int(track.right()) + GAP_PX
            area = self.rect().adjusted(left, 0, 0, 0)
            flags = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft
            painter.drawText(area, flags, self.text())

    def _paint_track(self, painter: QPainter, track: QRectF) -> None:
        theme = self._theme
        radius = track.height() / 2
        if self.isChecked():
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(theme.colour("accent" if self.isEnabled() else "control"))
            painter.drawRoundedRect(track, radius, radius)
            painter.setBrush(theme.colour("on_accent" if self.isEnabled() else "surface"))
            painter.drawEllipse(QRectF(track.right() - 16, track.top() + 2, 14, 14))
            return
        edge = theme.colour("control" if self.isEnabled() else "border")
        painter.setPen(QPen(edge, 1.5))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawRoundedRect(track.adjusted(0.75, 0.75, -0.75, -0.75), radius, radius)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(edge)
        painter.drawEllipse(QRectF(track.left() + 3, track.top() + 3, 12, 12))
