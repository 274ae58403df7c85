"""The right side while nothing runs: verdict, bars, numbers, ways out, warnings, command."""

from collections.abc import Mapping, Sequence

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from splitrig.core.gpu import Note
from splitrig.core.plan import Plan, PlanDevice
from splitrig.core.speed import BAND, Speed
from splitrig.core.units import number_text
from splitrig.views.launch.fixes import Fix
from splitrig.views.launch.plan_table import PlanBars, PlanTable
from splitrig.views.launch.wording import verdict
from splitrig.views.theme import Theme
from splitrig.views.widgets.command_view import CommandView
from splitrig.views.widgets.note_list import NoteList
from splitrig.views.widgets.scroll_column import ScrollColumn
from splitrig.views.widgets.texts import ElidedLabel, IconLabel, Panel, line, set_role, text_label

CEILING_FROM_PX = 540


class VerdictHead(QWidget):
    """Icon, the verdict, its reason; the expected speed on the right."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._icon = IconLabel(theme, "check-circle", 28, "success")
        self.title = ElidedLabel(text_label(theme, "", "title", 600))
        self.detail = ElidedLabel(text_label(theme, "", "note", role="muted"))
        self._speed = text_label(theme, "", "title", 600)
        self._unit = text_label(theme, "tok/s expected", "note", role="muted")
        self._ceiling = text_label(theme, "", "note", role="muted")
        self._ceiling.setAlignment(Qt.AlignmentFlag.AlignRight)
        words = QVBoxLayout()
        words.setSpacing(0)
        words.addWidget(self.title)
        words.addWidget(self.detail)
        figure = QHBoxLayout()
        figure.setSpacing(6)
        figure.addStretch(1)
        figure.addWidget(self._speed)
        figure.addWidget(self._unit, 0, Qt.AlignmentFlag.AlignBottom)
        self._right = QWidget()
        right = QVBoxLayout(self._right)
        right.setContentsMargins(0, 0, 0, 0)
        right.setSpacing(0)
        right.addLayout(figure)
        right.addWidget(self._ceiling)
        self.row = QHBoxLayout(self)
        self.row.setContentsMargins(0, 0, 0, 0)
        self.row.setSpacing(12)
        self.row.addWidget(self._icon)
        self.row.addLayout(words, 1)
        self.row.addWidget(self._right, 0, Qt.AlignmentFlag.AlignVCenter)
        self._right.hide()

    def show_words(self, icon: str, colour: str, title: str, detail: str) -> None:
        """Show a verdict."""
        self._icon.set_icon(icon, colour)
        self.title.setText(title)
        self.title.setToolTip(title)
        self.detail.setText(detail)
        self.detail.setToolTip(detail)
        self.setAccessibleName(f"{title}. {detail}")

    def show_speed(self, speed: Speed) -> None:
        """Show what to expect as a range, and the ceiling; nothing where it cannot be told."""
        expected, ceiling = speed.expected_tok_s, speed.ceiling_tok_s
        self._right.setVisible(expected is not None)
        if expected is None:
            return
        low, high = expected * (1 - BAND), expected * (1 + BAND)
        self._speed.setText(f"{number_text(low)}–{number_text(high)}")
        self._ceiling.setText(f"at most {number_text(ceiling)}; the memory allows no more")

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Where there is little room the ceiling gives way to the reason."""
        self._ceiling.setVisible(event.size().width() >= CEILING_FROM_PX)
        super().resizeEvent(event)


class _FixRow(QWidget):
    """Number, what to change, what it costs, Apply."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._number = text_label(theme, "", "note", 500, role="muted")
        self._title = text_label(theme, weight=500)
        self._title.setWordWrap(True)
        self._detail = text_label(theme, "", "note", role="muted")
        self._detail.setWordWrap(True)
        self.apply = QPushButton("Apply")
        self.apply.setProperty("small", "true")
        words = QVBoxLayout()
        words.setSpacing(0)
        words.addWidget(self._title)
        words.addWidget(self._detail)
        row = QHBoxLayout(self)
        row.setContentsMargins(12, 8, 12, 8)
        row.setSpacing(12)
        row.addWidget(self._number)
        row.addLayout(words, 1)
        row.addWidget(self.apply)

    def show_fix(self, number: int, fix: Fix) -> None:
        self._number.setText(str(number))
        self._title.setText(fix.title)
        self._detail.setText(fix.detail)
        self.apply.setAccessibleName(f"Apply: {fix.title}")
        set_role(self.apply, "primary" if number == 1 else "", "kind")


class FixList(QFrame):
    """What would make it fit, least loss first.

    Signals:
        chosen: `Fix` to apply.
    """

    chosen = Signal(object)

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self.fixes: tuple[Fix, ...] = ()
        self.rows: list[_FixRow] = []
        self._lines: list[QWidget] = []
        self.setProperty("panel", "true")
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(0)

    def show_fixes(self, fixes: Sequence[Fix]) -> None:
        """Show these; hidden when there are none."""
        self.fixes = tuple(fixes)
        while len(self.rows) < len(fixes):
            if self.rows:
                self._lines.append(line())
                self._layout.addWidget(self._lines[-1])
            row = _FixRow(self._theme)
            row.apply.clicked.connect(self._on_apply)
            self.rows.append(row)
            self._layout.addWidget(row)
        for index, row in enumerate(self.rows):
            shown = index < len(fixes)
            row.setVisible(shown)
            if index:
                self._lines[index - 1].setVisible(shown)
            if shown:
                row.show_fix(index + 1, fixes[index])
        self.setVisible(bool(fixes))

    @Slot()
    def _on_apply(self) -> None:
        sender = self.sender()
        for row, fix in zip(self.rows, self.fixes, strict=False):
            if row.apply is sender:
                self.chosen.emit(fix)
                return


class PlanPanel(Panel):
    """Verdict on top, pinned; the rest scrolls.

    Signals:
        fix_chosen: `Fix` to apply.
    """

    fix_chosen = Signal(object)

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent=parent)
        self._theme = theme
        self.notes = NoteList(theme)
        self.head = VerdictHead(theme)
        self.bars = PlanBars(theme)
        self.table = PlanTable(theme)
        self.fixes = FixList(theme)
        self.fixes.chosen.connect(self.fix_chosen)
        self.fixes.hide()
        self._fix_title = text_label(theme, "What would make it fit", weight=600)
        self._fix_hint = text_label(theme, "least loss first", "note", role="muted")
        self.command = CommandView(theme)
        self._command_hint = text_label(theme, "", "note", role="muted")
        self.no_command = text_label(theme, "", "note", role="muted")
        self.no_command.setWordWrap(True)
        self._command_box = QWidget()
        self._fix_box = QWidget()
        content = QWidget()
        self._content = QVBoxLayout(content)
        self._content.setContentsMargins(16, 0, 16, 12)
        self._content.setSpacing(12)
        self._content.addWidget(self.bars)
        self._content.addWidget(self.table)
        self._add_section(self._fix_box, self._fix_title, self._fix_hint, self.fixes)
        self._content.addWidget(self.notes)
        title = text_label(theme, "Command", weight=600)
        self._add_section(
            self._command_box, title, self._command_hint, self.command, self.no_command
        )
        self._content.addStretch(1)
        self.body.setContentsMargins(0, 12, 0, 0)
        head = QHBoxLayout()
        head.setContentsMargins(16, 0, 16, 4)
        head.addWidget(self.head)
        self.body.addLayout(head)
        self.body.addWidget(ScrollColumn(content), 1)

    def _add_section(self, box: QWidget, title: QWidget, hint: QWidget, *inside: QWidget) -> None:
        layout = QVBoxLayout(box)
        layout.setContentsMargins(0, 4, 0, 0)
        layout.setSpacing(8)
        row = QHBoxLayout()
        row.addWidget(title)
        row.addStretch(1)
        row.addWidget(hint)
        layout.addLayout(row)
        for widget in inside:
            layout.addWidget(widget)
        self._content.addWidget(box)

    def show_plan(
        self,
        plan: Plan,
        devices: Sequence[PlanDevice],
        numbers: Mapping[str, int],
        speed: Speed,
        *,
        unable: str = "",
    ) -> None:
        """Show verdict, bars and numbers; `unable` names an engine that cannot load the model."""
        said = verdict(plan, unable=unable)
        icon, colour = ("check-circle", "success") if said.fits else ("x-circle", "danger")
        if unable:
            icon, colour = "warning", "warning"
        self.head.show_words(icon, colour, said.title, said.detail)
        self.head.show_speed(speed if said.fits else Speed())
        set_role(self, "true" if said.fits or unable else "danger", "panel")
        self.bars.show_plan(plan, devices, numbers)
        self.table.setVisible(bool(plan.devices))
        self.table.show_plan(plan, devices, numbers)
        self._command_hint.setText("this is what Start runs" if plan.fits else "it would fail")

    def show_fixes(self, fixes: Sequence[Fix]) -> None:
        """Show the ways out."""
        self._fix_box.setVisible(bool(fixes))
        self.fixes.show_fixes(fixes)

    def show_notes(self, notes: Sequence[Note]) -> None:
        """Show warnings and remarks, each with its number and its way out."""
        self.notes.show_notes(notes)

    def show_command(self, command: Sequence[str]) -> None:
        """Show what would be run; nothing hides the section."""
        self._command_box.setVisible(bool(command))
        self._command_hint.show()
        self.command.show()
        self.command.set_command(command)
        self.no_command.hide()

    def show_no_command(self, why: str, *, role: str = "muted") -> None:
        """Say in the command's place why there is none."""
        self.command.set_command(())
        self.command.hide()
        self._command_hint.hide()
        self.no_command.setText(why)
        set_role(self.no_command, role)
        self.no_command.show()
        self._command_box.show()
