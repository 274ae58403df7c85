"""Asks an Ollama: version, models, load, unload, pull, delete.

The standard library's `http.client` rather than the `ollama` package: a load or a pull that blocks
for minutes is given up from another thread at once, because the socket is ours from the first
moment; no proxy of the environment comes between us and loopback; and importing the package makes
a client of its own, which fails when `OLLAMA_HOST` has a value it cannot read.
"""

import http.client
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from splitrig.core import ollama_failure as failures
from splitrig.core.errors import ChatError, EngineError
from splitrig.core.ollama import FOREVER, full_name
from splitrig.core.ollama_chat import LineParser

CONNECT_S = 3.0
ANSWER_S = 15.0
"""Longest wait for answers that need no work of it, seconds."""
MOST_BYTES = 64 * 2**20
"""Of one answer; the list of a thousand models has less than 1 MiB."""
READ_BYTES = 65_536


class CallCancelledError(EngineError):
    """A call was given up because nobody wants its answer any more."""


class Call:
    """A handle to give up one call from another thread, at any moment of it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._cancelled = False

    @property
    def cancelled(self) -> bool:
        """Whether it was given up."""
        return self._cancelled

    def cancel(self) -> None:
        """Hang up; the call raises `CallCancelledError`. Harmless when it is over."""
        with self._lock:
            self._cancelled = True
            if self._socket is not None:
                # Closing alone does not wake a thread that waits in recv.
                with suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)

    def check(self) -> None:
        """Go on only if nobody gave it up.

        Raises:
            CallCancelledError: Somebody did.
        """
        if self._cancelled:
            raise CallCancelledError("The call to Ollama was given up.")

    def hold(self, sock: socket.socket) -> None:
        """Remember what to hang up.

        Raises:
            CallCancelledError: It was given up already.
        """
        with self._lock:
            self._socket = sock
        self.check()

    def release(self) -> None:
        """Forget it: it is closed from now on."""
        with self._lock:
            self._socket = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """A model an Ollama offers.

    Attributes:
        name: With its tag.
        n_bytes: Size of its files, bytes.
        family: Architecture, such as `llama`; empty where it does not say.
        parameters: Such as '134.52M'; empty where it does not say.
        quantization: Such as 'Q4_1'; empty where it does not say.
    """

    name: str
    n_bytes: int
    family: str = ""
    parameters: str = ""
    quantization: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A model an Ollama holds in memory.

    Attributes:
        name: With its tag.
        n_bytes: Everything it takes, bytes.
        on_cards_bytes: Of that, in the memory of cards (all of them together), bytes.
        n_ctx: Context, tokens; `None` in old versions.
        lasts_s: How long it stays without a request, counted from now, seconds; `None` until it
            is unloaded.
    """

    name: str
    n_bytes: int
    on_cards_bytes: int
    n_ctx: int | None = None
    lasts_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PullProgress:
    """How far a pull is.

    Attributes:
        status: In Ollama's words, such as 'pulling manifest'.
        digest: The part being fetched; empty between parts.
        total_bytes: Size of that part, bytes.
        done_bytes: Of it, here already, bytes.
    """

    status: str
    digest: str = ""
    total_bytes: int = 0
    done_bytes: int = 0


class OllamaApi:
    """One Ollama, by its address; every method blocks and may be called from any thread."""

    def __init__(self, url: str, *, answer_s: float = ANSWER_S) -> None:
        self.url = url.rstrip("/")
        self._answer_s = answer_s
        self._target = urlsplit(self.url)

    def version(self, timeout_s: float | None = None) -> str:
        """Its version, such as '0.32.15'.

        Raises:
            EngineError: Nothing answers, or something else than an Ollama.
        """
        version = self._get("/api/version", timeout_s).get("version")
        if not isinstance(version, str) or not version:
            raise failures.unreadable(self.url, "no version")
        return version

    def models(self) -> tuple[ServedModel, ...]:
        """The models it has, in its own order.

        Raises:
            EngineError: It does not answer.
        """
        found = []
        for entry in _entries(self._get("/api/tags"), "models"):
            details = entry.get("details")
            details = details if isinstance(details, dict) else {}
            found.append(
                ServedModel(
                    name=_text(entry, "name"),
                    n_bytes=_number(entry, "size") or 0,
                    family=_text(details, "family"),
                    parameters=_text(details, "parameter_size"),
                    quantization=_text(details, "quantization_level"),
                )
            )
        return tuple(model for model in found if model.name)

    def running(self, timeout_s: float | None = None) -> tuple[LoadedModel, ...]:
        """The models it holds in memory.

        Raises:
            EngineError: It does not answer.
        """
        entries = _entries(self._get("/api/ps", timeout_s), "models")
        return tuple(
            LoadedModel(
                name=_text(entry, "name"),
                n_bytes=_number(entry, "size") or 0,
                on_cards_bytes=_number(entry, "size_vram") or 0,
                n_ctx=_number(entry, "context_length"),
                lasts_s=_seconds_until(_text(entry, "expires_at")),
            )
            for entry in entries
        )

    def show(self, name: str) -> Mapping[str, Any]:
        """What it knows of a model: `details`, `model_info`, `capabilities`, `modelfile`, ….

        Raises:
            EngineError: It does not answer, or has no such model.
        """
        return self._one("POST", "/api/show", {"model": name}, "read the model", model=name)

    def load(
        self,
        name: str,
        options: Mapping[str, Any] | None = None,
        *,
        keep_alive: int | str = FOREVER,
        call: Call | None = None,
    ) -> None:
        """Load a model; blocks until it is loaded, for as long as that takes.

        Args:
            name: Of the model.
            options: Those of a run, such as `num_ctx`.
            keep_alive: How long it stays without a request, seconds or such as '5m'.
            call: To give it up, which makes Ollama stop loading.

        Raises:
            CallCancelledError: It was given up.
            EngineError: It could not be loaded.
        """
        body: dict[str, Any] = {"model": name, "stream": False, "keep_alive": keep_alive}
        if options:
            body["options"] = dict(options)
        self._one("POST", "/api/generate", body, "load the model", model=name, call=call, wait=None)

    def unload(self, name: str, timeout_s: float | None = None) -> None:
        """Let a model go; does nothing when it is not loaded.

        Raises:
            EngineError: It does not answer, or has no such model.
        """
        body = {"model": name, "stream": False, "keep_alive": 0}
        wait = self._answer_s if timeout_s is None else timeout_s
        self._one("POST", "/api/generate", body, "unload the model", model=name, wait=wait)

    def keep(
        self,
        name: str,
        options: Mapping[str, Any],
        seconds: float,
        timeout_s: float | None = None,
    ) -> None:
        """Let a loaded model stay for so long without a request.

        Args:
            name: Of the model.
            options: Those it was loaded with; others would load it anew.
            seconds: From now.
            timeout_s: Longest wait for the answer, seconds.

        Raises:
            EngineError: It does not answer, or has no such model.
        """
        body = {
            "model": name,
            "stream": False,
            "options": dict(options),
            "keep_alive": max(round(seconds), 1),
        }
        wait = self._answer_s if timeout_s is None else timeout_s
        self._one("POST", "/api/generate", body, "keep the model", model=name, wait=wait)

    def pull(
        self,
        name: str,
        on_progress: Callable[[PullProgress], None] | None = None,
        *,
        insecure: bool = False,
        call: Call | None = None,
    ) -> None:
        """Download a model; blocks until it is complete. A later pull goes on where one ended.

        Args:
            name: Of the model.
            on_progress: Called with each piece of news, on this thread.
            insecure: Allow a registry without TLS.
            call: To give it up.

        Raises:
            CallCancelledError: It was given up.
            EngineError: It could not be downloaded, also when Ollama began with success.
        """
        body = {"model": name, "stream": True} | ({"insecure": True} if insecure else {})
        complete = False
        for line in self._lines("POST", "/api/pull", body, "pull the model", name, call):
            status = _text(line, "status")
            complete = complete or status == "success"
            if on_progress is not None:
                on_progress(
                    PullProgress(
                        status=status,
                        digest=_text(line, "digest"),
                        total_bytes=_number(line, "total") or 0,
                        done_bytes=_number(line, "completed") or 0,
                    )
                )
        if not complete:
            raise failures.broke_off(self.url, "the stream ended without success")

    def delete(self, name: str) -> None:
        """Delete a model from its store.

        Raises:
            EngineError: It does not answer, or has no such model.
        """
        for _ in self._lines("DELETE", "/api/delete", {"model": name}, "delete the model", name):
            pass

    def alive(self, timeout_s: float = 2.0) -> bool:
        """Whether it answers as an Ollama does."""
        try:
            self.version(timeout_s)
        except EngineError:
            return False
        return True

    # How it is asked

    def _get(self, path: str, timeout_s: float | None = None) -> Mapping[str, Any]:
        wait = self._answer_s if timeout_s is None else timeout_s
        return self._one("GET", path, None, "answer", wait=wait)

    def _one(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        doing: str,
        *,
        model: str = "",
        call: Call | None = None,
        wait: float | None = ANSWER_S,
    ) -> Mapping[str, Any]:
        """The last line of an answer; most have only one."""
        last: Mapping[str, Any] = {}
        for line in self._lines(method, path, body, doing, model, call, wait):
            last = line
        return last

    def _lines(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        doing: str,
        model: str = "",
        call: Call | None = None,
        wait: float | None = None,
    ) -> Iterator[Mapping[str, Any]]:
        """The lines of an answer as they come; each an object without an error in it."""
        call = call or Call()
        with self._answer(method, path, body, call, wait) as response:
            if response.status != http.client.OK:
                raise self._refusal(response, doing, model)
            parser, n_bytes = LineParser(), 0
            while chunk := response.read1(READ_BYTES):
                n_bytes += len(chunk)
                if n_bytes > MOST_BYTES:
                    raise failures.unreadable(self.url, f"more than {MOST_BYTES} bytes")
                for line in parser.feed(chunk):
                    yield self._object(line, doing, model)
            for line in parser.close():
                yield self._object(line, doing, model)

    @contextmanager
    def _answer(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        call: Call,
        wait: float | None,
    ) -> Iterator[http.client.HTTPResponse]:
        """An answer, with every way a connection can fail turned into a sentence."""
        secure = self._target.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection = kind(
            self._target.hostname or "127.0.0.1",
            self._target.port or (443 if secure else 80),
            timeout=min(CONNECT_S, wait or CONNECT_S),
        )
        connected = False
        try:
            call.check()
            connection.connect()
            connected = True
            call.hold(connection.sock)
            connection.sock.settimeout(wait)
            data = json.dumps(body).encode() if body is not None else None
            headers = {"Content-Type": "application/json"} if data is not None else {}
            connection.request(method, f"{self._target.path}{path}", data, headers)
            with connection.getresponse() as response:
                yield response
        except CallCancelledError:
            raise
        except (OSError, http.client.HTTPException, ChatError) as error:
            if call.cancelled:
                raise CallCancelledError("The call to Ollama was given up.") from error
            raise self._failed(error, wait, connected=connected) from error
        finally:
            call.release()
            connection.close()

    def _failed(self, error: Exception, wait: float | None, *, connected: bool) -> EngineError:
        match error:
            case ChatError():
                return failures.unreadable(self.url, error.message)
            case ConnectionRefusedError():
                return failures.refused(self.url)
            case TimeoutError() if connected:
                return failures.silent(self.url, wait or 0)
            case TimeoutError():
                return failures.unreachable(self.url, f"no answer within {CONNECT_S:g} s")
            case OSError() if not connected:
                return failures.unreachable(self.url, error.strerror or str(error))
            case http.client.BadStatusLine() if not isinstance(
                error, http.client.RemoteDisconnected
            ):
                return failures.unreadable(self.url, repr(error))
        return failures.broke_off(self.url, repr(error))

    def _refusal(self, response: http.client.HTTPResponse, doing: str, model: str) -> EngineError:
        """What an answer other than 200 means."""
        body = response.read(READ_BYTES).decode("utf-8", errors="replace")
        if not failures.is_ollama_error(body):
            return failures.foreign(self.url, response.status, body)
        return self._told(failures.words_of(body), doing, model, response.status)

    def _told(self, words: str, doing: str, model: str, status: int | None) -> EngineError:
        if model and failures.says_not_found(words):
            there: list[str] = []
            if doing != "pull the model":
                with suppress(EngineError):
                    there = [served.name for served in self.models()]
                return failures.no_model(model, there)
            return EngineError(
                f"There is no model '{model}' to pull.", "Check its name at ollama.com/library."
            )
        return failures.told(doing, words, status)

    def _object(self, line: str, doing: str, model: str) -> Mapping[str, Any]:
        """One line of an answer.

        Raises:
            EngineError: It is no JSON object, or tells of an error.
        """
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise failures.unreadable(self.url, f"{error}: {line[:200]}") from error
        if not isinstance(value, dict):
            raise failures.unreadable(self.url, line[:200])
        if value.get("error"):
            raise self._told(failures.words_of(line), doing, model, None)
        return value


def holds(api: OllamaApi, name: str) -> LoadedModel | None:
    """The model of this name if it is loaded.

    Raises:
        EngineError: The Ollama does not answer.
    """
    wanted = full_name(name)
    return next((model for model in api.running() if full_name(model.name) == wanted), None)


def _seconds_until(moment: str) -> float | None:
    """Seconds until a moment as Go writes it; `None` for none, and for one 292 years away."""
    match = re.fullmatch(r"(\d{4})(-\S+?)(?:\.\d+)?(Z|[+-]\d\d:\d\d)", moment)
    if match is None or match[1] > "2200":
        return None
    try:
        at = datetime.fromisoformat(match[1] + match[2] + match[3])
    except ValueError:
        return None
    return max((at - datetime.now(UTC)).total_seconds(), 0.0)


def _entries(answer: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    value = answer.get(key)
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _text(of: Mapping[str, Any], key: str) -> str:
    value = of.get(key)
    return value if isinstance(value, str) else ""


def _number(of: Mapping[str, Any], key: str) -> int | None:
    value = of.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
