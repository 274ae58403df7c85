"""Cards of other machines, and cards of this one that are lent to them."""

from PySide6.QtCore import QObject, Slot

from splitrig.core.devices import DeviceMap
from splitrig.core.errors import EngineError
from splitrig.core.lending import LendStatus
from splitrig.core.remote import RemoteEndpoint
from splitrig.views.settings.lend_panel import LendChoice
from splitrig.wiring.parts import Bridges, Pages
from splitrig.wiring.preferences import Preferences


class Machines(QObject):
    """Joins the Launch and the Settings page with what reaches other machines."""

    def __init__(
        self, pages: Pages, bridges: Bridges, preferences: Preferences, parent: QObject
    ) -> None:
        super().__init__(parent)
        self._pages, self._bridges, self._preferences = pages, bridges, preferences
        self._lendable: dict[str, str] = {}  # llama.cpp's name of each card
        self._wire_remote()
        self._wire_ray()
        self._wire_lend()

    def _wire_remote(self) -> None:
        remote, control = self._bridges.remote, self._pages.launch.remote
        remote.looking.connect(control.show_looking)
        remote.looked.connect(control.show_server)
        control.look_wanted.connect(remote.look)
        control.added.connect(self._on_added)
        control.removed.connect(self._on_removed)
        self._bridges.engine.engines_changed.connect(remote.show_engines)

    def _wire_ray(self) -> None:
        ray, control = self._bridges.ray, self._pages.launch.ray
        control.look_wanted.connect(ray.look)
        control.start_wanted.connect(ray.start_head)
        control.stop_wanted.connect(ray.stop_head)
        ray.told.connect(control.show_news)
        self._pages.launch.editor.cards.remote.ray.show_addresses(self._bridges.remote.addresses())

    def _wire_lend(self) -> None:
        remote, lend = self._bridges.remote, self._pages.settings.lend
        lend.lend_wanted.connect(remote.lend)
        lend.stop_wanted.connect(remote.stop_lending)
        remote.lend_changed.connect(lend.show_status)
        remote.lend_changed.connect(self._on_lent)
        remote.lend_refused.connect(lend.show_error)

    def look(self) -> None:
        """Offer the machines of earlier starts, and look at them."""
        known = []
        for text in self._preferences.settings.remote_endpoints:
            try:
                known.append(RemoteEndpoint.parse(text))
            except EngineError as error:  # written into the file by hand
                self._pages.window.show_error(error)
        self._pages.launch.remote.show_known(known)
        self._bridges.remote.look(known)

    def show_lendable(self, device_map: DeviceMap) -> None:
        """Offer what llama.cpp sees of this machine's cards to be lent."""
        matches = device_map.matches
        self._lendable = {match.gpu_id: match.device.name for match in matches}
        choices = [LendChoice(m.device.name, m.device.description) for m in matches]
        self._pages.settings.lend.show_devices(choices)
        self._on_lent(self._bridges.remote.lend_status)

    @Slot(object)
    def _on_added(self, endpoint: RemoteEndpoint) -> None:
        self._preferences.keep(self._preferences.settings.with_remote(str(endpoint)))

    @Slot(object)
    def _on_removed(self, endpoint: RemoteEndpoint) -> None:
        self._bridges.remote.forget(endpoint)
        self._preferences.keep(self._preferences.settings.without_remote(str(endpoint)))

    @Slot(object)
    def _on_lent(self, status: LendStatus) -> None:
        """Cards that are lent are marked where the next start is chosen."""
        names = status.request.devices if status.phase.active and status.request else ()
        lent = [gpu_id for gpu_id, name in self._lendable.items() if name in names]
        self._pages.launch.show_lent(lent)
