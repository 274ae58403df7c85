"""Cards of other machines, and lending this one's, for the window."""

from collections.abc import Sequence

from PySide6.QtCore import QObject, Signal, Slot

from splitrig.bridge.pump import Pump
from splitrig.core.engine import EngineStatus
from splitrig.core.errors import SplitRigError
from splitrig.core.lending import LendRequest, LendStatus
from splitrig.core.remote import RemoteEndpoint
from splitrig.services.engines.engines import Engines
from splitrig.services.engines.fleet import Fleet
from splitrig.services.engines.helpers import Kept
from splitrig.services.engines.lender import Lender
from splitrig.services.engines.ports import lan_addresses
from splitrig.services.engines.remote_prober import RemoteLooked, RemoteProber
from splitrig.services.mailbox import Mailbox


class RemoteBridge(QObject):
    """Looks at RPC servers while no engine uses them, and runs the server that lends.

    Signals:
        looking: `tuple[RemoteEndpoint, ...]` that will be looked at.
        looked: `RemoteServer`, what was found at one.
        lend_changed: `LendStatus`, on each change.
        lend_refused: `SplitRigError`, why lending could not even be tried.
    """

    looking = Signal(object)
    looked = Signal(object)
    lend_changed = Signal(object)
    lend_refused = Signal(object)

    def __init__(
        self,
        pump: Pump,
        mailbox: Mailbox,
        fleet: Fleet,
        engines: Engines,
        kept: Kept | None = None,
    ) -> None:
        super().__init__()
        self._fleet = fleet
        self._engines = engines
        self._prober = RemoteProber(mailbox, self._in_use, engines.llama_server)
        self._lender = Lender(mailbox, kept)
        self._used: frozenset[str] = frozenset()
        pump.listen(RemoteLooked, lambda news: self.looked.emit(news.server))
        pump.listen(LendStatus, self.lend_changed.emit)

    @property
    def lend_status(self) -> LendStatus:
        """Whether this machine lends, and to whom."""
        return self._lender.status

    def _in_use(self) -> frozenset[str]:
        """Addresses that engines of ours use; asked on the prober's thread as well."""
        active = [status for status in self._fleet.statuses if status.phase.active]
        return frozenset(e for status in active if status.request for e in status.request.rpc)

    @Slot(object)
    def look(self, endpoints: Sequence[RemoteEndpoint]) -> None:
        """Look at these; returns at once. One that an engine uses is left alone."""
        used = self._in_use()
        free = tuple(endpoint for endpoint in endpoints if str(endpoint) not in used)
        if free:
            self.looking.emit(free)
            self._prober.look(free)

    @Slot(object)
    def forget(self, endpoint: RemoteEndpoint) -> None:
        """Drop what is known of a server."""
        self._prober.forget(endpoint)

    @Slot(object)
    def show_engines(self, engines: tuple[EngineStatus, ...]) -> None:
        """Look again at the servers that an engine has left: their memory is free again."""
        now = frozenset(e for status in engines if status.request for e in status.request.rpc)
        left, self._used = self._used - now, now
        self.look([RemoteEndpoint.parse(endpoint) for endpoint in sorted(left)])

    def addresses(self) -> tuple[str, ...]:
        """Where this machine can be reached on its networks."""
        return lan_addresses()

    @Slot(object)
    def lend(self, request: LendRequest) -> None:
        """Lend this machine's cards; returns at once, `lend_changed` tells the rest."""
        active = [status for status in self._fleet.statuses if status.phase.active]
        in_use = frozenset(name for status in active for name in status.device_names)
        try:
            self._lender.start(self._engines.llama_server(), request, in_use)
        except SplitRigError as error:
            self.lend_refused.emit(error)

    @Slot()
    def stop_lending(self) -> None:
        """Stop lending; returns at once."""
        self._lender.stop()

    def close(self) -> None:
        """Stop lending and looking; blocks until both are over, for some 3 s at most."""
        self._lender.close()
        self._prober.close()
