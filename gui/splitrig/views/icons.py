"""Phosphor icons, painted from the files that ship with the program, in any colour and size.

An icon font's package (QtAwesome) did this before and took 100 ms of the time to the first paint.
"""

from functools import lru_cache
from pathlib import Path

from PySide6.QtCore import QByteArray, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QIcon, QIconEngine, QPainter, QPixmap
from PySide6.QtSvg import QSvgRenderer


@lru_cache(maxsize=256)
def _renderer(file: Path, colour: str) -> QSvgRenderer:
    text = file.read_text(encoding="utf-8").replace("currentColor", colour)
    return QSvgRenderer(QByteArray(text.encode()))


class IconEngine(QIconEngine):
    """Paints one file, square, at whatever size and pixel ratio is asked for."""

    def __init__(self, file: Path, colour: str, disabled: str) -> None:
        super().__init__()
        self._file = file
        self._colour = colour
        self._disabled = disabled

    def paint(self, painter: QPainter, rect: QRect, mode: QIcon.Mode, _state: QIcon.State) -> None:
        """Paint a square at the left of `rect`; what is left of it is the gap before a word."""
        colour = self._disabled if mode is QIcon.Mode.Disabled else self._colour
        side = min(rect.width(), rect.height())
        square = QRectF(rect.x(), rect.y() + (rect.height() - side) / 2, side, side)
        _renderer(self._file, colour).render(painter, square)

    def pixmap(self, size: QSize, mode: QIcon.Mode, state: QIcon.State) -> QPixmap:
        """The icon on a transparent ground; `size` is in pixels of the screen."""
        pixmap = QPixmap(size)
        pixmap.fill(Qt.GlobalColor.transparent)
        painter = QPainter(pixmap)
        self.paint(painter, QRect(0, 0, size.width(), size.height()), mode, state)
        painter.end()
        return pixmap

    def clone(self) -> "IconEngine":
        """Qt copies an engine when a copy of its icon is changed."""
        return IconEngine(self._file, self._colour, self._disabled)
