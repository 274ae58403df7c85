"""Where the bytes go: a bar per card on one scale, and the same as numbers that add up."""

from collections.abc import Mapping, Sequence

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from splitrig.core.plan import DevicePlan, Plan, PlanDevice
from splitrig.core.units import MISSING, number_text
from splitrig.views.launch.wording import free_text, layers_text, row_texts, table_unit
from splitrig.views.theme import KIND_NAMES, KINDS, Kind, Theme
from splitrig.views.widgets.card_chip import CardChip
from splitrig.views.widgets.memory_bar import Memory, MemoryBar, MemorySwatch
from splitrig.views.widgets.texts import ElidedLabel, IconLabel, line, set_role, text_label

ROOMY_CARDS = 4
DENSE_PX = 16
HEADS = {**KIND_NAMES, "kv": "KV"}


def memory_of(device: DevicePlan, before: PlanDevice) -> Memory:
    """A planned card as a bar: what the engine takes, what others hold now."""
    total = before.total_bytes or max(before.free_bytes, 1)
    return Memory(
        total_bytes=total,
        parts={
            "weights": device.model_bytes,
            "kv": device.kv_bytes,
            "compute": device.compute_bytes or 0,
            "overhead": device.overhead_bytes,
            "others": max(total - before.free_bytes, 0),
        },
    )


class _CardBar(QWidget):
    """Chip, name, layers, what is left; under it the bar."""

    def __init__(self, theme: Theme, *, dense: bool) -> None:
        super().__init__()
        self.dense = dense
        self._chip = CardChip(theme)
        self._name = ElidedLabel(text_label(theme, weight=600))
        self._layers = text_label(theme, "", "note", role="muted")
        self._free = text_label(theme, "", "note", 500)
        self.bar = MemoryBar(theme, DENSE_PX if dense else 32)
        head = QHBoxLayout()
        head.setSpacing(8)
        head.addWidget(self._chip)
        head.addWidget(self._name)
        head.addWidget(self._layers)
        head.addStretch(1)
        head.addWidget(self._free)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addLayout(head)
        layout.addWidget(self.bar)

    def show_card(self, number: int, device: DevicePlan, memory: Memory, scale: int) -> None:
        self._chip.set_number(number)
        self._name.setText(device.name)
        self._layers.setText(layers_text(device))
        self._free.setText(free_text(device))
        set_role(self._free, "danger" if device.free_bytes < 0 else "")
        self.bar.setAccessibleName(f"Planned memory of {device.name}")
        self.bar.set_memory(memory, scale)


class PlanBars(QWidget):
    """One bar a card; all share one scale."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._bars: list[_CardBar] = []
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(6)

    @property
    def bars(self) -> list[MemoryBar]:
        """The bars in use, in the order of the split."""
        return [bar.bar for bar in self._bars if not bar.isHidden()]

    def show_plan(
        self, plan: Plan, devices: Sequence[PlanDevice], numbers: Mapping[str, int]
    ) -> None:
        """Show where the bytes go."""
        dense = len(plan.devices) > ROOMY_CARDS
        if any(bar.dense != dense for bar in self._bars):
            for old in self._bars:
                old.hide()
                old.deleteLater()
            self._bars = []
        while len(self._bars) < len(plan.devices):
            self._bars.append(_CardBar(self._theme, dense=dense))
            self._layout.addWidget(self._bars[-1])
        memories = [memory_of(d, before) for d, before in zip(plan.devices, devices, strict=True)]
        scale = max((max(m.total_bytes, m.used_bytes) for m in memories), default=1)
        # room for the edge of a segment that stands outside the card
        scale = round(scale * 1.004) if not plan.fits else scale
        for index, bar in enumerate(self._bars):
            bar.setVisible(index < len(plan.devices))
            if index < len(plan.devices):
                device = plan.devices[index]
                bar.show_card(numbers[device.id], device, memories[index], scale)


class PlanTable(QWidget):
    """The plan in numbers; each row adds up to the card."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._rows: list[tuple[CardChip, list[QLabel]]] = []
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(6)
        self._grid.setVerticalSpacing(0)
        self._unit = text_label(theme, "GiB", "axis", role="muted")
        self._grid.addWidget(self._unit, 0, 0)
        for column, kind in enumerate(KINDS, 1):
            self._grid.addWidget(self._head(kind), 0, column)
            self._grid.setColumnStretch(column, 1)
        self._grid.setRowMinimumHeight(0, 26)
        self._grid.addWidget(line(), 1, 0, 1, len(KINDS) + 1)
        self._ram = [self._number("muted") for _ in KINDS]
        self._ram_at = 0
        self._ram_name = QWidget()
        row = QHBoxLayout(self._ram_name)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(6)
        row.addWidget(IconLabel(theme, "cpu", 14, "muted"))
        row.addWidget(text_label(theme, "RAM", "note", role="muted"))
        row.addStretch(1)

    def _head(self, kind: Kind) -> QWidget:
        box = QWidget()
        row = QHBoxLayout(box)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(5)
        row.addStretch(1)
        row.addWidget(MemorySwatch(self._theme, kind))
        row.addWidget(text_label(self._theme, HEADS[kind], "axis", role="muted"))
        return box

    def _number(self, role: str = "") -> QLabel:
        label = text_label(self._theme, "", "note", role=role)
        label.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        return label

    def _add_row(self) -> None:
        chip = CardChip(self._theme, small=True)
        name = ElidedLabel(text_label(self._theme, "", "note"))
        box = QWidget()
        row = QHBoxLayout(box)
        row.setContentsMargins(0, 0, 8, 0)
        row.setSpacing(6)
        row.addWidget(chip)
        row.addWidget(name)
        row.addStretch(1)
        labels = [name, *(self._number() for _ in KINDS)]
        at = len(self._rows) + 2
        self._grid.addWidget(box, at, 0)
        for column, label in enumerate(labels[1:], 1):
            self._grid.addWidget(label, at, column)
        self._grid.setRowMinimumHeight(at, 26)
        self._rows.append((chip, labels))

    def show_plan(
        self, plan: Plan, devices: Sequence[PlanDevice], numbers: Mapping[str, int]
    ) -> None:
        """Show the numbers; in MiB where the whole model is small."""
        unit, unit_bytes, decimals = table_unit(plan)
        self._unit.setText(unit)
        while len(self._rows) < len(plan.devices):
            self._add_row()
        for index, (chip, labels) in enumerate(self._rows):
            shown = index < len(plan.devices)
            box = labels[0].parentWidget()
            for widget in (box, *labels[1:]):
                if widget is not None:
                    widget.setVisible(shown)
            self._grid.setRowMinimumHeight(index + 2, 26 if shown else 0)
            if not shown:
                continue
            device = plan.devices[index]
            memory = memory_of(device, devices[index])
            values = [memory.parts.get(kind, 0) for kind in KINDS if kind != "free"]
            texts = row_texts([*values, device.free_bytes], unit_bytes, decimals)
            if device.compute_bytes is None:
                texts[KINDS.index("compute")] = MISSING
            chip.set_number(numbers[device.id])
            labels[0].setText(device.name)
            labels[0].setToolTip(device.name)
            for label, text in zip(labels[1:], texts, strict=True):
                label.setText(text)
            set_role(labels[-1], "danger" if device.free_bytes < 0 else "")
        self._show_ram(plan, unit_bytes, decimals)

    def _show_ram(self, plan: Plan, unit_bytes: int, decimals: int) -> None:
        at = len(self._rows) + 2
        if self._ram_at != at:
            self._ram_at = at
            self._grid.addWidget(self._ram_name, at, 0)
            for column, label in enumerate(self._ram, 1):
                self._grid.addWidget(label, at, column)
            self._grid.setRowMinimumHeight(at, 26)
        host = plan.host
        values: dict[Kind, int | None] = {
            "weights": host.model_bytes,
            "kv": host.kv_bytes or None,
            "compute": host.compute_bytes,
        }
        for kind, label in zip(KINDS, self._ram, strict=True):
            value = values.get(kind)
            text = MISSING if value is None else number_text(value / unit_bytes, decimals)
            label.setText(text)

    def texts(self, row: int) -> list[str]:
        """What stands in the row of a card, its name first."""
        return [label.text() for label in self._rows[row][1]]
