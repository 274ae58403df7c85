"""Labels, lines and panels in the type scale and spacing of the theme."""

import re

from PySide6.QtCore import QSize, Qt, Slot
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import (
    QAbstractSpinBox,
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from splitrig.views.theme import Theme

_UNIT = re.compile(r"(?<=\d) (?=(?:GiB|MiB|GB/s|tok/s|W|s|%|°C)\b|%)")
WORD_GAP_PX = 4
"""Between an icon and a word, beyond the 4 px of the style."""


def text_label(
    theme: Theme,
    text: str = "",
    step: str = "body",
    weight: int = 400,
    *,
    role: str = "",
    mono: bool = False,
) -> QLabel:
    """A plain-text label in a step of the type scale.

    Args:
        theme: Gives the font.
        text: What it says; never read as markup.
        step: Step of the type scale: axis, note, body, answer, value, title, big.
        weight: 400, 500 or 600.
        role: `muted`, `danger`, `warning`, `success` or `accent`; empty is the text colour.
        mono: JetBrains Mono instead of Inter.
    """
    label = QLabel()
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setText(text)
    label.setFont(theme.font(step, weight, mono=mono))
    if role:
        label.setProperty("role", role)
    return label


class ElidedLabel(QLabel):
    """Plain text on one line that ends in '…' where there is no room; whole in the tooltip."""

    def __init__(self, label: QLabel) -> None:
        """Take font and role over from a label made by `text_label`."""
        super().__init__()
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setFont(label.font())
        self.setProperty("role", label.property("role"))
        self.setText(label.text())

    def minimumSizeHint(self) -> QSize:
        """It can shrink to a few letters."""
        return QSize(min(40, super().sizeHint().width()), super().minimumSizeHint().height())

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Paint as much as there is room for."""
        painter = QPainter(self)
        painter.setFont(self.font())
        painter.setPen(self.palette().color(self.foregroundRole()))
        area = self.contentsRect()
        metrics = self.fontMetrics()
        text = metrics.elidedText(self.text(), Qt.TextElideMode.ElideRight, area.width())
        painter.drawText(area, self.alignment() | Qt.AlignmentFlag.AlignVCenter, text)


def pad_spin_box(box: QAbstractSpinBox) -> None:
    """Give a spin box the height and the inner margin of the other fields.

    Fusion with a style sheet ignores its padding.
    """
    box.setFixedHeight(32)
    box.lineEdit().setTextMargins(7, 0, 0, 0)


def kept_together(text: str) -> str:
    """With spaces that no line breaks at between a number and its unit, and within a ratio."""
    return _UNIT.sub("\u00a0", text).replace(" : ", "\u00a0:\u00a0")


def icon_size(text: str) -> QSize:
    """Size of a button's icon, with the gap before its word if it has one."""
    return QSize(16 + WORD_GAP_PX, 16) if text else QSize(16, 16)


def set_role(widget: QWidget, role: str, name: str = "role") -> None:
    """Change a property that the style sheet reads, and repaint with it."""
    if widget.property(name) == role:
        return
    widget.setProperty(name, role)
    widget.style().unpolish(widget)
    widget.style().polish(widget)


def line(*, vertical: bool = False) -> QFrame:
    """A line of one pixel in the border colour."""
    frame = QFrame()
    frame.setProperty("line", "vertical" if vertical else "true")
    return frame


class Panel(QFrame):
    """A flat surface with a border of 1 px and a radius of 8; put things into `body`.

    Attributes:
        body: Its layout, padded 16×12, gap 8.
    """

    def __init__(self, *, raised: bool = False, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("panel", "raised" if raised else "true")
        self.body = QVBoxLayout(self)
        self.body.setContentsMargins(16, 12, 16, 12)
        self.body.setSpacing(8)

    def add_head(self, title: QLabel, *right: QWidget) -> QHBoxLayout:
        """Add a row: the title on the left, the rest on the right."""
        row = QHBoxLayout()
        row.setSpacing(8)
        row.addWidget(title)
        row.addStretch(1)
        for widget in right:
            row.addWidget(widget)
        self.body.addLayout(row)
        return row


class IconLabel(QLabel):
    """An icon that follows the theme."""

    def __init__(self, theme: Theme, icon: str, size_px: int = 16, colour: str = "text") -> None:
        super().__init__()
        self._theme = theme
        self._icon = icon
        self._size_px = size_px
        self._colour = colour
        self.setFixedSize(size_px, size_px)
        theme.changed.connect(self._on_theme)
        self._on_theme()

    def set_icon(self, icon: str, colour: str) -> None:
        """Show another icon in a token's colour."""
        if (icon, colour) != (self._icon, self._colour):
            self._icon, self._colour = icon, colour
            self._on_theme()

    @Slot()
    def _on_theme(self) -> None:
        icon = self._theme.icon(self._icon, self._colour)
        size = QSize(self._size_px, self._size_px)
        self.setPixmap(icon.pixmap(size, self.devicePixelRatioF()))


class IconButton(QPushButton):
    """A button whose icon follows the theme; without text it has a tooltip and a name.

    Attributes:
        kind: '', `primary` or `quiet`, as the style sheet knows them.
    """

    def __init__(
        self,
        theme: Theme,
        icon: str,
        text: str = "",
        *,
        kind: str = "",
        small: bool = False,
        hint: str = "",
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(text, parent)
        self._theme = theme
        self._icon = icon
        self.kind = kind
        if kind:
            self.setProperty("kind", kind)
        if small:
            self.setProperty("small", "true")
        self.setIconSize(icon_size(text))
        if hint:
            self.setToolTip(hint)
        self.setAccessibleName(text or hint)
        if not text:
            self.setProperty("bare", "true")
            side = 28 if small else 32
            self.setFixedSize(side, side)
        theme.changed.connect(self._on_theme)
        self._on_theme()

    def set_icon(self, icon: str) -> None:
        """Show another icon."""
        self._icon = icon
        self._on_theme()

    @Slot()
    def _on_theme(self) -> None:
        colour = {"primary": "on_accent", "quiet": "muted"}.get(self.kind, "text")
        self.setIcon(self._theme.icon(self._icon, colour))
