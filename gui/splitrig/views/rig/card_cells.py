"""The painted parts of a card's panel: readings with gauges, and who holds its memory."""

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QFontMetricsF, QHelpEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from splitrig.core.units import MISSING, gib_text
from splitrig.core.usage import Usage
from splitrig.views.rig.readings import LOST, Reading
from splitrig.views.theme import Kind, Theme
from splitrig.views.widgets.graph_paint import paint_gauge, paint_usage
from splitrig.views.widgets.memory_bar import draw_swatch

_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
_LEFT = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter


class ReadingCell(QWidget):
    """A label, a number with its unit, and a gauge; painted again only when it changed."""

    def __init__(
        self, theme: Theme, label: str, number: int, *, gauge: bool, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._theme = theme
        self._label = label
        self._number = number
        self._gauge = gauge
        self._reading = Reading(text=MISSING)
        self.setAccessibleName(label)
        self.setFixedHeight(42 if gauge else 36)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        theme.changed.connect(self.update)

    @property
    def text(self) -> str:
        """Number and unit as shown."""
        return f"{self._reading.text} {self._reading.rest}".strip()

    def show_reading(self, reading: Reading) -> None:
        """Take a new value."""
        if reading != self._reading:
            self._reading = reading
            self.setToolTip(reading.reason)
            self.setAccessibleDescription(self.text)
            self.update()

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Label above, number below, gauge under it."""
        theme, reading = self._theme, self._reading
        painter = QPainter(self)
        painter.setFont(theme.font("axis"))
        painter.setPen(theme.colour("muted"))
        painter.drawText(QRectF(0, 0, self.width(), 14), _LEFT, self._label)
        font = theme.font("value", 600)
        metrics = QFontMetricsF(font)
        painter.setFont(font)
        left = 0.0
        plain, warned = reading.text, ""
        if reading.warned and plain.endswith(reading.warned):
            plain, warned = plain.removesuffix(reading.warned), reading.warned
        # A gauge carries the warning colour for its number; a part of a text has no gauge.
        painter.setPen(theme.colour("muted" if plain == MISSING else "text"))
        for part in (plain, warned):
            painter.drawText(QPointF(left, 29), part)
            left += metrics.horizontalAdvance(part)
            painter.setPen(theme.colour("warning"))
        note = theme.font("note")
        painter.setFont(note)
        painter.setPen(theme.colour("muted"))
        rest = QFontMetricsF(note).elidedText(
            reading.rest, Qt.TextElideMode.ElideRight, max(self.width() - left - 4, 0)
        )
        painter.drawText(QPointF(left + 4, 29), rest)
        if self._gauge:
            warning = reading.tone == "warning"
            colour = theme.colour("warning") if warning else theme.card(self._number)
            box = QRectF(0, 38, self.width(), 3)
            paint_gauge(painter, theme, box, reading.share or 0.0, colour)


class VramBlock(QWidget):
    """'15.6 of 24.0 GiB', the bar, and the words for its parts."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._usage = Usage(total_bytes=None, used_bytes=None, engine_bytes=0)
        self._reading = Reading(text=MISSING)
        self.setAccessibleName("VRAM")
        self.setFixedHeight(66)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        theme.changed.connect(self.update)

    def sizeHint(self) -> QSize:
        """Wide enough for the words."""
        return QSize(300, 66)

    @property
    def text(self) -> str:
        """Number, unit and parts as shown."""
        parts = ", ".join(f"{name} {value}" for _kind, name, value in self._parts())
        return f"{self._reading.text} {self._reading.rest}; {parts}".removesuffix("; ")

    def show_usage(self, usage: Usage, reading: Reading) -> None:
        """Take new readings."""
        if (usage, reading) != (self._usage, self._reading):
            self._usage, self._reading = usage, reading
            self.setAccessibleDescription(self.text)
            self.update()

    def _parts(self) -> list[tuple[Kind, str, str]]:
        """Kind, word and GiB of each part that is known."""
        usage = self._usage
        if usage.used_bytes is None:
            return []
        if usage.engine_bytes is None:
            return [
                ("weights", "In use", gib_text(usage.used_bytes)),
                ("free", "Free", gib_text(usage.free_bytes)),
            ]
        return [
            ("weights", "Engine", gib_text(usage.engine_bytes)),
            ("others", "Others", gib_text(usage.others_bytes)),
            ("free", "Free", gib_text(usage.free_bytes)),
        ]

    def event(self, event: QEvent) -> bool:
        """Why a missing value is missing, as a tooltip."""
        if isinstance(event, QHelpEvent) and event.type() == QEvent.Type.ToolTip:
            QToolTip.showText(event.globalPos(), self._reading.reason or self.text, self)
            return True
        return super().event(event)

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Words, bar, legend."""
        theme = self._theme
        painter = QPainter(self)
        body, strong, note = theme.font("note"), theme.font("body", 600), theme.font("note")
        painter.setFont(body)
        painter.setPen(theme.colour("muted"))
        head = QRectF(0, 0, self.width(), 18)
        painter.drawText(head, _LEFT, "VRAM")
        painter.drawText(head, _RIGHT, self._reading.rest)
        rest_px = QFontMetricsF(note).horizontalAdvance(self._reading.rest) + 4
        painter.setFont(strong)
        painter.setPen(theme.colour("muted" if self._reading.text == MISSING else "text"))
        painter.drawText(head.adjusted(0, 0, -rest_px, 0), _RIGHT, self._reading.text)
        bar = QRectF(0, 24, self.width(), 16)
        paint_usage(painter, theme, bar, self._usage, self.devicePixelRatioF())
        self._paint_parts(painter)

    def _paint_parts(self, painter: QPainter) -> None:
        theme = self._theme
        note, metrics = theme.font("note"), QFontMetricsF(theme.font("note"))
        painter.setFont(note)
        parts = self._parts()
        if not parts and self._reading.reason == LOST:
            painter.setPen(theme.colour("danger"))
            text = "No longer answers. Check power and riser, then restart."
            fitted = metrics.elidedText(text, Qt.TextElideMode.ElideRight, self.width())
            painter.drawText(QPointF(0, 61), fitted)
            return
        left = 0.0
        for kind, word, value in parts:
            box = QRectF(left, 52, 10, 10)
            draw_swatch(painter, theme, box, kind, self.devicePixelRatioF())
            painter.setPen(theme.colour("muted"))
            painter.drawText(QPointF(left + 16, 61), word)
            left += 16 + metrics.horizontalAdvance(word) + 6
            painter.setPen(theme.colour("text"))
            painter.drawText(QPointF(left, 61), value)
            left += metrics.horizontalAdvance(value) + 16
