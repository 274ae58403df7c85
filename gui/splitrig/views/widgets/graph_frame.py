"""Everything around the curves: titles, scales, the time axis, the event lane, values now."""

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QPointF, QRect, QRectF, QSize, Qt, Signal, Slot
from PySide6.QtGui import QFontMetricsF, QPainter, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from splitrig.core.history import Mark, MarkKind
from splitrig.core.units import MISSING, number_text
from splitrig.views.theme import Theme
from splitrig.views.widgets.graph_data import GraphCard, Row, time_ticks
from splitrig.views.widgets.graph_paint import paint_chip

LANE_PX = 28
AXIS_PX = 22
LEFT_PX = 88
RIGHT_PX = 108
ROW_MIN_PX = 56
VALUE_PX = 16
PAD_PX = 9
"""Room above and below the scale of a row."""

MARK_COLOURS = {
    MarkKind.LOAD: "warning",
    MarkKind.PROMPT: "accent_text",
    MarkKind.ANSWER: "success",
}
MARK_WORDS = {MarkKind.LOAD: "Load", MarkKind.PROMPT: "Prompt", MarkKind.ANSWER: "Answer"}


@dataclass(frozen=True, slots=True)
class Value:
    """A number beside a row.

    Attributes:
        card: Whose it is; `None` for the whole rig.
        text: The number, without unit.
    """

    card: GraphCard | None
    text: str


class GraphFrame(QWidget):
    """Paints what stands still; the plots lie in `plot_rect` as a child of their own.

    Signals:
        moved: The place for the plots changed.
    """

    moved = Signal()

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self.rows: tuple[Row, ...] = ()
        self.tops: tuple[float, ...] = ()
        self.seconds = 300
        self._marks: tuple[Mark, ...] = ()
        self._now_s = 0.0
        self._values: tuple[tuple[Value, ...], ...] = ()
        self._n_values = 1
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self._make_fonts()
        theme.changed.connect(self._on_theme)

    def _make_fonts(self) -> None:
        self._axis_font = self._theme.font("axis")
        self._title_font = self._theme.font("note", 600)
        self._value_font = self._theme.font("body", 500)
        self._note_font = self._theme.font("note")

    # Geometry

    def sizeHint(self) -> QSize:
        """As high as needed; a layout with a stretch gives more."""
        return QSize(640, self.minimumSizeHint().height())

    def minimumSizeHint(self) -> QSize:
        """The least that can be read."""
        row_px = max(ROW_MIN_PX, self._n_values * VALUE_PX + 8)
        return QSize(360, LANE_PX + AXIS_PX + row_px * max(len(self.rows), 1))

    @property
    def plot_rect(self) -> QRect:
        """Where the plots lie, all rows together."""
        # Whole pixels for each row, so that lines beside and in the plots meet.
        n = max(len(self.rows), 1)
        height = max(self.height() - LANE_PX - AXIS_PX, 40) // n * n
        right = RIGHT_PX if self._n_values else PAD_PX
        return QRect(
            LEFT_PX,
            LANE_PX,
            max(self.width() - LEFT_PX - right, 40),
            height,
        )

    def row_rect(self, i: int) -> QRectF:
        """Where row `i` lies, full width of the plots."""
        area = QRectF(self.plot_rect)
        height = area.height() / max(len(self.rows), 1)
        return QRectF(area.left(), area.top() + i * height, area.width(), height)

    def y_range(self, i: int) -> tuple[float, float]:
        """Bottom and top of row `i` in its unit, so that 0 and the top keep their distance."""
        height = max(self.row_rect(i).height() - 2 * PAD_PX, 1.0)
        pad = self.tops[i] * PAD_PX / height
        return -pad, self.tops[i] + pad

    def resizeEvent(self, event: QResizeEvent) -> None:
        """The plots move along."""
        super().resizeEvent(event)
        self.moved.emit()

    # What is shown

    def set_rows(self, rows: Sequence[Row], *, n_values: int) -> None:
        """Choose the graphs of the stack, and how many values stand beside each.

        Plots that show the old rows have to be built anew by the caller.
        """
        if tuple(rows) == self.rows and n_values == self._n_values:
            return
        self.rows = tuple(rows)
        self.tops = tuple(100.0 for _ in rows)
        self._values = tuple(() for _ in rows)
        self._n_values = n_values
        self.setMinimumHeight(self.minimumSizeHint().height())
        self.updateGeometry()
        self.update()

    def set_tops(self, tops: Sequence[float]) -> bool:
        """Tops of the scales; tells whether any changed."""
        if tuple(tops) == self.tops:
            return False
        self.tops = tuple(tops)
        self.update(0, 0, LEFT_PX, self.height())
        return True

    def set_seconds(self, seconds: int) -> None:
        """Length of the time axis."""
        if seconds != self.seconds:
            self.seconds = seconds
            self.update()

    def set_marks(self, marks: tuple[Mark, ...], now_s: float) -> None:
        """Spans of the event lane; only the lane is painted again."""
        if marks or self._marks:
            self._marks, self._now_s = marks, now_s
            self.update(0, 0, self.width(), LANE_PX)

    def set_values(self, values: Sequence[tuple[Value, ...]]) -> None:
        """Numbers beside the rows; only what changed is painted again."""
        new = tuple(values)
        if new == self._values or not self._n_values:
            self._values = new
            return
        left = self.plot_rect.right() + 1
        for i, (before, after) in enumerate(zip(self._values, new, strict=False)):
            if before != after:
                row = self.row_rect(i).toAlignedRect()
                self.update(left, row.top(), self.width() - left, row.height())
        self._values = new

    @Slot()
    def _on_theme(self) -> None:
        self._make_fonts()
        self.update()

    # Painting

    def paintEvent(self, event: QPaintEvent) -> None:
        """Lane, rows, time axis; each only where something has to be painted."""
        painter = QPainter(self)
        dirty = event.rect()
        if dirty.top() < LANE_PX:
            self._paint_lane(painter)
        if dirty.bottom() >= LANE_PX:
            for i, row in enumerate(self.rows):
                area = self.row_rect(i)
                if area.bottom() >= dirty.top() and area.top() <= dirty.bottom() + 1:
                    self._paint_row(painter, i, row, area)
        if dirty.bottom() >= self.height() - AXIS_PX - PAD_PX:
            self._paint_time(painter)

    def _paint_lane(self, painter: QPainter) -> None:
        area = self.plot_rect
        metrics = QFontMetricsF(self._axis_font)
        painter.setFont(self._axis_font)
        taken = float(area.left())
        for mark in sorted(self._marks, key=lambda m: m.start_s):
            start = self._x(mark.start_s)
            end = self._x(self._now_s if mark.end_s is None else mark.end_s)
            left = max(start, float(area.left()))
            width = max(end - left, 2.0)
            colour = self._theme.colour(MARK_COLOURS[mark.kind])
            painter.fillRect(QRectF(left, 6, width, 3), colour)
            word = MARK_WORDS[mark.kind]
            text_px = metrics.horizontalAdvance(word)
            # A short span lends the room under its bar to the next word and puts its own
            # before it; a word without room is left out.
            at = left if width >= text_px else left - text_px - 3
            if at >= taken and at + text_px <= area.right() + 1:
                painter.setPen(self._theme.colour("muted"))
                painter.drawText(QPointF(at, 20), word)
                taken = at + text_px + 6
        painter.setPen(self._theme.colour("muted"))

    def _x(self, time_s: float) -> float:
        area = self.plot_rect
        return area.right() + 1 - (self._now_s - time_s) / self.seconds * area.width()

    def _paint_row(self, painter: QPainter, i: int, row: Row, area: QRectF) -> None:
        theme = self._theme
        if i:
            painter.fillRect(QRectF(0, round(area.top()), self.width(), 1), theme.colour("border"))
        scale_top, scale_height = area.top() + PAD_PX, area.height() - 2 * PAD_PX
        painter.setFont(self._title_font)
        painter.setPen(theme.colour("text"))
        painter.drawText(QPointF(0, scale_top + 8), row.title)
        painter.setFont(self._axis_font)
        painter.setPen(theme.colour("muted"))
        painter.drawText(QPointF(0, scale_top + 23), row.unit)
        top = self.tops[i]
        for share in (0.0, 0.5, 1.0):
            y = scale_top + scale_height * (1 - share)
            text = number_text(top * share, 0 if (top * share).is_integer() else 1)
            box = QRectF(0, y - 7, LEFT_PX - 8, 14)
            painter.drawText(box, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, text)
        if self._n_values:
            self._paint_values(painter, row, self._values[i] if i < len(self._values) else (), area)

    def _paint_values(
        self, painter: QPainter, row: Row, values: tuple[Value, ...], area: QRectF
    ) -> None:
        theme = self._theme
        left = area.right() + 14
        pitch = min(24.0, (area.height() - 8) / max(len(values), 1))
        middle = Qt.AlignmentFlag.AlignVCenter
        for n, value in enumerate(values):
            top = area.top() + PAD_PX - 3 + n * pitch
            if value.card is not None:
                side = 16 if pitch >= 20 else 14
                chip = QRectF(left, top + (pitch - side) / 2, side, side)
                paint_chip(painter, theme, chip, value.card.number)
            painter.setFont(self._value_font)
            painter.setPen(theme.colour("muted" if value.text == MISSING else "text"))
            box = QRectF(left + 16, top, 44, pitch)
            painter.drawText(box, middle | Qt.AlignmentFlag.AlignRight, value.text)
            painter.setFont(self._note_font)
            painter.setPen(theme.colour("muted"))
            painter.drawText(QRectF(left + 64, top, 36, pitch), middle, row.unit)

    def _paint_time(self, painter: QPainter) -> None:
        area = self.plot_rect
        painter.setFont(self._axis_font)
        painter.setPen(self._theme.colour("muted"))
        metrics = QFontMetricsF(self._axis_font)
        for at, text in time_ticks(self.seconds):
            x = area.right() + 1 + at / self.seconds * area.width()
            width = metrics.horizontalAdvance(text)
            left = min(max(x - width / 2, area.left() - width / 2), self.width() - width)
            painter.drawText(QPointF(left, self.height() - 7), text)
