"""The composition root: builds every part, wires them, and ends them in the right order."""

import logging
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from PySide6.QtCore import QObject, Qt, QUrl, Slot
from PySide6.QtGui import QDesktopServices, QGuiApplication, QIcon
from PySide6.QtWidgets import QApplication

from splitrig import __version__
from splitrig.bridge.chat import ChatBridge
from splitrig.bridge.engine import EngineBridge
from splitrig.bridge.models import ModelsBridge
from splitrig.bridge.pump import Pump
from splitrig.bridge.rig import RigBridge
from splitrig.core.advice import advise
from splitrig.core.chat import AnswerStats, Message
from splitrig.core.engine import EngineStatus, LaunchRequest, Phase
from splitrig.core.errors import SplitRigError, StoreError
from splitrig.core.gpu import Rig
from splitrig.core.model import Model
from splitrig.core.plan import Plan
from splitrig.core.settings import Appearance, Settings
from splitrig.services.chat.client import ChatClient
from splitrig.services.engines.supervisor import Supervisor
from splitrig.services.mailbox import Mailbox
from splitrig.services.models.demo import demo_model
from splitrig.services.store.resources import resource
from splitrig.services.store.settings import SettingsStore, log_dir
from splitrig.services.telemetry.sampler import Sampler, default_sources
from splitrig.views.chat.page import ChatPage
from splitrig.views.launch.page import LaunchPage
from splitrig.views.logs.page import LogsPage
from splitrig.views.main_window import MainWindow
from splitrig.views.rig.page import RigPage
from splitrig.views.settings.page import SettingsPage
from splitrig.views.strip import Strip
from splitrig.views.theme import Theme
from splitrig.views.widgets.graph_live_side import LiveSide

log = logging.getLogger(__name__)


class Desktop(QObject):
    """The running program: services, bridges, pages, and who hears whom.

    Attributes:
        window: The main window.
        rig: Readings of the cards.
        engine: The engine.
        models: Reads model files.
        chat: Talks to the engine.
    """

    def __init__(self, app: QApplication, *, demo: bool = False, model: Path | None = None) -> None:
        super().__init__()
        self._app = app
        self._store = SettingsStore()
        self._settings, store_error = self._load_settings()
        self._snapshot: Rig | None = None
        self._model: Model | None = None
        self.theme = Theme(resource("themes", "tokens.json"), resource("fonts"), dark=self._dark())
        self.theme.apply(app)
        self._build_services(demo=demo)
        self._build_window()
        self._wire()
        if store_error is not None:
            self.window.show_error(store_error)
        self._open_first_model(model)

    def _load_settings(self) -> tuple[Settings, StoreError | None]:
        try:
            return self._store.load(), None
        except StoreError as error:
            return Settings(), error

    def _build_services(self, *, demo: bool) -> None:
        self.mailbox = Mailbox()
        self.pump = Pump(self.mailbox)
        self._demo = demo
        self._sampler: Sampler | None = None
        self._supervisor = Supervisor(
            self.mailbox, binary=self._settings.engine.llama_server, log_dir=log_dir()
        )
        self._client = ChatClient(self.mailbox)
        self.rig = RigBridge(self.pump)
        self.engine = EngineBridge(self.pump, self._supervisor)
        self.models = ModelsBridge(self.pump, self.mailbox)
        self.chat = ChatBridge(self.pump, self._client)

    def _build_window(self) -> None:
        theme = self.theme
        self.strip = Strip(theme)
        self.window = MainWindow(theme, self.strip, QIcon(str(resource("icons", "splitrig.svg"))))
        self.rig_page = RigPage(theme)
        self.launch_page = LaunchPage(theme, command_for=self.engine.command_for)
        self.side = LiveSide(theme)
        self.chat_page = ChatPage(theme, side=self.side)
        self.logs_page = LogsPage(theme)
        self.settings_page = SettingsPage(theme, self._settings)
        window = self.window
        window.add_page("rig", "cpu", "Rig", self.rig_page)
        window.add_page("launch", "rocket-launch", "Launch", self.launch_page)
        window.add_page("chat", "chat-text", "Chat", self.chat_page)
        window.add_page("logs", "terminal-window", "Logs", self.logs_page)
        window.add_page("settings", "gear-six", "Settings", self.settings_page, at_bottom=True)
        window.show_page("rig")
