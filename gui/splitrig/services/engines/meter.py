"""Asks an engine now and then what it has counted, and turns that into rates."""

import http.client
import time
from contextlib import suppress
from dataclasses import dataclass

from splitrig.core.errors import EngineError
from splitrig.core.metrics import EngineCounts, EngineRates, rates, read_counts
from splitrig.core.share import LOOPBACK

EVERY_S = 1.0
TIMEOUT_S = 0.5
MOST_BYTES = 4 * 2**20
"""vLLM's answer has some 100 kB; what is longer is none."""


@dataclass(frozen=True, slots=True)
class EngineMetered:
    """How fast an engine works, whoever asks it."""

    slot: int
    rates: EngineRates


class Meter:
    """One engine's `/metrics`; gives up for good when that is no Prometheus text.

    Args:
        port: TCP port.
        key: Bearer token.
        host: Address of this machine on which it listens.
    """

    def __init__(self, port: int, key: str, host: str = LOOPBACK) -> None:
        self._host, self._port = host, port
        self._headers = {"Authorization": f"Bearer {key}"}
        self._before: EngineCounts | None = None
        self._next_s = 0.0
        self._useless = False

    def look(self) -> EngineRates | None:
        """Rates since the last look; `None` when it is not yet time, or nothing was told.

        Blocks for some ms, for at most about `TIMEOUT_S`.
        """
        now_s = time.monotonic()
        if self._useless or now_s < self._next_s:
            return None
        self._next_s = now_s + EVERY_S
        text = self._fetch()
        if text is None:
            return None
        try:
            counts = read_counts(text, time.monotonic())
        except EngineError:
            self._useless = True
            return None
        before, self._before = self._before, counts
        return rates(before, counts) if before is not None else None

    def _fetch(self) -> str | None:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_S)
        try:
            with suppress(OSError, http.client.HTTPException):
                connection.request("GET", "/metrics", headers=self._headers)
                answer = connection.getresponse()
                body = answer.read(MOST_BYTES)
                return body.decode("utf-8", "replace") if answer.status == http.client.OK else None
            return None
        finally:
            connection.close()
