"""What every source of readings offers, and how it says what went wrong."""

from collections.abc import Mapping
from typing import Protocol

from splitrig.core.errors import TelemetryError
from splitrig.core.gpu import GpuInfo, GpuSample, Note


class Source(Protocol):
    """One way to see cards: a driver's library or a vendor's tool.

    One thread at a time calls `probe` and `sample`, and both may block; `close` may come from
    another thread at any time.
    """

    @property
    def name(self) -> str:
        """Name on the command line, such as `nvml`; also in `GpuInfo.source`."""

    @property
    def interval_s(self) -> float:
        """Shortest time between two readings, seconds; 0 for a source that is always cheap."""

    @property
    def limit_s(self) -> float:
        """Longest time the source lets one call take, seconds; 0 if it sets no limit."""

    @property
    def notes(self) -> tuple[Note, ...]:
        """What there is to say about the source and its cards after the last call."""

    @property
    def needs_probe(self) -> bool:
        """The cards may be others than at the last `probe`, or it found none."""

    def probe(self) -> tuple[GpuInfo, ...]:
        """Look for cards from scratch; blocks.

        Raises:
            TelemetryError: The driver or tool is there and fails. A missing one is no error:
                no cards, and a note.
        """

    def sample(self) -> Mapping[str, GpuSample]:
        """Read every card found by the last `probe`, by card id; blocks.

        Raises:
            TelemetryError: Nothing could be read now.
        """

    def close(self) -> None:
        """End a call in progress where that is possible and let go of the driver; never blocks."""


class SourceFailedError(TelemetryError):
    """A source failed in a way it can describe.

    Attributes:
        note: The sentence and the way out, for the notes of the rig.
    """

    def __init__(self, note: Note) -> None:
        super().__init__(f"{note.message}.", note.detail)
        self.note = note
