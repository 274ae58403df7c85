"""One handle of the split bar: a slider to the keyboard and to screen readers."""

from PySide6.QtCore import QPointF, QRectF, Qt, Signal
from PySide6.QtGui import (
    QFocusEvent,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QWheelEvent,
)
from PySide6.QtWidgets import QSlider, QWidget

from splitrig.views.theme import Theme

GRAB_PX = 28
WIDTH_PX = 12
BAR_PX = 52
STICK_PX = 3
RING_PX = 3


class SplitHandle(QSlider):
    """Its value is the number of layers on the card to its left.

    A QSlider, painted and driven by hand, because Qt gives sliders a role, a value and a range
    for assistive technology.

    Signals:
        grabbed: The mouse took it.
        dragged: It was pulled to this x in the bar's coordinates, px; second: without snapping.
        dropped: The mouse let go of it.
        stepped: Move by this many layers.
        edge_wanted: To the edge of what fits: −1 the least layers on the left, 1 the most.
        undo_wanted: Escape.
        field_wanted: Enter.
        auto_wanted: Double click.
        focused: It has the focus now.
    """

    grabbed = Signal()
    dragged = Signal(float, bool)
    dropped = Signal()
    stepped = Signal(int)
    edge_wanted = Signal(int)
    undo_wanted = Signal()
    field_wanted = Signal()
    auto_wanted = Signal()
    focused = Signal()

    def __init__(self, theme: Theme, parent: QWidget) -> None:
        super().__init__(Qt.Orientation.Horizontal, parent)
        self._theme = theme
        self._grip_px: float | None = None
        self._wheel = 0
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setCursor(Qt.CursorShape.SplitHCursor)
        self.setTracking(True)
        theme.changed.connect(self.update)

    @property
    def held(self) -> bool:
        """The mouse holds it."""
        return self._grip_px is not None

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Take it; the point under the mouse stays under the mouse."""
        if event.button() is not Qt.MouseButton.LeftButton:
            event.ignore()
            return
        self._grip_px = event.position().x() - self.width() / 2
        self.setFocus(Qt.FocusReason.MouseFocusReason)
        self.grabbed.emit()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Pull it; Alt lets it stand between two layers."""
        if self._grip_px is None:
            return
        x = self.mapToParent(event.position()).x() - self._grip_px
        free = bool(event.modifiers() & Qt.KeyboardModifier.AltModifier)
        self.dragged.emit(x, free)

    def mouseReleaseEvent(self, _event: QMouseEvent) -> None:
        """Let go."""
        if self._grip_px is not None:
            self._grip_px = None
            self.dropped.emit()

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """Back to Auto."""
        if event.button() is Qt.MouseButton.LeftButton:
            self._grip_px = None
            self.auto_wanted.emit()

    def wheelEvent(self, event: QWheelEvent) -> None:
        """One layer a notch while it has the focus; else the page scrolls."""
        if not self.hasFocus():
            event.ignore()
            return
        self._wheel += event.angleDelta().y() or event.angleDelta().x()
        notches = int(self._wheel / 120)
        if notches:
            self._wheel -= notches * 120
            self.stepped.emit(notches)
        event.accept()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Arrows one layer, with Shift five; Home and End to what fits; Esc undoes."""
        step = 5 if event.modifiers() & Qt.KeyboardModifier.ShiftModifier else 1
        key = event.key()
        if key in {Qt.Key.Key_Left, Qt.Key.Key_Down}:
            self.stepped.emit(-step)
        elif key in {Qt.Key.Key_Right, Qt.Key.Key_Up}:
            self.stepped.emit(step)
        elif key in {Qt.Key.Key_Home, Qt.Key.Key_End}:
            self.edge_wanted.emit(-1 if key == Qt.Key.Key_Home else 1)
        elif key == Qt.Key.Key_Escape:
            self.undo_wanted.emit()
        elif key in {Qt.Key.Key_Return, Qt.Key.Key_Enter}:
            self.field_wanted.emit()
        else:
            # Tab must reach the next handle; QSlider would swallow the page keys
            event.ignore()

    def keyReleaseEvent(self, event: QKeyEvent) -> None:
        """What was reached is announced when the key is released."""
        if not event.isAutoRepeat():
            self.dropped.emit()
        super().keyReleaseEvent(event)

    def focusInEvent(self, event: QFocusEvent) -> None:
        """The fit track now belongs to this handle."""
        super().focusInEvent(event)
        self.focused.emit()

    def paintEvent(self, _event: QPaintEvent) -> None:
        """A bar of 12 px with two grip lines, and the focus ring around it."""
        theme = self._theme
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        middle = self.width() / 2
        body = QRectF(middle - WIDTH_PX / 2, RING_PX, WIDTH_PX, BAR_PX + 2 * STICK_PX)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.colour("text"))
        painter.drawRoundedRect(body, 4, 4)
        painter.setPen(QPen(theme.colour("surface"), 1))
        for dx in (-1.5, 1.5):
            x = middle + dx
            painter.drawLine(QPointF(x, body.center().y() - 7), QPointF(x, body.center().y() + 7))
        if self.hasFocus():
            painter.setPen(QPen(theme.colour("accent"), 2))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(body.adjusted(-2, -2, 2, 2), 6, 6)
