"""Paints the cells of the dense table."""

from PySide6.QtCore import QModelIndex, QObject, QPersistentModelIndex, QRectF, Qt
from PySide6.QtGui import QFontMetricsF, QPainter
from PySide6.QtWidgets import QStyledItemDelegate, QStyleOptionViewItem

from splitrig.core.units import MISSING
from splitrig.views.rig.dense_model import Column, DenseModel, DenseRow, Totals
from splitrig.views.rig.readings import LimitText, Reading
from splitrig.views.theme import Theme
from splitrig.views.widgets.graph_paint import paint_chip, paint_gauge, paint_usage

PAD_PX = 4
BAR_PX = 12
GAUGE_PX = 40
_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
_LEFT = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter


class DenseDelegate(QStyledItemDelegate):
    """Chips, bars on one common scale, numbers with muted limits, badges."""

    def __init__(self, theme: Theme, model: DenseModel, parent: QObject) -> None:
        super().__init__(parent)
        self._theme = theme
        self._model = model
        self._body = theme.font("body")
        self._strong = theme.font("body", 500)
        self._note = theme.font("note")
        self._badge = theme.font("note", 500)

    def paint(
        self,
        painter: QPainter,
        option: QStyleOptionViewItem,
        index: QModelIndex | QPersistentModelIndex,
    ) -> None:
        """One cell."""
        # PySide's stubs leave the fields of the option out.
        rect = QRectF(getattr(option, "rect"))  # noqa: B009
        column = Column(index.column())
        painter.save()
        if index.row() < len(self._model.rows):
            self._paint_card(painter, rect, column, self._model.rows[index.row()])
        elif self._model.totals is not None:
            self._paint_total(painter, rect, column, self._model.totals)
        painter.restore()

    def _paint_card(self, painter: QPainter, rect: QRectF, column: Column, row: DenseRow) -> None:
        inner = rect.adjusted(PAD_PX, 0, -PAD_PX, 0)
        lost = row.readings.lost
        if column is Column.CHIP:
            chip = QRectF(rect.left() + 16, rect.center().y() - 9, 18, 18)
            paint_chip(painter, self._theme, chip, row.card.number, hollow=lost)
        elif column is Column.NAME:
            self._text(painter, inner, row.card.name, strong=True, tone="muted" if lost else "text")
        elif column is Column.BAR:
            self._paint_bar(painter, inner, row)
        elif column is Column.LIMIT:
            self._paint_limit(painter, inner, row.readings.limit)
        else:
            reading = row.reading(column)
            if reading is None:
                return
            if column is Column.LOAD and reading.share is not None:
                track = QRectF(inner.right() - 30 - GAUGE_PX, inner.center().y() - 1, GAUGE_PX, 3)
                colour = self._theme.card(row.card.number)
                paint_gauge(painter, self._theme, track, reading.share, colour)
            self._paint_reading(painter, inner, reading, strong=column is Column.VRAM)

    def _paint_bar(self, painter: QPainter, inner: QRectF, row: DenseRow) -> None:
        share = (row.usage.total_bytes or 0) / self._model.largest_bytes
        width = round(max(inner.width() - 20, 40) * share)
        box = QRectF(inner.left(), round(inner.center().y() - BAR_PX / 2), width, BAR_PX)
        ratio = painter.device().devicePixelRatioF()
        if width > 0:
            paint_usage(painter, self._theme, box, row.usage, ratio)

    def _paint_reading(
        self, painter: QPainter, inner: QRectF, reading: Reading, *, strong: bool = False
    ) -> None:
        """The number and, muted, its limit, both ending at the right edge."""
        rest_px = 0.0
        if reading.slash:
            painter.setFont(self._note)
            painter.setPen(self._theme.colour("muted"))
            painter.drawText(inner, _RIGHT, reading.slash)
            rest_px = QFontMetricsF(self._note).horizontalAdvance(reading.slash) + 5
        painter.setFont(self._strong if strong or reading.tone == "warning" else self._body)
        tone = "muted" if reading.text == MISSING else reading.tone
        painter.setPen(self._theme.colour(tone))
        painter.drawText(inner.adjusted(0, 0, -rest_px, 0), _RIGHT, reading.text)

    def _paint_limit(self, painter: QPainter, rect: QRectF, limit: LimitText) -> None:
        if limit.tone == "neutral":
            text = MISSING if limit.text == "Not limited" else limit.text
            self._text(painter, rect, text, tone="muted")
            return
        metrics = QFontMetricsF(self._badge)
        box = QRectF(rect.left(), rect.center().y() - 11, 0, 22)
        box.setWidth(8 + 14 + 4 + metrics.horizontalAdvance(limit.text) + 8)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self._theme.colour(f"{limit.tone}_ground"))
        painter.drawRoundedRect(box, 4, 4)
        icon = self._theme.icon(limit.icon, limit.tone)
        icon.paint(painter, int(box.left() + 8), int(box.top() + 4), 14, 14)
        painter.setFont(self._badge)
        painter.setPen(self._theme.colour(limit.tone))
        painter.drawText(box.adjusted(26, 0, 0, 0), _LEFT, limit.text)

    def _paint_total(self, painter: QPainter, rect: QRectF, column: Column, totals: Totals) -> None:
        painter.fillRect(
            QRectF(rect.left(), rect.top(), rect.width(), 1), self._theme.colour("border")
        )
        inner = rect.adjusted(PAD_PX, 0, -PAD_PX, 0)
        if column is Column.NAME:
            self._text(painter, inner, "All", tone="muted")
        elif column is Column.BAR:
            painter.setFont(self._note)
            painter.setPen(self._theme.colour("muted"))
            metrics = QFontMetricsF(self._note)
            text = metrics.elidedText(totals.split, Qt.TextElideMode.ElideRight, inner.width())
            painter.drawText(inner, _LEFT, text)
        else:
            reading = totals.reading(column)
            if reading is not None:
                self._paint_reading(painter, inner, reading, strong=column is Column.VRAM)

    def _text(
        self, painter: QPainter, inner: QRectF, text: str, *, tone: str, strong: bool = False
    ) -> None:
        font = self._strong if strong else self._body
        painter.setFont(font)
        painter.setPen(self._theme.colour(tone))
        fitted = QFontMetricsF(font).elidedText(
            text, Qt.TextElideMode.ElideRight, max(inner.width(), 0)
        )
        painter.drawText(inner, _LEFT, fitted)
