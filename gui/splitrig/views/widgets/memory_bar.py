"""Stacked bars of a card's memory: pattern and lightness say which kind, never which card."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QPainter, QPainterPath, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from splitrig.core.units import gib_text
from splitrig.views.theme import KIND_NAMES, KINDS, Kind, Theme

STACK: tuple[Kind, ...] = tuple(k for k in KINDS if k != "free")
MIN_SEGMENT_PX = 2.0
GAP_PX = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """One card's memory by kind.

    Attributes:
        total_bytes: All memory of the card, bytes.
        parts: Bytes by kind: weights, kv, compute, overhead, others; what is left is free.
    """

    total_bytes: int
    parts: Mapping[Kind, int] = field(default_factory=dict)

    @property
    def used_bytes(self) -> int:
        """All that is or would be taken, bytes."""
        return sum(self.parts.values())

    @property
    def over_bytes(self) -> int:
        """What would be missing, bytes; 0 when it fits."""
        return max(self.used_bytes - self.total_bytes, 0)

    @property
    def free_bytes(self) -> int:
        """What is left, bytes; 0 when nothing is."""
        return max(self.total_bytes - self.used_bytes, 0)


def segment_edges(memory: Memory, width_px: float) -> list[tuple[Kind, float, float]]:
    """Left and right edge of each segment that has bytes, px, inside a card of `width_px`.

    Segments are 1 px apart and at least 2 px wide; what lies beyond the card's end is cut.
    """
    edges: list[tuple[Kind, float, float]] = []
    left = 0.0
    done = 0
    for kind in STACK:
        n_bytes = memory.parts.get(kind, 0)
        if n_bytes <= 0 or left >= width_px:
            continue
        done += n_bytes
        exact = width_px * done / max(memory.total_bytes, 1)
        right = min(max(exact - GAP_PX, left + MIN_SEGMENT_PX), width_px)
        edges.append((kind, left, right))
        left = right + GAP_PX
    return edges


def draw_memory(
    painter: QPainter, theme: Theme, box: QRectF, memory: Memory, ratio: float = 1.0
) -> None:
    """Paint one card's memory; `box` is the whole card, from empty to full.

    Args:
        painter: Where to paint.
        theme: Fills and hatches.
        box: The card; bytes beyond its end are drawn behind its right edge.
        memory: What lies in it.
        ratio: The screen's device pixel ratio, for the hatches.
    """
    painter.save()
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    radius = 4.0 if box.height() >= 16 else 2.0
    painter.setPen(QPen(theme.memory_edge("free"), 1))
    painter.setBrush(theme.memory("free"))
    painter.drawRoundedRect(box.adjusted(0.5, 0.5, -0.5, -0.5), radius - 0.5, radius - 0.5)
    outline = QPainterPath()
    outline.addRoundedRect(box, radius, radius)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrushOrigin(box.topLeft())
    for kind, left, right in segment_edges(memory, box.width()):
        start, end = round(left * ratio) / ratio, round(right * ratio) / ratio
        area = QRectF(box.left() + start, box.top(), end - start, box.height())
        if start >= radius and end <= box.width() - radius:
            painter.fillRect(area, theme.memory(kind, ratio))
            continue
        piece = QPainterPath()
        piece.addRect(area)
        painter.fillPath(outline.intersected(piece), theme.memory(kind, ratio))
    if memory.over_bytes:
        _draw_over(painter, theme, box, memory, ratio)
    painter.restore()


def _draw_over(painter: QPainter, theme: Theme, box: QRectF, memory: Memory, ratio: float) -> None:
    """What does not fit: danger lines outside the card's end, behind a danger edge."""
    width = max(memory.over_bytes * box.width() / max(memory.total_bytes, 1), MIN_SEGMENT_PX)
    over = QRectF(box.right() + GAP_PX, box.top(), width, box.height())
    painter.setPen(QPen(theme.colour("danger"), 1))
    painter.setBrush(theme.memory("over", ratio))
    painter.drawRoundedRect(over.adjusted(0.5, 0.5, -0.5, -0.5), 2, 2)
    painter.setPen(QPen(theme.colour("danger"), 2))
    stick = 5 if box.height() >= 16 else 2
    top, bottom = box.top() - stick, box.bottom() + stick
    painter.drawLine(QPointF(box.right(), top), QPointF(box.right(), bottom))


class MemoryBar(QWidget):
    """One card's bar; bars that share `scale_bytes` can be compared by length."""

    def __init__(self, theme: Theme, thickness_px: int = 32, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._thickness_px = thickness_px
        self._stick_px = 5 if thickness_px >= 16 else 0
        self._memory = Memory(total_bytes=0)
        self._scale_bytes = 0
        self._names: Mapping[str, str] = KIND_NAMES
        self.setFixedHeight(thickness_px + 2 * self._stick_px)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        theme.changed.connect(self.update)

    @property
    def memory(self) -> Memory:
        """What is shown."""
        return self._memory

    def set_memory(
        self,
        memory: Memory,
        scale_bytes: int = 0,
        names: Mapping[str, str] | None = None,
    ) -> None:
        """Show a card's memory.

        Args:
            memory: What lies where.
            scale_bytes: Bytes that the full width stands for; 0 means the card itself.
            names: Words for kinds in the description, such as {'weights': 'Engine'}.
        """
        self._memory = memory
        self._scale_bytes = max(scale_bytes, memory.total_bytes, 1)
        self._names = {**KIND_NAMES, **(names or {})}
        said = [
            f"{self._names[kind]} {gib_text(memory.parts.get(kind, 0))} GiB"
            for kind in STACK
            if memory.parts.get(kind, 0)
        ]
        if memory.over_bytes:
            said.append(f"{gib_text(memory.over_bytes)} GiB too much")
        else:
            said.append(f"free {gib_text(memory.free_bytes)} GiB")
        text = ", ".join(said) + f", of {gib_text(memory.total_bytes)} GiB"
        self.setAccessibleDescription(text)
        self.setToolTip(text)
        self.update()

    def sizeHint(self) -> QSize:
        """Wide, and as thick as asked for."""
        return QSize(200, self.height())

    def paintEvent(self, _event: QPaintEvent) -> None:
        """The card's bar, as long as its share of the scale."""
        if not self._memory.total_bytes:
            return
        painter = QPainter(self)
        width = self.width() * self._memory.total_bytes / self._scale_bytes
        box = QRectF(0, self._stick_px, width, self._thickness_px)
        draw_memory(painter, self._theme, box, self._memory, self.devicePixelRatioF())


class MemorySwatch(QWidget):
    """A square of 10 px with the fill of one kind, for heads and legends."""

    def __init__(
        self, theme: Theme, kind: Kind, size_px: int = 10, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._theme = theme
        self._kind: Kind = kind
        self.setFixedSize(size_px, size_px)
        theme.changed.connect(self.update)

    def paintEvent(self, _event: QPaintEvent) -> None:
        """One small square."""
        painter = QPainter(self)
        draw_swatch(painter, self._theme, QRectF(self.rect()), self._kind, self.devicePixelRatioF())


def draw_swatch(
    painter: QPainter, theme: Theme, box: QRectF, kind: Kind, ratio: float = 1.0
) -> None:
    """Paint the square that stands for a kind of memory."""
    painter.save()
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setBrushOrigin(box.topLeft())
    painter.setBrush(theme.memory(kind, ratio))
    if kind == "free":
        painter.setPen(QPen(theme.memory_edge("free"), 1))
        box = box.adjusted(0.5, 0.5, -0.5, -0.5)
    else:
        painter.setPen(Qt.PenStyle.NoPen)
    painter.drawRoundedRect(box, 2, 2)
    painter.restore()
