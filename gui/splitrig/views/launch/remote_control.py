"""Joins the list of other machines' cards with what is known of them."""

from collections.abc import Iterable, Sequence

from PySide6.QtCore import QObject, Signal, Slot

from splitrig.core.remote import RemoteEndpoint, RemoteServer
from splitrig.views.launch.planner import Planner
from splitrig.views.launch.remote_part import RemotePart


class RemoteControl(QObject):
    """What the user does with other machines, and what comes back.

    Signals:
        added: `RemoteEndpoint` the user named; it is to be remembered.
        removed: `RemoteEndpoint` to be forgotten.
        look_wanted: `tuple[RemoteEndpoint, ...]` to look at; answer with `show_server`.
        changed: The plan may be another one.
    """

    added = Signal(object)
    removed = Signal(object)
    look_wanted = Signal(object)
    changed = Signal()

    def __init__(self, planner: Planner, part: RemotePart, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._planner = planner
        self._part = part
        part.switched.connect(self._on_switched)
        part.added.connect(self._on_added)
        part.removed.connect(self._on_removed)
        part.look_wanted.connect(self._on_look)

    def show_known(self, endpoints: Iterable[RemoteEndpoint]) -> None:
        """Offer the machines of earlier starts."""
        self._planner.remote.know(endpoints)
        self._tell()

    @Slot(object)
    def show_looking(self, endpoints: Sequence[RemoteEndpoint]) -> None:
        """These are being looked at."""
        self._planner.remote.show_looking(endpoints)
        self._tell()

    @Slot(object)
    def show_server(self, server: RemoteServer) -> None:
        """Take over what was found."""
        self._planner.remote.show_server(server)
        self._tell()

    def refresh(self) -> None:
        """Draw the list anew."""
        planner = self._planner
        self._part.show_entries(
            planner.remote_entries,
            closed=planner.rules.no_remote,
            warnings=planner.remote.warnings(),
        )

    def _tell(self) -> None:
        self._planner.settle()
        self.changed.emit()

    @Slot(str, bool)
    def _on_switched(self, card_id: str, on: bool) -> None:  # noqa: FBT001 - the signal's own
        self._planner.switch(card_id, on=on)
        self.changed.emit()

    @Slot(object)
    def _on_added(self, endpoint: RemoteEndpoint) -> None:
        self._planner.remote.know([endpoint])
        self._tell()
        self.added.emit(endpoint)
        self.look_wanted.emit((endpoint,))

    @Slot(object)
    def _on_removed(self, endpoint: RemoteEndpoint) -> None:
        self._planner.remote.forget(endpoint)
        self._tell()
        self.removed.emit(endpoint)

    @Slot()
    def _on_look(self) -> None:
        self.look_wanted.emit(self._planner.remote.endpoints)
