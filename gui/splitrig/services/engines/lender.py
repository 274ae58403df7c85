"""Lends this machine's cards to others: a `ggml-rpc-server` that ends with this program."""

import errno
import ipaddress
import logging
import re
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil

from splitrig.core.engine import Failure
from splitrig.core.errors import EngineError, SplitRigError
from splitrig.core.lending import (
    LendPhase,
    LendRequest,
    LendStatus,
    LendTroubleSeen,
    Visits,
    address_problem,
    explain_end,
    heard,
    trouble_in,
)
from splitrig.core.orphan import LENDER, RunAbout
from splitrig.core.remote import Protocol
from splitrig.services.engines.helpers import LENDER_NAME, Kept, launch_helper
from splitrig.services.engines.line_feed import LineFeed
from splitrig.services.engines.llama_server import LlamaServer
from splitrig.services.engines.ports import free_port
from splitrig.services.engines.probe import Cancelled, never, probe
from splitrig.services.engines.process import EngineProcess
from splitrig.services.engines.rpc_wire import Wire, WireError
from splitrig.services.mailbox import Mailbox

log = logging.getLogger(__name__)

START_S = 30.0
"""A server with several cards needs some seconds before it listens."""
WATCH_S = 0.1
BANNER_S = 1.0
"""Longest wait for its word on what it lends, once it listens."""
TAIL_LINES = 200
_FLAG = re.compile(r"(?<![\w-])(--?[a-zA-Z][a-z-]*)")


class Lender:
    """One `ggml-rpc-server` at a time, on threads of its own.

    Posts `LendStatus` on every change, and `EngineLogLines` under its own name.
    """

    def __init__(self, mailbox: Mailbox, kept: Kept | None = None) -> None:
        """Start nothing yet.

        Args:
            mailbox: Where news goes.
            kept: Where logs and records lie; `None` for a short look, of which nothing is kept.
        """
        self._mailbox = mailbox
        self._kept = kept
        self._feed = LineFeed(0, source=LENDER_NAME)
        self._lock = threading.RLock()
        self._status = LendStatus()
        self._stop = threading.Event()
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._trouble: LendTroubleSeen | None = None
        self._visits = Visits()
        self._thread: threading.Thread | None = None

    @property
    def status(self) -> LendStatus:
        """As it is now."""
        with self._lock:
            return self._status

    def start(
        self, server: LlamaServer, request: LendRequest, in_use: Collection[str] = ()
    ) -> None:
        """Start to lend in the background; the status tells the rest.

        Args:
            server: The llama-server beside which the `ggml-rpc-server` lies.
            request: What to lend, and where.
            in_use: Devices that engines of ours use, by the engine's names.

        Raises:
            EngineError: It lends already, a card is in use, or the address must not be used.
        """
        _check_request(request, in_use)
        with self._lock:
            if self._status.phase.active:
                raise EngineError("This machine's cards are lent already.", "Stop that first.")
            self._stop.clear()
            self._tail.clear()
            self._trouble = None
            self._visits = Visits()
            self._feed = LineFeed(0, source=LENDER_NAME)
            self._set(LendStatus(phase=LendPhase.STARTING, request=request))
        if self._thread is not None:
            self._thread.join()
        self._thread = threading.Thread(target=self._run, args=(server, request), name="lender")
        self._thread.start()

    def stop(self) -> None:
        """Stop lending in the background; does nothing when nothing is lent."""
        with self._lock:
            if self._status.phase.active:
                self._set(replace(self._status, phase=LendPhase.STOPPING))
        self._stop.set()

    def close(self) -> None:
        """Stop lending and wait until it is gone; blocks for at most some 3 s."""
        self.stop()
        if self._thread is not None:
            self._thread.join()

    def _set(self, status: LendStatus) -> None:
        with self._lock:
            if status != self._status:
                self._status = status
                self._mailbox.post(status)

    def _run(self, server: LlamaServer, request: LendRequest) -> None:
        failure: Failure | None
        try:
            failure = self._lend(server, request)
        except SplitRigError as error:
            failure = Failure(message=error.message, hint=error.hint)
        except Exception as unexpected:
            log.exception("lending failed")
            failure = Failure(
                message=f"Lending was given up after an error in this program: {unexpected!r}.",
                hint="Start it again; if it happens again, report it.",
            )
        with self._lock:
            gone = replace(self._status, pid=None, client=None, endpoint="")
            if failure is None or self._stop.is_set():
                self._set(replace(gone, phase=LendPhase.STOPPED))
            else:
                self._set(replace(gone, phase=LendPhase.FAILED, failure=failure))

    def _lend(self, server: LlamaServer, request: LendRequest) -> Failure | None:
        """Run the server until it ends or is to be stopped; nothing of it is left then."""
        port = request.port or free_port()
        _check_free(request.host, port)
        endpoint = f"{request.host}:{port}"
        command = command_line(server, request, port)
        process = launch_helper(
            command,
            server.environment(),
            self._on_lines,
            about=RunAbout(kind=LENDER, port=port, cards=request.devices),
            log_name=LENDER_NAME,
            kept=self._kept,
        )
        try:
            self._set(replace(self.status, pid=process.pid))
            self._watch(process, request.host, port)
        finally:
            process.stop()
            process.close()
            self._post_lines()
        if self._stop.is_set():
            return None
        return explain_end(
            self._trouble, exit_code=process.poll(), tail=tuple(self._tail)[-20:], endpoint=endpoint
        )

    def _watch(self, process: EngineProcess, host: str, port: int) -> None:
        """Wait until it listens, then until it ends or is to be stopped.

        Raises:
            EngineError: It did not listen in time.
        """
        begun_s = time.monotonic()
        listens_s: float | None = None
        while process.poll() is None and not self._stop.wait(WATCH_S if listens_s else 0.02):
            now = time.monotonic()
            self._post_lines()
            if listens_s is None:
                listens_s = now if _listens(host, port) else None
                if listens_s is None and now - begun_s > START_S:
                    raise EngineError(
                        f"The server that lends did not listen within {START_S:g} s.",
                        "A driver may hang; restart the machine.",
                    )
            elif self._visits.n_ended or now - listens_s > BANNER_S:
                self._tell(process.pid, f"{host}:{port}", in_use=self._visits.in_use(now))

    def _tell(self, pid: int | None, endpoint: str, *, in_use: bool) -> None:
        """Bring the status up to date."""
        client = (self.status.client or _client_of(pid)) if in_use and pid is not None else None
        with self._lock:
            if self._status.phase is not LendPhase.STOPPING:
                self._set(
                    replace(
                        self._status,
                        phase=LendPhase.SERVING if in_use else LendPhase.LISTENING,
                        endpoint=endpoint,
                        client=client,
                        n_clients=self._visits.n_clients,
                    )
                )

    def _on_lines(self, lines: list[str]) -> None:
        """Keep and understand; on the thread that reads the output."""
        self._tail.extend(lines)
        told = []
        for line in lines:
            visits = self._visits.after(line, time.monotonic())
            if visits != self._visits:
                self._visits = visits
                continue  # a load opens and closes connections by the hundred
            told.append(line)
            self._trouble = self._trouble or trouble_in(line)
            with self._lock:
                self._set(heard(self._status, line))
        self._feed.add(told)

    def _post_lines(self) -> None:
        if (news := self._feed.take()) is not None:
            self._mailbox.post(news)


def _client_of(pid: int) -> str | None:
    """Who is connected to a process; the server does not say."""
    with suppress(psutil.Error):
        for connection in psutil.Process(pid).net_connections("tcp4"):
            if connection.status == psutil.CONN_ESTABLISHED and connection.raddr:
                return str(connection.raddr.ip)
    return None


def command_line(server: LlamaServer, request: LendRequest, port: int) -> tuple[str, ...]:
    """How the `ggml-rpc-server` beside an engine is run for a request, by its own help.

    Raises:
        EngineError: There is none, it does not start, or lacks what is asked for.
    """
    path = _binary(server)
    _, text = probe(
        [str(path), "--help"],
        server.environment(),
        way_out="Choose another llama-server in Settings.",
    )
    flags = frozenset(_FLAG.findall(text))
    command = [str(path)]
    wanted: list[tuple[tuple[str, ...], str | None]] = [
        (("-H", "--host"), request.host),
        (("-p", "--port"), str(port)),
    ]
    if request.devices:
        wanted.append((("-d", "--device"), ",".join(request.devices)))
    if request.n_threads is not None:
        wanted.append((("-t", "--threads"), str(request.n_threads)))
    if request.cache:
        wanted.append((("-c", "--cache"), None))
    for names, value in wanted:
        flag = next((name for name in names if name in flags), None)
        if flag is None:
            raise EngineError(
                f"This {path.name} has no option {names[-1]}.", "Use a newer llama.cpp."
            )
        command += [flag] if value is None else [flag, value]
    return tuple(command)


def engine_protocol(server: LlamaServer, cancelled: Cancelled = never) -> Protocol | None:
    """The RPC protocol that the engine speaks, from the server beside it; blocks for some 100 ms.

    Returns:
        `None` where there is no such server, or it does not say.
    """
    lender = Lender(Mailbox())
    try:
        lender.start(server, LendRequest(devices=("CPU",), port=0))
        deadline = time.monotonic() + START_S
        while lender.status.phase.active and time.monotonic() < deadline and not cancelled():
            if lender.status.protocol is not None:
                return lender.status.protocol
            time.sleep(0.01)
        return lender.status.protocol
    finally:
        lender.close()


def _binary(server: LlamaServer) -> Path:
    path = server.rpc_server
    if path is None:
        raise EngineError(
            f"There is no ggml-rpc-server beside {server.path.name}, which lends cards.",
            "Use a llama.cpp that has one; the one that comes with SplitRig does.",
        )
    return path


def _check_request(request: LendRequest, in_use: Collection[str]) -> None:
    """Refuse what must not be lent, or not there.

    Raises:
        EngineError: A card is in use, or the address is none, or not meant.
    """
    taken = [name for name in request.devices if name in in_use]
    if taken or (in_use and not request.devices):
        names = ", ".join(taken or sorted(in_use))
        raise EngineError(
            f"An engine of yours uses {names}, so it cannot be lent now.",
            "Stop that engine first, or lend other cards.",
        )
    try:
        ipaddress.IPv4Address(request.host)
    except ValueError as error:
        raise EngineError(
            f"'{request.host}' is no IPv4 address of this machine.",
            "ggml-rpc-server takes an address in numbers, such as 192.168.1.7 or 127.0.0.1.",
        ) from error
    problem = address_problem(request)
    if problem is not None:
        raise EngineError(*problem)


def _check_free(host: str, port: int) -> None:
    """Make sure the address can be listened on.

    Raises:
        EngineError: Another program does, or it is none of this machine's.
    """
    with socket.socket() as trial:
        if sys.platform != "win32":
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise EngineError(
                    f"This machine has no address {host}.",
                    "Choose one it has, or 127.0.0.1 for this machine alone.",
                ) from error
            raise EngineError(
                f"Port {port} cannot be taken on {host}: {error.strerror}.",
                "Choose another port, or 0 for a free one.",
            ) from error


def _listens(host: str, port: int) -> bool:
    """Whether the server takes connections; its first one also makes it print what it lends."""
    address = "127.0.0.1" if host == "0.0.0.0" else host  # noqa: S104 - compared, not bound
    try:
        with Wire(address, port, never) as knock:
            return knock.is_served()
    except WireError:
        return False
