"""Planned against actual, per card and kind of memory."""

from collections.abc import Mapping

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QSizePolicy, QWidget

from splitrig.core.engine import EngineStatus
from splitrig.core.units import MISSING
from splitrig.views.launch.placement import (
    NOT_REPORTED,
    PlacedCard,
    PlacedRow,
    amount_text,
    difference_texts,
    host_row,
    placed_cards,
    placed_unit,
)
from splitrig.views.theme import Kind, Theme
from splitrig.views.widgets.card_chip import CardChip
from splitrig.views.widgets.memory_bar import MemorySwatch
from splitrig.views.widgets.texts import IconLabel, line, text_label

ROW_PX = 26
COLUMNS = 6


class TwinBar(QWidget):
    """Two thin bars on one scale: planned above, actual below."""

    def __init__(self, theme: Theme, kind: Kind, planned: float, actual: float) -> None:
        """Make it; both are shares of the longest bar, 0 to 1."""
        super().__init__()
        self._theme = theme
        self._kind: Kind = kind
        self._planned, self._actual = planned, actual
        self.setFixedHeight(14)
        self.setMinimumWidth(40)
        self.setMaximumWidth(150)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        theme.changed.connect(self.update)

    def sizeHint(self) -> QSize:
        """150 px where there is room."""
        return QSize(150, 14)

    def paintEvent(self, _event: QPaintEvent) -> None:
        """A muted bar and one with the fill of its kind."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        muted = QColor(self._theme.colour("muted"))
        muted.setAlphaF(0.55)
        painter.setBrush(muted)
        if self._planned:
            painter.drawRoundedRect(QRectF(0, 1, max(self.width() * self._planned, 2), 4), 1, 1)
        if self._actual:
            painter.setBrushOrigin(0, 7)
            painter.setBrush(self._theme.memory(self._kind, self.devicePixelRatioF()))
            painter.drawRoundedRect(QRectF(0, 7, max(self.width() * self._actual, 2), 6), 1.5, 1.5)


class PlacementTable(QWidget):
    """The table of the running engine; made anew when an engine is ready, then left alone."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(12)
        self._grid.setVerticalSpacing(0)
        for column, stretch in enumerate((3, 4, 2, 2, 2, 2)):
            self._grid.setColumnStretch(column, stretch)
        self.cards: tuple[PlacedCard, ...] = ()
        self._shown: object = None

    def show_status(self, status: EngineStatus, numbers: Mapping[str, int]) -> None:
        """Fill the table for this engine."""
        key = (status.plan, status.device_names, dict(status.actual), dict(status.layers))
        if key == self._shown:
            return
        self._shown = key
        self._clear()
        self.cards = placed_cards(status)
        unit, unit_bytes = placed_unit(status)
        self._head(unit)
        longest = max(
            (
                max(row.planned_bytes or 0, row.actual_bytes or 0)
                for card in self.cards
                for row in card.rows
                if row.kind is not None
            ),
            default=1,
        )
        at = 2
        for place, card in enumerate(self.cards):
            at = self._card(at, card, numbers.get(card.id, place), unit_bytes, max(longest, 1))
        self._host(at, host_row(status), unit_bytes)

    def _clear(self) -> None:
        while (item := self._grid.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.hide()
                widget.deleteLater()

    def _number(self, text: str, weight: int = 400, role: str = "") -> QLabel:
        label = text_label(self._theme, text, "body", weight, role=role)
        label.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        if text == MISSING:
            label.setToolTip("The engine did not report it, or it was not planned.")
        return label

    def _head(self, unit: str) -> None:
        theme = self._theme
        self._grid.addWidget(text_label(theme, unit, "note", 500, role="muted"), 0, 0)
        legend = QWidget()
        row = QHBoxLayout(legend)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(6)
        row.addWidget(text_label(theme, "planned above, actual below", "axis", role="muted"))
        row.addStretch(1)
        self._grid.addWidget(legend, 0, 1)
        right = Qt.AlignmentFlag.AlignRight
        for column, text in ((2, "Planned"), (3, "Actual"), (5, "Difference")):
            label = text_label(theme, text, "note", 500, role="muted")
            self._grid.addWidget(label, 0, column, right)
        self._grid.setRowMinimumHeight(0, 24)
        self._grid.addWidget(line(), 1, 0, 1, COLUMNS)

    def _card(self, at: int, card: PlacedCard, number: int, unit_bytes: int, longest: int) -> int:
        theme = self._theme
        title = QWidget()
        row = QHBoxLayout(title)
        row.setContentsMargins(0, 6, 0, 0)
        row.setSpacing(8)
        row.addWidget(CardChip(theme, number))
        row.addWidget(text_label(theme, card.name, weight=600))
        role = "warning" if card.drifted else "muted"
        row.addWidget(text_label(theme, f"{card.planned_layers} planned", "note", role="muted"))
        row.addWidget(IconLabel(theme, "arrow-right", 12, "muted"))
        loaded = card.loaded_layers
        words = loaded if loaded == NOT_REPORTED else f"{loaded} loaded"
        row.addWidget(text_label(theme, words, "note", role=role))
        row.addStretch(1)
        self._grid.addWidget(title, at, 0, 1, COLUMNS)
        self._grid.setRowMinimumHeight(at, 34)
        at += 1
        for placed in card.rows:
            if placed.kind is None:
                self._grid.addWidget(line(), at, 0, 1, COLUMNS)
                at += 1
            self._row(at, placed, unit_bytes, longest)
            at += 1
        self._grid.addWidget(line(), at, 0, 1, COLUMNS)
        return at + 1

    def _row(self, at: int, placed: PlacedRow, unit_bytes: int, longest: int) -> None:
        theme = self._theme
        weight = 600 if placed.kind is None else 400
        name = QWidget()
        row = QHBoxLayout(name)
        row.setContentsMargins(26, 0, 0, 0)
        row.setSpacing(8)
        if placed.kind is not None:
            row.addWidget(MemorySwatch(theme, placed.kind, 11))
            shares = (placed.planned_bytes or 0) / longest, (placed.actual_bytes or 0) / longest
            self._grid.addWidget(TwinBar(theme, placed.kind, *shares), at, 1)
        row.addWidget(text_label(theme, placed.label, weight=weight))
        if placed.drifted:
            row.addWidget(IconLabel(theme, "warning", 13, "warning"))
        row.addStretch(1)
        self._grid.addWidget(name, at, 0)
        self._numbers(at, placed, unit_bytes, weight)
        self._grid.setRowMinimumHeight(at, ROW_PX)

    def _numbers(self, at: int, placed: PlacedRow, unit_bytes: int, weight: int) -> None:
        mib, percent = difference_texts(placed, unit_bytes)
        role = "warning" if placed.drifted else ("" if weight == 600 else "muted")
        planned = amount_text(placed.planned_bytes, unit_bytes)
        actual = amount_text(placed.actual_bytes, unit_bytes)
        self._grid.addWidget(self._number(planned, weight), at, 2)
        self._grid.addWidget(self._number(actual, max(weight, 500)), at, 3)
        shown = mib if mib == MISSING else f"{mib} MiB"
        self._grid.addWidget(self._number(shown, weight, role), at, 4)
        self._grid.addWidget(self._number(percent, weight, role), at, 5)

    def _host(self, at: int, placed: PlacedRow | None, unit_bytes: int) -> None:
        if placed is None:
            return
        theme = self._theme
        name = QWidget()
        row = QHBoxLayout(name)
        row.setContentsMargins(1, 0, 0, 0)
        row.setSpacing(8)
        row.addWidget(IconLabel(theme, "cpu", 16, "muted"))
        row.addWidget(text_label(theme, "RAM", weight=600))
        row.addWidget(text_label(theme, "weights", "note", role="muted"))
        row.addStretch(1)
        self._grid.addWidget(name, at, 0, 1, 2)
        self._numbers(at, placed, unit_bytes, 400)
        self._grid.setRowMinimumHeight(at, 36)
