"""One source in a thread of its own: when it is asked, and what it said last."""

import logging
import threading
import time

from splitrig.core.errors import TelemetryError
from splitrig.core.gpu import GpuInfo, Note, Severity
from splitrig.services.telemetry.merge import Reading
from splitrig.services.telemetry.source import Source, SourceFailedError

log = logging.getLogger(__name__)

REPROBE_S = 10.0
"""Time between two looks for cards while a source has none, fails, or saw them change."""
_EXPENSIVE = 3
"""An expensive source is looked through this many times less often."""
SILENT_S = 8.0
"""A source that does not answer a request for this long, beyond its own limit, is told of."""
_KEPT_INTERVALS = 3
"""Readings of an expensive source outlive this many of its intervals and one run to its limit, so
that a single slow run does not blank its cards."""


class Reader:
    """Reads one source, keeps the last reading, and survives whatever the source does.

    Args:
        source: The source; only this reader's thread calls `probe` and `sample`.
        news: Notified after every reading.
        reprobe_s: As `REPROBE_S`.
    """

    def __init__(
        self, source: Source, news: threading.Condition, reprobe_s: float = REPROBE_S
    ) -> None:
        self.cheap = source.interval_s <= 0
        self._reprobe_s = reprobe_s if self.cheap else _EXPENSIVE * reprobe_s
        self._asked_s: float | None = None
        self._source = source
        self._news = news
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._look = True
        self._looked_s = 0.0
        self._gpus: tuple[GpuInfo, ...] = ()
        self._reading: Reading | None = None
        self._good: Reading | None = None
        self._failure: Note | None = None
        self._probed = False
        # A call stuck in a driver cannot be ended from here; as a daemon it does not keep the
        # program from ending.
        self._thread = threading.Thread(
            target=self._run, name=f"telemetry {source.name}", daemon=True
        )

    @property
    def answered(self) -> bool:
        """The source has been read at least once, in whatever way that ended."""
        return self._reading is not None

    @property
    def asked(self) -> bool:
        """A request is open."""
        return self._asked_s is not None

    def start(self) -> None:
        """Start reading; an expensive source is read at once, a cheap one when asked."""
        self._thread.start()

    def ask(self) -> None:
        """Request a reading; a request that is still open is not doubled."""
        self._open_request()
        self._wake.set()

    def _open_request(self) -> None:
        if self._asked_s is None:
            self._asked_s = time.monotonic()

    def refresh(self) -> None:
        """Look for cards from scratch with the next reading, which is now."""
        self._look = True
        self.ask()

    def stop(self) -> None:
        """End the thread, and the call it is in if the source can; does not wait."""
        self._stopping.set()
        self._wake.set()
        self._source.close()

    def join(self, timeout_s: float) -> None:
        """Wait for the thread at most this long, seconds."""
        if self._thread.ident is not None:
            self._thread.join(max(timeout_s, 0.0))
            if self._thread.is_alive():
                log.warning("%s hangs and is left behind", self._thread.name)

    def reading(self, now_s: float) -> Reading:
        """The last reading; while a request is open too long, that the source is silent."""
        patience_s = SILENT_S + self._source.limit_s
        asked_s = self._asked_s
        if asked_s is not None and now_s - asked_s > patience_s:
            return self._silent(patience_s)
        return self._reading or Reading(time_s=now_s)

    def only_reading(self, waited_s: float) -> Reading:
        """The reading, however old; without one, that the source did not answer in this time."""
        return self._reading or self._silent(waited_s)

    def _silent(self, waited_s: float) -> Reading:
        name = {"nvml": "The NVIDIA driver"}.get(self._source.name, self._source.name)
        note = Note(
            id=f"{self._source.name}-silent",
            severity=Severity.WARNING,
            message=f"{name} has not answered for more than {waited_s:g} s",
            detail="Its cards are shown without readings until it answers. If it stays so, "
            "restart the machine.",
        )
        return Reading(time_s=time.monotonic(), gpus=self._gpus, notes=(note,))

    def _run(self) -> None:
        while not self._stopping.is_set():
            if self.cheap:
                self._wake.wait()
            self._wake.clear()
            if self._stopping.is_set():
                return
            self._open_request()
            reading = self._read()
            with self._news:
                self._reading = reading
                self._asked_s = None
                self._news.notify_all()
            if not self.cheap:
                self._wake.wait(self._source.interval_s)

    def _read(self) -> Reading:
        try:
            self._good = self._read_source()
        except SourceFailedError as error:
            return self._failed(error.note)
        except TelemetryError as error:
            return self._failed(self._note(error.message.rstrip("."), error.hint))
        except Exception as error:
            problem = f"Reading {self._source.name} failed: {type(error).__name__}"
            note = self._note(problem, "The log has the details.")
            if note != self._failure:
                log.exception("%s failed", self._source.name)
            return self._failed(note)
        self._failure = None
        return self._good

    def _read_source(self) -> Reading:
        """Look for cards if that is due, then read them; after a failed look nothing is read."""
        now_s = time.monotonic()
        unsettled = self._source.needs_probe or not self._probed
        due = unsettled and now_s - self._looked_s >= self._reprobe_s
        if self._look or due:
            self._look = self._probed = False
            self._looked_s = now_s
            self._gpus = self._source.probe()
            self._probed = True
        elif not self._probed and self._failure is not None:
            raise SourceFailedError(self._failure)
        samples = tuple(self._source.sample().values())
        return Reading(
            time_s=time.monotonic(), gpus=self._gpus, samples=samples, notes=self._source.notes
        )

    def _failed(self, note: Note) -> Reading:
        """Known cards stay in view; their readings too, until they are too old to tell anything."""
        self._failure = note
        now_s = time.monotonic()
        kept_s = _KEPT_INTERVALS * self._source.interval_s + self._source.limit_s
        good = self._good
        kept = good.samples if good is not None and now_s - good.time_s < kept_s else ()
        return Reading(time_s=now_s, gpus=self._gpus, samples=kept, notes=(note,))

    def _note(self, message: str, detail: str) -> Note:
        return Note(
            id=f"{self._source.name}-failed",
            severity=Severity.WARNING,
            message=message,
            detail=detail,
        )
