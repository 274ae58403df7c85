"""The page while an engine is ready: what runs, how it came up, how fast, and where it lies."""

from collections.abc import Mapping, Sequence

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from splitrig.core.engine import EngineStatus
from splitrig.core.engine_words import PROGRAMS, engine_name, kind_of
from splitrig.core.model import Model
from splitrig.core.units import MISSING, number_text
from splitrig.views.launch.loading_panel import steps_of
from splitrig.views.launch.model_panel import ModelHead
from splitrig.views.launch.placement import placed_verdict
from splitrig.views.launch.placement_table import PlacementTable
from splitrig.views.launch.plan_panel import VerdictHead
from splitrig.views.launch.share_popup import SharePopup
from splitrig.views.launch.wording import (
    address_of,
    model_name,
    request_rows,
    seconds_text,
    stop_words,
)
from splitrig.views.theme import Theme
from splitrig.views.widgets.command_view import CommandView
from splitrig.views.widgets.graph_live_paint import RateCurve
from splitrig.views.widgets.note_list import NoteList
from splitrig.views.widgets.scroll_column import ScrollColumn
from splitrig.views.widgets.step_list import StepList
from splitrig.views.widgets.texts import IconButton, Panel, line, text_label

LEFT_PX = 380
NARROW_LEFT_PX = 320


class SummaryPanel(Panel):
    """Model, settings, address, process, and Stop.

    Signals:
        stop_requested: The user wants the engine gone.
    """

    stop_requested = Signal()

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent=parent)
        self._theme = theme
        self._status = EngineStatus()
        self._head = ModelHead(theme)
        self._grid = QGridLayout()
        self._grid.setVerticalSpacing(6)
        self._rows: dict[str, tuple[QLabel, QLabel]] = {}
        self.stop = IconButton(theme, "stop", "Stop")
        self.stop.clicked.connect(self.stop_requested)
        self.share = IconButton(theme, "share-network", "Use elsewhere")
        self.share.setToolTip("Address, key, and lines for curl, Python or the environment")
        self.share.clicked.connect(self._on_share)
        self.popup = SharePopup(theme, self)
        self.body.addWidget(self._head)
        self.body.addSpacing(2)
        self.body.addWidget(line())
        self.body.addLayout(self._grid)
        self.body.addSpacing(4)
        row = QHBoxLayout()
        row.setSpacing(8)
        row.addWidget(self.stop, 1)
        row.addWidget(self.share, 1)
        self.body.addLayout(row)

    def show_status(self, status: EngineStatus, model: Model | None) -> None:
        """Show what runs."""
        if status.request is None:
            return
        self._status = status
        path = status.request.model
        quantization = model.quantization if model is not None else None
        name = status.request.model_name or model_name(path, quantization)
        build = f" {status.build}" if status.build else ""
        self._head.show_text(name, f"{engine_name(status)}{build}", quantization, tip=str(path))
        rows = request_rows(status.request)
        rows.append(("Address", address_of(status) or MISSING))
        if status.pid is not None:
            rows.append(("Process", f"{PROGRAMS[kind_of(status)]} {status.pid}"))
        self._show_rows(rows)
        words, tip = stop_words(status)
        self.stop.setText(words)
        self.stop.setToolTip(tip)
        self.share.setEnabled(bool(status.url))
        self.popup.show_status(status)

    def _show_rows(self, rows: Sequence[tuple[str, str]]) -> None:
        """Labels and values in this order; a row that another engine had goes."""
        for label, shown in self._rows.items():
            for widget in shown:
                self._grid.removeWidget(widget)
                widget.setVisible(label in dict(rows))
        for number, (label, text) in enumerate(rows):
            name, value = self._row_of(label)
            value.setText(text)
            self._grid.addWidget(name, number, 0)
            self._grid.addWidget(value, number, 1)

    def _row_of(self, label: str) -> tuple[QLabel, QLabel]:
        if label not in self._rows:
            value = text_label(self._theme, "", weight=500, mono=label == "Address")
            value.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
            value.setAlignment(Qt.AlignmentFlag.AlignRight)
            value.setAccessibleName(label)
            self._rows[label] = (text_label(self._theme, label, role="muted"), value)
        return self._rows[label]

    @Slot()
    def _on_share(self) -> None:
        self.popup.open_below(self.share)


class SpeedPanel(Panel):
    """tok/s now and over the last minutes."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent=parent)
        self._best: float | None = None
        self._hint = text_label(theme, "", "note", role="muted")
        self._rate = text_label(theme, MISSING, "big", 600)
        self._rate.setAccessibleName("Tokens per second now")
        self.curve = RateCurve(theme, tall=True)
        self.add_head(text_label(theme, "Speed", weight=600), self._hint)
        row = QHBoxLayout()
        row.setSpacing(8)
        row.addWidget(self._rate)
        unit = text_label(theme, "tok/s", "note", role="muted")
        unit.setContentsMargins(0, 0, 0, 4)
        row.addWidget(unit, 0, Qt.AlignmentFlag.AlignBottom)
        row.addStretch(1)
        self.body.addLayout(row)
        self.body.addWidget(self.curve, 1)
        self.clear()

    def clear(self) -> None:
        """Forget the last engine's best."""
        self._best = None
        self.show_rate(None)

    def show_rate(self, tok_s: float | None) -> None:
        """Take a reading; `None` while no answer is written."""
        if tok_s:
            self._best = max(tok_s, self._best or 0.0)
        self._rate.setText(number_text(tok_s, 1))
        self._rate.setToolTip("No answer is being written." if tok_s is None else "")
        best = f"highest {number_text(self._best, 1)}" if self._best else "no answer yet"
        self._hint.setText(best)


class RunningView(QWidget):
    """Summary, start and speed on the left; planned against actual on the right.

    Signals:
        stop_requested: The user wants the engine gone.
    """

    stop_requested = Signal()

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.summary = SummaryPanel(theme)
        self.summary.stop_requested.connect(self.stop_requested)
        self._start = Panel()
        self._took = text_label(theme, "", "note", role="muted")
        self._start.add_head(text_label(theme, "Start", weight=600), self._took)
        self.steps = StepList(theme)
        self._start.body.addWidget(self.steps)
        self.speed = SpeedPanel(theme)
        left = QWidget()
        column = QVBoxLayout(left)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(12)
        column.addWidget(self.summary)
        column.addWidget(self._start)
        column.addWidget(self.speed, 1)
        self._left = ScrollColumn(left)
        self.head = VerdictHead(theme)
        self.table = PlacementTable(theme)
        self.notes = NoteList(theme)
        self.command = CommandView(theme)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(16)
        row.addWidget(self._left)
        row.addWidget(self._right(theme), 1)
        self.set_narrow(narrow=False)

    def _right(self, theme: Theme) -> Panel:
        right = Panel()
        content = QWidget()
        inside = QVBoxLayout(content)
        inside.setContentsMargins(16, 0, 16, 12)
        inside.setSpacing(12)
        inside.addWidget(self.table)
        inside.addWidget(self.notes)
        inside.addStretch(1)
        title = QHBoxLayout()
        title.addWidget(text_label(theme, "Command", weight=600))
        title.addStretch(1)
        title.addWidget(text_label(theme, "as it was run", "note", role="muted"))
        inside.addLayout(title)
        inside.addWidget(self.command)
        right.body.setContentsMargins(0, 12, 0, 0)
        head = QHBoxLayout()
        head.setContentsMargins(16, 0, 16, 4)
        head.addWidget(self.head)
        right.body.addLayout(head)
        right.body.addWidget(ScrollColumn(content), 1)
        return right

    def set_narrow(self, *, narrow: bool) -> None:
        """A slimmer left column in a small window."""
        self._left.setFixedWidth(NARROW_LEFT_PX if narrow else LEFT_PX)

    def show_status(
        self, status: EngineStatus, model: Model | None, numbers: Mapping[str, int]
    ) -> None:
        """Show an engine that is ready."""
        self.summary.show_status(status, model)
        self.steps.show_steps(steps_of(status))
        self._took.setText(f"ready in {seconds_text(sum(status.step_seconds.values()))}")
        as_planned, title, detail = placed_verdict(status)
        icon = ("check-circle", "success") if as_planned else ("warning", "warning")
        self.head.show_words(*icon, title, detail)
        self.table.setVisible(status.plan is not None and bool(status.plan.devices))
        self.table.show_status(status, numbers)
        self.command.set_command(status.command)
