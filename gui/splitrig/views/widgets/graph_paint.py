"""Painted parts that the graphs, the strip and the tables of cards share."""

from typing import TYPE_CHECKING

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPen

from splitrig.core.usage import Usage
from splitrig.views.theme import Theme
from splitrig.views.widgets.card_chip import draw_chip
from splitrig.views.widgets.memory_bar import Memory, draw_memory

if TYPE_CHECKING:
    from splitrig.views.theme import Kind


def paint_chip(
    painter: QPainter, theme: Theme, box: QRectF, number: int, *, hollow: bool = False
) -> None:
    """A card's chip; hollow where the card's curves are off or the card is lost."""
    if not hollow:
        draw_chip(painter, theme, box, number)
        return
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(QPen(theme.card(number), 1.5))
    painter.setBrush(Qt.BrushStyle.NoBrush)
    radius = 4 if box.width() >= 16 else 3
    painter.drawRoundedRect(box.adjusted(0.75, 0.75, -0.75, -0.75), radius, radius)
    font = theme.font("axis", 700)
    font.setPixelSize(11 if box.width() >= 16 else 10)
    painter.setFont(font)
    painter.setPen(theme.colour("muted"))
    painter.drawText(box, Qt.AlignmentFlag.AlignCenter, str(number))


def memory_of(usage: Usage) -> Memory:
    """A card's memory for a bar: the engine as 'weights', then others.

    While an engine loads and has not said what it took, all that can be said is 'in use', which
    is drawn like the engine's share.
    """
    used, others = usage.used_bytes or 0, usage.others_bytes or 0
    parts: dict[Kind, int] = {"weights": used - others, "others": others}
    return Memory(total_bytes=max(usage.total_bytes or 0, used), parts=parts)


def paint_usage(painter: QPainter, theme: Theme, box: QRectF, usage: Usage, ratio: float) -> None:
    """A card's memory in `box`; an empty bar when its size is not known."""
    draw_memory(painter, theme, box, memory_of(usage), ratio)


def paint_gauge(painter: QPainter, theme: Theme, box: QRectF, share: float, colour: QColor) -> None:
    """A thin line on its track."""
    radius = box.height() / 2
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(theme.colour("border"))
    painter.drawRoundedRect(box, radius, radius)
    if share > 0:
        painter.setBrush(colour)
        width = max(box.width() * min(share, 1.0), box.height())
        painter.drawRoundedRect(QRectF(box.left(), box.top(), width, box.height()), radius, radius)
