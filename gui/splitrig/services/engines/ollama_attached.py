"""An Ollama that already runs, as an engine.

Nothing is started here, and nothing is stopped but what was loaded for us.
"""

import json
import os
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from splitrig.core.engine import Dialect, EngineDevice, EngineKind, Failure, LaunchRequest
from splitrig.core.engine_log import Holding, LoadLog, LogEvent
from splitrig.core.errors import EngineError
from splitrig.core.gpu import GpuInfo
from splitrig.core.ollama import FOREVER, address_url, attached_options, full_name, stay_home
from splitrig.core.ollama_failure import OllamaToldError, load_failure
from splitrig.core.ollama_log import held_line, placement_line, read_ollama_line
from splitrig.services.engines.engine import OnLines, Order, Starter
from splitrig.services.engines.log_file import LogFile
from splitrig.services.engines.ollama_api import LoadedModel, OllamaApi, holds
from splitrig.services.engines.ollama_load import OllamaLoad
from splitrig.services.engines.probe import Cancelled, never
from splitrig.services.engines.process import EngineProcess

ANSWER_S = 5.0
CHECK_EVERY_S = 1.0
CHECK_S = 1.0
"""Longest wait for one check, seconds."""
MOST_MISSES = 3
UNLOAD_S = 1.5
"""Longest wait for the answer to an unload, seconds; it is told at once and done later."""


def attached_url(chosen: str = "") -> str:
    """The address to ask: the one chosen, else `OLLAMA_HOST`, else Ollama's own.

    Raises:
        EngineError: It is no address.
    """
    return address_url(chosen or os.environ.get("OLLAMA_HOST", ""))


class OllamaAttached:
    """An Ollama at an address; its cards and their shares are not ours to choose."""

    kind = EngineKind.OLLAMA_ATTACHED

    def __init__(self, url: str) -> None:
        self.api = OllamaApi(url, answer_s=ANSWER_S)
        self._version: str | None = None

    @property
    def build(self) -> str | None:
        """Its version, if it was asked before; never blocks."""
        return self._version

    def check(self, cancelled: Cancelled = never) -> str:
        """Its version; asked each time, as it may have been replaced. Blocks for milliseconds.

        Raises:
            EngineError: It does not answer.
        """
        del cancelled
        self._version = self.api.version()
        return self._version

    def list_devices(
        self, gpus: Sequence[GpuInfo], model: Path | None, cancelled: Cancelled = never
    ) -> tuple[EngineDevice, ...]:
        """None: it does not say which cards it uses."""
        del gpus, model, cancelled
        return ()

    def preview(
        self, request: LaunchRequest, names: Sequence[str] | None, port: int
    ) -> tuple[str, ...]:
        """A command that does the same as a start."""
        del names, port
        return _load_command(self.api.url, request)

    def open(self, order: Order, on_lines: OnLines, cancelled: Cancelled = never) -> "AttachedRun":
        """Ask whether the model is there.

        Raises:
            EngineError: The server does not answer, or has no such model.
        """
        del on_lines, cancelled
        stay_home(order.request)
        version = self.check()
        if not order.request.model_name:
            raise EngineError(
                f"An Ollama that runs already cannot be given the file {order.request.model.name}.",
                "Add it there with 'ollama create', or let SplitRig start an Ollama for it.",
            )
        return AttachedRun(self.api, replace(order.request, port=0), version)


class AttachedRun:
    """One model of it, in use."""

    log_name = "ollama-attached"
    says_when_bound = False
    says_when_loaded = False
    takes_key = False
    has_metrics = False
    dialect = Dialect.OLLAMA
    device_names: tuple[str, ...] = ()

    def __init__(self, api: OllamaApi, request: LaunchRequest, version: str) -> None:
        self._api = api
        self._version = version
        self.request = request
        self.served_model: str | None = full_name(request.model_name)
        self._process: AttachedModel | None = None

    def command(self, port: int) -> tuple[str, ...]:
        """A command that does the same."""
        del port
        return _load_command(self._api.url, self.request)

    def url(self, port: int) -> str:
        """Its own address, whatever port was offered."""
        del port
        return self._api.url

    def start(self, port: int, key: str, starter: Starter) -> EngineProcess:
        """Begin to load the model.

        Raises:
            EngineError: The server does not answer, or has no such model.
        """
        del port, key
        self._process = AttachedModel(
            self._api, self.request, self._version, starter.on_lines, starter.log
        )
        return self._process

    def answers(self, port: int, key: str) -> bool:
        """Whether the model is loaded.

        Raises:
            EngineError: It could not be loaded.
        """
        del port, key
        return self._process is not None and self._process.loaded()

    def read_line(self, line: str) -> LogEvent | None:
        """What a line of ours says."""
        return read_ollama_line(line)

    def helper_failure(self, tail: Sequence[str]) -> Failure | None:
        """The server is gone."""
        del tail
        if self._process is None or not self._process.server_is_gone():
            return None
        return Failure(
            message=f"The Ollama at {self._api.url} does not answer any more.",
            hint="Start it again, then launch.",
        )

    def close(self) -> None:
        """Nothing is left: the model was let go with its process."""


class AttachedModel:
    """Stands for a process: a model that a server holds for us.

    It never ends by itself; whether the server is there is asked with `server_is_gone`.
    """

    def __init__(
        self,
        api: OllamaApi,
        request: LaunchRequest,
        version: str,
        on_lines: OnLines,
        log: LogFile | None,
    ) -> None:
        self._api = api
        self._name = request.model_name
        self._options = attached_options(request)
        self._version = version
        self._on_lines = on_lines
        self._log = log
        self._before = holds(api, self._name)
        self._load = OllamaLoad(api, self._name, self._options)
        self._told = False
        self._seen: LoadedModel | None = None
        self._was_gone = False
        self._ended = threading.Event()
        self._check_due_s = 0.0
        self._misses = 0

    @property
    def pid(self) -> int | None:
        """None: its process is not ours."""
        return None

    def poll(self) -> int | None:
        """0 after `stop`; `None` before."""
        return 0 if self._ended.is_set() else None

    def loaded(self) -> bool:
        """Whether the model is loaded; then what it takes is in the log.

        Raises:
            EngineError: It could not be loaded.
        """
        if not self._load.done:
            return False
        error = self._load.error
        if isinstance(error, OllamaToldError):
            failure = load_failure(error.words, LoadLog())
            raise EngineError(failure.message, failure.hint) from error
        if error is not None:
            raise error
        if not self._told:
            self._told = True
            self._seen = holds(self._api, self._name)
            self._tell([f"Ollama {self._version} at {self._api.url}", *self._said(self._seen)])
        return True

    def server_is_gone(self) -> bool:
        """Whether it failed to answer several times; asks once a second, for 1 s at most.

        What it holds by now is told in the log.
        """
        if time.monotonic() < self._check_due_s:
            return False
        try:
            self._follow(holds(self._api, self._name, CHECK_S))
            self._misses = 0
        except EngineError:
            self._misses += 1
        self._check_due_s = time.monotonic() + CHECK_EVERY_S
        return self._misses >= MOST_MISSES

    def _follow(self, model: LoadedModel | None) -> None:
        """Tell when another client, or the end of its time, has changed what is loaded."""
        if not self._told or _same(model, self._seen):
            return
        self._seen = model
        self._was_gone = self._was_gone or model is None
        self._tell(self._said(model))

    def stop(self) -> None:
        """Give up a load, and let the model go if it was not there before; 1.5 s at most."""
        if self._ended.is_set():
            return
        self._load.cancel()
        with suppress(EngineError):  # a server that is gone holds nothing
            if self._told and self._seen is None:
                pass  # it is gone, and to keep it would load it again
            elif self._before is None:
                self._api.unload(self._name, UNLOAD_S)
            elif (seconds := self._before.lasts_s) is not None:
                self._api.keep(self._name, self._options, seconds, UNLOAD_S)
        self._ended.set()

    def close(self) -> None:
        """Close the log."""
        if self._log is not None:
            self._log.close()

    def _said(self, model: LoadedModel | None) -> list[str]:
        """Lines on what the server holds for us."""
        if model is None:
            return [held_line(self._name, Holding.GONE)]
        lines = []
        if model.n_bytes:  # it counts nothing on the processor
            lines.append(placement_line(model.name, model.n_bytes, model.on_cards_bytes))
        how = Holding.BEFORE
        if self._before is None:
            how = Holding.AGAIN if self._was_gone else Holding.OURS
        lines.append(held_line(model.name, how))
        if model.n_ctx is not None:
            lines.append(f"{model.name} has a context of {model.n_ctx} tokens")
        return lines

    def _tell(self, lines: list[str]) -> None:
        """Put lines into the log."""
        if self._log is not None:
            self._log.write(("\n".join(lines) + "\n").encode())
        self._on_lines(lines)


def _same(one: LoadedModel | None, other: LoadedModel | None) -> bool:
    """Nothing was loaded, let go or loaded otherwise between two looks."""
    if one is None or other is None:
        return one is other
    return (one.n_bytes, one.on_cards_bytes, one.n_ctx) == (
        other.n_bytes, other.on_cards_bytes, other.n_ctx
    )  # fmt: skip


def _load_command(url: str, request: LaunchRequest) -> tuple[str, ...]:
    body = {
        "model": request.model_name,
        "keep_alive": FOREVER,
        "options": attached_options(request),
    }
    return ("curl", f"{url}/api/generate", "-d", json.dumps(body))
