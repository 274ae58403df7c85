"""A column that scrolls when the window is low."""

from PySide6.QtCore import Qt, Slot
from PySide6.QtWidgets import QFrame, QScrollArea, QWidget

BAR_PX = 10


class ScrollColumn(QScrollArea):
    """A scroll area without frame or ground; its bar takes room from the margin on the right.

    So what stands in it stays in line with what stands above it.
    """

    def __init__(self, content: QWidget, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        content.setProperty("clear", "true")
        self.setWidget(content)
        self.viewport().setAutoFillBackground(False)
        content.setAutoFillBackground(False)
        layout = content.layout()
        self._right_px = layout.contentsMargins().right() if layout is not None else 0
        self.verticalScrollBar().rangeChanged.connect(self._on_range)

    @Slot(int, int)
    def _on_range(self, _least: int, most: int) -> None:
        """Give the bar its room out of the margin."""
        content = self.widget()
        layout = content.layout() if content is not None else None
        if layout is None or self._right_px < BAR_PX:
            return
        margins = layout.contentsMargins()
        margins.setRight(self._right_px - BAR_PX if most > 0 else self._right_px)
        if margins != layout.contentsMargins():
            layout.setContentsMargins(margins)
