"""The rail on the left: one button a page."""

from PySide6.QtCore import QRectF, QSize, Qt, Signal, Slot
from PySide6.QtGui import QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QAbstractButton, QButtonGroup, QSizePolicy, QVBoxLayout, QWidget

from splitrig.views.theme import Theme

WIDE_PX = 76
NARROW_PX = 56


class RailButton(QAbstractButton):
    """Icon above a label; the chosen one is raised and carries an accent edge."""

    def __init__(self, theme: Theme, icon: str, label: str, parent: QWidget) -> None:
        super().__init__(parent)
        self._theme = theme
        self._icon_name = icon
        self.narrow = False
        self.setText(label)
        self.setAccessibleName(label)
        self.setToolTip(label)
        self.setCheckable(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAttribute(Qt.WidgetAttribute.WA_Hover)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        theme.changed.connect(self.update)

    def sizeHint(self) -> QSize:
        """56 px high with a label, 44 without."""
        return QSize(NARROW_PX, 44) if self.narrow else QSize(WIDE_PX, 56)

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Ground, accent edge, icon, label, focus ring."""
        theme = self._theme
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        box = QRectF(self.rect()).adjusted(6.5, 0.5, -6.5, -0.5)
        if self.isChecked() or self.underMouse():
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(theme.colour("raised" if self.isChecked() else "hover"))
            painter.drawRoundedRect(box, 6, 6)
        if self.isChecked():
            painter.setBrush(theme.colour("accent"))
            painter.setPen(Qt.PenStyle.NoPen)
            painter.drawRoundedRect(QRectF(0, box.top() + 8, 3, box.height() - 16), 1.5, 1.5)
        if self.hasFocus():
            painter.setPen(QPen(theme.colour("accent"), 2))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(box.adjusted(0.5, 0.5, -0.5, -0.5), 6, 6)
        colour = "accent_text" if self.isChecked() else "muted"
        icon = theme.icon(self._icon_name, colour)
        top = box.top() + (11 if self.narrow else 8)
        icon.paint(painter, int(box.center().x() - 11), int(top), 22, 22)
        if not self.narrow:
            painter.setFont(theme.font("axis", 500 if self.isChecked() else 400))
            painter.setPen(theme.colour("text" if self.isChecked() else "muted"))
            area = QRectF(box.left() - 6, top + 24, box.width() + 12, 16)
            painter.drawText(area, Qt.AlignmentFlag.AlignCenter, self.text())


class Rail(QWidget):
    """The list of pages.

    Signals:
        chosen: Key of the page the user asked for.
    """

    chosen = Signal(str)

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._buttons: dict[str, RailButton] = {}
        self._group = QButtonGroup(self)
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 8, 0, 8)
        self._layout.setSpacing(4)
        self._layout.addStretch(1)
        self.setFixedWidth(WIDE_PX)
        self.setAccessibleName("Pages")
        theme.changed.connect(self.update)

    def add(self, key: str, icon: str, label: str, *, at_bottom: bool = False) -> None:
        """Add a button for the page `key`."""
        button = RailButton(self._theme, icon, label, self)
        button.clicked.connect(self._on_clicked)
        button.setProperty("page", key)
        self._buttons[key] = button
        self._group.addButton(button)
        stretch = self._layout.count() - 1 if not at_bottom else self._layout.count()
        self._layout.insertWidget(stretch, button)

    def show_current(self, key: str) -> None:
        """Mark the page that is open."""
        self._buttons[key].setChecked(True)

    def set_narrow(self, *, narrow: bool) -> None:
        """Icons only, with tooltips, where the window is small."""
        if self.width() == (NARROW_PX if narrow else WIDE_PX):
            return
        self.setFixedWidth(NARROW_PX if narrow else WIDE_PX)
        for button in self._buttons.values():
            button.narrow = narrow
            button.updateGeometry()
            button.update()

    @Slot()
    def _on_clicked(self) -> None:
        button = self._group.checkedButton()
        if button is not None:
            self.chosen.emit(button.property("page"))

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Ground and the line to the right."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), self._theme.colour("rail"))
        painter.fillRect(self.width() - 1, 0, 1, self.height(), self._theme.colour("border"))
