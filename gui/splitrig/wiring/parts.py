"""What the modules of this package join."""

from dataclasses import dataclass

from splitrig.bridge.chat import ChatBridge
from splitrig.bridge.engine import EngineBridge
from splitrig.bridge.models import ModelsBridge
from splitrig.bridge.ray import RayBridge
from splitrig.bridge.releases import ReleasesBridge
from splitrig.bridge.remote import RemoteBridge
from splitrig.bridge.rig import RigBridge
from splitrig.views.chat.page import ChatPage
from splitrig.views.launch.page import LaunchPage
from splitrig.views.logs.page import LogsPage
from splitrig.views.main_window import MainWindow
from splitrig.views.rig.page import RigPage
from splitrig.views.settings.page import SettingsPage
from splitrig.views.strip import Strip
from splitrig.views.widgets.graph_live_side import LiveSide


@dataclass(frozen=True, slots=True, kw_only=True)
class Pages:
    """What the user sees."""

    window: MainWindow
    strip: Strip
    rig: RigPage
    launch: LaunchPage
    chat: ChatPage
    side: LiveSide
    logs: LogsPage
    settings: SettingsPage


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridges:
    """What does the work, and tells of it."""

    rig: RigBridge
    engine: EngineBridge
    remote: RemoteBridge
    ray: RayBridge
    models: ModelsBridge
    chat: ChatBridge
    builds: ReleasesBridge
