"""One source in a thread of its own: when it is asked, and what it said last."""

import logging
import threading
import time

from splitrig.core.errors import TelemetryError
from splitrig.core.gpu import Note, Severity
from splitrig.services.telemetry.merge import Reading
from splitrig.services.telemetry.source import Source, SourceFailedError

log = logging.getLogger(__name__)

REPROBE_S = 10.0
"""Time between two looks for cards while a source has none, fails, or saw them change."""
SILENT_S = 8.0
"""A source that has not answered for this long, beyond its own pace, is told of."""


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
        self._reprobe_s = reprobe_s
        self.cheap = source.interval_s <= 0
        self.asked = False
        self._source = source
        self._news = news
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._look = True
        self._looked_s = 0.0
        self._known = Reading(time_s=0.0)
        self._reading: Reading | None = None
        self._failure: Note | None = None
        self._started_s = time.monotonic()
        # A call stuck in a driver cannot be ended from here; as a daemon it does not keep the
        # program from ending.
        self._thread = threading.Thread(
            target=self._run, name=f"telemetry {source.name}", daemon=True
        )

    @property
    def answered(self) -> bool:
        """The source has been read at least once, in whatever way that ended."""
        return self._reading is not None

    def start(self) -> None:
        """Start reading; an expensive source is read at once, a cheap one when asked."""
        self._started_s = time.monotonic()
        self._thread.start()

    def ask(self) -> None:
        """Request a reading; a request that is still open is not doubled."""
        self.asked = True
        self._wake.set()

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
        """The last reading; an old one keeps its cards and says that the source is silent."""
        reading = self._reading
        since_s = self._started_s if reading is None else reading.time_s
        if now_s - since_s <= SILENT_S + 2 * self._source.interval_s:
            return reading or Reading(time_s=since_s)
        return self._silent(SILENT_S)

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
        return Reading(time_s=time.monotonic(), gpus=self._known.gpus, notes=(note,))

    def _run(self) -> None:
        while not self._stopping.is_set():
            if self.cheap:
                self._wake.wait()
            self._wake.clear()
            if self._stopping.is_set():
                return
            reading = self._read()
            with self._news:
                self._reading = reading
                self.asked = False
                self._news.notify_all()
            if not self.cheap:
                self._wake.wait(self._source.interval_s)

    def _read(self) -> Reading:
        try:
            return self._read_source()
        except SourceFailedError as error:
            return self._failed(error.note)
        except TelemetryError as error:
            return self._failed(self._note(error.message.rstrip("."), error.hint))
        except Exception as error:
            log.exception("%s failed", self._source.name)
            problem = f"Reading {self._source.name} failed: {type(error).__name__}"
            return self._failed(self._note(problem, "The log has the details."))

    def _read_source(self) -> Reading:
        now_s = time.monotonic()
        unsettled = self._source.needs_probe or self._failure is not None
        due = unsettled and now_s - self._looked_s >= self._reprobe_s
        if self._look or due:
            self._look = False
            self._looked_s = now_s
            self._known = Reading(time_s=now_s, gpus=self._source.probe())
        elif self._failure is not None:
            return self._failed(self._failure)
        samples = self._source.sample()
        self._failure = None
        return Reading(
            time_s=time.monotonic(),
            gpus=self._known.gpus,
            samples=tuple(samples.values()),
            notes=self._source.notes,
        )

    def _failed(self, note: Note) -> Reading:
        """Known cards stay in view without readings until the source works again."""
        self._failure = note
        return Reading(time_s=time.monotonic(), gpus=self._known.gpus, notes=(note,))

    def _note(self, message: str, detail: str) -> Note:
        return Note(
            id=f"{self._source.name}-failed",
            severity=Severity.WARNING,
            message=message,
            detail=detail,
        )
