"""A small label on a ground of its own."""

from typing import Literal

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QFontMetricsF, QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from splitrig.views.theme import Theme

Tone = Literal["neutral", "accent", "success", "warning", "danger"]
ICON_PX = 14
_GROUNDS = {
    "neutral": ("raised", "muted"),
    "accent": ("tint", "accent_text"),
    "success": ("success_ground", "success"),
    "warning": ("warning_ground", "warning"),
    "danger": ("danger_ground", "danger"),
}


class Badge(QWidget):
    """A word or two; colour never without words."""

    def __init__(
        self,
        theme: Theme,
        text: str = "",
        tone: Tone = "neutral",
        icon: str = "",
        *,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._theme = theme
        self._text = text
        self._tone: Tone = tone
        self._icon = icon
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.setAccessibleName(text)
        theme.changed.connect(self.update)

    @property
    def text(self) -> str:
        """What it says."""
        return self._text

    def set_badge(self, text: str, tone: Tone = "neutral", icon: str = "") -> None:
        """Say something else."""
        if (text, tone, icon) == (self._text, self._tone, self._icon):
            return
        self._text, self._tone, self._icon = text, tone, icon
        self.setAccessibleName(text)
        self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:
        """22 px high, 8 px of padding."""
        width = QFontMetricsF(self._theme.font("note", 500)).horizontalAdvance(self._text) + 16
        return QSize(int(width + 1.5) + (ICON_PX + 4 if self._icon else 0), 22)

    def minimumSizeHint(self) -> QSize:
        """Nothing is cut."""
        return self.sizeHint()

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Ground, icon, words."""
        theme = self._theme
        ground, ink = _GROUNDS[self._tone]
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.colour(ground))
        painter.drawRoundedRect(QRectF(self.rect()), 4, 4)
        left = 8
        if self._icon:
            icon = theme.icon(self._icon, ink)
            icon.paint(painter, left, (self.height() - ICON_PX) // 2, ICON_PX, ICON_PX)
            left += ICON_PX + 4
        painter.setFont(theme.font("note", 500))
        painter.setPen(theme.colour(ink))
        area = self.rect().adjusted(left, 0, 0, 0)
        flags = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft
        painter.drawText(area, flags, self._text)
