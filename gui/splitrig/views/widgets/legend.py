"""Chips that switch a card's curves on and off, and make one stand out while pointed at."""

from collections.abc import Sequence

from PySide6.QtCore import QEvent, QRectF, QSize, Qt, Signal, Slot
from PySide6.QtGui import QEnterEvent, QFocusEvent, QFontMetrics, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QAbstractButton, QHBoxLayout, QSizePolicy, QWidget

from splitrig.views.theme import Theme
from splitrig.views.widgets.graph_data import GraphCard
from splitrig.views.widgets.graph_paint import paint_chip

CHIP_PX = 18
NAMES_UP_TO = 4
"""With more cards the chips stand alone, the name is in the tooltip."""


class LegendEntry(QAbstractButton):
    """One card: chip and name; unchecked means its curves are hidden.

    Signals:
        entered: The pointer came.
        left: The pointer or the focus went.
    """

    entered = Signal()
    left = Signal()

    def __init__(self, theme: Theme, card: GraphCard, parent: QWidget) -> None:
        super().__init__(parent)
        self._theme = theme
        self.card = card
        self.with_name = True
        self.setCheckable(True)
        self.setChecked(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAttribute(Qt.WidgetAttribute.WA_Hover)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.setAccessibleName(f"Curves of card {card.number}, {card.name}")
        self.setToolTip(f"{card.name}: click to hide or show its curves")
        theme.changed.connect(self.update)

    def sizeHint(self) -> QSize:
        """28 px high, so that it can be hit."""
        if not self.with_name:
            return QSize(28, 28)
        metrics = QFontMetrics(self._theme.font("note"))
        return QSize(5 + CHIP_PX + 6 + metrics.horizontalAdvance(self.card.name) + 5, 28)

    def enterEvent(self, event: QEnterEvent) -> None:
        """Stand out."""
        self.entered.emit()
        super().enterEvent(event)

    def leaveEvent(self, event: QEvent) -> None:
        """Step back."""
        self.left.emit()
        super().leaveEvent(event)

    def focusOutEvent(self, event: QFocusEvent) -> None:
        """Step back."""
        self.left.emit()
        super().focusOutEvent(event)

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Filled chip when shown, hollow chip and muted name when hidden."""
        theme, card = self._theme, self.card
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        box = QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5)
        if self.underMouse():
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(theme.colour("hover"))
            painter.drawRoundedRect(box, 6, 6)
        if self.hasFocus():
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(theme.colour("accent"), 2))
            painter.drawRoundedRect(box.adjusted(0.5, 0.5, -0.5, -0.5), 6, 6)
        chip = QRectF(5, (self.height() - CHIP_PX) / 2, CHIP_PX, CHIP_PX)
        shown = self.isChecked()
        paint_chip(painter, theme, chip, card.number, hollow=not shown)
        if self.with_name:
            painter.setFont(theme.font("note"))
            painter.setPen(theme.colour("text" if shown else "muted"))
            area = box.adjusted(5 + CHIP_PX + 6, 0, 0, 0)
            painter.drawText(
                area, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, card.name
            )


class Legend(QWidget):
    """The row of entries above the graphs; what is hidden stays hidden when cards change.

    Signals:
        hidden_changed: `frozenset[str]`, ids of the cards whose curves are off.
        highlighted: Id of the card pointed at, or `None`.
    """

    hidden_changed = Signal(object)
    highlighted = Signal(object)

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self.entries: list[LegendEntry] = []
        self.hidden: frozenset[str] = frozenset()
        self._row = QHBoxLayout(self)
        self._row.setContentsMargins(0, 0, 0, 0)
        self._row.setSpacing(2)

    def set_cards(self, cards: Sequence[GraphCard], *, with_names: bool) -> None:
        """One entry per card."""
        if [e.card for e in self.entries] == list(cards) and all(
            e.with_name == with_names for e in self.entries
        ):
            return
        for entry in self.entries:
            self._row.removeWidget(entry)
            entry.deleteLater()
        self.entries = [LegendEntry(self._theme, card, self) for card in cards]
        for entry in self.entries:
            entry.with_name = with_names
            entry.setChecked(entry.card.id not in self.hidden)
            entry.toggled.connect(self._on_toggled)
            entry.entered.connect(self._on_entered)
            entry.left.connect(self._on_left)
            self._row.addWidget(entry)
            entry.show()

    @Slot()
    def _on_toggled(self) -> None:
        present = {e.card.id for e in self.entries}
        off = {e.card.id for e in self.entries if not e.isChecked()}
        self.hidden = frozenset((self.hidden - present) | off)
        self.hidden_changed.emit(self.hidden)

    @Slot()
    def _on_entered(self) -> None:
        entry = self.sender()
        if isinstance(entry, LegendEntry) and entry.isChecked():
            self.highlighted.emit(entry.card.id)

    @Slot()
    def _on_left(self) -> None:
        self.highlighted.emit(None)
