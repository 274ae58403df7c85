"""How vLLM uses several cards: every layout they allow, and why the others cannot be."""

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtGui import QStandardItemModel
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QWidget

from splitrig.core.vllm_layout import Layout
from splitrig.views.theme import Theme
from splitrig.views.widgets.texts import text_label

ABOUT = "Tensor parallel (TP) cuts every layer into equal parts, a pipeline (PP) deals out layers"

BESIDE_PX = 48
"""What an entry of the list has beside its text."""


class LayoutChoice(QWidget):
    """Auto, then each layout; one that cannot be is closed and says why.

    Signals:
        chosen: `Layout`, or `None` for Auto; only by the user.

    Attributes:
        box: The choice itself.
    """

    chosen = Signal(object)

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._layouts: tuple[Layout, ...] = ()
        self.box = QComboBox()
        self.box.setFixedHeight(32)
        self.box.setAccessibleName("Layout of vLLM")
        self.box.setToolTip(ABOUT)
        # a reason is long: the list may be wider than the box
        policy = QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        self.box.setSizeAdjustPolicy(policy)
        self.box.setMinimumContentsLength(12)
        self.box.activated.connect(self._on_activated)
        label = text_label(theme, "Layout", "note", role="muted")
        label.setBuddy(self.box)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(12)
        row.addWidget(label)
        row.addWidget(self.box, 1)
        self.hide()

    def show_layouts(
        self, layouts: Sequence[Layout], current: Layout | None, taken: Layout | None
    ) -> None:
        """Offer these; emits nothing.

        Args:
            layouts: Every layout of these cards; none hides the choice.
            current: What the user picked; `None` for Auto.
            taken: What the plan makes of Auto; `None` where there is no plan.
        """
        self.setVisible(bool(layouts))
        automatic = f"Auto: {taken.words}" if current is None and taken is not None else "Auto"
        if tuple(layouts) != self._layouts or not self.box.count():
            self._layouts = tuple(layouts)
            self._fill()
        self.box.setItemText(0, automatic)
        self.box.setCurrentIndex(0 if current is None else 1 + self._layouts.index(current))

    def _fill(self) -> None:
        self.box.clear()
        self.box.addItem("Auto")
        for index, layout in enumerate(self._layouts, start=1):
            self.box.addItem(layout.reason or layout.label)
            self.box.setItemData(index, layout.reason, Qt.ItemDataRole.ToolTipRole)
            items = self.box.model()
            if isinstance(items, QStandardItemModel):
                items.item(index).setEnabled(layout.possible)
        texts = [self.box.itemText(index) for index in range(self.box.count())]
        widest = max(self.box.fontMetrics().horizontalAdvance(text) for text in texts)
        self.box.view().setMinimumWidth(widest + BESIDE_PX)

    @Slot(int)
    def _on_activated(self, index: int) -> None:
        self.chosen.emit(self._layouts[index - 1] if index else None)
