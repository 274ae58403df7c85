"""The llama-servers of this machine, one a row: which one is used, and which can go."""

from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import QPoint, Qt, QTimer, Signal, Slot
from PySide6.QtGui import QKeyEvent, QMouseEvent
from PySide6.QtWidgets import (
    QApplication,
    QButtonGroup,
    QHBoxLayout,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from splitrig.core.engine_build import Build, Job, JobKind
from splitrig.core.errors import SplitRigError
from splitrig.core.units import size_text
from splitrig.views.settings.build_wording import (
    AUTOMATIC,
    AUTOMATIC_NOTE,
    note_text,
    title_text,
)
from splitrig.views.theme import Theme
from splitrig.views.widgets.badge import Badge
from splitrig.views.widgets.gauge import Gauge
from splitrig.views.widgets.radio import Radio
from splitrig.views.widgets.texts import ElidedLabel, IconButton, IconLabel, line, text_label

PATIENCE_MS = 300
"""What takes less long is not said to be going on."""
WAITING = "Looking for llama-servers on this machine"
CHOSEN = "It is the one chosen. Choose another one, or Automatic, then remove it."
WAIT = "Wait until the other build is fetched or removed."
EMPTY = "There is no llama-server on this machine yet."


class ChoiceRow(QWidget):
    """A radio button, a name with a badge, and a line of facts; all of it is the target.

    Attributes:
        radio: Chosen or not.
        row: Layout for what stands on the right.
        column: Layout for what stands below.
    """

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.radio = Radio(theme)
        self.title = ElidedLabel(text_label(theme, "", "body", 500))
        self.badge = Badge(theme)
        self.badge.hide()
        self.note = ElidedLabel(text_label(theme, "", "note", role="muted"))
        first = QHBoxLayout()
        first.setSpacing(8)
        first.addWidget(self.title)
        first.addWidget(self.badge)
        first.addStretch(1)
        words = QVBoxLayout()
        words.setSpacing(1)
        words.addLayout(first)
        words.addWidget(self.note)
        self.row = QHBoxLayout()
        self.row.setSpacing(8)
        self.row.addWidget(self.radio)
        self.row.addLayout(words, 1)
        self.column = QVBoxLayout(self)
        self.column.setContentsMargins(0, 6, 0, 6)
        self.column.setSpacing(6)
        self.column.addLayout(self.row)

    def show_words(self, title: str, note: str) -> None:
        """Name and facts."""
        self.title.setText(title)
        self.note.setText(note)
        self.note.setToolTip(note)
        self.radio.setAccessibleName(f"Use {title}")
        self.radio.setAccessibleDescription(note)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """Name and facts are part of the radio button."""
        place = event.position().toPoint()
        if event.button() is Qt.MouseButton.LeftButton and self._is_words(place):
            self.radio.setFocus(Qt.FocusReason.MouseFocusReason)
            self.radio.click()
        super().mouseReleaseEvent(event)

    def _is_words(self, place: QPoint) -> bool:
        return self.title.y() <= place.y() <= self.note.geometry().bottom()


class BuildRow(ChoiceRow):
    """One llama-server; a downloaded one can be removed, after a question in the row itself.

    Signals:
        remove_requested: `str`, its id.

    Attributes:
        remove: Asks whether it is to go.
        sure: Removes it.
        keep: Takes the question back.
    """

    remove_requested = Signal(str)

    def __init__(self, theme: Theme, build: Build, parent: QWidget | None = None) -> None:
        super().__init__(theme, parent)
        self.build = build
        self._refusal = ""
        self._job: Job | None = None
        self._size = text_label(theme, "", "note", role="muted")
        self.remove = IconButton(theme, "trash", "Remove", kind="quiet", small=True)
        self.remove.clicked.connect(self._on_ask)
        self.row.addWidget(self._size)
        self.row.addWidget(self.remove)
        self._question = QWidget()
        self._ask = text_label(theme, "", "note")
        self._ask.setWordWrap(True)
        self.sure = QPushButton("Remove it")
        self.keep = QPushButton("Keep it")
        self._going = Gauge(theme, 4)
        self._trouble = QWidget()
        self._trouble_words = text_label(theme, "", "note", role="warning")
        self._trouble_words.setWordWrap(True)
        self._build_below(theme)
        self.show_build(build)

    def _build_below(self, theme: Theme) -> None:
        inset = self.radio.sizeHint().width() + self.row.spacing()
        ask = QHBoxLayout(self._question)
        ask.setContentsMargins(inset, 0, 0, 0)
        ask.setSpacing(8)
        ask.addWidget(self._ask, 1)
        for button in (self.sure, self.keep):
            button.setProperty("small", "true")
            ask.addWidget(button)
        self.sure.clicked.connect(self._on_sure)
        self.keep.clicked.connect(self._on_keep)
        trouble = QHBoxLayout(self._trouble)
        trouble.setContentsMargins(inset, 0, 0, 0)
        trouble.setSpacing(6)
        trouble.addWidget(IconLabel(theme, "warning", 14, "warning"), 0, Qt.AlignmentFlag.AlignTop)
        trouble.addWidget(self._trouble_words, 1)
        going = QHBoxLayout()
        going.setContentsMargins(inset, 0, 0, 0)
        going.addWidget(self._going)
        self.column.addWidget(self._question)
        self.column.addWidget(self._trouble)
        self.column.addLayout(going)
        for widget in (self._question, self._trouble, self._going):
            widget.hide()

    def show_build(self, build: Build) -> None:
        """Show what is known of it now."""
        if not build.chosen and self._refusal == CHOSEN:
            self._refusal = ""
        self.build = build
        self._show_note()
        self.radio.setEnabled(not build.damaged)
        self.radio.setChecked(build.chosen)
        if build.damaged:
            self.badge.set_badge("damaged", "warning", "warning")
        elif build.error is not None:
            self.badge.set_badge("does not start", "warning", "warning")
        else:
            self.badge.set_badge("used", "accent")
        self.badge.setVisible(build.damaged or build.error is not None or build.used)
        self._size.setText(size_text(build.size_bytes) if build.size_bytes is not None else "")
        self.remove.setVisible(build.id is not None and self._question.isHidden())
        self.remove.setAccessibleName(f"Remove {self.title.text()}")
        self._show_trouble()

    def show_job(self, job: Job | None) -> None:
        """What is done in the background; while anything is, nothing can be removed."""
        self._job = job
        for button in (self.remove, self.sure):
            button.setEnabled(job is None)
            button.setToolTip("" if job is None or self._goes else WAIT)
        self._going.setVisible(self._goes)
        if self._goes:
            self._going.set_busy()
        self._show_note()

    def show_refusal(self, error: SplitRigError) -> None:
        """Say why it was not removed."""
        self._refusal = str(error)
        self._show_trouble()

    @property
    def _goes(self) -> bool:
        """It is being removed."""
        job = self._job
        return job is not None and job.kind is JobKind.REMOVE and job.id == self.build.id

    def _show_note(self) -> None:
        note = "Being removed" if self._goes else note_text(self.build)
        self.show_words(title_text(self.build), note)

    def _show_trouble(self) -> None:
        error = self.build.error
        words = self._refusal or (error.message if error is not None else "")
        self._trouble_words.setText(words)
        self._trouble.setVisible(bool(words))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Escape takes the question back."""
        if event.key() == Qt.Key.Key_Escape and self._question.isVisible():
            self._on_keep()
            return
        super().keyPressEvent(event)

    @Slot()
    def _on_ask(self) -> None:
        if self.build.chosen:
            self._refusal = CHOSEN
            self._show_trouble()
            return
        size = self.build.size_bytes
        freed = f" {size_text(size)} become free." if size is not None else ""
        self._ask.setText(f"Remove {self.title.text()} from this machine?{freed}")
        self.sure.setAccessibleDescription(self._ask.text())
        self.keep.setAccessibleDescription(self._ask.text())
        self._refusal = ""
        self._show_trouble()
        self._question.show()
        self.remove.hide()
        self.keep.setFocus()

    @Slot()
    def _on_keep(self) -> None:
        self._question.hide()
        self.remove.show()
        self.remove.setFocus()

    @Slot()
    def _on_sure(self) -> None:
        self._question.hide()
        self.remove.show()
        self.radio.setFocus()  # the buttons close now
        if self.build.id is not None:
            self.remove_requested.emit(self.build.id)


class BuildRows(QWidget):
    """'Automatic' and every llama-server; one of them is chosen.

    Signals:
        chosen: `Path` of the one the user chose, or `None` for 'Automatic'.
        remove_requested: `str`, id of the one to remove.

    Attributes:
        automatic: The row that chooses none.
    """

    chosen = Signal(object)
    remove_requested = Signal(str)

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._rows: dict[tuple[Path, str | None], BuildRow] = {}
        self._job: Job | None = None
        self._group = QButtonGroup(self)
        self._group.buttonClicked.connect(self._on_clicked)
        self.automatic = ChoiceRow(theme)
        self.automatic.show_words(AUTOMATIC, AUTOMATIC_NOTE)
        self._group.addButton(self.automatic.radio)
        self._waiting = text_label(theme, WAITING, role="muted")
        self._gauge = Gauge(theme, 2)
        self._gauge.set_busy()
        self.empty = text_label(theme, EMPTY, role="muted")
        self._column = QVBoxLayout()
        self._column.setSpacing(0)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        for widget in (self._waiting, self._gauge, self.empty, self.automatic):
            layout.addWidget(widget)
            widget.hide()
        layout.addLayout(self._column)
        self._listed = False

    @property
    def rows(self) -> tuple[BuildRow, ...]:
        """The rows in their order."""
        return tuple(self._rows.values())

    def row(self, engine_id: str) -> BuildRow | None:
        """The row of a downloaded build."""
        return next((row for row in self.rows if row.build.id == engine_id), None)

    def wait(self) -> None:
        """Say that a list is on its way, unless it comes at once."""
        if not self._listed:
            QTimer.singleShot(PATIENCE_MS, self, self._on_patience)

    def show_builds(self, builds: Sequence[Build]) -> None:
        """Show these; rows that stay keep the focus and the question they ask."""
        self._listed = True
        self._waiting.hide()
        self._gauge.hide()
        keys = [(build.path, build.id) for build in builds]
        if keys != list(self._rows):
            self._arrange(builds)
        for row, build in zip(self.rows, builds, strict=True):
            row.show_build(build)
        self.empty.setVisible(not builds)
        self.automatic.setVisible(bool(builds))
        self.automatic.radio.setChecked(not any(build.chosen for build in builds))

    def show_job(self, job: Job | None) -> None:
        """What is done in the background."""
        self._job = job
        for row in self.rows:
            row.show_job(job)

    def _arrange(self, builds: Sequence[Build]) -> None:
        """Make missing rows, let go of others, and put them in order."""
        before, self._rows = self._rows, {}
        while (item := self._column.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None and not isinstance(widget, BuildRow):
                widget.deleteLater()
        for build in builds:
            key = (build.path, build.id)
            row = before.pop(key, None) or self._new_row(build)
            self._rows[key] = row
            self._column.addWidget(line())
            self._column.addWidget(row)
        for row in before.values():
            self._group.removeButton(row.radio)
            focus = QApplication.focusWidget()
            if focus is not None and row.isAncestorOf(focus):
                self.automatic.radio.setFocus()
            row.hide()
            row.deleteLater()
        last: QWidget = self.automatic.radio
        for row in self.rows:
            for widget in (row.radio, row.remove, row.sure, row.keep):
                QWidget.setTabOrder(last, widget)
                last = widget

    def _new_row(self, build: Build) -> BuildRow:
        row = BuildRow(self._theme, build)
        row.remove_requested.connect(self.remove_requested)
        row.show_job(self._job)
        self._group.addButton(row.radio)
        return row

    @Slot(object)
    def _on_clicked(self, radio: Radio) -> None:
        row = next((row for row in self.rows if row.radio is radio), None)
        self.chosen.emit(None if row is None else row.build.path)

    @Slot()
    def _on_patience(self) -> None:
        self._waiting.setVisible(not self._listed)
        self._gauge.setVisible(not self._listed)
