"""How the split bar looks."""

from dataclasses import dataclass

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFontMetricsF, QPainter, QPainterPath, QPen
from PySide6.QtWidgets import QWidget

from splitrig.views.theme import Theme
from splitrig.views.widgets.card_chip import CHIP_PX, SMALL_CHIP_PX, draw_chip
from splitrig.views.widgets.split_geometry import (
    SLOT_PX,
    card_spans,
    handle_centres,
    share_percents,
)

BAR_PX = 52
TICK_EVERY_PX = 4.0
"""Ticks closer than this are thinned out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BarPicture:
    """All that is painted.

    Attributes:
        numbers: Chip number per card.
        shares: Share per card.
        counts: Layers per card, the output counted.
        fit: Fewest and most layers left of the current handle with which all fits.
        fit_known: The fit track can be drawn.
        current: The handle the fit track is about.
        focused: A handle has the focus.
        within: Every layer is divided; none is counted.
        blocks_only: The output is not counted.
        stage: Cards after each other that hold the same.
    """

    numbers: tuple[int, ...]
    shares: tuple[float, ...]
    counts: tuple[int, ...]
    fit: tuple[int, int] | None
    fit_known: bool
    current: int
    focused: bool
    within: bool = False
    blocks_only: bool = False
    stage: int = 1

    @property
    def output_card(self) -> int:
        """Number in the row of the card that holds the output layer; -1 where none is counted."""
        if self.blocks_only:
            return -1
        return max((i for i, n in enumerate(self.counts) if n), default=-1)


def paint_bar(
    widget: QWidget, theme: Theme, picture: BarPicture, origin: QPointF, track_top_px: float
) -> None:
    """Paint cards, ticks and, with two cards or more, the fit track."""
    painter = QPainter(widget)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    width = widget.width()
    outline = QPainterPath()
    outline.addRoundedRect(QRectF(0, origin.y(), width, BAR_PX), 6, 6)
    spans = card_spans(picture.shares, width) if picture.numbers else []
    for index, (left, right) in enumerate(spans):
        colour = theme.card(picture.numbers[index])
        ground = QColor(colour)
        ground.setAlphaF(0.22)
        area = QRectF(left, origin.y(), right - left, BAR_PX)
        edge = QRectF(left, origin.y(), right - left, 3)
        at_end = index in (0, len(spans) - 1)
        for part, fill in ((area, ground), (edge, colour)):
            if at_end:
                piece = QPainterPath()
                piece.addRect(part)
                painter.fillPath(outline.intersected(piece), fill)
            else:
                painter.fillRect(part, fill)
        _paint_card_text(painter, theme, picture, index, area)
    if not picture.within:
        _paint_ticks(painter, theme, picture, width, origin.y())
    if picture.fit_known:
        _paint_track(painter, theme, picture, width, track_top_px)


def _paint_ticks(
    painter: QPainter, theme: Theme, picture: BarPicture, width: float, top: float
) -> None:
    total = sum(picture.counts)
    if not total:
        return
    colour = QColor(theme.colour("text"))
    colour.setAlphaF(0.28)
    painter.setPen(QPen(colour, 1))
    centres = handle_centres(picture.shares, width)
    step = width / total
    every = max(1, int(TICK_EVERY_PX / step + 0.999))
    for tick in range(every, total, every):
        x = tick * step
        if all(abs(x - c) > SLOT_PX / 2 for c in centres):
            painter.drawLine(QPointF(x, top + 46), QPointF(x, top + 51))


def _paint_card_text(
    painter: QPainter, theme: Theme, picture: BarPicture, index: int, area: QRectF
) -> None:
    """Chip, per cent and layers, as much of it as there is room for."""
    count = picture.counts[index]
    has_output = index == picture.output_card
    blocks = count - int(has_output)
    long_text = f"{blocks} + output" if has_output else _layers(count)
    short_text = f"{blocks} + out" if has_output else str(count)
    if picture.within:
        long_text, short_text = "of every layer", "of each"
    room = area.width()
    note = QFontMetricsF(theme.font("axis"))
    needs = CHIP_PX + 32 + max(note.horizontalAdvance(long_text), 34)
    wide = room >= needs
    chip = CHIP_PX if wide else SMALL_CHIP_PX
    pad = 12.0 if wide else min(10.0, max((room - chip) / 2, 0))
    if room < chip + 1:
        chip = int(min(room, SMALL_CHIP_PX))
    centre = area.top() + 24
    draw_chip(
        painter,
        theme,
        QRectF(area.left() + pad, centre - chip / 2, chip, chip),
        picture.numbers[index],
    )
    left = area.left() + pad + chip + (8 if wide else 6)
    room_for_text = area.right() - left - 4
    text = long_text if wide else short_text
    if room_for_text < 26:
        return
    painter.setFont(theme.font("body" if wide else "note", 600))
    painter.setPen(theme.colour("text"))
    flags = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft
    percent = f"{share_percents(picture.shares)[index]} %"
    if room_for_text < QFontMetricsF(painter.font()).horizontalAdvance(percent):
        return
    painter.drawText(QRectF(left, area.top() + 8, room_for_text, 16), flags, percent)
    if note.horizontalAdvance(text) > room_for_text:
        text = "" if picture.within else str(count)
    painter.setFont(theme.font("axis"))
    painter.setPen(theme.colour("muted"))
    painter.drawText(QRectF(left, area.top() + 25, room_for_text, 14), flags, text)


def _layers(count: int) -> str:
    return f"{count} layer{'' if count == 1 else 's'}"


def _paint_track(
    painter: QPainter, theme: Theme, picture: BarPicture, width: float, top: float
) -> None:
    """Where the current handle may stand: green fits, red hatch does not."""
    centres = handle_centres(picture.shares, width)
    x = centres[min(picture.current, len(centres) - 1)]
    painter.setPen(QPen(theme.colour("muted"), 1.5))
    painter.drawLine(QPointF(x, top - 10), QPointF(x, top - 2))
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrushOrigin(QPointF(0, top))
    painter.setBrush(theme.memory("over", painter.device().devicePixelRatioF()))
    painter.drawRoundedRect(QRectF(0, top, width, 4), 2, 2)
    painter.setFont(theme.font("axis"))
    if picture.fit is None:
        painter.setPen(theme.colour("danger"))
        flags = Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft
        words = "no place of this handle fits" if len(centres) > 1 else "no split fits"
        painter.drawText(QRectF(0, top + 5, width, 16), flags, words)
        return
    total = max(sum(picture.counts), 1)
    before = sum(picture.counts[: picture.current + 1 - picture.stage])
    least = max((before + picture.stage * picture.fit[0]) / total * width, 0)
    most = min((before + picture.stage * picture.fit[1]) / total * width, width)
    most = max(most, least + 4)
    painter.fillRect(QRectF(least - 1, top, most - least + 2, 4), theme.colour("surface"))
    painter.setBrush(theme.colour("success"))
    painter.drawRoundedRect(QRectF(least, top, most - least, 4), 2, 2)
    painter.setPen(theme.colour("muted"))
    words = "fits here"
    needed = QFontMetricsF(painter.font()).horizontalAdvance(words)
    left = max(0.0, min(least + 2, width - needed))
    painter.drawText(QRectF(left, top + 5, needed + 2, 16), Qt.AlignmentFlag.AlignTop, words)


def paint_closed(widget: QWidget, theme: Theme, picture: BarPicture) -> None:
    """The bar without handles: a frame, chips and per cents, muted."""
    painter = QPainter(widget)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    box = QRectF(widget.rect()).adjusted(0.5, 0.5, -0.5, -0.5)
    painter.setPen(theme.colour("border"))
    painter.drawRoundedRect(box, 6, 6)
    if not picture.numbers:
        return
    percents = share_percents(picture.shares)
    part = widget.width() / len(picture.numbers)
    painter.setFont(theme.font())
    for index, number in enumerate(picture.numbers):
        left = part * index
        if index:
            painter.setPen(theme.colour("border"))
            painter.drawLine(QPointF(left, 8), QPointF(left, widget.height() - 8))
        draw_chip(painter, theme, QRectF(left + 12, 11, CHIP_PX, CHIP_PX), number)
        painter.setPen(theme.colour("muted"))
        area = QRectF(left + 38, 0, part - 42, widget.height())
        flags = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft
        painter.drawText(area, flags, f"{percents[index]} %")
