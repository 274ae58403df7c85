"""The Launch page: choose, see where every byte will lie, start, and see where it lies."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from PySide6.QtCore import QTimer, Signal, Slot
from PySide6.QtGui import QDragEnterEvent, QDropEvent, QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QStackedWidget, QVBoxLayout, QWidget

from splitrig.core.config_files import ConfigFile
from splitrig.core.engine import EngineKind, EngineStatus, LaunchRequest, Phase
from splitrig.core.engine_words import named
from splitrig.core.environment import Replaced
from splitrig.core.errors import SplitRigError
from splitrig.core.footprint import Backend
from splitrig.core.gpu import Note, Rig
from splitrig.core.hf_model import HfModel
from splitrig.core.history import History
from splitrig.core.model import Model
from splitrig.core.ollama_model import ServedModel
from splitrig.core.plan import Plan
from splitrig.core.server_options import Options
from splitrig.views.launch.editor import Editor
from splitrig.views.launch.engine_tabs import DRAFT, EngineTabs
from splitrig.views.launch.plan_control import PlanControl
from splitrig.views.launch.planner import Planner
from splitrig.views.launch.running_view import RunningView
from splitrig.views.launch.wording import (
    load_text,
    model_name,
    seconds_text,
    users_of_cards,
)
from splitrig.views.theme import Theme
from splitrig.views.widgets.notice import NoticeBar
from splitrig.views.widgets.texts import IconButton, text_label

NARROW_BELOW_PX = 1150
LEAST_PX = 880
WIDEST_PX = 1680
TICK_MS = 250
RESTARTED = "The engine crashed and was started again; it runs now."
TWICE_S = 0.4
"""A second press so soon after Start belongs to a double click: it neither starts another
engine nor hits the Stop that has come up under the pointer."""
TITLE = "Nothing is loaded until you press Start"


class LaunchPage(QWidget):
    """Everything before, during and after a start.

    Signals:
        model_chosen: `Path` of a file or folder the user picked or dropped; answer with
            `show_model`, `show_folder` or `show_model_error`.
        stored_chosen: `OllamaModel` the user picked; answered in the same way.
        served_chosen: `ServedModel` the user picked; there is nothing to read.
        start_requested: `LaunchRequest, Plan`.
        stop_requested: The user wants the engine gone.
        chat_requested: The user wants to talk to the running engine.
        log_requested: The user wants to see the engine's log.
        demo_requested: Open the demo rig.
        engine_chosen: `int`, the slot of the engine to show, or `DRAFT` for the next start.
        engine_wanted: `EngineKind` that is to load the model; answer with `show_engine_found`.
        builds_requested: No llama.cpp is here, and the user wants to get one.

    Attributes:
        more: The folded settings, with signals and slots of their own for the files chosen there.
        remote: Cards of other machines, with signals and slots of its own.
        ray: Those for vLLM, likewise.
    """

    model_chosen = Signal(object)
    stored_chosen = Signal(object)
    served_chosen = Signal(object)
    start_requested = Signal(object, object)
    stop_requested = Signal()
    chat_requested = Signal()
    log_requested = Signal()
    demo_requested = Signal()
    engine_chosen = Signal(int)
    engine_wanted = Signal(object)
    builds_requested = Signal()

    def __init__(
        self,
        theme: Theme,
        parent: QWidget | None = None,
        *,
        command_for: Callable[[LaunchRequest], Sequence[str]] | None = None,
    ) -> None:
        """Build the page.

        Args:
            theme: The look.
            parent: Qt parent.
            command_for: Gives the command Start would run; may raise `SplitRigError`.
        """
        super().__init__(parent)
        self._theme = theme
        self._command_for = command_for
        self.planner = Planner()
        self._status = EngineStatus()
        self._engines: tuple[EngineStatus, ...] = ()
        self._users: dict[str, str] = {}
        self._lent: dict[str, str] = {}
        self._lost: tuple[str, ...] = ()
        self._lacking: tuple[str, ...] = ()
        self._ready_since_s: dict[int, float] = {}
        self._pressed_s = -TWICE_S
        self.setAcceptDrops(True)
        # or the columns of a wide page would keep the window from becoming narrow
        self.setMinimumWidth(LEAST_PX)
        self._ticker = QTimer(self)
        self._ticker.setInterval(TICK_MS)
        self._ticker.timeout.connect(self._on_tick)
        self._build()
        self._wire()
        self._control.replan()

    # Parts

    def _build(self) -> None:
        theme = self._theme
        self._title = text_label(theme, TITLE, role="muted")
        self.log = IconButton(theme, "terminal-window", "Log", small=True)
        self.chat = IconButton(theme, "chat-text", "Open chat", kind="primary", small=True)
        head = QHBoxLayout()
        head.setSpacing(12)
        head.addWidget(text_label(theme, "Launch", "title", 600))
        head.addWidget(self._title)
        head.addStretch(1)
        head.addWidget(self.log)
        head.addWidget(self.chat)
        head_box = QWidget()
        head_box.setFixedHeight(32)
        head.setContentsMargins(0, 0, 0, 0)
        head_box.setLayout(head)
        self.tabs = EngineTabs(theme)
        self.notice = NoticeBar(theme)
        self.notice.hide()
        self._faces = QStackedWidget()
        self.running = RunningView(theme)
        self.editor = Editor(theme)
        self.more = self.editor.knobs.more
        self._control = PlanControl(self.planner, self.editor, self._command_for, self)
        self.remote, self.ray = self._control.remote, self._control.ray
        self._faces.addWidget(self.editor)
        self._faces.addWidget(self.running)
        page = QWidget()
        page.setMaximumWidth(WIDEST_PX)
        column = QVBoxLayout(page)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(12)
        column.addWidget(head_box)
        column.addWidget(self.tabs)
        column.addWidget(self.notice)
        column.addWidget(self._faces, 1)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(20, 12, 20, 16)
        layout.addWidget(page)

    def _wire(self) -> None:
        self._control.planned.connect(self._show_start)
        self.editor.model.chosen.connect(self.model_chosen)
        self.editor.model.stored_chosen.connect(self.stored_chosen)
        self.editor.model.served_chosen.connect(self.show_served)
        self.editor.model.engine.chosen.connect(self._on_engine)
        self.editor.model.engine.builds_wanted.connect(self.builds_requested)
        self.notice.action_triggered.connect(self._on_fallback)
        self.editor.empty.action_triggered.connect(self.editor.model.open_dialog)
        self.editor.empty.second_triggered.connect(self._on_demo_model)
        self.editor.no_card.action_triggered.connect(self.demo_requested)
        self.editor.start.clicked.connect(self.start)
        self.editor.anyway.clicked.connect(self.start)
        self.editor.stop.clicked.connect(self._on_stop)
        self.running.stop_requested.connect(self.stop_requested)
        self.chat.clicked.connect(self.chat_requested)
        self.log.clicked.connect(self.log_requested)
        self.tabs.chosen.connect(self.engine_chosen)
        self.set_demo_model(None)
        self._show_phase()

    # Slots of the outside

    @Slot(object)
    def show_rig(self, rig: Rig) -> None:
        """Take a reading of the cards."""
        if self._status.phase.active and rig.gpus:
            # What is free now is what the engine left; the plan was made before.
            self.planner.rig = replace(rig, samples=self.planner.rig.samples)
            return
        self._control.use_rig(rig)

    @Slot(object, str)
    def show_model(self, model: Model, name: str = "") -> None:
        """Show the file that was read; `name` is what Ollama calls it."""
        self.planner.use_model(model, name)
        self.notice.hide()
        if name:
            self.editor.model.show_stored(model, name)
        else:
            self.editor.model.show_model(model)
        self.editor.knobs.show_model(model)
        self._control.use_knobs()
        self._control.replan()

    @Slot(object)
    def show_folder(self, model: HfModel) -> None:
        """Show the Hugging Face folder that was read; only vLLM loads one."""
        self.planner.use_folder(model)
        self.notice.hide()
        self.editor.model.show_folder(model)
        self.editor.knobs.show_folder(model)
        self._control.use_knobs()
        self._control.replan()

    @Slot(object)
    def show_served(self, model: ServedModel) -> None:
        """Show a model of a running Ollama, of which only that is known which it tells."""
        self.planner.use_served(model)
        self.notice.hide()
        self.editor.model.show_served(model)
        self.editor.knobs.show_served()
        self._control.use_knobs()
        self._control.replan()
        self.served_chosen.emit(model)

    @Slot(object)
    def show_model_error(self, error: SplitRigError) -> None:
        """Say why a file cannot be used; what was chosen before stays."""
        self.notice.show_notice("danger", error.message, error.hint, details=error.details)

    @Slot(object)
    def show_recent(self, recent: Sequence[Path]) -> None:
        """Files used before, the last one first."""
        self.editor.model.show_recent(recent)

    def set_demo_model(self, demo: Path | None) -> None:
        """Offer the demo model; `None` when it is not installed."""
        self._demo_model = demo
        self.editor.model.set_demo(demo)
        if self.editor.empty.second_button is not None:
            self.editor.empty.second_button.setVisible(demo is not None)

    def show_engine_found(
        self,
        kind: EngineKind,
        build: str | None,
        error: SplitRigError | None,
        options: Options | None = None,
    ) -> None:
        """What an engine says of itself, or why it cannot be used; of another one it is dropped."""
        if kind is not self.planner.engine:
            return
        self.planner.engine_build, self.planner.engine_error = build, error
        if (options or Options()) != self.planner.options:
            self._lacking = self.planner.use_options(options or Options())
        lost = tuple(dict.fromkeys(self._lost + self._lacking))
        self.editor.model.engine.show_engine(kind, build, error, lost)
        self._show_rules()
        self._control.replan()

    def forget_engine_error(self) -> None:
        """Another program is chosen: why the one before could not be used says nothing of it."""
        if self.planner.engine_error is not None:
            self.show_engine_found(self.planner.engine, None, None)

    def _show_rules(self) -> None:
        rules = self.planner.rules
        self.editor.knobs.show_rules(rules)
        self._control.use_knobs()
        self.editor.model.show_rules(rules)
        self.editor.cards.show_rules(rules)
        self.editor.split.show_rules(rules)
        self.editor.address.show_rules(rules)

    def show_environment(
        self, replaced: Sequence[Replaced], files: Sequence[ConfigFile] = ()
    ) -> None:
        """Inherited variables that an engine does not get as they are, and files with options."""
        self._control.replaced = tuple(replaced)
        self._control.config_files = tuple(files)

    @Slot(object)
    def show_device_notes(self, reasons: Mapping[str, str]) -> None:
        """Cards the engine cannot use, by id, with the reason."""
        self.planner.set_blocked(reasons)
        self._control.replan()

    @Slot(object)
    def show_backends(self, backends: Mapping[str, Backend]) -> None:
        """Which part of the engine drives which card, by id; the plan follows its rules."""
        self.planner.set_backends(backends)
        self._control.replan()

    @Slot(object)
    def show_device_names(self, names: Mapping[str, str]) -> None:
        """What the engine calls this machine's cards, by id."""
        self.planner.set_device_names(names)

    @Slot(object)
    def show_status(self, status: EngineStatus) -> None:
        """Follow the engine."""
        before, self._status = self._status, status
        other = status.slot != before.slot
        ready = status.phase is Phase.READY
        again = ready and not other and before.phase is not Phase.READY
        if again:
            self._ready_since_s.pop(status.slot, None)  # of the run before a crash
        if ready and (other or again):
            self._ready_since_s.setdefault(status.slot, time.monotonic())
            self.running.speed.clear()
            self.running.notes.show_notes(())
        if not status.phase.active:
            self._ready_since_s.pop(status.slot, None)
            self._pressed_s = -TWICE_S  # a start that is over, or another one
        if status.phase.active and (other or not before.phase.active):
            self.notice.hide()
        if again and status.restart:
            self.notice.show_notice("warning", RESTARTED, "Its log tells more.")
        elif status.restart and not ready and (other or status.restart != before.restart):
            self.notice.show_notice("warning", status.restart)
        if status.phase is Phase.STOPPED and self.notice.title == before.restart != "":
            self.notice.hide()  # it was stopped before it was started again
        failure = status.failure
        if status.phase is Phase.FAILED and failure is not None and failure != before.failure:
            details = "\n".join(failure.log_tail)
            action = failure.fallback.label if failure.fallback is not None else ""
            alone = all(engine.slot == status.slot for engine in self._engines)
            whose = "" if alone else f"{named(status)}: "
            self.notice.show_notice(
                "danger",
                f"{whose}{failure.message}",
                failure.hint,
                action=action,
                details=details,
            )
        self._show_phase()
        self._show_others()

    @Slot(object)
    def show_engines(self, engines: tuple[EngineStatus, ...]) -> None:
        """Take the engines that run: a tab for each, and a mark on the cards they use."""
        self._engines = engines
        self._show_others()

    def show_lent(self, gpu_ids: Sequence[str]) -> None:
        """Mark the cards that this machine lends."""
        self._lent = dict.fromkeys(gpu_ids, "lent to other machines")
        self._show_others()

    def _show_others(self) -> None:
        """Tabs, and what the engines that are not shown keep from the next start."""
        shown = self._status.slot if self._status.phase.active else DRAFT
        self.tabs.show_engines(self._engines, shown)
        users = self._lent | users_of_cards(s for s in self._engines if s.slot != shown)
        if users != self._users:
            self._users = users
            self.planner.set_in_use(users)
            self._control.replan()

    @Slot(object)
    def show_rate(self, tok_s: float | None) -> None:
        """Tokens per second now; `None` while no answer is written."""
        if self._status.phase is Phase.READY:
            self.running.speed.show_rate(tok_s)

    @Slot(object)
    def show_findings(self, notes: Sequence[Note]) -> None:
        """What is not as it should be on the cards of the engine shown."""
        self.running.notes.show_notes(notes)

    @Slot(object)
    def show_history(self, history: History) -> None:
        """Draw the curve of the speed anew, if it can be seen."""
        if self.running.speed.isVisible():
            self.running.speed.curve.show_history(history)

    # What the outside may ask and press

    @property
    def plan(self) -> Plan | None:
        """Where everything goes; `None` without a model or a card."""
        return self._control.plan

    @property
    def can_start(self) -> bool:
        """A plan that fits is there and nothing runs."""
        fits = self.plan is not None and self.plan.fits and not self.planner.obstacle
        return fits and not self._status.phase.active

    @Slot()
    def start(self) -> None:
        """Press Start; does nothing where there is no plan, or while something runs."""
        request = self.planner.launch_request()
        free = not self._status.phase.active and not self.planner.obstacle
        free = free and not self._is_twice()
        if request is not None and self.plan is not None and free:
            self._pressed_s = time.monotonic()
            self.start_requested.emit(request, self.plan)

    def look_again(self) -> None:
        """Ask for an engine that could not be used: it may have been started meanwhile."""
        if self.planner.engine_error is not None:
            self.engine_wanted.emit(self.planner.engine)

    def _is_twice(self) -> bool:
        return time.monotonic() - self._pressed_s < TWICE_S

    # What the user does

    @Slot()
    def _on_stop(self) -> None:
        if not self._is_twice():
            self.stop_requested.emit()

    @Slot(object)
    def _on_engine(self, kind: EngineKind) -> None:
        if kind is self.planner.engine:
            self.look_again()
            return
        self._lost, self._lacking = self.planner.choose_engine(kind), ()
        self.editor.model.engine.show_engine(kind, lost=self._lost)
        self._show_rules()
        self._control.replan()
        self.engine_wanted.emit(kind)

    @Slot()
    def _on_fallback(self) -> None:
        """Start again as the failure proposes; where that does not fit, only show it."""
        failure = self._status.failure
        if failure is None or failure.fallback is None:
            return
        self.notice.hide()
        mode = failure.fallback.split_mode
        self._control.use_knobs(replace(self.planner.knobs, split_mode=mode))
        self._control.replan()
        if self.can_start:
            self.start()

    @Slot()
    def _on_demo_model(self) -> None:
        if self._demo_model is not None:
            self.model_chosen.emit(self._demo_model)

    # What follows

    @Slot()
    def _show_start(self) -> None:
        """The foot and what stands above it, by what is chosen and what the engine does."""
        obstacle = self.planner.obstacle
        self.editor.show_state(
            self._status.phase, self.plan, self._foot_words(), blocked=bool(obstacle)
        )

    def _foot_words(self) -> str:
        if self._status.phase.active:
            return "The settings are locked while the engine starts."
        if self.planner.served is not None and not self.planner.has_model:
            return f"Only the running Ollama knows {self.planner.served.name}; choose a model."
        if not self.planner.has_model:
            return "Choose a model first."
        if self.planner.obstacle:
            return self.planner.obstacle
        if self.plan is None:
            cards = self.planner.all_cards
            if any(not card.reason for card in cards):
                return "Switch at least one card on."
            return "None of the cards can be used." if cards else "No card was found."
        return load_text(self.plan)

    def _show_phase(self) -> None:
        """Edit, load or run."""
        phase = self._status.phase
        running = phase is Phase.READY
        model = self._running_model()
        if running:
            numbers = {card.id: card.number for card in self.planner.all_cards}
            self.running.show_status(self._status, model, numbers)
        elif phase.active:
            request = self._status.request
            quantization = model.quantization if model is not None else None
            name = ""
            if request is not None:
                name = request.model_name or model_name(request.model, quantization)
            self.editor.loading.show_status(self._status, name)
        self._faces.setCurrentWidget(self.running if running else self.editor)
        self.chat.setVisible(running)
        self.log.setVisible(phase is not Phase.STOPPED)
        if phase.active:
            self._ticker.start()
        else:
            self._ticker.stop()
        self._on_tick()
        self._show_start()

    def _running_model(self) -> Model | None:
        """The chosen model, if it is the one the engine has."""
        model, request = self.planner.model, self._status.request
        return model if model and request and model.path == request.model else None

    @Slot()
    def _on_tick(self) -> None:
        phase = self._status.phase
        since_s = self._ready_since_s.get(self._status.slot)
        if phase is Phase.READY and since_s is not None:
            seconds = int(time.monotonic() - since_s)
            self._title.setText(f"Running for {seconds_text(max(seconds, 0)).replace('.0', '')}")
        elif phase.active:
            self._title.setText("Stopping" if phase is Phase.STOPPING else "Starting")
            self.editor.loading.refresh()
        else:
            self._title.setText(TITLE)

    # Events

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Two widths of the left column."""
        narrow = event.size().width() < NARROW_BELOW_PX
        self.editor.set_narrow(narrow=narrow)
        self.running.set_narrow(narrow=narrow)
        super().resizeEvent(event)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Take one local file, unless an engine is at work."""
        if self._dropped(event) is not None and not self._status.phase.active:
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        """Read what was dropped; whether it is a model the reader says."""
        path = self._dropped(event)
        if path is not None:
            event.acceptProposedAction()
            self.model_chosen.emit(path)

    @staticmethod
    def _dropped(event: QDropEvent) -> Path | None:
        files = [Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()]
        return files[0] if len(files) == 1 else None
