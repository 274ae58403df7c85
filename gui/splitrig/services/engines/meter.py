"""Asks an engine now and then what it has counted, and turns that into rates."""

import http.client
import io
import socket
import time
from contextlib import suppress
from dataclasses import dataclass

from splitrig.core.errors import EngineError
from splitrig.core.metrics import EngineCounts, EngineRates, rates, read_counts
from splitrig.core.share import LOOPBACK

EVERY_S = 1.0
SELDOM_S = 30.0
"""Longest time between two looks at an engine that tells nothing."""
PATIENCE_S = 10.0
"""A long prompt on a slow machine keeps an engine from answering for as long as this."""
TIMEOUT_S = 0.5
MOST_BYTES = 4 * 2**20
"""vLLM's answer has some 100 kB; what is longer is none."""
_CHUNK_BYTES = 2**16


@dataclass(frozen=True, slots=True)
class EngineMetered:
    """How fast an engine works, whoever asks it; all rates are `None` when it stopped telling."""

    slot: int
    rates: EngineRates


class Meter:
    """One engine's `/metrics`; gives up for good when that is no Prometheus text.

    An engine that does not answer is asked ever more seldom.

    Attributes:
        problem: Why the figures cannot be read, one sentence; empty while they can, or when they
            could a moment ago.
    """

    def __init__(
        self, port: int, key: str, host: str = LOOPBACK, *, patience_s: float = PATIENCE_S
    ) -> None:
        """Look at nothing yet.

        Args:
            port: TCP port.
            key: Bearer token.
            host: Address of this machine on which it listens.
            patience_s: So long it may keep silent before that is a problem.
        """
        self._address = (host, port)
        self._request = (
            f"GET /metrics HTTP/1.1\r\nHost: {host}:{port}\r\n"
            f"Authorization: Bearer {key}\r\nConnection: close\r\n\r\n"
        ).encode()
        self._patience_s = patience_s
        self._before: EngineCounts | None = None
        self._next_s = 0.0
        self._useless = False
        self._missing_since_s: float | None = None
        self.problem = ""

    def look(self) -> EngineRates | None:
        """Rates since the last look; `None` when it is not yet time, or nothing was told.

        Once they cannot be read any more, rates that are all `None`.
        Blocks for some ms, for at most about `TIMEOUT_S`.
        """
        now_s = time.monotonic()
        if self._useless or now_s < self._next_s:
            return None
        self._next_s = now_s + EVERY_S
        try:
            counts = read_counts(self._fetch(), time.monotonic())
        except EngineError as error:
            self._useless = True
            return self._told_nothing(error.message)
        except (OSError, http.client.HTTPException) as error:
            return self._missed(now_s, error)
        self._missing_since_s = None
        self.problem = ""
        before, self._before = self._before, counts
        return rates(before, counts) if before is not None else None

    def _missed(
        self, now_s: float, error: OSError | http.client.HTTPException
    ) -> EngineRates | None:
        if self._missing_since_s is None:
            self._missing_since_s = now_s
        missing_s = now_s - self._missing_since_s
        if missing_s < self._patience_s:
            return None
        self._next_s = now_s + min(max(missing_s, EVERY_S), SELDOM_S)
        why = str(error) or type(error).__name__
        return self._told_nothing(f"The engine's figures cannot be read: {why}.")

    def _told_nothing(self, problem: str) -> EngineRates | None:
        """Remember why; the first time what was told before is taken back."""
        first = not self.problem
        self.problem = problem
        return EngineRates(time_s=time.monotonic()) if first else None

    def _fetch(self) -> str:
        """The text of the answer.

        Raises:
            OSError: There is none in time.
            HTTPException: It is another one than 200, or none of HTTP.
        """
        answer = http.client.HTTPResponse(_Received(self._exchange()))  # type: ignore[arg-type]
        answer.begin()
        if answer.status != http.client.OK:
            raise http.client.HTTPException(f"it answers {answer.status} {answer.reason}".rstrip())
        return answer.read().decode("utf-8", "replace")

    def _exchange(self) -> bytes:
        """Everything it sends until it closes the connection, within `TIMEOUT_S` altogether."""
        end_s = time.monotonic() + TIMEOUT_S
        received = bytearray()
        with (
            suppress(TimeoutError),
            socket.create_connection(self._address, timeout=TIMEOUT_S) as connection,
        ):
            connection.sendall(self._request)
            # a timeout is one of each call, and bytes may come one by one
            while (left_s := end_s - time.monotonic()) > 0:
                connection.settimeout(left_s)
                chunk = connection.recv(_CHUNK_BYTES)
                if not chunk:
                    return bytes(received)
                received += chunk
                if len(received) > MOST_BYTES:
                    raise http.client.HTTPException("its answer has no end")
        raise TimeoutError(f"no answer within {TIMEOUT_S:g} s")


class _Received:
    """Stands for a socket whose bytes are all here."""

    def __init__(self, received: bytes) -> None:
        self._received = received

    def makefile(self, _mode: str) -> io.BytesIO:
        """What `http.client` reads from."""
        return io.BytesIO(self._received)
