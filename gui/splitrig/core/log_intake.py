"""From raw lines of several engines to the ring, in portions that the window can bear."""

from collections import deque
from collections.abc import Sequence

from splitrig.core.log_lines import Level, LineReader, LogLine, file_ended, not_shown
from splitrig.core.log_ring import MOST_LINES, LogRing, Numbered


class LogIntake:
    """Lines queue here, as many as the ring would keep; what is passed over is counted.

    Attributes:
        ring: The lines taken in.
    """

    def __init__(self, ring: LogRing) -> None:
        self.ring = ring
        self._queue: deque[tuple[str, Sequence[str], int]] = deque()
        self._n_queued = 0
        self._missed: dict[str, int] = {}
        self._readers: dict[str, LineReader] = {}
        self._without_file: set[str] = set()

    @property
    def n_queued(self) -> int:
        """Lines that were not taken in yet."""
        return self._n_queued

    def push(self, lines: Sequence[str], source: str = "", skipped: int = 0) -> None:
        """Queue new lines of an engine.

        Args:
            lines: As it wrote them.
            source: Its name.
            skipped: Lines before these that never came.
        """
        self._queue.append((source, lines, skipped))
        self._n_queued += len(lines)
        while self._n_queued > MOST_LINES and len(self._queue) > 1:
            # a window that was held up for long does not work through what nobody will see
            name, old, before = self._queue.popleft()
            self._n_queued -= len(old)
            self._missed[name] = self._missed.get(name, 0) + len(old) + before

    def has_file_again(self, source: str) -> None:
        """A new run of this engine has a new file."""
        self._without_file.discard(source)

    def take(self, most: int) -> list[Numbered]:
        """Read the next lines into the ring, at most so many."""
        taken: list[Numbered] = []
        while self._queue and most > 0:
            source, lines, skipped = self._queue.popleft()
            if len(lines) > most:
                self._queue.appendleft((source, lines[most:], 0))
                lines = lines[:most]
            most -= len(lines)
            self._n_queued -= len(lines)
            skipped += self._missed.pop(source, 0)
            taken += self.ring.add(self._read(lines, source, skipped), skipped)
        return taken

    def _read(self, lines: Sequence[str], source: str, skipped: int) -> list[LogLine]:
        reader = self._readers.get(source)
        if reader is None:
            reader = self._readers[source] = LineReader(source)
        read = reader.read_all(lines)
        if skipped:
            text = not_shown(skipped, in_file=source not in self._without_file)
            read.insert(0, LogLine(Level.NOTE, text, source))
        if any(file_ended(line) for line in read):
            self._without_file.add(source)
        return read
