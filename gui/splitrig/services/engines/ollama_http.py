"""Asks an Ollama over HTTP and turns every way that can fail into a sentence.

The standard library's `http.client` rather than the `ollama` package: a load or a pull that blocks
for minutes is given up from another thread at once, because the socket is ours from the first
moment; no proxy of the environment comes between us and loopback; and importing the package makes
a client of its own, which fails when `OLLAMA_HOST` has a value it cannot read, with a SOCKS proxy,
or a wrong `SSL_CERT_FILE`.
"""

import http.client
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from splitrig.core import ollama_failure as failures
from splitrig.core.errors import ChatError, EngineError
from splitrig.core.ollama_chat import LineParser

CONNECT_S = 3.0
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
class Ask:
    """One request.

    Attributes:
        method: Of HTTP.
        path: Below the address.
        doing: What it is for, such as 'load the model'.
        body: What is sent.
        call: To give it up.
        wait_s: Longest silence, seconds; `None` waits for as long as it takes.
    """

    method: str
    path: str
    doing: str
    body: Mapping[str, Any] | None = None
    call: Call | None = None
    wait_s: float | None = None


class OllamaHttp:
    """The connection to one Ollama; every request has its own."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._target = urlsplit(self.url)

    def last(self, ask: Ask) -> Mapping[str, Any]:
        """The last line of an answer; most have only one.

        Raises:
            EngineError: As for `lines`.
        """
        last: Mapping[str, Any] = {}
        for line in self.lines(ask):
            last = line
        return last

    def lines(self, ask: Ask) -> Iterator[Mapping[str, Any]]:
        """The lines of an answer as they come; each an object without an error in it.

        Raises:
            CallCancelledError: It was given up.
            OllamaToldError: Ollama says that something went wrong.
            EngineError: It does not answer, or something else does.
        """
        with self._answer(ask, ask.call or Call()) as response:
            if response.status != http.client.OK:
                raise self._refusal(response, ask.doing)
            parser, n_bytes = LineParser(), 0
            while chunk := response.read1(READ_BYTES):
                n_bytes += len(chunk)
                if n_bytes > MOST_BYTES:
                    raise failures.unreadable(self.url, f"more than {MOST_BYTES} bytes")
                for line in parser.feed(chunk):
                    yield self._object(line, ask.doing)
            for line in parser.close():
                yield self._object(line, ask.doing)

    @contextmanager
    def _answer(self, ask: Ask, call: Call) -> Iterator[http.client.HTTPResponse]:
        """An answer, with every way a connection can fail turned into a sentence."""
        secure = self._target.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection = kind(
            self._target.hostname or "127.0.0.1",
            self._target.port or (443 if secure else 80),
            timeout=min(CONNECT_S, ask.wait_s or CONNECT_S),
        )
        connected = False
        try:
            call.check()
            connection.connect()
            connected = True
            call.hold(connection.sock)
            connection.sock.settimeout(ask.wait_s)
            data = json.dumps(ask.body).encode() if ask.body is not None else None
            headers = {"Content-Type": "application/json"} if data is not None else {}
            connection.request(ask.method, f"{self._target.path}{ask.path}", data, headers)
            with connection.getresponse() as response:
                yield response
        except CallCancelledError:
            raise
        except (OSError, http.client.HTTPException, ChatError) as error:
            if call.cancelled:
                raise CallCancelledError("The call to Ollama was given up.") from error
            raise self._failed(error, ask.wait_s, connected=connected) from error
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

    def _refusal(self, response: http.client.HTTPResponse, doing: str) -> EngineError:
        """What an answer other than 200 means."""
        body = response.read(READ_BYTES).decode("utf-8", errors="replace")
        if not failures.is_ollama_error(body):
            return failures.foreign(self.url, response.status, body)
        return failures.told(doing, failures.words_of(body), response.status)

    def _object(self, line: str, doing: str) -> Mapping[str, Any]:
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
            raise failures.told(doing, failures.words_of(line))
        return value
