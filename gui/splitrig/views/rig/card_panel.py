"""One card's panel: name, what limits it, memory, and six readings."""

from PySide6.QtCore import Qt
from PySide6.QtGui import QFontMetricsF, QResizeEvent
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QSizePolicy, QWidget

from splitrig.core.gpu import GpuInfo
from splitrig.core.usage import Usage
from splitrig.views.rig.card_cells import ReadingCell, VramBlock
from splitrig.views.rig.readings import CardReadings
from splitrig.views.theme import Theme
from splitrig.views.widgets.badge import Badge
from splitrig.views.widgets.card_chip import CHIP_PX, CardChip
from splitrig.views.widgets.texts import Panel, line, set_role, text_label

CELLS: tuple[tuple[str, str, bool], ...] = (
    ("load", "Load", True),
    ("power", "Power", True),
    ("temperature", "Temperature", True),
    ("fan", "Fan", False),
    ("clocks", "Clocks, MHz", False),
    ("link", "PCIe link", False),
)
"""Field of `CardReadings`, label, whether it has a gauge; three a row."""
COLUMN_SHARES = (58, 108, 127)


class CardPanel(Panel):
    """Shows one card; a lost one stays, marked.

    Attributes:
        cells: The readings by field name.
        vram: The memory block.
        badge: What limits the card.
    """

    def __init__(
        self, theme: Theme, number: int, gpu: GpuInfo, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent=parent)
        self._name_text = gpu.name.removeprefix(f"{gpu.vendor.value} ")
        self.gpu = gpu
        self.setAccessibleName(f"Card {number}, {gpu.name}")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.name = text_label(theme, self._name_text, "value", 600)
        self.vendor = text_label(theme, gpu.vendor.value, "note", role="muted")
        self.badge = Badge(theme)
        head = QHBoxLayout()
        head.setSpacing(8)
        head.addWidget(CardChip(theme, number))
        head.addWidget(self.name)
        head.addWidget(self.vendor)
        head.addStretch(1)
        head.addWidget(self.badge)
        self.vram = VramBlock(theme)
        self.cells = {
            field: ReadingCell(theme, label, number, gauge=gauge) for field, label, gauge in CELLS
        }
        grid = QGridLayout()
        grid.setHorizontalSpacing(14)
        grid.setVerticalSpacing(10)
        for i, cell in enumerate(self.cells.values()):
            grid.addWidget(cell, i // 3, i % 3)
        for column, share in enumerate(COLUMN_SHARES):
            grid.setColumnStretch(column, share)
        self.body.setContentsMargins(16, 11, 16, 12)
        self.body.setSpacing(10)
        self.body.addLayout(head)
        self.body.addWidget(self.vram)
        self.body.addWidget(line())
        self.body.addLayout(grid)

    def show_readings(self, usage: Usage, readings: CardReadings) -> None:
        """Take new readings; only what changed is painted again."""
        self.vram.show_usage(usage, readings.vram)
        for field, cell in self.cells.items():
            cell.show_reading(getattr(readings, field))
        limit = readings.limit
        if self.badge.text != limit.text:
            self.badge.set_badge(limit.text, limit.tone, limit.icon)
            self._fit_name()
        if self.badge.toolTip() != limit.tip:
            self.badge.setToolTip(limit.tip)
        set_role(self.name, "muted" if readings.lost else "")

    def resizeEvent(self, event: QResizeEvent) -> None:
        """In a narrow panel the vendor goes first, then the end of the name."""
        super().resizeEvent(event)
        self._fit_name()

    def _fit_name(self) -> None:
        metrics = QFontMetricsF(self.name.font())
        # Padding, chip, the gaps of the row, and the badge.
        room = self.width() - 32 - CHIP_PX - 4 * 8 - self.badge.sizeHint().width()
        vendor_px = self.vendor.sizeHint().width()
        self.vendor.setVisible(metrics.horizontalAdvance(self._name_text) + vendor_px + 8 <= room)
        fitted = metrics.elidedText(self._name_text, Qt.TextElideMode.ElideRight, max(room, 40))
        if fitted != self.name.text():
            self.name.setText(fitted)
        self.name.setToolTip(self.gpu.name if fitted != self._name_text else "")
