"""The section 'llama.cpp builds': what is here, and official builds found, fetched and tried."""

from collections.abc import Callable, Sequence

from PySide6.QtCore import Signal, Slot
from PySide6.QtGui import QAccessible, QAccessibleAnnouncementEvent, QShowEvent
from PySide6.QtWidgets import QApplication, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from splitrig.core.engine_build import Build, Job, JobKind, Ready
from splitrig.core.engine_install import Progress
from splitrig.core.engine_offer import Offer, Offers
from splitrig.core.errors import ArchiveError, CancelledError, EngineError, SplitRigError
from splitrig.core.units import size_text
from splitrig.core.words import listed
from splitrig.views.settings.build_offers import OffersView
from splitrig.views.settings.build_rows import BuildRows
from splitrig.views.settings.build_wording import (
    IDLE,
    LOOKING,
    choice_text,
    id_text,
    ready_words,
    steps_of,
)
from splitrig.views.theme import Theme
from splitrig.views.widgets.gauge import Gauge
from splitrig.views.widgets.notice import NoticeBar
from splitrig.views.widgets.step_list import StepList
from splitrig.views.widgets.texts import Panel, line, set_role, text_label


class BuildsSection(Panel):
    """Shows what the bridge tells, and asks it for what the user wants.

    Signals:
        list_wanted: The section came into view; answer with `show_builds`.
        use_requested: `Path` of the llama-server to use, or `None` for the usual order.
        look_requested: Ask GitHub what there is.
        install_requested: `Choice` to fetch.
        unchecked_requested: `Choice` to fetch although no checksum is known; the user was asked.
        cancel_requested: Give up what is done.
        remove_requested: `str`, id of a downloaded build.
        file_requested: The user wants to point at a llama-server of their own.
        grown: `QWidget` that came into being below and should be seen.

    Attributes:
        rows: The llama-servers of this machine.
        look: The button that asks GitHub.
        offers: What can be fetched.
        steps: How far an installation is.
        cancel: Gives up what is done.
        notice: What went wrong or right, and the way on.
    """

    list_wanted = Signal()
    use_requested = Signal(object)
    look_requested = Signal()
    install_requested = Signal(object)
    unchecked_requested = Signal(object)
    cancel_requested = Signal()
    remove_requested = Signal(str)
    file_requested = Signal()
    grown = Signal(object)

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent=parent)
        self._builds: tuple[Build, ...] = ()
        self._job: Job | None = None
        self._offer: Offer | None = None
        self._listed = self._offered = False
        self._progress: Progress | None = None
        self._ready: Ready | None = None
        self._on_action: Callable[[], None] = self.look_requested.emit
        self.rows = BuildRows(theme)
        self.look = QPushButton("Look for official builds")
        self.offers = OffersView(theme)
        self.steps = StepList(theme)
        self.cancel = QPushButton("Cancel")
        self.notice = NoticeBar(theme, stacked=True)
        self._title = text_label(theme, "Official builds", weight=500)
        self._words = text_label(theme, IDLE, "note", role="muted")
        self._words.setWordWrap(True)
        self._gauge = Gauge(theme, 2)
        self._lower = QWidget()
        self._build(theme)
        self._wire()
        self._show_face()

    def _build(self, theme: Theme) -> None:
        words = QVBoxLayout()
        words.setSpacing(2)
        words.addWidget(self._title)
        words.addWidget(self._words)
        head = QHBoxLayout()
        head.setSpacing(16)
        head.addLayout(words, 1)
        head.addWidget(self.look)
        head.addWidget(self.cancel)
        lower = QVBoxLayout(self._lower)
        lower.setContentsMargins(0, 4, 0, 0)
        lower.setSpacing(8)
        lower.addLayout(head)
        for widget in (self._gauge, self.notice, self.steps, self.offers):
            lower.addWidget(widget)
            widget.hide()
        self.body.addWidget(text_label(theme, "llama.cpp builds", weight=600))
        self.body.addWidget(self.rows)
        self.body.addWidget(line())
        self.body.addWidget(self._lower)

    def _wire(self) -> None:
        self.rows.chosen.connect(self.use_requested)
        self.rows.remove_requested.connect(self.remove_requested)
        self.look.clicked.connect(self.look_requested)
        self.cancel.clicked.connect(self.cancel_requested)
        self.offers.wanted.connect(self._on_wanted)
        self.notice.action_triggered.connect(self._on_notice)

    def showEvent(self, event: QShowEvent) -> None:
        """What is on this machine may have changed meanwhile."""
        super().showEvent(event)
        self.rows.wait()
        self.list_wanted.emit()

    # What the bridge tells

    @Slot(object)
    def show_builds(self, builds: Sequence[Build]) -> None:
        """Show the llama-servers of this machine."""
        self._builds = tuple(builds)
        self._listed = True
        self.rows.show_builds(builds)
        self.offers.show_here({build.id for build in builds if build.id is not None})
        self._show_face()
        if self._ready is not None:
            self._show_ready(self._ready)

    @Slot(object)
    def show_job(self, job: Job | None) -> None:
        """Show what is done in the background, `None` for nothing."""
        here = self._has_focus
        self._job = job
        self.rows.show_job(job)
        if job is not None and job.kind is not JobKind.REMOVE:
            self._progress = self._ready = None
            self.notice.hide()
            self.steps.show_steps(steps_of(None, None))
        self._show_face()
        if here:
            (self.look if self.cancel.isHidden() else self.cancel).setFocus()

    @Slot(object)
    def show_offers(self, offers: Offers) -> None:
        """Show what a look found."""
        here = self._has_focus
        self._offered = True
        self.offers.show_offers(offers)
        self._show_face()
        self.grown.emit(self._lower)
        best = offers.best.choice
        self._announce(f"{choice_text(best)} is offered. {best.reason}")
        if here:
            self.offers.rows[0].download.setFocus()

    @Slot(object, object)
    def show_progress(self, progress: Progress, bytes_s: float | None) -> None:
        """Show how far an installation is."""
        if self._progress is None or progress.step is not self._progress.step:
            self._announce(f"{id_text(progress.id)}: {progress.step.value}")
        self._progress = progress
        self.steps.show_steps(steps_of(progress, bytes_s))

    @Slot(object)
    def show_ready(self, ready: Ready) -> None:
        """Say that a build is there."""
        self._offered = self._offered and ready.blind
        self._ready = ready
        self._show_ready(ready)
        self._show_face()
        self.grown.emit(self._lower)
        self._announce(f"{self.notice.title} {self.notice.detail}")

    @Slot(object, object)
    def show_failure(self, job: Job, error: SplitRigError) -> None:
        """Say why something was not done, with the way on."""
        here = self._has_focus
        row = self.rows.row(job.id) if job.kind is JobKind.REMOVE else None
        if row is not None:
            row.show_refusal(error)
        elif isinstance(error, CancelledError):
            self._show_cancelled(job)
        else:
            self._show_error(job, error)
        self._show_face()
        if row is None:
            self.grown.emit(self._lower)
        self._announce(str(error))
        if here:
            self.notice.focus_action()

    # What is shown of it

    def _show_face(self) -> None:
        """The lower half, by what is done."""
        kind = self._job.kind if self._job is not None else None
        looks, installs = kind is JobKind.LOOK, kind is JobKind.INSTALL
        at_work = looks or installs
        title = "Official builds"
        if installs and self._job is not None:
            title = f"Installing {id_text(self._job.id)}"
        self._title.setText(title)
        self._words.setText(LOOKING if looks else IDLE)
        self._words.setVisible(looks or not (installs or self._offered))
        self.look.setVisible(not at_work)
        self.look.setEnabled(kind is None)
        self.look.setText("Look again" if self._offered else "Look for official builds")
        # one primary button a page: where there is an offer it is Download
        primary = self._listed and not self._builds and not self._offered
        set_role(self.look, "primary" if primary else "", "kind")
        self.cancel.setVisible(at_work)
        self._gauge.setVisible(looks)
        if looks:
            self._gauge.set_busy()
        self.steps.setVisible(installs)
        self.offers.setVisible(self._offered and not at_work)
        self.offers.setEnabled(kind is None)

    def _show_ready(self, ready: Ready) -> None:
        build = next((build for build in self._builds if build.id == ready.id), None)
        used = build.used if build is not None else None
        severity, title, detail = ready_words(ready, used=used)
        if (title, detail) == (self.notice.title, self.notice.detail):
            return  # the user may have put it away
        if ready.blind and self._has_kinds:
            action, self._on_action = "Other kinds", self._show_kinds
        else:
            action = "Use it" if used is False else ""
            self._on_action = lambda: self.use_requested.emit(ready.path)
        self.notice.show_notice(severity, title, detail, action=action)

    def _show_cancelled(self, job: Job) -> None:
        if job.kind is not JobKind.INSTALL or self._offer is None:
            return
        progress = self._progress
        kept = ""
        if progress is not None and progress.done_bytes:
            kept = f"{size_text(progress.done_bytes)} are kept for a day."
        self._on_action = self._again
        self.notice.show_notice(
            "info", f"{id_text(job.id)} was cancelled.", kept, action="Go on" if kept else "Again"
        )

    def _show_error(self, job: Job, error: SplitRigError) -> None:
        action = "Try again"
        self._on_action = self.look_requested.emit
        if job.kind is JobKind.INSTALL:
            self._on_action = self._again
            if isinstance(error, EngineError | ArchiveError) and self._has_kinds:
                # the same one would do no better
                action, self._on_action = "Other kinds", self._show_kinds
        elif isinstance(error, EngineError):  # it was asked, and has nothing for this machine
            action, self._on_action = "Choose a file", self.file_requested.emit
        self.notice.show_notice(
            "danger", error.message, error.hint, action=action, details=error.details
        )

    @property
    def _has_kinds(self) -> bool:
        return self._offered and not self.offers.kinds.isHidden()

    # What the user does

    @Slot(object)
    def _on_wanted(self, offer: Offer) -> None:
        self._offer = offer
        if not offer.unchecked:
            self._again()
            return
        self._on_action = self._again
        self.notice.show_notice(
            "warning",
            f"GitHub names no checksum for {listed(offer.unchecked)}.",
            "Nobody can tell whether it is damaged or replaced on the way. "
            "Other builds may have one.",
            action="Download it unchecked",
        )
        self._announce(f"{self.notice.title} {self.notice.detail}")

    @Slot()
    def _on_notice(self) -> None:
        self.notice.hide()
        self._on_action()

    def _again(self) -> None:
        """Fetch what was wanted last."""
        if self._offer is not None:
            signal = self.unchecked_requested if self._offer.unchecked else self.install_requested
            signal.emit(self._offer.choice)

    def _show_kinds(self) -> None:
        self.offers.kinds.set_open(open_=True)
        self.offers.kinds.head.setFocus()

    # Keyboard and screen readers

    @property
    def _has_focus(self) -> bool:
        """The keyboard is in the lower half, whose widgets come and go."""
        focus = QApplication.focusWidget()
        return focus is not None and self._lower.isAncestorOf(focus)

    def _announce(self, words: str) -> None:
        QAccessible.updateAccessibility(QAccessibleAnnouncementEvent(self, words))
