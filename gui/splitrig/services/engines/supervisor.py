"""Starts one engine, watches it, and ends it whole; everything it learns goes to the mailbox."""

import http.client
import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil

from splitrig.core.devices import DeviceMap, match_devices
from splitrig.core.engine import EngineDevice, EngineStatus, Failure, LaunchRequest, Phase
from splitrig.core.engine_log import TroubleKind, read_line
from splitrig.core.engine_machine import (
    Advanced,
    Begun,
    Broken,
    EngineEvent,
    Exited,
    Healthy,
    Logged,
    Spawned,
    StopAsked,
    step,
)
from splitrig.core.errors import EngineError, SplitRigError
from splitrig.core.gpu import Rig
from splitrig.core.plan import Plan
from splitrig.core.units import gib_text
from splitrig.services.engines.line_feed import LineFeed
from splitrig.services.engines.llama_server import (
    Cancelled,
    LlamaServer,
    ProbeCancelledError,
    find_llama_server,
    never,
)
from splitrig.services.engines.load_progress import LoadProgress
from splitrig.services.engines.log_file import LogFile
from splitrig.services.engines.ports import check_port, free_port
from splitrig.services.engines.process import EngineProcess, launch
from splitrig.services.engines.rpc_server import RpcServer
from splitrig.services.mailbox import Mailbox

log = logging.getLogger(__name__)

TAIL_LINES = 2000
BIND_S = 2.0
"""A build that does not say when it has its port is asked for its health after this long."""
HEALTH_EVERY_S = 0.03
WATCH_EVERY_S = 0.1
LOG_S = 1.0
"""Longest wait for the rest of the log of an engine that answers already, seconds."""
PORT_TRIES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class DevicesFound:
    """What the engine can see, joined with the cards.

    Attributes:
        build: The engine's build; `None` when it could not be run.
        device_map: Which device is which card.
        error: Why the engine could not be asked.
    """

    build: str | None
    device_map: DeviceMap
    error: SplitRigError | None = field(default=None, compare=False)


class Supervisor:
    """One engine at a time, on threads of its own.

    Posts `EngineStatus` on every change, `EngineLogLines`, and `DevicesFound` after `discover`.

    Attributes:
        start_timeout_s: Longest time from the start of the process to ready, seconds.
    """

    def __init__(
        self,
        mailbox: Mailbox,
        *,
        binary: Path | None = None,
        log_dir: Path,
        start_timeout_s: float = 600,
        extra_env: Mapping[str, str] | None = None,
    ) -> None:
        self._mailbox = mailbox
        self._log_dir = log_dir
        self.start_timeout_s = start_timeout_s
        self._extra_env = dict(extra_env or {})
        self._lock = threading.RLock()
        self._status = EngineStatus()
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._feed = LineFeed()
        self._stop = threading.Event()
        self._closing = threading.Event()
        self._run_number = 0
        self._binary_number = 0
        self._later: tuple[Rig, Path | None] | None = None
        self._dots = 0
        self._threads: list[threading.Thread] = []
        self._preferred_port = free_port()
        self.use_binary(binary)

    @property
    def status(self) -> EngineStatus:
        """The engine as it is now."""
        with self._lock:
            return self._status

    def use_binary(self, binary: Path | None) -> None:
        """Use this llama-server from the next start on; `None` finds one."""
        with self._lock:
            self._binary = binary
            self._binary_number += 1
            self._server: LlamaServer | None = None
            self._device_map: DeviceMap | None = None

    def server(self) -> LlamaServer:
        """The llama-server in use.

        Raises:
            EngineError: There is none.
        """
        with self._lock:
            if self._server is None:
                self._server = find_llama_server(self._binary, extra_env=self._extra_env)
            return self._server

    def discover(self, rig: Rig, model: Path | None) -> None:
        """Ask the engine in the background what it sees; the answer comes as `DevicesFound`.

        While one runs it is not asked, but as soon as it has ended.
        """
        with self._lock:
            self._later = (rig, model) if self._status.phase.active else None
            if self._later is not None:
                return
        self._spawn_thread(self._discover, (rig, model), "engine discovery")

    def start(self, request: LaunchRequest, plan: Plan, rig: Rig) -> None:
        """Start an engine in the background; the status tells the rest.

        Raises:
            EngineError: One is running already.
        """
        with self._lock:
            if self._status.phase.active:
                raise EngineError("An engine is running already.", "Stop it first.")
            self._stop.clear()
            self._tail.clear()
            self._run_number += 1
            self._apply(Begun(time_s=time.monotonic(), request=request, plan=plan))
            number = self._run_number
        self._spawn_thread(self._run, (number, request, rig), "engine supervisor")

    def stop(self) -> None:
        """Stop the engine in the background; does nothing when none runs."""
        self._apply(StopAsked())
        self._stop.set()

    def close(self) -> None:
        """Stop the engine and wait until everything is gone; blocks for at most some 3 s."""
        self._closing.set()
        self.stop()
        for thread in self._threads:
            thread.join()

    def command_for(self, request: LaunchRequest) -> tuple[str, ...]:
        """The command that `start` would run; empty until the engine said what it can do.

        Never blocks.

        Raises:
            EngineError: There is no engine, or none of its devices is one of the cards.
        """
        server = self.server()
        if server.known_capabilities is None:
            return ()
        names = self._names_for(request)
        if names is None:
            count = max(len(request.gpu_ids), 1)
            names = tuple(f"RPC{n}" for n in range(count))
            request = replace(request, rpc=("127.0.0.1:PORT",), n_threads=request.n_threads or 1)
        return server.command(request, names, request.port or self._preferred_port)

    def _names_for(self, request: LaunchRequest) -> tuple[str, ...] | None:
        """Engine devices for the cards asked for; `None` when the processor is to be lent.

        Raises:
            EngineError: The engine has no device for one of the cards.
        """
        if request.devices:
            return request.devices
        if not request.gpu_ids or all(gpu.startswith("demo-") for gpu in request.gpu_ids):
            return None
        with self._lock:
            device_map = self._device_map
        if device_map is None:
            return tuple(f"GPU{n}" for n in range(len(request.gpu_ids)))
        names = []
        for gpu_id in request.gpu_ids:
            device = device_map.device(gpu_id)
            if device is None:
                why = device_map.unmatched_gpus.get(gpu_id, "it is not there any more")
                raise EngineError(
                    f"The engine cannot use the card {gpu_id}: {why}.",
                    "Switch that card off, or choose another llama-server in Settings.",
                )
            names.append(device.name)
        return tuple(names)

    def _spawn_thread(
        self, target: Callable[..., None], arguments: tuple[object, ...], name: str
    ) -> None:
        self._threads = [t for t in self._threads if t.is_alive()]
        thread = threading.Thread(target=target, args=arguments, name=name)
        self._threads.append(thread)
        thread.start()

    def _discover(self, rig: Rig, model: Path | None) -> None:
        with self._lock:
            number = self._binary_number
        try:
            build = self.server().capabilities(self._closing.is_set).build
            device_map = self.ask_devices(rig, model, self._closing.is_set)
            found = DevicesFound(build=build, device_map=device_map)
        except ProbeCancelledError:
            return
        except SplitRigError as error:
            nothing = match_devices(rig.gpus, ())
            found = DevicesFound(build=None, device_map=nothing, error=error)
        with self._lock:
            if number == self._binary_number:  # else another engine was chosen meanwhile
                self._mailbox.post(found)

    def ask_devices(self, rig: Rig, model: Path | None, cancelled: Cancelled = never) -> DeviceMap:
        """Which of the engine's devices is which card; blocks for 0.2 to some seconds.

        Args:
            rig: The cards.
            model: Any model file; without one the devices have no PCI address.
            cancelled: Asked meanwhile whether to give up.

        Raises:
            EngineError: There is no engine, or it does not start.
        """
        with self._lock:
            number = self._binary_number
        server = self.server()
        devices: tuple[EngineDevice, ...] = ()
        if not rig.demo and rig.gpus:
            if model is not None:
                devices = server.identify_devices(model, cancelled)
            else:
                devices = server.list_devices(cancelled=cancelled)
        if cancelled():
            raise ProbeCancelledError(f"{server.path.name} was not waited for.")
        device_map = match_devices(rig.gpus, devices)
        with self._lock:
            if number == self._binary_number:
                self._device_map = device_map
        return device_map

    def _apply(self, event: EngineEvent, run: int | None = None) -> None:
        """Take an event in; one of a run that is over changes nothing."""
        with self._lock:
            if run is not None and run != self._run_number:
                return
            before = self._status
            self._status = step(before, event)
            if self._status is not before:
                self._mailbox.post(self._status)

    def _run(self, run: int, request: LaunchRequest, rig: Rig) -> None:
        """The supervisor's thread: from Start to the end of the last process.

        How it ended is told last, when nothing of it is left: the next start may follow at once.
        """
        lender: RpcServer | None = None
        end: EngineEvent
        try:
            server = self.server()
            # a file that is no llama-server is told of first
            server.capabilities(self._stop.is_set)
            if self._must_ask(request):
                self.ask_devices(rig, request.model, self._stop.is_set)
            names = self._names_for(request)
            if names is None:
                _check_lendable(self.status.plan)
                count = max(len(request.gpu_ids), 1)
                lender = RpcServer(server, count, self._on_helper_lines, self._stop.is_set)
                names = lender.device_names
                request = replace(request, rpc=(lender.endpoint,), n_threads=request.n_threads or 1)
            request = _as_planned(request, self.status.plan)
            end = self._serve(run, server, request, names, lender)
        except SplitRigError as error:
            end = Broken(failure=Failure(message=error.message, hint=error.hint))
        except Exception as unexpected:
            log.exception("the engine's supervisor failed")
            end = Broken(failure=_own_fault(unexpected))
        finally:
            if lender is not None:
                lender.stop()
        self._post_lines()
        self._apply(end, run)
        with self._lock:
            later, self._later = self._later, None
        if later is not None and not self._closing.is_set():
            self._discover(*later)

    def _must_ask(self, request: LaunchRequest) -> bool:
        """Cards are wanted that the last look at the engine's devices did not know."""
        if request.devices or not request.gpu_ids or request.gpu_ids[0].startswith("demo-"):
            return False
        with self._lock:
            known = self._device_map
        return known is None or any(known.device(gpu_id) is None for gpu_id in request.gpu_ids)

    def _serve(
        self,
        run: int,
        server: LlamaServer,
        request: LaunchRequest,
        names: Sequence[str],
        lender: RpcServer | None,
    ) -> EngineEvent:
        """Run the engine until it ends, trying another port when an automatic one is taken.

        Returns:
            How it ended; nothing of it runs any more.
        """
        for attempt in range(PORT_TRIES):
            if request.port:
                check_port(request.port)
            port = request.port or (self._preferred_port if attempt == 0 else free_port())
            key = secrets.token_urlsafe(24)
            command = server.command(request, names, port)
            file = LogFile(self._log_dir, "llama-server")
            self._dots = 0
            try:
                process = launch(command, server.environment(key), self._reader_of(run), file)
            except EngineError:
                file.close()
                raise
            self._apply(
                Spawned(
                    pid=process.pid,
                    url=f"http://127.0.0.1:{port}",
                    api_key=key,
                    command=command,
                    device_names=tuple(names),
                ),
                run,
            )
            try:
                broken = self._watch(run, process, port, lender)
            finally:
                process.stop()
                process.close()
            if broken is not None:
                return broken
            last_try = bool(request.port) or attempt + 1 == PORT_TRIES
            if last_try or not self._port_was_taken():
                break
        return Exited(exit_code=process.poll(), tail=tuple(self._tail))

    def _port_was_taken(self) -> bool:
        """Another program was faster to take the automatic port."""
        status = self.status
        return status.phase is not Phase.STOPPING and any(
            trouble.kind is TroubleKind.PORT_TAKEN for trouble in status.log.troubles
        )

    def _watch(
        self, run: int, process: EngineProcess, port: int, lender: RpcServer | None
    ) -> Broken | None:
        """Wait for health, then for the end of the process or the wish to stop it.

        Returns:
            Why it has to be given up; `None` when it ended or was asked to.
        """
        begun_s = time.monotonic()
        answered_s: float | None = None
        progress = LoadProgress(process.pid, self.status.plan)
        while process.poll() is None and not self._stop.wait(self._pause_s()):
            self._post_lines()
            if lender is not None and lender.poll() is not None:
                return Broken(failure=_lender_gone(lender.poll(), self._tail))
            status = self.status
            if status.phase is Phase.READY:
                continue
            if (share := progress.share(status.step)) is not None:
                self._apply(Advanced(share=share), run)
            now_s = time.monotonic()
            # Before it has bound its port another program could answer there.
            may_answer = status.phase is Phase.LOADING or now_s - begun_s > BIND_S
            if may_answer and answered_s is None and _healthy(port):
                answered_s = now_s
            # Its log may be read later than its answer; what it says belongs to the verdict.
            if answered_s is not None and (self.status.log.loaded or now_s - answered_s > LOG_S):
                self._apply(Healthy(time_s=now_s), run)
            elif now_s - begun_s > self.start_timeout_s:
                return Broken(failure=_too_slow(self.start_timeout_s, self._tail))
        return None

    def _pause_s(self) -> float:
        return WATCH_EVERY_S if self.status.phase is Phase.READY else HEALTH_EVERY_S

    def _reader_of(self, run: int) -> Callable[[list[str]], None]:
        """What takes the lines of one run, on the thread that reads them."""

        def read(lines: list[str]) -> None:
            if run == self._run_number:
                self._on_lines(run, lines)

        return read

    def _on_lines(self, run: int, lines: list[str]) -> None:
        """Keep and understand; the supervisor's thread posts."""
        self._tail.extend(lines)
        self._feed.add(lines)
        for line in lines:
            if line and not line.strip("."):
                self._dots += len(line)
                self._apply(Advanced(share=self._dots / 100), run)
                continue
            event = read_line(line)
            if event is not None:
                self._apply(Logged(time_s=time.monotonic(), event=event), run)

    def _on_helper_lines(self, lines: list[str]) -> None:
        """Lines of the server that lends the processor, without its word on every connection."""
        self._feed.add([line for line in lines if "lient connection" not in line])

    def _post_lines(self) -> None:
        """Post what came since the last time, bounded however much that was."""
        if (news := self._feed.take()) is not None:
            self._mailbox.post(news)


def _healthy(port: int) -> bool:
    """Whether `/health` answers 200; a refused or broken connection is a no."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        with suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/health")
            return connection.getresponse().status == http.client.OK
        return False
    finally:
        connection.close()


def _as_planned(request: LaunchRequest, plan: Plan | None) -> LaunchRequest:
    """With the shares of the plan spelled out, where the request left them to free memory."""
    if plan is None or request.plan.split is not None or not plan.split:
        return request
    return replace(request, plan=replace(request.plan, split=plan.split))


def _check_lendable(plan: Plan | None) -> None:
    """Make sure that the computer has the memory it is to lend as cards.

    Raises:
        EngineError: It has less; loading would make it swap, or end other programs.
    """
    needed = sum(device.used_bytes for device in plan.devices) if plan is not None else 0
    there = psutil.virtual_memory().available
    if needed > there:
        raise EngineError(
            f"The demo rig's cards are this computer's memory: {gib_text(needed)} GiB are needed, "
            f"{gib_text(there)} are free.",
            "Choose a smaller model or a shorter context; the demo model fits everywhere.",
        )


def _own_fault(unexpected: Exception) -> Failure:
    return Failure(
        message=f"The engine was given up after an error in this program: {unexpected!r}.",
        hint="Launch it again; if it happens again, report it with the log.",
    )


def _lender_gone(exit_code: int | None, tail: Sequence[str]) -> Failure:
    return Failure(
        message=f"The server that lends the processor ended (exit code {exit_code}).",
        hint="Launch the engine again.",
        log_tail=tuple(tail)[-20:],
        exit_code=exit_code,
    )


def _too_slow(seconds: float, tail: Sequence[str]) -> Failure:
    return Failure(
        message=f"The engine was not ready after {seconds:g} s.",
        hint="A slow disk may need more; raise 'Longest start' in Settings.",
        log_tail=tuple(tail)[-20:],
    )
