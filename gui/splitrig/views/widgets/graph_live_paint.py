"""The painted parts of the live panel beside the chat: curve, first-token bars, card lines."""

import math
from collections import deque
from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QFontMetricsF, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QSizePolicy, QWidget

from splitrig.core.history import History, Rate
from splitrig.core.units import MISSING, gib_text, number_text
from splitrig.core.usage import Usage
from splitrig.views.theme import Theme
from splitrig.views.widgets.graph_data import GraphCard, Thinner, highest, nice_ceiling
from splitrig.views.widgets.graph_paint import paint_chip, paint_gauge, paint_usage

if TYPE_CHECKING:
    from splitrig.views.widgets.graph_data import Points

CURVE_S = 240
CURVE_PX = 72
FOOT_PX = 18
"""The time axis below the curve."""
ANSWERS = 12
_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
_LEFT = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter


class RateCurve(QWidget):
    """tok/s of the last four minutes; a plain painted line, because it must be cheap.

    It is 72 px high, or takes what height there is when `tall`.
    """

    def __init__(self, theme: Theme, *, tall: bool = False, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._x: Points = np.empty(0)
        self._y: Points = np.empty(0)
        self.top = 10.0
        self.setMinimumHeight(CURVE_PX + FOOT_PX)
        fixed, expanding = QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Expanding
        self.setSizePolicy(expanding, expanding if tall else fixed)
        self.setAccessibleName("Tokens per second over the last 4 minutes")
        theme.changed.connect(self.update)

    def show_history(self, history: History) -> None:
        """Take the newest four minutes."""
        window = history.window(CURVE_S)
        thin = Thinner(window, CURVE_S, most=480)
        self._x, self._y = thin.x, thin.y(window.rate(Rate.GENERATION))
        top = highest([self._y])
        self.top = nice_ceiling(max(top, 10.0)) if math.isfinite(top) else 10.0
        self.setAccessibleDescription(f"Scale up to {number_text(self.top)} tok/s")
        self.update()

    def sizeHint(self) -> QSize:
        """The curve and its time axis."""
        return QSize(200, CURVE_PX + FOOT_PX)

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Two grid lines, the scale's top, the curve, the time."""
        theme = self._theme
        painter = QPainter(self)
        width, height = self.width(), float(self.height() - FOOT_PX)
        painter.setPen(QPen(theme.colour("grid"), 1))
        painter.drawLine(QPointF(0, 0.5), QPointF(width, 0.5))
        painter.drawLine(QPointF(0, height - 0.5), QPointF(width, height - 0.5))
        painter.setFont(theme.font("axis"))
        painter.setPen(theme.colour("muted"))
        foot = QRectF(0, height + 4, width, 14)
        painter.drawText(foot, _LEFT, f"−{CURVE_S // 60} min")
        painter.drawText(foot, _RIGHT, "now")
        painter.drawText(QRectF(0, 2, width, 14), _LEFT, number_text(self.top))
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(theme.colour("accent_text"), 1.5))
        for line in self._lines(width, height):
            painter.drawPolyline(line)

    def _lines(self, width: int, height: float) -> list[QPolygonF]:
        """The curve in pixels, cut at holes."""
        finite = np.isfinite(self._y)
        edges = np.flatnonzero(np.diff(np.concatenate(([False], finite, [False]))))
        x = width + self._x / CURVE_S * width
        y = height - 1 - self._y / self.top * (height - 8)
        return [
            QPolygonF([QPointF(float(a), float(b)) for a, b in zip(x[s:e], y[s:e], strict=True)])
            for s, e in zip(edges[0::2], edges[1::2], strict=True)
        ]


class FirstTokenBars(QWidget):
    """Time to first token of the last twelve answers, the newest in the accent colour."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self.seconds: deque[float] = deque(maxlen=ANSWERS)
        self.setFixedHeight(36 + 18)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Time to first token of the last answers")
        theme.changed.connect(self.update)

    def add(self, seconds: float) -> None:
        """Put a new bar to the right."""
        self.seconds.append(seconds)
        said = ", ".join(f"{number_text(s, 2)} s" for s in self.seconds)
        self.setAccessibleDescription(said)
        self.setToolTip(f"Newest last: {said}")
        self.update()

    def clear(self) -> None:
        """Another model: its first tokens are not comparable."""
        self.seconds.clear()
        self.setAccessibleDescription("")
        self.update()

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Bars from the left, base line, words below."""
        theme = self._theme
        painter = QPainter(self)
        painter.fillRect(QRectF(0, 35, self.width(), 1), theme.colour("grid"))
        painter.setFont(theme.font("axis"))
        painter.setPen(theme.colour("muted"))
        foot = QRectF(0, 40, self.width(), 14)
        n = len(self.seconds)
        words = "no answer yet" if n == 0 else "last answer" if n == 1 else f"last {n} answers"
        painter.drawText(foot, _LEFT, words)
        if not n:
            return
        longest = max(self.seconds)
        painter.drawText(foot, _RIGHT, f"longest {number_text(longest, 1)} s")
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        pitch = (self.width() + 4) / ANSWERS
        for i, seconds in enumerate(self.seconds):
            height = max(34 * seconds / longest if longest > 0 else 0, 2.0)
            newest = i == n - 1
            painter.setBrush(theme.colour("accent_text" if newest else "control"))
            painter.drawRoundedRect(QRectF(i * pitch, 36 - height, pitch - 4, height), 1.5, 1.5)


class CardLine(QWidget):
    """One card: chip, name, used of total, and its memory bar; or chip, load gauge, percent."""

    def __init__(
        self, theme: Theme, card: GraphCard, *, memory: bool, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._theme = theme
        self.card = card
        self._memory = memory
        self._usage = Usage(total_bytes=None, used_bytes=None, engine_bytes=0)
        self._load_pct: float | None = None
        self.setFixedHeight(32 if memory else 20)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        what = "VRAM" if memory else "Load"
        self.setAccessibleName(f"{what} of card {card.number}, {card.name}")
        theme.changed.connect(self.update)

    @property
    def text(self) -> str:
        """The number as shown."""
        if self._memory:
            used, total = gib_text(self._usage.used_bytes), gib_text(self._usage.total_bytes)
            return f"{used} of {total} GiB"
        return f"{number_text(self._load_pct)} %"

    def show_reading(self, usage: Usage, load_pct: float | None) -> None:
        """Take a new reading; painted again only when the shown part changed."""
        before = self._usage if self._memory else self._load_pct
        self._usage, self._load_pct = usage, load_pct
        if before != (usage if self._memory else load_pct):
            self.setAccessibleDescription(self.text)
            self.update()

    def paintEvent(self, _event: QPaintEvent) -> None:
        """One of the two forms."""
        painter = QPainter(self)
        chip = QRectF(0, 1 if self._memory else 3, 14, 14)
        paint_chip(painter, self._theme, chip, self.card.number)
        if self._memory:
            self._paint_memory(painter)
        else:
            self._paint_load(painter)

    def _paint_memory(self, painter: QPainter) -> None:
        theme = self._theme
        line = QRectF(0, 0, self.width(), 16)
        note, strong = theme.font("note"), theme.font("note", 500)
        used, rest = self.text.split(" ", 1)
        left, right = 20.0, float(self.width())
        parts = ((note, "muted", rest), (strong, "muted" if used == MISSING else "text", used))
        for font, colour, text in parts:
            painter.setFont(font)
            painter.setPen(theme.colour(colour))
            painter.drawText(QRectF(0, 0, right, 16), _RIGHT, text)
            right -= QFontMetricsF(font).horizontalAdvance(text) + 5
        name = QFontMetricsF(strong).elidedText(
            self.card.name, Qt.TextElideMode.ElideRight, max(right - left - 4, 0)
        )
        painter.setPen(theme.colour("text"))
        painter.drawText(line.adjusted(left, 0, 0, 0), _LEFT, name)
        bar = QRectF(0, 21, self.width(), 10)
        paint_usage(painter, theme, bar, self._usage, self.devicePixelRatioF())

    def _paint_load(self, painter: QPainter) -> None:
        theme = self._theme
        track = QRectF(22, 8, max(self.width() - 22 - 46, 10), 4)
        share = (self._load_pct or 0) / 100
        paint_gauge(painter, theme, track, share, theme.card(self.card.number))
        box = QRectF(0, 0, self.width(), 20)
        painter.setFont(theme.font("note"))
        painter.setPen(theme.colour("muted"))
        painter.drawText(box, _RIGHT, "%")
        painter.setFont(theme.font("note", 500))
        painter.setPen(theme.colour("muted" if self._load_pct is None else "text"))
        painter.drawText(box.adjusted(0, 0, -15, 0), _RIGHT, number_text(self._load_pct))
