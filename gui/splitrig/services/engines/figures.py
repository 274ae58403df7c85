"""Asks running engines what they have counted, whoever their clients are, for the graphs."""

import http.client
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from splitrig.core.errors import EngineError
from splitrig.core.metrics import EngineCounts, EngineRates, rates, read_counts
from splitrig.services.mailbox import Mailbox

EVERY_S = 1.0
TIMEOUT_S = 2.0
MOST_BYTES = 4 * 2**20
"""vLLM's answer takes 50 kB."""
PATH = "/metrics"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFigures:
    """What an engine did since the last look.

    Attributes:
        slot: Which of several engines, from 1.
        rates: Speeds and queue; all `None` after an answer that could not be had.
    """

    slot: int
    rates: EngineRates


class FiguresReader:
    """One thread that looks at all engines that are followed.

    Posts `EngineFigures` from the second look on. An engine without such figures (404) is asked
    once.
    """

    def __init__(self, mailbox: Mailbox, *, every_s: float = EVERY_S) -> None:
        self._mailbox = mailbox
        self._every_s = every_s
        self._lock = threading.Lock()
        self._followed: dict[int, str] = {}
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def follow(self, engines: Mapping[int, str]) -> None:
        """Look at exactly these from now on; never blocks.

        Args:
            engines: Base addresses of the engines that are ready, by slot.
        """
        with self._lock:
            self._followed = dict(engines)
            if engines and self._thread is None and not self._closing.is_set():
                self._thread = threading.Thread(target=self._run, name="engine figures")
                self._thread.start()
        self._wake.set()

    def close(self) -> None:
        """End the thread; blocks for at most `TIMEOUT_S`."""
        self._closing.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        seen: dict[int, tuple[str, EngineCounts]] = {}
        silent: set[tuple[int, str]] = set()
        while not self._closing.is_set():
            self._wake.clear()  # before looking, so that no change is missed
            with self._lock:
                followed = dict(self._followed)
            seen = {slot: last for slot, last in seen.items() if followed.get(slot) == last[0]}
            silent &= set(followed.items())
            for slot, url in followed.items():
                if (slot, url) in silent or self._closing.is_set():
                    continue
                counts = self._look(url)
                if counts is None:
                    silent.add((slot, url))
                    continue
                if slot in seen:
                    if counts.time_s - seen[slot][1].time_s < self._every_s / 2:
                        continue  # woken for another engine: too short to tell a speed
                    between = rates(seen[slot][1], counts)
                    self._mailbox.post(EngineFigures(slot=slot, rates=between))
                seen[slot] = (url, counts)
            # without an engine to look at it sleeps until there is one
            self._wake.wait(self._every_s if set(followed.items()) - silent else None)

    def _look(self, url: str) -> EngineCounts | None:
        """What one engine has counted; `None` when it never says."""
        parts = urlsplit(url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
        try:
            connection.request("GET", PATH)
            answer = connection.getresponse()
            if answer.status == http.client.NOT_FOUND:
                return None
            body = answer.read(MOST_BYTES) if answer.status == http.client.OK else b""
            return read_counts(body.decode("utf-8", errors="replace"), time.monotonic())
        except (OSError, http.client.HTTPException, EngineError):
            # it may be loading or ending: nothing is known, and it is asked again
            return EngineCounts(time_s=time.monotonic())
        finally:
            connection.close()
