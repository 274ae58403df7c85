"""The last lines of all engines, bounded in number and in size, and what is chosen of them."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from splitrig.core.log_lines import Level, LogLine

MOST_LINES = 20_000
MOST_CHARS = 4_000_000
"""An engine that dumps prompts writes lines of thousands of characters."""

Numbered = tuple[int, LogLine]
"""A line with its number since the ring was made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFilter:
    """Which lines are shown.

    Attributes:
        least: Lines below this level are left out.
        source: Only lines of this engine; `None` shows all.
    """

    least: Level = Level.DEBUG
    source: str | None = None

    def takes(self, line: LogLine) -> bool:
        """Whether the line is shown."""
        return line.level >= self.least and (self.source is None or line.source == self.source)


class LogRing:
    """A bounded number of lines; the oldest make room for the new ones.

    Attributes:
        total: Lines added or skipped so far.
        first: Number of the oldest line that is still here.
    """

    def __init__(self, most_lines: int = MOST_LINES, most_chars: int = MOST_CHARS) -> None:
        self._lines: deque[LogLine] = deque()
        self._most_lines = most_lines
        self._most_chars = most_chars
        self._chars = 0
        self._counts: dict[str, list[int]] = {}
        self.first = 0
        self.total = 0

    def __len__(self) -> int:
        return len(self._lines)

    def __iter__(self) -> Iterator[LogLine]:
        return iter(self._lines)

    @property
    def sources(self) -> tuple[str, ...]:
        """Engines with lines here, by name."""
        return tuple(sorted(name for name, counts in self._counts.items() if any(counts)))

    def add(self, lines: Sequence[LogLine], n_skipped: int = 0) -> list[Numbered]:
        """Take lines in and give them their numbers.

        Args:
            lines: In their order.
            n_skipped: Lines that came before these and are not among them.
        """
        number = self.first + len(self._lines)
        numbered = list(enumerate(lines, number))
        self._lines.extend(lines)
        self.total += n_skipped
        for line in lines:
            counts = self._counts.get(line.source)
            if counts is None:
                counts = self._counts[line.source] = [0] * len(Level)
            counts[line.level] += 1
            self._chars += len(line.text)
            if line.level is not Level.NOTE:
                self.total += 1
        while len(self._lines) > self._most_lines or self._chars > self._most_chars:
            oldest = self._lines.popleft()
            self._counts[oldest.source][oldest.level] -= 1
            self._chars -= len(oldest.text)
            self.first += 1
        return numbered

    def chosen(self, wanted: LogFilter) -> list[Numbered]:
        """The lines a filter takes, oldest first."""
        numbered = enumerate(self._lines, self.first)
        if wanted == LogFilter():
            return list(numbered)
        return [pair for pair in numbered if wanted.takes(pair[1])]

    def count(self, wanted: LogFilter) -> int:
        """How many lines of the engines a filter takes; notes are no lines of theirs."""
        sources: Iterable[str] = self._counts if wanted.source is None else (wanted.source,)
        return sum(
            sum(self._counts.get(source, [0])[wanted.least : Level.NOTE]) for source in sources
        )
