"""A thin painted reading."""

from PySide6.QtCore import QRectF, QSize, Qt, QTimer, Slot
from PySide6.QtGui import QHideEvent, QPainter, QPaintEvent, QShowEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from splitrig.views.theme import Theme


class Gauge(QWidget):
    """A thin bar from 0 to 1; empty when the value is not reported."""

    def __init__(self, theme: Theme, thickness_px: int = 3, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._share: float | None = None
        self._colour = "muted"
        self._busy = False
        self._phase = 0.0
        self._timer = QTimer(self)
        self._timer.setInterval(40)
        self._timer.timeout.connect(self._on_tick)
        self.setFixedHeight(thickness_px)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        theme.changed.connect(self.update)

    def set_value(self, share: float | None, colour: str = "muted") -> None:
        """Show a share of 0 to 1 in a token's colour; `None` leaves the track empty."""
        self._set_busy(busy=False)
        if (share, colour) != (self._share, self._colour):
            self._share, self._colour = share, colour
            self.update()

    def set_busy(self, colour: str = "accent") -> None:
        """Show that something goes on whose end is not known."""
        self._share, self._colour = None, colour
        self._set_busy(busy=True)

    def _set_busy(self, *, busy: bool) -> None:
        self._busy = busy
        if busy and self.isVisible():
            self._timer.start()
        elif not busy:
            self._timer.stop()

    @Slot()
    def _on_tick(self) -> None:
        self._phase = (self._phase + 0.02) % 1
        self.update()

    def showEvent(self, event: QShowEvent) -> None:
        """Move only while it can be seen."""
        if self._busy:
            self._timer.start()
        super().showEvent(event)

    def hideEvent(self, event: QHideEvent) -> None:
        """Stop moving."""
        self._timer.stop()
        super().hideEvent(event)

    def sizeHint(self) -> QSize:
        """Wide and thin."""
        return QSize(120, self.height())

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Track and bar."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        box = QRectF(self.rect())
        radius = box.height() / 2
        painter.setBrush(self._theme.colour("border"))
        painter.drawRoundedRect(box, radius, radius)
        painter.setBrush(self._theme.colour(self._colour))
        if self._busy:
            width = box.width() * 0.25
            left = -width + (box.width() + width) * self._phase
            painter.drawRoundedRect(
                QRectF(left, 0, width, box.height()).intersected(box), radius, radius
            )
        elif self._share:
            box.setWidth(max(box.width() * min(self._share, 1), box.height()))
            painter.drawRoundedRect(box, radius, radius)
