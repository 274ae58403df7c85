"""The composition root: builds every part, wires them, and ends them in the right order.

In two steps, so that the window is there at once: first what the first paint shows, then, right
after it, everything else. The second step's imports stand in the methods that need them; who
hears whom in one matter stands in `splitrig.wiring`.
"""

from __future__ import annotations

import gc
import logging
import signal
import sys
import threading
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PySide6.QtCore import QEvent, QObject, Qt, QTimer, Signal, Slot
from PySide6.QtGui import QGuiApplication, QIcon
from PySide6.QtWidgets import QApplication

import splitrig.bridge.qt_start  # noqa: F401 - first, see there
from splitrig import __version__
from splitrig.core.settings import Appearance, Settings
from splitrig.services.mailbox import Mailbox
from splitrig.services.store.resources import resource
from splitrig.services.store.settings import log_dir
from splitrig.views.main_window import MainWindow
from splitrig.views.rig.page import RigPage
from splitrig.views.strip import Strip
from splitrig.views.theme import Theme
from splitrig.wiring.preferences import Preferences

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

    from splitrig.core.chat import Answer, ChatOptions, Message
    from splitrig.core.engine import LaunchRequest
    from splitrig.core.plan import Plan

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
        builds: Lists and gets builds of llama.cpp.
    """

    completed = Signal()

    def __init__(self, app: QApplication, *, demo: bool = False, model: Path | None = None) -> None:
        super().__init__()
        self._app = app
        self._first = (demo, model)
        self._complete = False
        self.preferences = Preferences(self)
        self.theme = Theme(
            resource("themes", "tokens.json"),
            resource("fonts"),
            resource("icons", "phosphor"),
            dark=self._dark(),
        )
        self.theme.apply(app)
        self.mailbox = Mailbox()
        self._build_window()
        self.preferences.failed.connect(self.window.show_error)
        if self.preferences.load_error is not None:
            self.window.show_error(self.preferences.load_error)

    def _dark(self) -> bool:
        """The theme that was chosen; dark where the desktop does not say what it wants."""
        chosen = self.preferences.settings.appearance.theme
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
        self._wire_engine()
        self._wire_matters()
        self._wire_rest()
        self._cards.start(demo=demo)
        self._models.open_first(model)
        self.builds.sweep()
        self.pump.start()
        self._machines.look()
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
        from splitrig.bridge.releases import ReleasesBridge
        from splitrig.bridge.remote import RemoteBridge
        from splitrig.bridge.rig import RigBridge
        from splitrig.services.chat.client import ChatClient
        from splitrig.services.engines.engines import Engines
        from splitrig.services.engines.fleet import Fleet
        from splitrig.services.engines.helpers import Kept
        from splitrig.services.engines.orphan_jobs import OrphanJobs

        settings = self.preferences.settings.engine
        self.pump = Pump(self.mailbox)
        self._engines = Engines(self.mailbox, settings)
        self._fleet = Fleet(self.mailbox, self._engines, settings, log_dir=log_dir())
        self._orphans = OrphanJobs(self.mailbox)
        self._client = ChatClient(self.mailbox)
        self.rig = RigBridge(self.pump)
        self.engine = EngineBridge(self.pump, self._fleet)
        kept = Kept(log_dir=log_dir())
        self.remote = RemoteBridge(self.pump, self.mailbox, self._fleet, self._engines, kept)
        self.ray = RayBridge(self.pump, self.mailbox, self._engines, kept)
        self.models = ModelsBridge(self.pump, self.mailbox, self._engines)
        self.chat = ChatBridge(self.pump, self._client)
        self.builds = ReleasesBridge(
            self.pump,
            self.mailbox,
            settings.llama_server,
            rig=lambda: self.rig.rig,
            engine_runs=lambda: bool(self.engine.running),
        )

    def _build_pages(self) -> None:
        from splitrig.views.chat.page import ChatPage
        from splitrig.views.launch.page import LaunchPage
        from splitrig.views.logs.page import LogsPage
        from splitrig.views.settings.page import SettingsPage
        from splitrig.views.widgets.graph_live_side import LiveSide
        from splitrig.wiring.parts import Bridges, Pages

        theme = self.theme
        self.launch_page = LaunchPage(theme, command_for=self.engine.command_for)
        self.side = LiveSide(theme)
        self.chat_page = ChatPage(theme, side=self.side)
        self.logs_page = LogsPage(theme)
        self.settings_page = SettingsPage(
            theme, self.preferences.settings, addresses=self.remote.addresses
        )
        self.window.fill_page("launch", self.launch_page)
        self.window.fill_page("chat", self.chat_page)
        self.window.fill_page("logs", self.logs_page)
        self.window.fill_page("settings", self.settings_page)
        self._pages = Pages(
            window=self.window,
            strip=self.strip,
            rig=self.rig_page,
            launch=self.launch_page,
            chat=self.chat_page,
            side=self.side,
            logs=self.logs_page,
            settings=self.settings_page,
        )
        self._bridges = Bridges(
            rig=self.rig,
            engine=self.engine,
            remote=self.remote,
            ray=self.ray,
            models=self.models,
            chat=self.chat,
            builds=self.builds,
        )

    def _wire_engine(self) -> None:
        engine, launch = self.engine, self.launch_page
        for listener in (self.strip.show_engine, launch.show_status):
            engine.status_changed.connect(listener)
        for all_listener in (
            self.strip.show_engines,
            self.rig_page.set_engines,
            self.side.show_engines,
            self.rig.show_engines,
            launch.show_engines,
            self.chat_page.show_engines,
        ):
            engine.engines_changed.connect(all_listener)
        engine.failed.connect(self.window.show_error)
        launch.engine_chosen.connect(engine.show)
        launch.start_requested.connect(self._on_start)
        launch.stop_requested.connect(engine.stop)
        launch.chat_requested.connect(lambda: self.window.show_page("chat"))
        launch.log_requested.connect(lambda: self.window.show_page("logs"))

    def _wire_matters(self) -> None:
        from splitrig.wiring.builds import wire_builds
        from splitrig.wiring.cards import Cards
        from splitrig.wiring.conversation import Conversation
        from splitrig.wiring.logs import Logs
        from splitrig.wiring.machines import Machines
        from splitrig.wiring.models import Models
        from splitrig.wiring.orphans import Orphans
        from splitrig.wiring.unseen import Unseen

        pages, bridges = self._pages, self._bridges
        self._machines = Machines(pages, bridges, self.preferences, self)
        self._conversation = Conversation(pages, bridges, self)
        self._models = Models(pages, bridges, self.preferences, self)
        self._cards = Cards(
            pages,
            bridges,
            mailbox=self.mailbox,
            engines=self._engines,
            preferences=self.preferences,
            machines=self._machines,
            conversation=self._conversation,
            parent=self,
        )
        Logs(pages, bridges, self)
        Orphans(self.window, self.pump, self._orphans, self)
        Unseen(self.window, self.engine, self)
        wire_builds(self.builds, self.settings_page.builds)

    def _wire_rest(self) -> None:
        self.preferences.kept.connect(self.settings_page.show_settings)
        self.preferences.changed.connect(self._on_settings)
        self.settings_page.changed.connect(self.preferences.use)
        self.pump.listen(
            ThreadCrash, lambda crash: self.report_crash(crash.kind, crash.error, crash.trace)
        )
        self.window.close_requested.connect(self._app.quit)
        self._app.applicationStateChanged.connect(self._on_app_state)
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
        self._cards.close()
        self.models.close()
        self.builds.close()
        self.pump.stop()

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

    @property
    def last_answer(self) -> Answer | None:
        """The newest state of the newest answer."""
        return self._conversation.last_answer

    @property
    def answers_ended(self) -> int:
        """How many answers came to an end, well or not."""
        return self._conversation.answers_ended

    def start_engine(self) -> None:
        """Press Start."""
        self.launch_page.start()

    def ask(self, messages: Sequence[Message], options: ChatOptions) -> None:
        """Send a conversation to the engine."""
        self._conversation.ask(messages, options)

    # The engine

    @Slot(object, object)
    def _on_start(self, request: LaunchRequest, plan: Plan) -> None:
        if self.rig.rig is not None:
            self.engine.start(request, plan, self.rig.rig)

    # Settings and the rest

    @Slot(object, object)
    def _on_settings(self, _before: Settings, settings: Settings) -> None:
        self.theme.set_dark(dark=self._dark())
        self._fleet.use(settings.engine)

    @Slot(Qt.ApplicationState)
    def _on_app_state(self, state: Qt.ApplicationState) -> None:
        """Back from where an engine may have been started or installed."""
        if state is Qt.ApplicationState.ApplicationActive:
            self.launch_page.look_again()

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
