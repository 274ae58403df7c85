"""The coloured square with a card's number: the only thing whose colour says which card."""

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QFont, QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from splitrig.views.theme import Theme

CHIP_PX = 18
SMALL_CHIP_PX = 14


def draw_chip(painter: QPainter, theme: Theme, box: QRectF, number: int) -> None:
    """Paint a chip into `box`; the digit is near-black or white, whichever reads better."""
    painter.save()
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(theme.card(number))
    radius = 4 if box.height() > SMALL_CHIP_PX else 3
    painter.drawRoundedRect(box, radius, radius)
    font = QFont(theme.font("axis", 700))
    font.setPixelSize(11 if box.height() > SMALL_CHIP_PX else 10)
    painter.setFont(font)
    painter.setPen(theme.card_ink(number))
    painter.drawText(box, Qt.AlignmentFlag.AlignCenter, str(number))
    painter.restore()


class CardChip(QWidget):
    """A chip as a widget; 18 px, or 14 px where room is short."""

    def __init__(
        self, theme: Theme, number: int = 0, *, small: bool = False, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._theme = theme
        self._number = number
        self._size = SMALL_CHIP_PX if small else CHIP_PX
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.setFixedSize(self._size, self._size)
        self.set_number(number)
        theme.changed.connect(self.update)

    @property
    def number(self) -> int:
        """The card's number."""
        return self._number

    def set_number(self, number: int) -> None:
        """Show another card's number and colour."""
        self._number = number
        self.setAccessibleName(f"Card {number}")
        self.update()

    def sizeHint(self) -> QSize:
        """The chip's own size."""
        return QSize(self._size, self._size)

    def paintEvent(self, _event: QPaintEvent) -> None:
        """One rounded square and its number."""
        painter = QPainter(self)
        draw_chip(painter, self._theme, QRectF(self.rect()), self._number)
