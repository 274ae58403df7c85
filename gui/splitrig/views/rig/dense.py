"""Five and more cards as a table: one line a card, one for all."""

from collections.abc import Sequence

from PySide6.QtCore import Qt, Slot
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QTableView, QWidget

from splitrig.views.rig.dense_model import HEADS, Column, DenseModel, DenseRow, Totals
from splitrig.views.rig.dense_paint import DenseDelegate
from splitrig.views.theme import Theme

HEAD_PX = 36
ROW_PX = 31
TOTAL_PX = 40
ROOMY_FROM_PX = 1060
"""Below this width fan and clocks give their room to the bars."""


class DenseTable(QTableView):
    """The table; as high as its rows, the page scrolls."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._model = DenseModel(self)
        self.setModel(self._model)
        self.setItemDelegate(DenseDelegate(theme, self._model, self))
        self.setAccessibleName("Cards")
        self.setShowGrid(False)
        self.setFrameShape(self.Shape.NoFrame)
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(ROW_PX)
        self.verticalHeader().setMinimumSectionSize(ROW_PX)
        head = self.horizontalHeader()
        head.setFixedHeight(HEAD_PX)
        head.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        head.setSectionResizeMode(Column.BAR, QHeaderView.ResizeMode.Stretch)
        head.setSectionsClickable(False)
        head.setHighlightSections(False)
        for column, (_text, width) in HEADS.items():
            if width:
                self.setColumnWidth(column, width)
        theme.changed.connect(self._on_theme)
        self._on_theme()

    def show_rows(self, rows: Sequence[DenseRow], totals: Totals) -> None:
        """Take new readings."""
        self._model.show(rows, totals)
        last = len(rows)
        if self.rowHeight(last) != TOTAL_PX:
            for i in range(last):
                self.setRowHeight(i, ROW_PX)
            self.setRowHeight(last, TOTAL_PX)
        self.setFixedHeight(HEAD_PX + last * ROW_PX + TOTAL_PX)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Fan and clocks go first when it gets narrow."""
        narrow = event.size().width() < ROOMY_FROM_PX
        for column in (Column.CLOCK, Column.FAN):
            if self.isColumnHidden(column) != narrow:
                self.setColumnHidden(column, narrow)
        super().resizeEvent(event)

    @Slot()
    def _on_theme(self) -> None:
        colour = self._theme.colour
        self.setStyleSheet(
            "QTableView { background: transparent; }"
            f"QHeaderView {{ background: transparent; border: 0; border-bottom: 1px solid"
            f" {colour('border').name()}; }}"
            f"QHeaderView::section {{ background: transparent; border: 0; padding: 0 4px;"
            f" color: {colour('muted').name()}; font-size: 12px; font-weight: 500; }}"
        )
        self.viewport().update()
