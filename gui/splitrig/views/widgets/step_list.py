"""Steps of a start with their seconds; never a spinner alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from splitrig.views.theme import Theme
from splitrig.views.widgets.gauge import Gauge
from splitrig.views.widgets.texts import IconLabel, set_role, text_label

StepState = Literal["done", "now", "todo", "failed"]
_ICONS = {
    "done": ("check", "success"),
    "now": ("hourglass-medium", "accent_text"),
    "todo": ("circle", "muted"),
    "failed": ("x", "danger"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step.

    Attributes:
        label: What is done, such as 'Loading weights'.
        state: `done`, `now`, `todo` or `failed`.
        note: What stands on the right, such as '8.6 s' or '11.3 of 18.0 GiB'.
        progress: 0–1 draws a bar under the step that goes on; `None` draws a moving line.
    """

    label: str
    state: StepState = "todo"
    note: str = ""
    progress: float | None = None


class _StepRow(QWidget):
    """One row: icon, label, note, and the bar while it goes on."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._icon = IconLabel(theme, "circle", 16, "muted")
        self._label = text_label(theme)
        self._note = text_label(theme, "", "note", role="muted")
        self._gauge = Gauge(theme, 4)
        row = QHBoxLayout()
        row.setSpacing(10)
        row.addWidget(self._icon)
        row.addWidget(self._label)
        row.addStretch(1)
        row.addWidget(self._note)
        bar = QHBoxLayout()
        bar.setContentsMargins(26, 0, 0, 0)
        bar.addWidget(self._gauge)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 4, 0, 4)
        layout.setSpacing(6)
        layout.addLayout(row)
        layout.addLayout(bar)

    def show_step(self, step: Step) -> None:
        self._icon.set_icon(*_ICONS[step.state])
        self._label.setText(step.label)
        set_role(self._label, "muted" if step.state == "todo" else "")
        self._note.setText(step.note)
        self._gauge.setVisible(step.state == "now")
        if step.state == "now" and step.progress is None:
            self._gauge.set_busy()
        else:
            self._gauge.set_value(step.progress, "accent")
        self.setAccessibleName(f"{step.label}, {step.state}. {step.note}".strip())


class StepList(QWidget):
    """The steps one under the other."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._rows: list[_StepRow] = []
        self.steps: tuple[Step, ...] = ()
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(0)

    def show_steps(self, steps: Sequence[Step]) -> None:
        """Show these steps."""
        self.steps = tuple(steps)
        while len(self._rows) < len(steps):
            row = _StepRow(self._theme)
            self._rows.append(row)
            self._layout.addWidget(row)
        for number, row in enumerate(self._rows):
            row.setVisible(number < len(steps))
            if number < len(steps):
                row.show_step(steps[number])
