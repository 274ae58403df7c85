"""The way of an engine's lines to whoever shows them: the last ones, and how many are missing."""

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

MOST_LINES = 1000
"""Lines kept between two posts; of a flood the window sees the last ones."""


@dataclass(frozen=True, slots=True)
class EngineLogLines:
    """New lines of an engine's output.

    Attributes:
        lines: As they were written.
        slot: Which of several engines; 0 for what is none.
        first: How many lines of this engine came before these; a gap to the end of the last
            ones was dropped on the way, wherever that was.
        source: Name of a server beside the engines; empty for an engine.
    """

    lines: tuple[str, ...]
    slot: int = 1
    first: int = 0
    source: str = ""


class LineFeed:
    """Takes lines on the thread that reads them and gives them away on another, never waiting."""

    def __init__(self, slot: int = 1, *, source: str = "", most_lines: int = MOST_LINES) -> None:
        self._slot, self._source = slot, source
        self._lock = threading.Lock()
        self._lines: deque[str] = deque(maxlen=most_lines)
        self._n_added = 0

    def add(self, lines: Sequence[str]) -> None:
        """Take lines in; the oldest make room."""
        with self._lock:
            self._n_added += len(lines)
            self._lines.extend(lines)

    def take(self) -> EngineLogLines | None:
        """Everything that came since the last time, or what is left of it; `None` for nothing."""
        with self._lock:
            lines = tuple(self._lines)
            self._lines.clear()
            first = self._n_added - len(lines)
        return EngineLogLines(lines, self._slot, first, self._source) if lines else None


class GapCounter:
    """Finds out how many lines of each engine never arrived."""

    def __init__(self) -> None:
        self._next: dict[tuple[int, str], int] = {}

    def skipped_before(self, news: EngineLogLines) -> int:
        """Lines missing between the last news of this engine and these.

        A feed that took the slot over counts from 0 again.
        """
        key = (news.slot, news.source)
        expected = self._next.get(key, 0)
        self._next[key] = news.first + len(news.lines)
        return news.first - expected if news.first >= expected else news.first
