"""The composition root: builds every part, wires them, and ends them in the right order.

In two steps, so that the window is there at once: first what the first paint shows, then, right
after it, everything else. The second step's imports stand in the methods that need them.
"""

from __future__ import annotations

import gc
import logging
import signal
import sys
import threading
import traceback
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from PySide6.QtCore import QEvent, QObject, Qt, QTimer, QUrl, Signal, Slot
from PySide6.QtGui import QDesktopServices, QGuiApplication, QIcon
from PySide6.QtWidgets import QApplication

import splitrig.bridge.qt_start  # noqa: F401 - first, see there
from splitrig import __version__
from splitrig.core.engine import EngineKind, EngineStatus, LaunchRequest, Phase
from splitrig.core.engine_words import log_name, model_stem
from splitrig.core.errors import EngineMissingError, SplitRigError, StoreError
from splitrig.core.metrics import RatesOfAll
from splitrig.core.ollama import attached_options
from splitrig.core.settings import Appearance, Settings
from splitrig.services.mailbox import Mailbox
from splitrig.services.store.resources import resource
from splitrig.services.store.settings import SettingsStore, log_dir
from splitrig.views.main_window import MainWindow
from splitrig.views.rig.page import RigPage
from splitrig.views.strip import Strip
from splitrig.views.theme import Theme

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

    from splitrig.core.chat import Answer, ChatOptions, Message
    from splitrig.core.devices import DeviceMap
    from splitrig.core.gpu import Rig
    from splitrig.core.hf_model import HfModel
    from splitrig.core.lending import LendStatus
    from splitrig.core.model import Model
    from splitrig.core.plan import Plan
    from splitrig.core.remote import RemoteEndpoint
    from splitrig.services.engines.engines import DevicesFound
    from splitrig.services.engines.line_feed import EngineLogLines
    from splitrig.services.engines.meter import EngineMetered
    from splitrig.services.engines.orphan_jobs import OrphansEnded, OrphansFound
    from splitrig.services.telemetry.demo import DemoSource
    from splitrig.services.telemetry.sampler import Sampler

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ThreadCrash:
    """An error that a service's thread did not expect."""

    kind: type[BaseException]
    error: BaseException
    trace: TracebackType | None


class Desktop(QObject):
    """The running program: services, bridges, pages, and who hears whom.

    Signals:
        completed: Everything is built and wired, right after the first paint.

    Attributes:
        window: The main window.
        rig: Readings of the cards.
        engine: The engine.
        remote: Cards of other machines.
        ray: The Ray cluster of vLLM.
        models: Reads model files.
        chat: Talks to the engine.
    """

    completed = Signal()

    def __init__(self, app: QApplication, *, demo: bool = False, model: Path | None = None) -> None:
        super().__init__()
        self._app = app
        self._first = (demo, model)
        self._complete = False
        self._sampler: Sampler | None = None
        self._demo: DemoSource | None = None
        self.last_answer: Answer | None = None
        self.answers_ended = 0
        self._token_seen = False
        self._told_missing = ""
        self._metered = RatesOfAll()
        self._lendable: dict[str, str] = {}  # llama.cpp's name of each card
        self._talks_to = self._answering = 0  # slots
        self._store = SettingsStore()
        self._settings, store_error = self._load_settings()
        self.theme = Theme(
            resource("themes", "tokens.json"),
            resource("fonts"),
            resource("icons", "phosphor"),
            dark=self._dark(),
        )
        self.theme.apply(app)
        self.mailbox = Mailbox()
        self._build_window()
        if store_error is not None:
            self.window.show_error(store_error)

    def _load_settings(self) -> tuple[Settings, StoreError | None]:
        try:
            return self._store.load(), None
        except StoreError as error:
            return Settings(), error

    def _dark(self) -> bool:
        """The theme that was chosen; dark where the desktop does not say what it wants."""
        chosen = self._settings.appearance.theme
        if chosen is Appearance.SYSTEM:
            return QGuiApplication.styleHints().colorScheme() is not Qt.ColorScheme.Light
        return chosen is Appearance.DARK

    def _build_window(self) -> None:
        """What the first paint shows."""
        theme = self.theme
        self.strip = Strip(theme)
        self.window = MainWindow(theme, self.strip, QIcon(str(resource("icons", "splitrig.svg"))))
        self.rig_page = RigPage(theme)
        window = self.window
        window.add_page("rig", "cpu", "Rig")
        window.add_page("launch", "rocket-launch", "Launch")
        window.add_page("chat", "chat-text", "Chat")
        window.add_page("logs", "terminal-window", "Logs")
        window.add_page("settings", "gear-six", "Settings", at_bottom=True)
        window.fill_page("rig", self.rig_page)
        window.show_page("rig")

    @Slot()
    def complete(self) -> None:
        """Build and wire everything the first paint did not need; does it once."""
        from splitrig.services.engines.environment import found_config_files, notes_for_all

        if self._complete:
            return
        self._complete = True
        demo, model = self._first
        self._build_services()
        self._build_pages()
        self._wire_rig()
        self._wire_engine()
        self._wire_remote()
        self._wire_chat()
        self._wire_builds()
        self._wire_rest()
        self._start_sampler(demo=demo)
        self._open_first_model(model)
        self.builds.sweep()
        self.pump.start()
        self._look_at_remotes()
        self._orphans.look()
        self.launch_page.show_environment(notes_for_all()[0], found_config_files())
        # What is here now stays; without this every full collection goes through it for 50 ms.
        gc.freeze()
        self.completed.emit()

    def _build_services(self) -> None:
        from splitrig.bridge.chat import ChatBridge
        from splitrig.bridge.engine import EngineBridge
        from splitrig.bridge.models import ModelsBridge
        from splitrig.bridge.pump import Pump
        from splitrig.bridge.ray import RayBridge
        from splitrig.bridge.remote import RemoteBridge
        from splitrig.bridge.rig import RigBridge
        from splitrig.core.verify import FirstReadings
        from splitrig.services.chat.client import ChatClient
        from splitrig.services.engines.engines import Engines
        from splitrig.services.engines.fleet import Fleet
        from splitrig.services.engines.orphan_jobs import OrphanJobs, OrphansEnded, OrphansFound

        self.pump = Pump(self.mailbox)
        self._first_readings = FirstReadings()
        self._engines = Engines(self.mailbox, self._settings.engine)
        self._fleet = Fleet(
            self.mailbox,
            self._engines,
            self._settings.engine,
            log_dir=log_dir(),
        )
        self._orphans = OrphanJobs(self.mailbox)
        self._client = ChatClient(self.mailbox)
        self.rig = RigBridge(self.pump)
        self.engine = EngineBridge(self.pump, self._fleet)
        self.remote = RemoteBridge(self.pump, self.mailbox, self._fleet, self._engines)
        self.ray = RayBridge(self.pump, self.mailbox, self._engines)
        self.models = ModelsBridge(self.pump, self.mailbox)
        self.chat = ChatBridge(self.pump, self._client)
        self.pump.listen(OrphansFound, self._on_orphans)
        self.pump.listen(OrphansEnded, self._on_orphans_ended)
        self.pump.listen(
            ThreadCrash, lambda crash: self.report_crash(crash.kind, crash.error, crash.trace)
        )

    def _build_pages(self) -> None:
        from splitrig.services.report_facts import report_facts
        from splitrig.views.chat.page import ChatPage
        from splitrig.views.launch.page import LaunchPage
        from splitrig.views.logs.page import LogsPage
        from splitrig.views.settings.page import SettingsPage
        from splitrig.views.widgets.graph_live_side import LiveSide

        theme = self.theme
        self.launch_page = LaunchPage(theme, command_for=self.engine.command_for)
        self.side = LiveSide(theme)
        self.chat_page = ChatPage(theme, side=self.side)
        self.logs_page = LogsPage(theme)
        self.logs_page.set_report_facts(report_facts())
        self.settings_page = SettingsPage(theme, self._settings, addresses=self.remote.addresses)
        self.window.fill_page("launch", self.launch_page)
        self.window.fill_page("chat", self.chat_page)
        self.window.fill_page("logs", self.logs_page)
        self.window.fill_page("settings", self.settings_page)

    def _wire_rig(self) -> None:
        rig = self.rig
        rig.sampled.connect(self.strip.show_rig)
        rig.sampled.connect(self.rig_page.show_rig)
        rig.sampled.connect(self.side.show_rig)
        rig.sampled.connect(self.launch_page.show_rig)
        rig.sampled.connect(self._on_sampled)
        rig.changed.connect(self._on_cards_changed)
        rig.history_changed.connect(self.rig_page.show_history)
        rig.history_changed.connect(self.side.show_history)
        rig.history_changed.connect(self.launch_page.show_history)
        self.rig_page.demo_requested.connect(self._on_demo)
        self.rig_page.look_again_requested.connect(self._on_look_again)

    def _wire_engine(self) -> None:
        engine, launch = self.engine, self.launch_page
        for listener in (
            self.strip.show_engine,
            launch.show_status,
            self._on_engine,
        ):
            engine.status_changed.connect(listener)
        for all_listener in (
            self.strip.show_engines,
            self.rig_page.set_engines,
            self.side.show_engines,
            self.rig.show_engines,
            launch.show_engines,
            self.chat_page.show_engines,
            self._on_engines,
        ):
            engine.engines_changed.connect(all_listener)
        engine.metered.connect(self._on_metered)
        engine.failed_unseen.connect(self._on_failed_unseen)
        launch.engine_chosen.connect(engine.show)
        self.chat_page.engine_chosen.connect(engine.show)
        engine.devices_found.connect(self._on_devices)
        engine.told.connect(self._on_told)
        engine.lines_added.connect(self._on_lines)
        engine.failed.connect(self.window.show_error)
        launch.start_requested.connect(self._on_start)
        launch.stop_requested.connect(engine.stop)
        launch.chat_requested.connect(lambda: self.window.show_page("chat"))
        launch.log_requested.connect(lambda: self.window.show_page("logs"))
        launch.demo_requested.connect(self._on_demo)
        launch.model_chosen.connect(self.models.read)
        launch.engine_wanted.connect(self._on_engine_wanted)
        self.models.model_read.connect(self._on_model)
        self.models.read_failed.connect(self._on_model_failed)
        self.models.folder_read.connect(self._on_folder)
        self.models.store_listed.connect(self.launch_page.editor.model.offer_stored)
        launch.stored_chosen.connect(lambda model: self.models.read(model.path, model.name))
        self._wire_companions()

    def _wire_companions(self) -> None:
        """Files that are loaded beside the model are read like the model itself."""
        more, models = self.launch_page.more, self.models
        more.draft_chosen.connect(models.read_draft)
        more.projector_chosen.connect(models.read_projector)
        models.draft_read.connect(more.show_draft)
        models.draft_failed.connect(more.show_draft_error)
        models.projector_read.connect(more.show_projector)
        models.projector_failed.connect(more.show_projector_error)
        models.projectors_found.connect(more.show_projectors)

    def _wire_remote(self) -> None:
        remote, launch = self.remote, self.launch_page.remote
        remote.looking.connect(launch.show_looking)
        remote.looked.connect(launch.show_server)
        launch.look_wanted.connect(remote.look)
        launch.added.connect(self._on_remote_added)
        launch.removed.connect(self._on_remote_removed)
        self.engine.engines_changed.connect(remote.show_engines)
        ray, joined = self.ray, self.launch_page.ray
        joined.look_wanted.connect(ray.look)
        joined.start_wanted.connect(ray.start_head)
        joined.stop_wanted.connect(ray.stop_head)
        ray.told.connect(joined.show_news)
        self.launch_page.editor.cards.remote.ray.show_addresses(remote.addresses())
        lend = self.settings_page.lend
        lend.lend_wanted.connect(remote.lend)
        lend.stop_wanted.connect(remote.stop_lending)
        remote.lend_changed.connect(lend.show_status)
        remote.lend_changed.connect(self._on_lent)
        remote.lend_refused.connect(lend.show_error)

    def _wire_chat(self) -> None:
        chat, page = self.chat, self.chat_page
        page.send_requested.connect(self.ask)
        page.stop_requested.connect(chat.stop)
        page.launch_requested.connect(lambda: self.window.show_page("launch"))
        chat.answer_changed.connect(page.show_text)
        chat.answer_changed.connect(self._on_answer)
        chat.figures_changed.connect(page.show_answer)
        chat.figures_changed.connect(self._on_figures)
        chat.answer_finished.connect(page.show_finished)
        chat.answer_finished.connect(self._on_answer_end)
        chat.answer_failed.connect(page.show_failed)
        chat.answer_failed.connect(self._on_answer_end)

    def _wire_builds(self) -> None:
        from splitrig.bridge.releases import ReleasesBridge
        from splitrig.builds_wiring import wire_builds

        self.builds = ReleasesBridge(
            self.pump,
            self.mailbox,
            self._settings.engine.llama_server,
            rig=lambda: self.rig.rig,
            engine_runs=lambda: bool(self.engine.running),
        )
        wire_builds(self.builds, self.settings_page.builds)
        self.builds.changed.connect(self._on_builds_changed)
        self.launch_page.builds_requested.connect(self._on_builds_wanted)

    def _wire_rest(self) -> None:
        self.settings_page.changed.connect(self._on_settings)
        self.logs_page.folder_requested.connect(self._on_log_folder)
        self.logs_page.launch_requested.connect(lambda: self.window.show_page("launch"))
        self.logs_page.save_requested.connect(self._on_save_log)
        self.window.close_requested.connect(self._app.quit)
        QGuiApplication.styleHints().colorSchemeChanged.connect(self._on_system_theme)

    # Starting and ending

    def show(self) -> None:
        """Open the window; the rest follows its first paint."""
        self.window.installEventFilter(self)
        self.window.show()
        # A window that opens minimised is not painted.
        QTimer.singleShot(2000, self, self.complete)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Wait for the first paint of the window."""
        if event.type() is QEvent.Type.Paint:
            watched.removeEventFilter(self)
            QTimer.singleShot(0, self, self.complete)
        return False

    def close(self) -> None:
        """Stop the engine and every thread; blocks until nothing of ours runs any more."""
        self.window.hide()
        if not self._complete:
            self._complete = True
            return
        self._client.close()
        self._fleet.close()
        self.remote.close()
        self.ray.close()
        self._engines.close()
        self._orphans.close()
        if self._sampler is not None:
            self._sampler.close()
        self.models.close()
        self.builds.close()
        self.pump.stop()

    def _start_sampler(self, *, demo: bool) -> None:
        """Read the cards from now on, real ones or the demo rig's."""
        from splitrig.services.telemetry.demo import DemoSource
        from splitrig.services.telemetry.sampler import Sampler, default_sources

        if self._sampler is not None:
            self._sampler.close()
        sources = default_sources(demo=demo)
        self._demo = next((s for s in sources if isinstance(s, DemoSource)), None)
        self._sampler = Sampler(self.mailbox, sources, self._settings.telemetry.interval_s)
        self._sampler.start()

    def _open_first_model(self, model: Path | None) -> None:
        """The model named, else the one used last, else the demo model."""
        from splitrig.services.models.demo import demo_model

        demo = demo_model()
        recent = [path for path in self._settings.recent_models if path.exists()]
        self.launch_page.set_demo_model(demo)
        self.launch_page.show_recent(recent)
        first = model or next(iter(recent), demo)
        if first is not None:
            self.models.read(first)
        self.models.list_store()

    # What the program's own tests and benches steer by

    @property
    def card_count(self) -> int:
        """Cards in view."""
        rig = self.rig.rig if self._complete else None
        return len(rig.gpus) if rig is not None else 0

    @property
    def ready_to_start(self) -> bool:
        """A model, cards and a plan are there."""
        return self._complete and self.launch_page.can_start

    def start_engine(self) -> None:
        """Press Start."""
        self.launch_page.start()

    @Slot(object, object)
    def ask(self, messages: Sequence[Message], options: ChatOptions) -> None:
        """Send a conversation to the engine."""
        self._token_seen = False
        self._answering = self._talks_to
        self._metered.answer(self._answering, 0.0, 0.0)
        self.rig.start_prompt()
        self.chat.send(messages, options)

    # Cards

    @Slot(object)
    def _on_sampled(self, rig: Rig) -> None:
        from splitrig.core.advice import advise
        from splitrig.core.verify import verify

        status = self.engine.status
        self._first_readings.add(rig, self.engine.running)
        if (after := self._first_readings.of(status.slot)) is not None:
            before = self._first_readings.before(status.slot) or self.engine.before(status.slot)
            notes = verify(status, before, rig, status.pids, after=after)
            self.launch_page.show_findings(notes)
        self.rig_page.show_notes(advise(rig, self.launch_page.plan, self.rig.links))

    @Slot(object)
    def _on_cards_changed(self, rig: Rig) -> None:
        """Ask the engine again which of its devices is which card."""
        from splitrig.services.models.demo import demo_model
        from splitrig.services.report_facts import report_facts

        self.logs_page.set_report_facts(report_facts(rig))
        self._engines.discover(self.launch_page.planner.engine, rig, demo_model())

    @Slot(object)
    def _on_engine_wanted(self, _kind: EngineKind) -> None:
        if self.rig.rig is not None:
            self._on_cards_changed(self.rig.rig)

    @Slot()
    def _on_demo(self) -> None:
        self._start_sampler(demo=True)

    @Slot()
    def _on_look_again(self) -> None:
        if self._sampler is not None:
            self._sampler.refresh()

    @Slot(object)
    def _on_devices(self, found: DevicesFound) -> None:
        """Cards the engine cannot use are told of, with the reason."""
        from splitrig.core.devices import backend_of

        self.launch_page.show_engine_found(found.kind, found.build, found.error, found.options)
        device_map = found.device_map
        if found.kind is EngineKind.LLAMA_CPP and device_map is not None:
            self._show_lendable(device_map)
        if found.error is None and self.window.notice.title == self._told_missing != "":
            self._told_missing = ""
            self.window.notice.hide()
        if found.kind is not self.launch_page.planner.engine:
            return
        if device_map is not None:
            backends = {m.gpu_id: backend_of(m.device.name) for m in device_map.matches}
            demo = self.rig.rig is not None and self.rig.rig.demo
            self.launch_page.show_device_notes({} if demo else device_map.unmatched_gpus)
            names = {match.gpu_id: match.device.name for match in device_map.matches}
            self.launch_page.show_device_names(names)
            self.launch_page.show_backends(backends)
        # there it stands beside the engine's name, and here beside the build's
        pages = {"launch", "settings"} if found.kind is EngineKind.LLAMA_CPP else {"launch"}
        if found.error is not None and self.window.current_page not in pages:
            self._show_engine_error(found.error)

    def _show_engine_error(self, error: SplitRigError) -> None:
        """Why an engine cannot be used; where there is none at all, with the way to one."""
        if not isinstance(error, EngineMissingError):
            self.window.show_error(error)
            return
        self._told_missing = error.message
        self.window.show_notice(
            "danger",
            error.message,
            error.hint,
            action="Get llama.cpp",
            on_action=self._on_builds_wanted,
        )

    # Other machines

    def _show_lendable(self, device_map: DeviceMap) -> None:
        """Offer what llama.cpp sees of this machine's cards to be lent."""
        from splitrig.views.settings.lend_panel import LendChoice

        matches = device_map.matches
        self._lendable = {match.gpu_id: match.device.name for match in matches}
        choices = [LendChoice(m.device.name, m.device.description) for m in matches]
        self.settings_page.lend.show_devices(choices)
        self._on_lent(self.remote.lend_status)

    def _look_at_remotes(self) -> None:
        """Offer the machines of earlier starts, and look at them."""
        from splitrig.core.errors import EngineError
        from splitrig.core.remote import RemoteEndpoint

        known = []
        for text in self._settings.remote_endpoints:
            try:
                known.append(RemoteEndpoint.parse(text))
            except EngineError as error:  # written into the file by hand
                self.window.show_error(error)
        self.launch_page.remote.show_known(known)
        self.remote.look(known)

    @Slot(object)
    def _on_remote_added(self, endpoint: RemoteEndpoint) -> None:
        self._keep(self._settings.with_remote(str(endpoint)))

    @Slot(object)
    def _on_remote_removed(self, endpoint: RemoteEndpoint) -> None:
        self.remote.forget(endpoint)
        self._keep(self._settings.without_remote(str(endpoint)))

    def _keep(self, settings: Settings) -> None:
        """Remember what was chosen outside the settings page."""
        self._settings = settings
        self.settings_page.show_settings(settings)
        self._save_settings()

    @Slot(object)
    def _on_lent(self, status: LendStatus) -> None:
        """Cards that are lent are marked where the next start is chosen."""
        names = status.request.devices if status.phase.active and status.request else ()
        self.launch_page.show_lent([i for i, name in self._lendable.items() if name in names])

    # Models and engine

    @Slot(object)
    def _on_folder(self, model: HfModel) -> None:
        self.launch_page.show_folder(model)
        self.strip.show_model(model.path, model.name)
        self._remember(model.path)

    def _remember(self, model: Path) -> None:
        self._settings = self._settings.with_recent(model)
        self._save_settings()
        self.launch_page.show_recent(self._settings.recent_models)

    @Slot(object, str)
    def _on_model(self, model: Model, name: str = "") -> None:
        from splitrig.services.models.demo import demo_model
        from splitrig.views.launch.wording import model_name

        self.launch_page.show_model(model, name)
        self.strip.show_model(model.path, name or model_name(model.path, model.quantization))
        if model.path != demo_model() and not name:
            self._remember(model.path)
        self.settings_page.show_settings(self._settings)

    @Slot(object, object)
    def _on_model_failed(self, _path: Path, error: SplitRigError) -> None:
        self.launch_page.show_model_error(error)

    @Slot(object, object)
    def _on_start(self, request: LaunchRequest, plan: Plan) -> None:
        if self.rig.rig is not None:
            self.engine.start(request, plan, self.rig.rig)

    @Slot(object)
    def _on_engine(self, _status: EngineStatus) -> None:
        self._show_chat_engine()

    @Slot(object)
    def _on_engines(self, _engines: tuple[EngineStatus, ...]) -> None:
        self._show_chat_engine()
        self._load_demo()

    def _show_chat_engine(self) -> None:
        """The chat talks to the engine shown, else to one that can answer."""
        shown = self.engine.status
        ready = [s for s in (shown, *self.engine.running) if s.phase is Phase.READY]
        talks_to = ready[0] if ready else shown
        self.chat.set_endpoint(
            talks_to.url if ready else None,
            talks_to.api_key if ready else None,
            model=talks_to.served_model,
            dialect=talks_to.dialect,
            load_options=attached_options(talks_to.request),
        )
        self._talks_to = talks_to.slot
        self.chat_page.set_engine(talks_to)
        self.side.show_engine(talks_to)
        self._show_rates_of_all()

    @Slot(object)
    def _on_failed_unseen(self, status: EngineStatus) -> None:
        failure = status.failure
        if failure is not None:
            name = f"Engine {status.slot} ({model_stem(status)})"
            self.window.show_notice("danger", f"{name}: {failure.message}", failure.hint)

    @Slot(object)
    def _on_told(self, status: EngineStatus) -> None:
        self._first_readings.follow(status)
        self.logs_page.show_status(status, log_name(status))

    @Slot(object, int)
    def _on_lines(self, news: EngineLogLines, skipped: int) -> None:
        name = log_name(self.engine.status_of(news.slot))
        self.logs_page.add_lines(news.lines, name, skipped)

    @Slot(object)
    def _on_metered(self, news: EngineMetered) -> None:
        """The curves also show what others ask of the engines."""
        self._metered.add(news.slot, news.rates)
        self._show_rates_of_all()

    def _show_rates_of_all(self) -> None:
        ready = {status.slot for status in self.engine.running if status.phase is Phase.READY}
        if not self.chat.busy:
            self._metered.end_answer()
        self._metered.keep(ready)
        total = self._metered.tok_s if ready else None
        if ready:
            self.rig.set_rates(total, self._metered.prompt_tok_s)
        self.strip.show_rate(total)
        if not self.chat.busy:  # else they show the answer's own
            self.side.show_rate(total)
            self.launch_page.show_rate(total)

    def _on_orphans(self, found: OrphansFound) -> None:
        """Engines of an earlier run: what they hold, and a way to end them."""
        from splitrig.core.orphan import orphans_sentence

        now = datetime.now().astimezone()
        self.window.show_notice(
            "warning",
            orphans_sentence(found.orphans, now),
            "SplitRig or the computer crashed while it ran; nothing uses it any more.",
            action="End it" if len(found.orphans) == 1 else "End them",
            on_action=lambda: self._orphans.end(found.orphans),
        )

    def _on_orphans_ended(self, news: OrphansEnded) -> None:
        from splitrig.core.orphan import freed_sentence

        if news.error is not None:
            self.window.show_error(news.error)
            return
        left = any(freed.left for freed in news.freed)
        words = " ".join(freed_sentence(freed) for freed in news.freed)
        self.window.show_notice("danger" if left else "success", words)

    def _load_demo(self) -> None:
        """The demo rig's made-up readings follow the engines."""
        if self._demo is None:
            return
        held: dict[str, int] = {}
        busy: set[str] = set()
        for status in self.engine.running:
            on_cards = _bytes_by_card(status)
            for gpu_id, n_bytes in on_cards.items():
                held[gpu_id] = held.get(gpu_id, 0) + n_bytes
            if status.slot == self._answering and self.chat.busy and self._token_seen:
                busy.update(on_cards)
        self._demo.set_engine_load(held, busy=busy)

    # Answers

    @Slot(object)
    def _on_answer(self, answer: Answer) -> None:
        self.last_answer = answer
        stats = answer.stats
        if stats.tokens and not self._token_seen:
            self._token_seen = True
            self.rig.start_answer()
            self._show_answer_rates(stats.tok_s, stats.prompt_tok_s)
            self._load_demo()
        self._show_answer_rates(stats.tok_s if stats.tokens else 0.0, 0.0)

    def _show_answer_rates(self, tok_s: float | None, prompt_tok_s: float | None) -> None:
        self._metered.answer(self._answering, tok_s, prompt_tok_s)
        self.rig.set_rates(self._metered.tok_s, self._metered.prompt_tok_s)

    @Slot(object)
    def _on_figures(self, answer: Answer) -> None:
        stats = answer.stats
        self.strip.show_rate(self._metered.tok_s)
        self.launch_page.show_rate(stats.tok_s if stats.tokens else 0.0)
        self.side.show_stats(stats)

    @Slot(object)
    def _on_answer_end(self, answer: Answer) -> None:
        self.last_answer = answer
        self.answers_ended += 1
        self.rig.end_answer()
        self.side.add_answer(answer.stats)
        self._show_rates_of_all()
        self._load_demo()

    # Settings and the rest

    @Slot(object)
    def _on_settings(self, settings: Settings) -> None:
        before, self._settings = self._settings, settings
        self._save_settings()
        self.theme.set_dark(dark=self._dark())
        if self._sampler is not None:
            self._sampler.interval_s = settings.telemetry.interval_s
        self._fleet.use(settings.engine)
        if settings.engine != before.engine:
            self.builds.choose(settings.engine.llama_server)
            self._on_builds_changed()

    # llama.cpp builds

    @Slot()
    def _on_builds_changed(self) -> None:
        """Engines came, went or were chosen: look for them anew, and ask the one in use."""
        self._engines.use(self._settings.engine)
        if self.rig.rig is not None:
            self._on_cards_changed(self.rig.rig)

    @Slot()
    def _on_builds_wanted(self) -> None:
        self.window.show_page("settings")
        self.settings_page.show_builds()

    def _save_settings(self) -> None:
        try:
            self._store.save(self._settings)
        except StoreError as error:
            self.window.show_error(error)

    @Slot(object, str)
    def _on_save_log(self, path: Path, text: str) -> None:
        from splitrig.services.store.text_file import save_text

        try:
            save_text(path, text)
        except StoreError as error:
            self.window.show_error(error)

    @Slot()
    def _on_log_folder(self) -> None:
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(log_dir())))

    @Slot()
    def _on_system_theme(self) -> None:
        self.theme.set_dark(dark=self._dark())

    def report_crash(
        self, kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        """An error nobody expected: say so with a report to copy, and go on."""
        text = "".join(traceback.format_exception(kind, error, trace))
        log.error("unexpected error\n%s", text)
        self.window.show_notice(
            "danger",
            f"SplitRig made a mistake: {kind.__name__}.",
            "It goes on as well as it can; the report helps to mend it.",
            action="Copy report",
            on_action=lambda: QGuiApplication.clipboard().setText(
                f"SplitRig {__version__}\n{text}"
            ),
        )


def _bytes_by_card(status: EngineStatus) -> dict[str, int]:
    """What the engine holds on each card, bytes; empty when it is not loaded."""
    if status.plan is None or not status.phase.active:
        return {}
    held = {}
    for name, device in zip(status.device_names, status.plan.devices, strict=False):
        actual = status.actual.get(name)
        if actual is not None:
            parts = (actual.model_bytes, actual.kv_bytes, actual.compute_bytes)
            if actual.model_bytes is None and status.phase is Phase.READY:
                # told of all cards together only, as in a tensor split
                parts = (device.model_bytes, device.kv_bytes, device.compute_bytes)
            held[device.id] = sum(part or 0 for part in parts)
    return held


def make_application() -> QApplication:
    """The Qt application with the program's name and manners."""
    app = QApplication(sys.argv[:1])
    app.setApplicationName("splitrig")
    app.setApplicationDisplayName("SplitRig")
    app.setApplicationVersion(__version__)
    app.setDesktopFileName("splitrig")
    app.setQuitOnLastWindowClosed(False)
    return app


def run_window(*, demo: bool = False, model: Path | None = None) -> int:
    """Open the window and run until it closes or the process is asked to end."""
    logging.basicConfig(level=logging.WARNING)
    app = make_application()
    desktop = Desktop(app, demo=demo, model=model)
    sys.excepthook = desktop.report_crash

    def in_thread(arguments: threading.ExceptHookArgs) -> None:
        error = arguments.exc_value or RuntimeError("unknown")
        desktop.mailbox.post(ThreadCrash(arguments.exc_type, error, arguments.exc_traceback))

    threading.excepthook = in_thread
    desktop.show()
    # Until here a signal ends the process at once: nothing runs yet. From here on the pump's timer
    # lets Python run often enough for it to be noticed, and the timer of 0 waits for the loop.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: QTimer.singleShot(0, app.quit))
    code = app.exec()
    desktop.close()
    return code
