"""What the engines write: by level, searchable, ready for a bug report."""

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from PySide6.QtCore import Qt, QTimer, Signal, Slot
from PySide6.QtGui import QGuiApplication, QKeySequence, QShortcut
from PySide6.QtWidgets import (
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QPushButton,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from splitrig.core.bug_report import ReportFacts, bug_report, log_text
from splitrig.core.engine import EngineStatus
from splitrig.core.log_intake import LogIntake
from splitrig.core.log_lines import OWN, LogLine, file_ended
from splitrig.core.log_ring import LogFilter, LogRing, Numbered
from splitrig.core.units import number_text
from splitrig.views.logs.log_view import LogView
from splitrig.views.logs.tools import LEVELS, LogTools
from splitrig.views.theme import Theme
from splitrig.views.widgets.empty_state import EmptyState
from splitrig.views.widgets.notice import NoticeBar
from splitrig.views.widgets.texts import ElidedLabel, IconButton, text_label

SLICE_LINES = 500
"""Lines taken in at once, some 5 ms of work; the rest waits until the window was served."""
COUNTS_MS = 200
COPIED_MS = 1600
JUMP_MARGIN_PX = (24, 20)
"""Of the button over the log, to the right and to the bottom: clear of the scroll bars."""
EMPTY = (
    "No log yet",
    "What an engine writes appears here from its start on, and is kept in files.",
)


class LogsPage(QWidget):
    """Shows the last lines of all engines; asks others for all that touches files.

    Signals:
        folder_requested: Open the folder with the files of the logs.
        launch_requested: Take me to where an engine is started.
        save_requested: Write a text to a file: its `Path` and the text.
    """

    folder_requested = Signal()
    launch_requested = Signal()
    save_requested = Signal(object, str)

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._facts = ReportFacts()
        self._statuses: dict[str, EngineStatus] = {}
        self._ring = LogRing()
        self._intake = LogIntake(self._ring)
        self._sources: tuple[str, ...] = ()
        self._next_slice = self._timer(0, self._take_in)
        self._counts = self._timer(COUNTS_MS, self._show_counts)
        self._copied = self._timer(COPIED_MS, self._on_copied_over)
        self._build(theme)
        self._add_keys()

    def _timer(self, interval_ms: int, slot: Callable[[], None]) -> QTimer:
        timer = QTimer(self)
        timer.setSingleShot(True)
        timer.setInterval(interval_ms)
        timer.timeout.connect(slot)
        return timer

    def _build(self, theme: Theme) -> None:
        self.summary = ElidedLabel(text_label(theme, "", role="muted"))
        self.folder = IconButton(theme, "folder-open", "Open folder", small=True)
        self.folder.clicked.connect(self.folder_requested)
        self.save = IconButton(theme, "floppy-disk", "Save…", small=True)
        self.save.setToolTip("The lines shown, as a text file (Ctrl+S)")
        self.save.clicked.connect(self._on_save)
        self.copy = IconButton(theme, "copy", "Copy for a bug report", small=True)
        self.copy.setToolTip(
            "Versions, cards, command, plan and the last lines.\n"
            "Keys and names of people are taken out; read it through before you post it."
        )
        self.copy.clicked.connect(self._on_copy)
        self.notice = NoticeBar(theme)
        self.notice.hide()
        self.tools = LogTools(theme)
        self.tools.filtered.connect(self._on_filtered)
        self.view = LogView(theme)
        self.view.changed.connect(self._on_view)
        self.tools.wrapped.connect(lambda on: self.view.set_wrapped(wrapped=on))
        search = self.tools.search
        search.searched.connect(lambda words, case: self.view.look_for(words, match_case=case))
        search.stepped.connect(self.view.step)
        search.left.connect(self.view.setFocus)
        self.jump = IconButton(theme, "arrow-line-down", "Jump to the newest", small=True)
        self.jump.setToolTip("Follow the log again (Ctrl+End)")
        self.jump.clicked.connect(self.view.jump_to_newest)
        self.jump.hide()
        self.nothing = text_label(theme, "", role="muted")
        self.nothing.hide()
        self.show_everything = QPushButton("Show every line")
        self.show_everything.setProperty("small", "true")
        self.show_everything.clicked.connect(self.tools.show_everything)
        self.show_everything.hide()
        self.empty = EmptyState(theme, "log", *EMPTY, action=("rocket-launch", "Go to Launch"))
        self.empty.action_triggered.connect(self.launch_requested)
        self._lay_out(theme)

    def _lay_out(self, theme: Theme) -> None:
        head = QHBoxLayout()
        head.setSpacing(12)
        head.addWidget(text_label(theme, "Logs", "title", 600))
        head.addWidget(self.summary, 1)
        for widget in (self.tools.engines, self.folder, self.save, self.copy):
            head.addWidget(widget)
        middle = QVBoxLayout()
        middle.setSpacing(8)
        middle.addWidget(self.nothing, 0, Qt.AlignmentFlag.AlignHCenter)
        middle.addWidget(self.show_everything, 0, Qt.AlignmentFlag.AlignHCenter)
        over = QGridLayout()
        over.setContentsMargins(0, 0, 0, 0)
        over.addWidget(self.view, 0, 0)
        over.addLayout(middle, 0, 0, Qt.AlignmentFlag.AlignCenter)
        foot = QHBoxLayout()
        foot.setContentsMargins(0, 0, *JUMP_MARGIN_PX)
        foot.addWidget(self.jump)
        end = Qt.AlignmentFlag.AlignBottom | Qt.AlignmentFlag.AlignRight
        over.addLayout(foot, 0, 0, end)
        log = QWidget()
        rows = QVBoxLayout(log)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setSpacing(12)
        rows.addWidget(self.tools)
        rows.addWidget(self.notice)
        rows.addLayout(over, 1)
        self.faces = QStackedWidget()
        self.faces.addWidget(self.empty)
        self.faces.addWidget(log)
        self._log = log
        layout = QVBoxLayout(self)
        layout.setContentsMargins(20, 12, 20, 16)
        layout.setSpacing(12)
        layout.addLayout(head)
        layout.addWidget(self.faces, 1)
        self.save.setEnabled(False)

    def _add_keys(self) -> None:
        search = self.tools.search
        for key, slot in (
            (QKeySequence.StandardKey.Find, search.begin),
            (QKeySequence.StandardKey.Save, self._on_save),
            (QKeySequence(Qt.Key.Key_F3), lambda: search.stepped.emit(1)),
            (QKeySequence("Shift+F3"), lambda: search.stepped.emit(-1)),
        ):
            shortcut = QShortcut(QKeySequence(key), self)
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.activated.connect(slot)

    @property
    def n_lines(self) -> int:
        """Lines the engines wrote, shown or not."""
        return self._ring.total

    @property
    def n_queued(self) -> int:
        """Lines that were told and are not shown yet."""
        return self._intake.n_queued

    # What is told

    @Slot(object)
    def add_lines(self, lines: Sequence[str], source: str = "", skipped: int = 0) -> None:
        """Take new lines of an engine; many of them are taken in bit by bit.

        Args:
            lines: As the engine wrote them.
            source: Name of the engine; empty where there is only one.
            skipped: Lines before these that never came, and are in the file.
        """
        self._intake.push(lines, source, skipped)
        # one slice between two turns of the event loop, however many posts come at once
        if not self._next_slice.isActive():
            self._take_in()
            self._next_slice.start()

    @Slot(object)
    def show_status(self, status: EngineStatus, source: str = "") -> None:
        """Remember what runs, for the report; a start and a failure stand in the log."""
        before = self._statuses.get(source, EngineStatus())
        self._statuses[source] = status
        if status.phase.active and not before.phase.active:
            self.show_start(source)
        elif status.failure is not None and before.failure != status.failure:
            self.add_lines([OWN + status.failure.message], source)

    def show_start(self, source: str) -> None:
        """An engine, or a server beside them, starts: its lines that follow are of a new run."""
        now = datetime.now().astimezone()
        self._intake.has_file_again(source)
        self.notice.hide()
        self.add_lines([f"{OWN}started at {now:%H:%M:%S}"], source)

    @Slot(object)
    def set_report_facts(self, facts: ReportFacts) -> None:
        """What the report says of program, machine and cards, and which names it leaves out."""
        self._facts = facts

    def report(self) -> str:
        """Everything for a bug report as text, without keys and names."""
        source = self.tools.filter.source
        statuses = {
            name: status for name, status in self._statuses.items() if source in (None, name)
        }
        lines = [line for line in self._ring if source in (None, line.source)]
        return bug_report(self._facts, statuses, lines)

    # Lines on their way

    @Slot()
    def _take_in(self) -> None:
        """Show a slice of what came, and come back for the rest."""
        if not self._intake.n_queued:
            return
        taken = self._intake.take(SLICE_LINES)
        for _, line in taken:
            if file_ended(line):
                self._on_file_ended(line)
        self._show(taken)
        if self._intake.n_queued:
            self._next_slice.start()

    def _show(self, lines: list[Numbered]) -> None:
        sources = self._ring.sources
        if sources != self._sources:
            # the column of engines comes or goes
            self._sources = sources
            self.tools.show_engines(sources)
            self._show_all()
        else:
            wanted = self.tools.filter
            shown = [pair for pair in lines if wanted.takes(pair[1])]
            self.view.add(shown, self._ring.first)
        if self.faces.currentWidget() is not self._log:
            self.faces.setCurrentWidget(self._log)
            self.save.setEnabled(True)
            self._show_counts()
        elif not self._counts.isActive():
            self._counts.start()

    def _show_all(self) -> None:
        width = max(map(len, self._sources)) if len(self._sources) > 1 else 0
        self.view.show_all(self._ring.chosen(self.tools.filter), source_chars=width)

    def _on_file_ended(self, line: LogLine) -> None:
        """Say it where it is not scrolled away."""
        of = f" of {line.source}" if line.source else ""
        reason = line.text.partition(" (")[0]  # the file's name stands in the line
        self.notice.show_notice(
            "warning",
            reason.replace("file ends", f"file{of} ends") + ".",
            "New lines are shown, but not kept. Make room, then start the engine again.",
        )

    # What follows

    @Slot()
    def _show_counts(self) -> None:
        """Numbers change some times a second, however fast lines come."""
        ring = self._ring
        self.tools.show_counts(ring)
        kept, total = ring.count(LogFilter()), ring.total
        lines = "line" if total == 1 else "lines"
        self.summary.setText(
            f"{number_text(total)} {lines}"
            if kept >= total
            else f"{number_text(kept)} of {number_text(total)} lines"
        )
        self._show_place()

    @Slot()
    def _on_view(self) -> None:
        if not self._counts.isActive():
            self._counts.start()
        if self.jump.isVisible() == self.view.following:
            self._show_place()

    def _show_place(self) -> None:
        """The way to the newest line, the matches, and what to do when a filter leaves nothing."""
        view = self.view
        waiting = len(view.shown.waiting)
        more = f" · {number_text(waiting)} new" if waiting else ""
        self.jump.setText(f"Jump to the newest{more}")
        self.jump.setVisible(not view.following)
        self.tools.search.show_found(view.shown.ordinal(), view.shown.search.total)
        name = LEVELS[self.tools.levels.current][0].lower()
        of = f" of {self.tools.filter.source}" if self.tools.filter.source else ""
        self.nothing.setText(f"No {name if name != 'all' else 'lines'}{of}")
        for widget in (self.nothing, self.show_everything):
            widget.setVisible(not len(view.shown))

    @Slot()
    def _on_filtered(self) -> None:
        self._show_all()
        self._show_counts()

    @Slot()
    def _on_copy(self) -> None:
        QGuiApplication.clipboard().setText(self.report())
        self.copy.setText("Copied")
        self._copied.start()

    @Slot()
    def _on_copied_over(self) -> None:
        self.copy.setText("Copy for a bug report")

    @Slot()
    def _on_save(self) -> None:
        if not self._ring:
            return
        name, _ = QFileDialog.getSaveFileName(
            self, "Save the lines shown", "splitrig-log.txt", "Text (*.txt *.log);;All files (*)"
        )
        if name:
            lines = (line for _, line in self._ring.chosen(self.tools.filter))
            self.save_requested.emit(Path(name), log_text(lines) + "\n")
