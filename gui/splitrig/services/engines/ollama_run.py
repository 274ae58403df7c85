"""One start of `ollama serve` with one model: the load, the log, the end."""

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from splitrig.core.engine import Dialect, Failure, LaunchRequest
from splitrig.core.engine_log import BufferSeen, DeviceUsed, LoadLog, LogEvent, add_event
from splitrig.core.errors import EngineError
from splitrig.core.ollama import Choice, follows_ratio, serve_environment, shown_command
from splitrig.core.ollama_failure import OllamaGoneError, OllamaToldError, load_failure
from splitrig.core.ollama_log import (
    answered_load,
    is_old_buffer,
    read_ollama_line,
    starts_own_engine,
)
from splitrig.services.engines.engine import Starter
from splitrig.services.engines.memory_watch import MemoryWatch
from splitrig.services.engines.ollama_api import OllamaApi
from splitrig.services.engines.ollama_load import OllamaLoad
from splitrig.services.engines.ollama_program import OllamaProgram
from splitrig.services.engines.process import EngineProcess
from splitrig.services.engines.rpc_server import RpcServer, lender_failure

LOG_S = 1.0
"""Longest wait for the log of a failed load, seconds; it tells more than the answer."""
GONE_S = 2.0
"""Longest time from a broken connection to the end of the process, seconds."""
TAIL_LINES = 60


class OllamaRun:
    """One start of `ollama serve` with one model."""

    log_name = "ollama"
    says_when_bound = True
    takes_key = False
    has_metrics = False
    dialect = Dialect.OLLAMA

    def __init__(
        self,
        program: OllamaProgram,
        request: LaunchRequest,
        choice: Choice,
        *,
        version: str,
        name: str,
        store: Path,
        lender: RpcServer | None,
        addresses: Mapping[str, str],
        shown: Mapping[str, str],
    ) -> None:
        self._program = program
        self._choice = choice
        self._version = version
        self._store = store
        self._lender = lender
        self._names_by_pci = dict(addresses)
        self._shown = dict(shown)
        self.request = request
        self.device_names = choice.names
        self.served_model: str | None = name
        self.says_when_loaded = follows_ratio(version)
        self._process: EngineProcess | None = None
        self._load: OllamaLoad | None = None
        self._forget()

    def _forget(self) -> None:
        """What was seen of a start that ended."""
        self._log = LoadLog()
        self._tail: tuple[str, ...] = ()
        self._renamed: dict[str, str] = {}
        self._answered = False
        self._own_engine = False
        self._failed_s: float | None = None
        self._memory = MemoryWatch()
        self._out_of_memory = False

    def _environment(self, port: int) -> dict[str, str]:
        return serve_environment(
            self.request, port=port, store=self._store, version=self._version, cards=self._choice
        )

    def command(self, port: int) -> tuple[str, ...]:
        """The command line with the variables that matter."""
        return shown_command(self._environment(port), self._program.path, sys.platform)

    def url(self, port: int) -> str:
        """Base address."""
        return f"http://127.0.0.1:{port}"

    def start(self, port: int, key: str, starter: Starter) -> EngineProcess:
        """Start the server; the model is loaded when it answers."""
        del key  # Ollama has none
        self._end_load()
        self._forget()
        env = self._program.environment(self._environment(port))

        def read(lines: list[str]) -> None:
            starter.on_lines(lines)
            self._tail = (*self._tail, *lines)[-TAIL_LINES:]
            self._answered = self._answered or any(answered_load(line) for line in lines)

        self._process = starter.launch([str(self._program.path), "serve"], env, read)
        return self._process

    def answers(self, port: int, key: str) -> bool:
        """Whether the model is loaded; the first answer of the server begins the load.

        Raises:
            EngineError: The model could not be loaded.
        """
        del key
        if self._load is None:
            api = OllamaApi(self.url(port))
            if api.alive() and self.served_model is not None:
                self._load = OllamaLoad(api, self.served_model, {})
            return False
        if not self._load.done:
            self._memory.look()
            return False
        if (error := self._load.error) is None:
            return True
        self._raise_failure(error)
        return False

    def _raise_failure(self, error: EngineError) -> None:
        """Tell why the load failed, when all that was said of it is read.

        Raises:
            EngineError: Always, but for a server that is ending: its end is told instead.
        """
        now_s = time.monotonic()
        if self._failed_s is None:
            self._out_of_memory = self._memory.ran_out()
        self._failed_s = self._failed_s or now_s
        waited_s = now_s - self._failed_s
        if isinstance(error, OllamaGoneError) and waited_s < GONE_S:
            return  # the connection broke: the process is about to end
        if not isinstance(error, OllamaToldError):
            raise error
        if not self._answered and waited_s < LOG_S:
            return
        failure = load_failure(
            error.words,
            self._log,
            self._tail,
            self._shown,
            out_of_memory=self._out_of_memory,
        )
        raise EngineError(failure.message, failure.hint, details="\n".join(failure.log_tail))

    def read_line(self, line: str) -> LogEvent | None:
        """What a line of its log says, with the names of the cards that were meant."""
        event = read_ollama_line(line)
        own = starts_own_engine(line)
        self._own_engine = self._own_engine if own is None else own
        if is_old_buffer(line) and not self._own_engine:
            return None  # an estimate; llama.cpp says itself what it takes
        if isinstance(event, DeviceUsed):
            event = self._meant(event)
        elif isinstance(event, BufferSeen) and event.device in self._renamed:
            event = replace(event, device=self._renamed[event.device])
        if event is not None:
            self._log = add_event(self._log, event)
        return event

    def _meant(self, used: DeviceUsed) -> DeviceUsed:
        """A device under the name of the card that has its address."""
        wanted = self._names_by_pci.get(used.pci or "")
        if used.pci is None or not self._names_by_pci or wanted == used.name:
            return used
        name = wanted or f"{used.name} at {used.pci}"
        self._renamed[used.name] = name
        return replace(used, name=name)

    def helper_failure(self, tail: Sequence[str]) -> Failure | None:
        """The server that lends the processor ended."""
        return lender_failure(self._lender, tail)

    def close(self) -> None:
        """Give up a load, and end the server that lends the processor."""
        self._end_load()
        if self._lender is not None:
            self._lender.stop()

    def _end_load(self) -> None:
        if self._load is not None:
            self._load.cancel()
            self._load = None
