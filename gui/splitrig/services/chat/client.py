"""Asks an engine, in the dialect it speaks, and streams its answer into the mailbox.

The standard library's `http.client` rather than httpx: it costs 0.06 s of import instead of
0.19 s at the first question, never asks the environment for a proxy between us and loopback, and
gives its socket from the first moment, so that Stop works while the engine still reads the prompt.
"""

import http.client
import itertools
import json
import logging
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from splitrig.core.chat import (
    Answer,
    AnswerPhase,
    AnswerStats,
    Message,
    count_delta,
    nothing_cached,
)
from splitrig.core.engine import Dialect
from splitrig.core.errors import ChatError
from splitrig.services.chat import failures
from splitrig.services.chat.dialects import SPEECHES, Speech, body_of
from splitrig.services.mailbox import Mailbox

log = logging.getLogger(__name__)

COALESCE_S = 0.066
"""Shortest time between two snapshots of one answer in the mailbox, seconds.

Text that grows fifteen times a second flows, and each time costs a layout on the machine that
computes the answer."""
CONNECT_TIMEOUT_S = 5.0
IDLE_TIMEOUT_S = 600.0
"""Longest silence, seconds: a batch of a long prompt takes minutes on a slow processor."""
READ_BYTES = 65536


class ChatClient:
    """Runs requests, each on its own threads, and posts `Answer` values.

    Every value carries the whole text so far: a value that the full mailbox drops costs a
    repaint, never a word. The last value of a request is FINISHED or FAILED, and nothing follows.
    """

    def __init__(self, mailbox: Mailbox, *, idle_timeout_s: float = IDLE_TIMEOUT_S) -> None:
        self._mailbox = mailbox
        self._idle_timeout_s = idle_timeout_s
        self._ids = itertools.count(1)
        self._running: dict[int, _Request] = {}
        self._lock = threading.Lock()

    def ask(
        self,
        url: str,
        api_key: str | None,
        messages: Sequence[Message],
        *,
        temperature: float | None = None,
        max_tokens: int | None = None,
        model: str | None = None,
        dialect: Dialect = Dialect.OPENAI,
        load_options: Mapping[str, Any] | None = None,
        first: bool = False,
    ) -> int:
        """Send a conversation; returns its request id at once.

        Args:
            url: Base address of the engine, such as `http://127.0.0.1:8137`.
            api_key: Bearer token, if it wants one.
            messages: The conversation, the question last.
            temperature: `None` leaves it to the engine.
            max_tokens: `None` leaves it to the engine.
            model: Name for engines that serve several models.
            dialect: How it is spoken to.
            load_options: What the model was loaded with, for engines that load on demand.
            first: Nobody has asked this engine anything since its load: its cache is empty.
        """
        body = body_of(
            dialect,
            messages,
            model=model,
            temperature=temperature,
            max_tokens=max_tokens,
            load_options=load_options or {},
        )
        request_id = next(self._ids)
        request = _Request(
            request_id,
            self._mailbox,
            url,
            api_key,
            body,
            SPEECHES[dialect],
            idle_timeout_s=self._idle_timeout_s,
            first=first,
        )
        with self._lock:
            self._running = {i: r for i, r in self._running.items() if r.alive}
            self._running[request_id] = request
        request.start()
        return request_id

    def cancel(self, request_id: int) -> None:
        """Hang up, which stops the engine's work; does not block. Harmless when it is over."""
        with self._lock:
            request = self._running.get(request_id)
        if request is not None:
            request.cancel()

    def close(self) -> None:
        """Hang up everywhere and join the threads."""
        with self._lock:
            requests = list(self._running.values())
            self._running = {}
        for request in requests:
            request.cancel()
        for request in requests:
            request.join()


class _Request:
    """One question: a thread that reads the stream and one that posts what was read."""

    def __init__(
        self,
        request_id: int,
        mailbox: Mailbox,
        url: str,
        api_key: str | None,
        body: bytes,
        speech: Speech,
        *,
        idle_timeout_s: float,
        first: bool,
    ) -> None:
        self._first = first
        self._mailbox = mailbox
        self._target = urlsplit(url)
        self._body = body
        self._speech = speech
        self._headers = {"Content-Type": "application/json", "Accept": speech.accepts}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._idle_timeout_s = idle_timeout_s
        self._answer = Answer(request_id=request_id)
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._stats = AnswerStats()
        self._said = threading.Lock()
        self._news = threading.Event()
        self._over = threading.Event()
        self._cancelled = threading.Event()
        self._socket: socket.socket | None = None
        self._reader = threading.Thread(target=self._run, name=f"chat-{request_id}")
        self._poster = threading.Thread(target=self._post, name=f"chat-{request_id}-post")

    @property
    def alive(self) -> bool:
        return self._reader.is_alive()

    def start(self) -> None:
        self._reader.start()

    def cancel(self) -> None:
        self._cancelled.set()
        sock = self._socket
        if sock is not None:
            # Closing alone does not wake a thread that waits in recv.
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def join(self) -> None:
        self._reader.join()

    def _run(self) -> None:
        """Reader: stream, then post the last word."""
        self._poster.start()
        error: ChatError | None
        try:
            error = self._talk()
        except Exception as unexpected:
            log.exception("chat request failed")
            error = ChatError(
                "The answer broke off on an error in this program.",
                "Regenerate it; the log has the details.",
                details=repr(unexpected),
            )
        self._over.set()
        self._news.set()
        self._poster.join()
        complete = error is None and self._stats.finish_reason is not None
        if self._cancelled.is_set() and not complete:
            self._stats = replace(self._stats, finish_reason="cancelled")
            error = None
        phase = AnswerPhase.FINISHED if error is None else AnswerPhase.FAILED
        self._mailbox.post(replace(self._snapshot(), phase=phase, error=error))

    def _post(self) -> None:
        """Poster: the first token at once, then at most one snapshot every `COALESCE_S`."""
        while True:
            self._news.wait()
            self._news.clear()
            if self._over.is_set():
                return
            self._mailbox.post(self._snapshot())
            self._over.wait(COALESCE_S)

    def _snapshot(self) -> Answer:
        with self._said:
            # Joined once, kept as one piece: the next snapshot only adds the new ones.
            self._text = ["".join(self._text)]
            self._reasoning = ["".join(self._reasoning)]
            return replace(
                self._answer,
                text=self._text[0],
                reasoning=self._reasoning[0],
                stats=self._stats,
            )

    def _talk(self) -> ChatError | None:
        """Send and read to the end; `None` when the answer is complete."""
        target = self._target
        port = target.port or (443 if target.scheme == "https" else 80)
        kind = (
            http.client.HTTPSConnection if target.scheme == "https" else http.client.HTTPConnection
        )
        connection = kind(target.hostname or "127.0.0.1", port, timeout=CONNECT_TIMEOUT_S)
        try:
            connection.connect()
            self._socket = connection.sock
            if self._cancelled.is_set():
                return None
            connection.sock.settimeout(self._idle_timeout_s)
            return self._exchange(connection)
        except ConnectionRefusedError:
            return failures.refused(port)
        except TimeoutError as timeout:
            if self._socket is None:
                return failures.unreachable(port, repr(timeout))
            return failures.silent(self._idle_timeout_s)
        except (OSError, http.client.HTTPException) as reason:
            if self._socket is None:
                return failures.unreachable(port, repr(reason))
            return failures.broke_off(self._stats, repr(reason))
        except ChatError as error:
            return error
        finally:
            self._socket = None
            connection.close()

    def _exchange(self, connection: http.client.HTTPConnection) -> ChatError | None:
        sent_at = time.monotonic()
        speech = self._speech
        path = f"{self._target.path.rstrip('/')}{speech.path}"
        connection.request("POST", path, self._body, self._headers)
        with connection.getresponse() as response:
            if response.status != http.client.OK:
                body = response.read(READ_BYTES)
                return failures.http_error(response.status, body, speech.read_error)
            stream = speech.stream()
            while chunk := response.read1(READ_BYTES):
                for data in stream.feed(chunk):
                    if data == speech.end:
                        return None
                    self._hear(data, sent_at)
            for data in stream.close():
                if data != speech.end:
                    self._hear(data, sent_at)
        if self._stats.finish_reason is None:
            return failures.broke_off(self._stats, "The stream ended without a finish reason.")
        return None

    def _hear(self, data: str, sent_at: float) -> None:
        """Take in one piece of the stream.

        Raises:
            ChatError: It is no JSON, or the engine reports an error in it.
        """
        try:
            delta = self._speech.read(json.loads(data))
        except (ValueError, RecursionError) as reason:
            raise failures.unreadable(self._stats, f"{reason}: {data[:500]}") from reason
        if self._first:
            delta = nothing_cached(delta)
        if delta.error is not None:
            raise failures.engine_error(delta.error, None, details=data[:2000])
        with self._said:
            if delta.text:
                self._text.append(delta.text)
            if delta.reasoning:
                self._reasoning.append(delta.reasoning)
            self._stats = count_delta(self._stats, delta, time.monotonic() - sent_at)
        self._news.set()
