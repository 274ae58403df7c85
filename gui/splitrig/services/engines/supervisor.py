"""Starts one engine, watches it, and ends it whole; everything it learns goes to the mailbox."""

import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from splitrig.core.engine import EngineStatus, Failure, LaunchRequest, Phase
from splitrig.core.engine_events import (
    Advanced,
    Begun,
    Broken,
    Counted,
    EngineEvent,
    Exited,
    GivenUp,
    Healthy,
    Launching,
    Logged,
    Metered,
    Restarting,
    Spawned,
    StopAsked,
)
from splitrig.core.engine_log import BuildNamed, TroubleKind
from splitrig.core.engine_machine import (
    step,
)
from splitrig.core.engine_rules import refused, rules_of, stay_home
from splitrig.core.errors import EngineError, SplitRigError
from splitrig.core.gpu import Rig
from splitrig.core.log_chatter import Chatter
from splitrig.core.orphan import RunAbout
from splitrig.core.plan import Plan
from splitrig.core.restart import Ending, RestartPolicy, decide
from splitrig.core.share import LOOPBACK, is_open, network_urls, own_address
from splitrig.services.engines.engine import Order, Run, Starter
from splitrig.services.engines.engines import Engines
from splitrig.services.engines.line_feed import LineFeed
from splitrig.services.engines.load_progress import LoadProgress
from splitrig.services.engines.log_file import LogFile
from splitrig.services.engines.memory_watch import MemoryWatch
from splitrig.services.engines.meter import EngineMetered, Meter
from splitrig.services.engines.ports import check_port, free_port, lan_addresses
from splitrig.services.engines.process import EngineProcess, tree_of
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
KILLED = -9
COUNT_EVERY_S = 5.0
"""How often a ready engine's processes are looked at."""


class Supervisor:
    """The life of one engine at a time, whatever its kind, on threads of its own.

    Posts `EngineStatus` on every change, `EngineLogLines`, and `EngineMetered` every second where
    an engine counts.

    Attributes:
        start_timeout_s: Longest time from the start of the process to ready, seconds.
        restart: When an engine that crashed is started again.
    """

    def __init__(
        self,
        mailbox: Mailbox,
        engines: Engines,
        *,
        log_dir: Path,
        start_timeout_s: float = 600,
        slot: int = 1,
        records: Path | None = None,
    ) -> None:
        """Start nothing yet.

        Args:
            mailbox: Where news goes.
            engines: Finds the engine a request names.
            log_dir: Gets a file a run.
            start_timeout_s: Longest time from the start of the process to ready, seconds.
            slot: Which of several engines this one is.
            records: Folder of the records of what runs; `None` for the usual one.
        """
        self._mailbox = mailbox
        self._engines = engines
        self._log_dir = log_dir
        self.start_timeout_s = start_timeout_s
        self._lock = threading.RLock()
        self.restart = RestartPolicy()
        self._records = records
        self._ready_since_s: float | None = None
        self._slot = slot
        self._status = EngineStatus(slot=slot)
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._feed = LineFeed(slot)
        self._chatter = Chatter()
        self._stop = threading.Event()
        self._process_number = 0
        self._dots = 0
        self._threads: list[threading.Thread] = []
        self._preferred_port = free_port()
        self._key = ""

    @property
    def status(self) -> EngineStatus:
        """The engine as it is now."""
        with self._lock:
            return self._status

    def start(self, request: LaunchRequest, plan: Plan, rig: Rig) -> None:
        """Start an engine in the background; the status tells the rest.

        Raises:
            EngineError: One is running already.
        """
        with self._lock:
            if self._status.phase.active:
                raise EngineError("An engine is running already.", "Stop it first.")
            self._stop.clear()
            self._key = secrets.token_urlsafe(24)
            self._apply(Begun(time_s=time.monotonic(), request=request, plan=plan))
            self._engines.run_began()
            self._threads = [t for t in self._threads if t.is_alive()]
            thread = threading.Thread(
                target=self._run, args=(request, rig), name="engine supervisor"
            )
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """Stop the engine in the background; does nothing when none runs."""
        with self._lock:  # both or nothing, or it would end the next one
            self._apply(StopAsked())
            self._stop.set()

    def close(self) -> None:
        """Stop the engine and wait until everything is gone; blocks for at most some 3 s."""
        self.stop()
        for thread in self._threads:
            thread.join()

    def command_for(self, request: LaunchRequest) -> tuple[str, ...]:
        """The command that `start` would run; empty until the engine said what it can do.

        Never blocks.

        Raises:
            DevicesUnknownError: The engine was not asked yet what it calls the cards.
            EngineError: There is no engine, none of its devices is one of the cards, or it cannot
                do what is asked.
        """
        engine = self._engines.get(request.engine)
        names = self._engines.names_for(request)
        return engine.preview(request, names, request.port or self._preferred_port)

    def _apply(self, event: EngineEvent, process: int | None = None) -> None:
        """Take an event in; what a process says that is not the present one changes nothing."""
        with self._lock:
            if process is not None and process != self._process_number:
                return
            before = self._status
            self._status = step(before, event)
            if self._status is not before:
                self._mailbox.post(self._status)

    def _run(self, request: LaunchRequest, rig: Rig) -> None:
        """The supervisor's thread: from Start to the end of the last process.

        How it ended is told last, when nothing of it is left: the next start may follow at once.
        """
        try:
            self._apply(self._lives(request, rig))
        except Exception as unexpected:
            log.exception("the engine's supervisor failed")
            self._apply(Broken(failure=_own_fault(unexpected)))
        finally:
            self._engines.run_ended()

    def _lives(self, request: LaunchRequest, rig: Rig) -> Exited | Broken | GivenUp:
        """Run the engine, and again as often as it crashes and that is wanted.

        Returns:
            How it ended at last.
        """
        tries = 0
        while True:
            end = self._once(request, rig)
            self._post_lines()
            decision = decide(self.restart, self._ending(end), tries)
            tries = decision.tries
            with self._lock:
                if not decision.restart and decision.sentence:
                    return GivenUp(end=end, sentence=decision.sentence)
                if not decision.restart or self._stop.is_set():
                    return end
                # the wait is no part of what the next start takes
                due_s = time.monotonic() + decision.delay_s
                self._apply(Restarting(time_s=due_s, end=end, sentence=decision.sentence))
            if self._stop.wait(decision.delay_s):
                return end

    def _once(self, request: LaunchRequest, rig: Rig) -> Exited | Broken:
        """One start and its whole life."""
        run: Run | None = None
        self._ready_since_s = None
        self._tail.clear()
        try:
            engine, names = self._engines.prepare(request, rig, self._stop.is_set)
            if engine.build is not None:
                named = BuildNamed(engine.build)
                self._apply(Logged(time_s=time.monotonic(), event=named))
            _check_taken(request, engine.build)
            order = Order(request=request, names=names, plan=self.status.plan)
            run = engine.open(order, self._on_helper_lines, self._stop.is_set)
            return self._serve(run)
        except SplitRigError as error:
            tail = tuple(error.details.splitlines()[-20:]) or tuple(self._tail)[-20:]
            return Broken(failure=Failure(message=error.message, hint=error.hint, log_tail=tail))
        except Exception as unexpected:
            log.exception("the engine's supervisor failed")
            return Broken(failure=_own_fault(unexpected))
        finally:
            if run is not None:
                run.close()

    def _ending(self, end: Exited | Broken) -> Ending:
        since_s = self._ready_since_s
        return Ending(
            exit_code=end.exit_code if isinstance(end, Exited) else end.failure.exit_code,
            causes=frozenset(trouble.kind for trouble in self.status.log.troubles),
            out_of_memory=isinstance(end, Exited) and end.out_of_memory,
            ready_s=None if since_s is None else time.monotonic() - since_s,
            asked=self._stop.is_set(),
        )

    def _serve(self, run: Run) -> Exited | Broken:
        """Run the engine until it ends, trying another port when an automatic one is taken.

        A restart takes the port and the key of the run before it, so that what the user gave to
        other programs goes on to work.

        Returns:
            How it ended; nothing of it runs any more.
        """
        wanted, host = run.request.port, run.request.host
        for attempt in range(PORT_TRIES):
            if wanted or host != LOOPBACK:
                check_port(wanted, host)
            if attempt > 0:  # whoever has the first port may have been asked with the first key
                self._preferred_port, self._key = free_port(), secrets.token_urlsafe(24)
            port, key = wanted or self._preferred_port, self._key
            urls = network_urls(host, port, lan_addresses()) if is_open(host) else ()
            memory = MemoryWatch()
            process = self._launch(run, port, key)
            try:
                self._apply(
                    Spawned(
                        pid=process.pid,
                        url=run.url(port),
                        api_key=key if run.takes_key else None,
                        command=run.command(port),
                        device_names=run.device_names,
                        network_urls=urls,
                        served_model=run.served_model,
                        dialect=run.dialect,
                    )
                )
                broken = self._watch(run, process, port, key, memory)
                out_of_memory = process.poll() == KILLED and memory.ran_out()
            finally:
                process.stop()
                process.close()
            if broken is not None:
                return broken
            last_try = bool(wanted) or attempt + 1 == PORT_TRIES
            if last_try or not self._port_was_taken():
                break
        return Exited(exit_code=process.poll(), tail=tuple(self._tail), out_of_memory=out_of_memory)

    def _launch(self, run: Run, port: int, key: str) -> EngineProcess:
        """Start the process; from now on its lines count, and no others."""
        with self._lock:
            self._process_number += 1
            self._dots = 0
            self._tail.clear()
            self._apply(Launching(time_s=time.monotonic()))
        file = LogFile(self._log_dir, self._log_name(run))
        try:
            return run.start(port, key, self._starter(run, port, file))
        except BaseException:
            file.close()
            raise

    def _log_name(self, run: Run) -> str:
        """The first engine's file has the plain name; those beside it are numbered."""
        return run.log_name if self._slot == 1 else f"{run.log_name}-{self._slot}"

    def _starter(self, run: Run, port: int, file: LogFile) -> Starter:
        request = run.request
        about = RunAbout(
            kind=request.engine.value,
            port=port,
            model=request.model_name or str(request.model),
            cards=request.gpu_ids,
        )
        return Starter(
            on_lines=self._reader_of(self._process_number, run),
            log=file,
            about=about,
            records=self._records,
        )

    def _port_was_taken(self) -> bool:
        """Another program was faster to take the automatic port."""
        status = self.status
        return status.phase is not Phase.STOPPING and any(
            trouble.kind is TroubleKind.PORT_TAKEN for trouble in status.log.troubles
        )

    def _watch(
        self, run: Run, process: EngineProcess, port: int, key: str, memory: MemoryWatch
    ) -> Broken | None:
        """Wait for health, then for the end of the process or the wish to stop it.

        Returns:
            Why it has to be given up; `None` when it ended or was asked to.
        """
        begun_s = time.monotonic()
        answered_s: float | None = None
        counted_s = -COUNT_EVERY_S
        meter = Meter(port, key, own_address(run.request.host)) if run.has_metrics else None
        progress = LoadProgress(process.pid, self.status.plan)
        while process.poll() is None and not self._stop.wait(self._pause_s()):
            self._post_lines()
            memory.look()
            if (failure := run.helper_failure(self._tail)) is not None:
                return Broken(failure=failure)
            status = self.status
            if status.phase is Phase.READY:
                if time.monotonic() >= counted_s + COUNT_EVERY_S:
                    counted_s = time.monotonic()
                    self._apply(Counted(pids=tree_of(process.pid)))
                if meter is not None:
                    self._look_at(meter)
                continue
            if (share := progress.share(status.step)) is not None:
                self._apply(Advanced(share=share))
            now_s = time.monotonic()
            # Before it has bound its port another program could answer there.
            bound = status.phase is Phase.LOADING or not run.says_when_bound
            may_answer = bound or now_s - begun_s > BIND_S
            if may_answer and answered_s is None and run.answers(port, key):
                answered_s = time.monotonic()
            # Its log may be read later than its answer; what it says belongs to the verdict.
            if answered_s is not None and self._all_said(run, now_s - answered_s):
                self._ready_since_s = now_s
                self._apply(Healthy(time_s=now_s))
            elif now_s - begun_s > self.start_timeout_s:
                return Broken(failure=_too_slow(self.start_timeout_s, self._tail))
        return None

    def _look_at(self, meter: Meter) -> None:
        """Post what the engine counts, or why nothing is known of it."""
        if (seen := meter.look()) is not None:
            self._mailbox.post(EngineMetered(self._slot, seen))
        self._apply(Metered(problem=meter.problem))

    def _all_said(self, run: Run, seconds: float) -> bool:
        """Its log was read to the end of the load, or nobody waits for that any longer."""
        return not run.says_when_loaded or self.status.log.loaded or seconds > LOG_S

    def _pause_s(self) -> float:
        return WATCH_EVERY_S if self.status.phase is Phase.READY else HEALTH_EVERY_S

    def _reader_of(self, process: int, run: Run) -> Callable[[list[str]], None]:
        """What takes the lines of one process, on the thread that reads them."""

        def read(lines: list[str]) -> None:
            said = self._chatter.without(lines)  # the file has them all
            self._feed.add(said)
            # a slow disk may hold the last lines back until the next process runs
            if process == self._process_number:
                self._understand(process, run, said)

        return read

    def _understand(self, process: int, run: Run, lines: list[str]) -> None:
        """What the lines say; the supervisor's thread posts them."""
        self._tail.extend(lines)
        for line in lines:
            if line and not line.strip("."):
                self._dots += len(line)
                self._apply(Advanced(share=self._dots / 100), process)
                continue
            event = run.read_line(line)
            if event is not None:
                self._apply(Logged(time_s=time.monotonic(), event=event), process)

    def _on_helper_lines(self, lines: list[str]) -> None:
        """Lines of the server that lends the processor, without its word on every connection."""
        self._feed.add([line for line in lines if "lient connection" not in line])

    def _post_lines(self) -> None:
        """Post what came since the last time, bounded however much that was."""
        if (news := self._feed.take()) is not None:
            self._mailbox.post(news)


def _check_taken(request: LaunchRequest, build: str | None) -> None:
    """Refuse what the engine would leave out in silence, and to open it where it is not safe.

    Raises:
        EngineError: It cannot do something that is asked.
    """
    rules = rules_of(request.engine, build)
    stay_home(rules, request.host)
    if why := refused(rules, request):
        raise EngineError(why, "Choose llama.cpp for it, or leave it out.")


def _own_fault(unexpected: Exception) -> Failure:
    return Failure(
        message=f"The engine was given up after an error in this program: {unexpected!r}.",
        hint="Launch it again; if it happens again, report it with the log.",
    )


def _too_slow(seconds: float, tail: Sequence[str]) -> Failure:
    return Failure(
        message=f"The engine was not ready after {seconds:g} s.",
        hint="A slow disk may need more; raise 'Longest start' in Settings.",
        log_tail=tuple(tail)[-20:],
    )
