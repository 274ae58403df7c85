"""The readings of many cards as an item model: one line a card, one for all."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from PySide6.QtCore import (
    QAbstractTableModel,
    QModelIndex,
    QObject,
    QPersistentModelIndex,
    Qt,
)

from splitrig.core.gpu import GpuSample
from splitrig.core.units import GIB, gib_text, number_text
from splitrig.core.usage import Usage
from splitrig.views.rig.readings import CardReadings, Reading
from splitrig.views.widgets.graph_data import GraphCard

Index = QModelIndex | QPersistentModelIndex
_ROOT = QModelIndex()


class Column(IntEnum):
    """What stands where."""

    CHIP = 0
    NAME = 1
    BAR = 2
    VRAM = 3
    LOAD = 4
    POWER = 5
    TEMPERATURE = 6
    CLOCK = 7
    FAN = 8
    LINK = 9
    GAP = 10
    LIMIT = 11


HEADS: dict[Column, tuple[str, int]] = {
    Column.CHIP: ("", 44),
    Column.NAME: ("Card", 104),
    Column.BAR: ("VRAM", 0),
    Column.VRAM: ("GiB", 96),
    Column.LOAD: ("Load %", 104),
    Column.POWER: ("W / limit", 108),
    Column.TEMPERATURE: ("°C", 52),
    Column.CLOCK: ("MHz", 68),
    Column.FAN: ("Fan %", 60),
    Column.LINK: ("Link / most", 128),
    Column.GAP: ("", 18),
    Column.LIMIT: ("Limited by", 116),
}
"""Head and width, px; 0 takes what is left."""
_LEFT = (Column.CHIP, Column.NAME, Column.BAR, Column.LIMIT)


@dataclass(frozen=True, slots=True)
class DenseRow:
    """One card as the table takes it."""

    card: GraphCard
    usage: Usage
    readings: CardReadings

    def reading(self, column: Column) -> Reading | None:
        """What a column shows; `None` for those that show something else."""
        r = self.readings
        return {
            Column.VRAM: r.vram,
            Column.LOAD: r.load,
            Column.POWER: r.power,
            Column.TEMPERATURE: r.temperature,
            Column.CLOCK: r.clocks,
            Column.FAN: r.fan,
            Column.LINK: r.link,
        }.get(column)


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """The last line: sums and means over the cards that report."""

    split: str
    vram: Reading
    load: Reading
    power: Reading

    def reading(self, column: Column) -> Reading | None:
        """What a column shows."""
        return {Column.VRAM: self.vram, Column.LOAD: self.load, Column.POWER: self.power}.get(
            column
        )


def totals_of(rows: Sequence[DenseRow], samples: Sequence[GpuSample]) -> Totals:
    """Sum up the samples of cards that answer; what no card reports is missing."""
    loads = [s.utilization_pct for s in samples if s.utilization_pct is not None]
    watts = [s.power_w for s in samples if s.power_w is not None]
    limits = [s.power_limit_w for s in samples if s.power_limit_w is not None]
    all_limits = limits and len(limits) == len(rows)
    used = [r.usage.used_bytes for r in rows if r.usage.used_bytes is not None]
    total = sum(r.usage.total_bytes or 0 for r in rows)
    split = []
    known = [r.usage for r in rows if r.usage.used_bytes is not None]
    if known and all(u.engine_bytes is not None for u in known):
        split.append(f"engine {gib_text(sum(u.engine_bytes or 0 for u in known))}")
        split.append(f"others {gib_text(sum(u.others_bytes or 0 for u in known))}")
    if known:
        split.append(f"free {gib_text(sum(u.free_bytes or 0 for u in known))}")
    return Totals(
        split=" · ".join(split),
        vram=Reading(text=gib_text(sum(used) if used else None), unit="GiB", most=gib_text(total)),
        load=Reading(text=number_text(sum(loads) / len(loads) if loads else None)),
        power=Reading(
            text=number_text(sum(watts) if watts else None),
            unit="W",
            most=number_text(sum(limits)) if all_limits else "",
        ),
    )


class DenseModel(QAbstractTableModel):
    """Rows of cards and the sum; tells the view only about cells that changed."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.rows: tuple[DenseRow, ...] = ()
        self.totals: Totals | None = None
        self.largest_bytes = 1

    def rowCount(self, parent: Index = _ROOT) -> int:
        """Cards and one."""
        return 0 if parent.isValid() or not self.rows else len(self.rows) + 1

    def columnCount(self, parent: Index = _ROOT) -> int:
        """One for each `Column`."""
        return 0 if parent.isValid() else len(Column)

    def show(self, rows: Sequence[DenseRow], totals: Totals) -> None:
        """Take new readings."""
        new = tuple(rows)
        self.largest_bytes = max((r.usage.total_bytes or 0 for r in new), default=0) or GIB
        if [r.card for r in new] != [r.card for r in self.rows]:
            self.beginResetModel()
            self.rows, self.totals = new, totals
            self.endResetModel()
            return
        before, before_totals = self.rows, self.totals
        self.rows, self.totals = new, totals
        for i, (old, row) in enumerate(zip(before, new, strict=True)):
            if old == row:
                continue
            for column in Column:
                bar = column is Column.BAR and old.usage != row.usage
                tail = column is Column.LIMIT and old.readings.limit != row.readings.limit
                name = column is Column.NAME and old.readings.lost != row.readings.lost
                if bar or tail or name or old.reading(column) != row.reading(column):
                    self.dataChanged.emit(self.index(i, column), self.index(i, column))
        if before_totals != totals:
            last = len(new)
            self.dataChanged.emit(self.index(last, Column.BAR), self.index(last, Column.POWER))

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        """Heads of the columns."""
        if orientation is not Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return HEADS[Column(section)][0]
        if role == Qt.ItemDataRole.TextAlignmentRole:
            side = Qt.AlignmentFlag.AlignLeft if section in _LEFT else Qt.AlignmentFlag.AlignRight
            return Qt.AlignmentFlag.AlignVCenter | side
        return None

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Text for screen readers and tests; the delegate paints from `rows`."""
        column = Column(index.column())
        if index.row() == len(self.rows):
            shown = role == Qt.ItemDataRole.DisplayRole
            shown = shown or (role == Qt.ItemDataRole.ToolTipRole and column is Column.BAR)
            return self._total_text(column) if shown else None
        row = self.rows[index.row()]
        if role == Qt.ItemDataRole.DisplayRole:
            return self._text(row, column)
        if role == Qt.ItemDataRole.ToolTipRole:
            if column is Column.LIMIT:
                return row.readings.limit.tip
            reading = row.reading(column)
            return (reading.reason or None) if reading else None
        return None

    def _text(self, row: DenseRow, column: Column) -> str:
        if column is Column.CHIP:
            return str(row.card.number)
        if column is Column.NAME:
            return row.card.name
        if column is Column.LIMIT:
            return row.readings.limit.text
        if column is Column.BAR:
            return (
                f"engine {gib_text(row.usage.engine_bytes)}, free {gib_text(row.usage.free_bytes)}"
            )
        reading = row.reading(column)
        return f"{reading.text} {reading.rest}".strip() if reading else ""

    def _total_text(self, column: Column) -> str:
        if self.totals is None:
            return ""
        if column is Column.NAME:
            return "All"
        if column is Column.BAR:
            return self.totals.split
        reading = self.totals.reading(column)
        return f"{reading.text} {reading.rest}".strip() if reading else ""
