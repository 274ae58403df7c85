"""One of several that exclude each other: a radio button in the colours of the theme."""

from PySide6.QtCore import QPoint, QRectF, QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QRadioButton, QSizePolicy, QWidget

from splitrig.views.theme import Theme

SIDE_PX = 28
RING_PX = 16


class Radio(QRadioButton):
    """A ring with a dot, without words of its own: what stands beside it says what it is."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        theme.changed.connect(self.update)

    def sizeHint(self) -> QSize:
        """Large enough to be hit."""
        return QSize(SIDE_PX, SIDE_PX)

    def minimumSizeHint(self) -> QSize:
        """Never smaller than it wants to be."""
        return self.sizeHint()

    def hitButton(self, pos: QPoint) -> bool:
        """All of it is the target."""
        return self.rect().contains(pos)

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Ring, dot, focus ring."""
        theme = self._theme
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        ring = QRectF(0, 0, RING_PX, RING_PX)
        ring.moveCenter(QRectF(self.rect()).center())
        painter.setBrush(Qt.BrushStyle.NoBrush)
        if self.hasFocus():
            painter.setPen(QPen(theme.colour("accent"), 2))
            painter.drawEllipse(ring.adjusted(-4, -4, 4, 4))
        if self.isChecked():
            accent = theme.colour("accent" if self.isEnabled() else "control")
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(accent)
            painter.drawEllipse(ring)
            painter.setBrush(theme.colour("on_accent"))
            painter.drawEllipse(ring.adjusted(5, 5, -5, -5))
            return
        painter.setPen(QPen(theme.colour("control" if self.isEnabled() else "border"), 1.5))
        painter.drawEllipse(ring.adjusted(0.75, 0.75, -0.75, -0.75))
