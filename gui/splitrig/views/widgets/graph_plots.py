"""The curves themselves, drawn by pyqtgraph; imported only when the first graph is shown.

pyqtgraph costs about 0.3 s and 25 MB to import, which is why nothing else imports this module
at the top. Its axes and mouse handling are not used: the frame paints what stands still, and a
wheel over a plot scrolls the page.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QLineF, QRectF, Qt
from PySide6.QtGui import QPainter, QPen
from PySide6.QtWidgets import QGraphicsItem, QStyleOptionGraphicsItem, QWidget

from splitrig.core.history import Mark, Rate, Window
from splitrig.views.theme import Theme
from splitrig.views.widgets.graph_data import (
    GraphCard,
    Key,
    Row,
    Thinner,
    highest,
    series_of,
    time_ticks,
)
from splitrig.views.widgets.graph_frame import MARK_COLOURS, GraphFrame

RIG = ""
"""Stands for the card in the curves of the whole rig."""
DASH = (5.0, 3.0)
STRONG_PX = 1.5
STRONG_UP_TO = 3000
"""Points on screen up to which lines are 1.5 px wide. At 1 px, smoothed or not, the raster engine
has a fast path that is nine times cheaper: 8 against 65 ms for 40 curves of 300 points."""


class Backdrop(QGraphicsItem):
    """Grid and the lines at which something began, in the data's own coordinates."""

    def __init__(self) -> None:
        super().__init__()
        self._box = QRectF(-300, 0, 300, 100)
        self._edge: QPen | None = None
        self._grid: list[QLineF] = []
        self._grid_pen = QPen()
        self._marks: list[tuple[QPen, QLineF]] = []
        self.setZValue(-10)

    def set_grid(self, pen: QPen, edge: QPen | None, box: QRectF, *, top: float) -> None:
        """Lines at the ticks of both axes, and one that parts the row from the one above.

        Args:
            pen: Of the grid.
            edge: Of the line at the upper end; `None` for the first row.
            box: Seconds before now, and the row's range in its unit.
            top: Top of the scale in its unit.
        """
        self.prepareGeometryChange()
        self._box = box
        seconds, low, high = round(box.width()), box.top(), box.bottom()
        self._grid_pen, self._edge = pen, edge
        self._grid = [QLineF(-seconds, y, 0, y) for y in (0.0, top / 2, top)]
        self._grid += [QLineF(x, low, x, high) for x, _text in time_ticks(seconds)]

    def set_marks(self, marks: Sequence[tuple[QPen, float]]) -> None:
        """Upright lines, each with its pen, at seconds before now."""
        low, high = self._box.top(), self._box.bottom()
        self._marks = [(pen, QLineF(x, low, x, high)) for pen, x in marks]
        self.update()

    def boundingRect(self) -> QRectF:
        """The whole row."""
        return self._box

    def paint(
        self, painter: QPainter, _option: QStyleOptionGraphicsItem, _widget: QWidget | None = None
    ) -> None:
        """Grid first, marks over it."""
        painter.setPen(self._grid_pen)
        painter.drawLines(self._grid)
        if self._edge is not None:
            # Half a pixel inside, or rounding puts it outside in some rows.
            y = self._box.bottom() - 0.5 / abs(painter.worldTransform().m22() or 1.0)
            painter.setPen(self._edge)
            painter.drawLine(QLineF(self._box.left(), y, self._box.right(), y))
        for pen, line in self._marks:
            painter.setPen(pen)
            painter.drawLine(line)


class PlotStack:
    """One view with a box per row, all on one time axis from −seconds to now.

    Attributes:
        view: The widget, a child of the frame.
        curves: The curve items by row key and card id.
    """

    def __init__(self, theme: Theme, frame: GraphFrame) -> None:
        self._theme = theme
        self._frame = frame
        self._boxes: list[pg.ViewBox] = []
        self._backdrops: list[Backdrop] = []
        self._cards: tuple[GraphCard, ...] = ()
        self._hidden: frozenset[str] = frozenset()
        self._highlighted: str | None = None
        self.curves: dict[tuple[Key, str], pg.PlotCurveItem] = {}
        self._strong = True
        self.updates = 0
        self.view = pg.GraphicsLayoutWidget(parent=frame)
        self.view.setAntialiasing(False)
        self.view.setFrameShape(self.view.Shape.NoFrame)
        # The frame and the page behind it get every wheel, click and hover.
        self.view.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.view.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.view.ci.layout.setContentsMargins(0, 0, 0, 0)
        self.view.ci.layout.setSpacing(0)
        frame.moved.connect(self.place)
        self.build(frame.rows)
        self.view.show()

    def build(self, rows: Sequence[Row]) -> None:
        """Make one box per row; curves come with `set_cards`."""
        self.view.ci.clear()
        self._boxes.clear()
        self._backdrops.clear()
        self.curves.clear()
        for i, _row in enumerate(rows):
            box = pg.ViewBox(enableMouse=False, enableMenu=False, defaultPadding=0)
            box.disableAutoRange()
            self.view.ci.addItem(box, row=i, col=0)
            backdrop = Backdrop()
            box.addItem(backdrop, ignoreBounds=True)
            self._boxes.append(box)
            self._backdrops.append(backdrop)
        self._make_curves()
        self.place()

    def set_cards(
        self, cards: tuple[GraphCard, ...], hidden: frozenset[str], highlighted: str | None
    ) -> None:
        """Which cards have curves, which of those are switched off, and which one stands out."""
        new_curves = cards != self._cards
        self._cards, self._hidden, self._highlighted = cards, hidden, highlighted
        if new_curves:
            for (key, _card), curve in self.curves.items():
                self._boxes[self._row_index(key)].removeItem(curve)
            self.curves.clear()
            self._make_curves()
        self._dress_curves()

    def place(self) -> None:
        """Lie where the frame wants the plots; scales follow the height."""
        if len(self._boxes) != len(self._frame.rows):
            return  # other rows were chosen, `build` follows
        self.view.setGeometry(self._frame.plot_rect)
        self.retheme()

    def retheme(self) -> None:
        """Take colours, ranges and grid anew."""
        self.view.setBackground(self._theme.colour("surface"))
        grid = QPen(self._theme.colour("grid"), 0)
        edge = QPen(self._theme.colour("border"), 0)
        seconds = self._frame.seconds
        for i, (box, backdrop) in enumerate(zip(self._boxes, self._backdrops, strict=True)):
            low, high = self._frame.y_range(i)
            box.setRange(xRange=(-seconds, 0), yRange=(low, high), padding=0)
            area = QRectF(-seconds, low, seconds, high - low)
            backdrop.set_grid(grid, edge if i else None, area, top=self._frame.tops[i])
        self._dress_curves()

    def show_window(
        self, window: Window, now_s: float, top_of: Callable[[Key, float], float]
    ) -> None:
        """Draw the newest part of the history; `top_of` chooses a row's scale from its peak."""
        self.updates += 1
        thin = Thinner(window, self._frame.seconds)
        drawn = {}
        for key, card_id in self.curves:
            if card_id not in self._hidden:
                values = series_of(window, key, card_id)
                if values is not None:
                    drawn[key, card_id] = thin.y(values)
        tops = []
        for row in self._frame.rows:
            peak = highest([y for (key, _card), y in drawn.items() if key is row.key])
            tops.append(top_of(row.key, peak))
        if self._frame.set_tops(tops):
            self.retheme()
        self._set_strong(strong=len(drawn) * len(thin.x) <= STRONG_UP_TO)
        empty = np.empty(0)
        for at, curve in self.curves.items():
            y = drawn.get(at)
            if y is None:
                curve.setData(empty, empty)
            else:
                curve.setData(thin.x, y, connect="finite")
        self._show_marks(window.marks, now_s)

    def _set_strong(self, *, strong: bool) -> None:
        if strong != self._strong:
            self._strong = strong
            self._dress_curves()

    def _show_marks(self, marks: tuple[Mark, ...], now_s: float) -> None:
        lines = []
        for mark in marks:
            x = mark.start_s - now_s
            if -self._frame.seconds < x < 0:
                pen = QPen(self._theme.colour(MARK_COLOURS[mark.kind]), 0)
                pen.setDashPattern([2.0, 3.0])
                lines.append((pen, x))
        for backdrop in self._backdrops:
            backdrop.set_marks(lines)

    def _row_index(self, key: Key) -> int:
        return next(i for i, row in enumerate(self._frame.rows) if row.key is key)

    def _make_curves(self) -> None:
        for row, box in zip(self._frame.rows, self._boxes, strict=True):
            ids = [RIG] if isinstance(row.key, Rate) else [card.id for card in self._cards]
            for card_id in ids:
                curve = pg.PlotCurveItem(antialias=True)
                box.addItem(curve, ignoreBounds=True)
                self.curves[row.key, card_id] = curve

    def _dress_curves(self) -> None:
        numbers = {card.id: card.number for card in self._cards}
        for (_key, card_id), curve in self.curves.items():
            curve.setVisible(card_id not in self._hidden)
            number = numbers.get(card_id)
            colour = self._theme.colour("accent_text")
            if number is not None:
                colour = self._theme.card(number)
            if self._highlighted not in (None, card_id) and card_id != RIG:
                colour.setAlphaF(0.25)
            pen = QPen(colour, STRONG_PX if self._strong else 1)
            pen.setCosmetic(True)
            if number is not None and self._theme.card_dashed(number):
                pen.setDashPattern(list(DASH))
            curve.setPen(pen)
            curve.setZValue(1 if card_id == self._highlighted else 0)
