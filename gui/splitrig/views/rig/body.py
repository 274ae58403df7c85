"""Cards, graphs and warnings, laid out for the room there is."""

from PySide6.QtCore import Qt, Slot
from PySide6.QtWidgets import QGridLayout, QScrollArea, QSizePolicy, QWidget

from splitrig.core.engine import EngineStatus
from splitrig.core.gpu import Rig
from splitrig.core.usage import usage_of
from splitrig.views.rig.card_panel import CardPanel
from splitrig.views.rig.dense import DenseTable
from splitrig.views.rig.dense_model import DenseRow, totals_of
from splitrig.views.rig.readings import readings_of
from splitrig.views.rig.warnings import WarningsPanel
from splitrig.views.theme import Theme
from splitrig.views.widgets.graph_data import cards_of
from splitrig.views.widgets.graph_panel import HistoryPanel
from splitrig.views.widgets.texts import Panel

DENSE_FROM = 5
NARROW_BELOW_PX = 1100
SIDE_PX = 336
CARD_LEAST_PX = 350
CARDS_A_ROW = 4
GAP_PX = 12
MARGIN_PX = 20
HISTORY_NARROW_PX = 430


class RigBody(QScrollArea):
    """Up to four cards are panels, more are a table. Scrolls when the window is small.

    Attributes:
        panels: The card panels; empty when dense.
        table: The dense table.
        history: The graphs.
        warnings: What is wrong.
    """

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._rig: Rig | None = None
        self._engines: tuple[EngineStatus, ...] = ()
        self._shape: tuple[bool, bool, int] | None = None
        self._width = 1200
        self.panels: list[CardPanel] = []
        self.history = HistoryPanel(theme)
        self.warnings = WarningsPanel(theme)
        self.table = DenseTable(theme)
        self._table_panel = Panel()
        self._table_panel.body.setContentsMargins(1, 2, 1, 2)
        self._table_panel.body.addWidget(self.table)
        self._table_panel.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._cards_box = QWidget()
        self._cards_grid = QGridLayout(self._cards_box)
        self._cards_grid.setContentsMargins(0, 0, 0, 0)
        self._cards_grid.setSpacing(GAP_PX)
        self._cards_box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        content = QWidget()
        content.setProperty("clear", "true")
        self._grid = QGridLayout(content)
        self._grid.setContentsMargins(MARGIN_PX, 0, MARGIN_PX, 16)
        self._grid.setSpacing(GAP_PX)
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.viewport().setAutoFillBackground(False)
        self.setWidget(content)
        self.verticalScrollBar().rangeChanged.connect(self._on_range)

    @Slot(int, int)
    def _on_range(self, _least: int, most: int) -> None:
        """The scroll bar lies in the margin, so that the right edges stay in line."""
        taken = self.verticalScrollBar().sizeHint().width() if most > 0 else 0
        margins = self._grid.contentsMargins()
        if margins.right() != MARGIN_PX - taken:
            self._grid.setContentsMargins(MARGIN_PX, 0, MARGIN_PX - taken, 16)

    @property
    def dense(self) -> bool:
        """The cards are rows of a table."""
        return self._rig is not None and len(self._rig.gpus) >= DENSE_FROM

    def show_rig(self, rig: Rig) -> None:
        """Take a reading; the layout changes only when the cards do."""
        before = self._rig.gpus if self._rig is not None else None
        self._rig = rig
        if before != rig.gpus:
            self._make_panels()
            self.fit(self._width)
        self.history.show_rig(rig)
        self._show_readings()

    def set_engines(self, engines: tuple[EngineStatus, ...]) -> None:
        """Divide the memory anew."""
        self._engines = engines
        if self._rig is not None:
            self._show_readings()

    def fit(self, width: int) -> None:
        """Lay out for a page `width` px wide."""
        self._width = width
        if self._rig is None:
            return
        narrow = width < NARROW_BELOW_PX
        room = width - 2 * MARGIN_PX - (0 if narrow else SIDE_PX + GAP_PX)
        n = len(self._rig.gpus)
        columns = max(1, min(CARDS_A_ROW, n, (room + GAP_PX) // (CARD_LEAST_PX + GAP_PX)))
        if n == CARDS_A_ROW and columns == CARDS_A_ROW - 1:
            columns = 2  # two rows of two, rather than a single card in a row of its own
        shape = (narrow, self.dense, columns)
        if shape != self._shape:
            self._shape = shape
            self._place(narrow=narrow, columns=columns)

    def _place(self, *, narrow: bool, columns: int) -> None:
        grid, dense = self._grid, self.dense
        top = self._table_panel if dense else self._cards_box
        for widget in (self._table_panel, self._cards_box, self.history, self.warnings):
            grid.removeWidget(widget)
            widget.setVisible(widget not in (self._table_panel, self._cards_box) or widget is top)
        if narrow:
            grid.addWidget(top, 0, 0, 1, 2)
            grid.addWidget(self.history, 1, 0, 1, 2)
            grid.addWidget(self.warnings, 2, 0, 1, 2)
        elif dense:
            grid.addWidget(top, 0, 0, 1, 2)
            grid.addWidget(self.history, 1, 0)
            grid.addWidget(self.warnings, 1, 1)
        else:
            grid.addWidget(top, 0, 0)
            grid.addWidget(self.history, 1, 0)
            grid.addWidget(self.warnings, 0, 1, 2, 1)
        grid.setRowStretch(1, 1)
        grid.setColumnStretch(0, 1)
        # A page that scrolls anyway need not squeeze the graphs.
        self.history.setMinimumHeight(HISTORY_NARROW_PX if narrow else 0)
        self.warnings.setMinimumWidth(0 if narrow else SIDE_PX)
        self.warnings.setMaximumWidth(16777215 if narrow else SIDE_PX)
        for i, panel in enumerate(self.panels):
            self._cards_grid.removeWidget(panel)
            self._cards_grid.addWidget(panel, i // columns, i % columns)
        for column in range(CARDS_A_ROW):
            self._cards_grid.setColumnStretch(column, 1 if column < columns else 0)

    def _make_panels(self) -> None:
        rig = self._rig
        for old in self.panels:
            self._cards_grid.removeWidget(old)
            old.setParent(None)
            old.deleteLater()
        self._shape = None
        self.panels = []
        if rig is not None and not self.dense:
            self.panels = [CardPanel(self._theme, i, gpu) for i, gpu in enumerate(rig.gpus)]

    def _show_readings(self) -> None:
        rig = self._rig
        if rig is None:
            return
        rows = []
        for card, gpu in zip(cards_of(rig), rig.gpus, strict=True):
            sample = rig.samples.get(gpu.id)
            usage = usage_of(gpu, sample, self._engines)
            rows.append(DenseRow(card, usage, readings_of(gpu, sample, usage)))
        if self.dense:
            present = [s for s in rig.samples.values() if not s.lost]
            self.table.show_rows(rows, totals_of(rows, present))
            return
        for panel, row in zip(self.panels, rows, strict=True):
            panel.show_readings(row.usage, row.readings)
