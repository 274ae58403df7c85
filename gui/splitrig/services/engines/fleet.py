"""Several engines at once, each with a supervisor, a port and a log of its own."""

import threading
from pathlib import Path
from urllib.parse import urlsplit

from splitrig.core.engine import EngineStatus, LaunchRequest
from splitrig.core.errors import EngineError
from splitrig.core.gpu import Rig
from splitrig.core.plan import Plan
from splitrig.core.restart import policy_of
from splitrig.core.settings import EngineSettings
from splitrig.services.engines.engines import Engines
from splitrig.services.engines.supervisor import Supervisor
from splitrig.services.mailbox import Mailbox

MOST_ENGINES = 8
"""More than a rig of eight cards has use for; a bound for what a stuck button could start."""


class Fleet:
    """Engines by slot, counted from 1; a slot is free again when its engine has ended.

    Every `EngineStatus` and `EngineLogLines` posted carries its slot.
    """

    def __init__(
        self,
        mailbox: Mailbox,
        engines: Engines,
        settings: EngineSettings,
        *,
        log_dir: Path,
        records: Path | None = None,
    ) -> None:
        """Start nothing yet.

        Args:
            mailbox: Where news goes.
            engines: Finds the engine a request names.
            settings: How long a start may take, and whether a crashed engine is started again.
            log_dir: Gets a file a run.
            records: Folder of the records of what runs; `None` for the usual one.
        """
        self._mailbox = mailbox
        self._engines = engines
        self._log_dir = log_dir
        self._settings = settings
        self._records = records
        self._lock = threading.Lock()
        self._supervisors: dict[int, Supervisor] = {}
        self._supervisor(1)  # it shows the command of the first start

    @property
    def statuses(self) -> tuple[EngineStatus, ...]:
        """Every slot that was ever used, in order."""
        with self._lock:
            return tuple(s.status for _, s in sorted(self._supervisors.items()))

    def use(self, settings: EngineSettings) -> None:
        """Wait so long for a start, and start again after a crash, as these settings say."""
        with self._lock:
            self._settings = settings
            for supervisor in self._supervisors.values():
                self._set(supervisor)

    def start(self, request: LaunchRequest, plan: Plan, rig: Rig) -> int:
        """Start one more engine in the background; its status tells the rest.

        Returns:
            Its slot.

        Raises:
            EngineError: Too many run, one of them has the port that is wanted, or is the only
                client an RPC server takes.
        """
        with self._lock:
            busy = {e for s in self._active() if s.request for e in s.request.rpc}
            for endpoint in request.rpc:
                if endpoint in busy:
                    raise EngineError(
                        f"The server at {endpoint} serves another engine already.",
                        "Stop that engine first: it serves one at a time.",
                    )
            self._check_port(request.port)
            slot = self._free_slot()
            self._supervisor(slot).start(request, plan, rig)
            return slot

    def stop(self, slot: int) -> None:
        """Stop an engine in the background; does nothing where none runs."""
        with self._lock:
            supervisor = self._supervisors.get(slot)
        if supervisor is not None:
            supervisor.stop()

    def command_for(self, request: LaunchRequest) -> tuple[str, ...]:
        """The command that `start` would run; empty until the engine said what it can do.

        Never blocks.

        Raises:
            DevicesUnknownError: The engine was not asked yet what it calls the cards.
            EngineError: There is no engine, none of its devices is one of the cards, or it cannot
                do what is asked.
        """
        with self._lock:
            try:
                slot = self._free_slot()
            except EngineError:
                return ()
            return self._supervisor(slot).command_for(request)

    def close(self) -> None:
        """Stop all engines at the same time; blocks until all are gone, for some 3 s at most."""
        with self._lock:
            supervisors = list(self._supervisors.values())
        for supervisor in supervisors:
            supervisor.stop()
        for supervisor in supervisors:
            supervisor.close()

    def _check_port(self, port: int) -> None:
        """Make sure that no engine of ours has a port, or is still on the way to take it.

        Raises:
            EngineError: One has, and the new one would fail when it is loaded.
        """
        for status in self._active() if port else ():
            wanted = status.request.port if status.request is not None else 0
            if port in (wanted, urlsplit(status.url or "").port):
                raise EngineError(
                    f"Engine {status.slot} has the port {port} already.",
                    "Choose another port, or 0 for a free one.",
                )

    def _active(self) -> list[EngineStatus]:
        return [s.status for s in self._supervisors.values() if s.status.phase.active]

    def _free_slot(self) -> int:
        for slot in range(1, MOST_ENGINES + 1):
            supervisor = self._supervisors.get(slot)
            if supervisor is None or not supervisor.status.phase.active:
                return slot
        raise EngineError(f"{MOST_ENGINES} engines run already.", "Stop one of them first.")

    def _supervisor(self, slot: int) -> Supervisor:
        if slot not in self._supervisors:
            self._supervisors[slot] = Supervisor(
                self._mailbox,
                self._engines,
                log_dir=self._log_dir,
                slot=slot,
                records=self._records,
            )
            self._set(self._supervisors[slot])
        return self._supervisors[slot]

    def _set(self, supervisor: Supervisor) -> None:
        supervisor.start_timeout_s = self._settings.start_timeout_s
        supervisor.restart = policy_of(self._settings)
