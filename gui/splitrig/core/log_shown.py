"""Which lines are shown, which wait to be, and where the words stand that are looked for."""

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Sequence

from splitrig.core.log_lines import Level, LogLine, not_shown
from splitrig.core.log_ring import MOST_LINES, Numbered
from splitrig.core.log_search import LogSearch, Match


class ShownLines:
    """Rows of a text, oldest first, and lines that come in only when the reader is ready.

    Attributes:
        rows: Lines shown.
        waiting: Lines that follow them.
        search: What is looked for in the rows.
    """

    def __init__(self) -> None:
        self.rows: deque[Numbered] = deque()
        self.waiting: deque[Numbered] = deque()
        self.search = LogSearch()
        self._n_lost = 0
        self._current: tuple[int, int] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def reset(self, lines: Iterable[Numbered]) -> None:
        """Show other lines; nothing waits any more."""
        self.rows = deque(lines)
        self.waiting.clear()
        self._n_lost = 0
        self._current = None
        self.search.reset(line.text for _, line in self.rows)

    def hold(self, lines: Sequence[Numbered], first: int) -> None:
        """Let lines wait; those older than number `first` are not kept any more."""
        self.waiting.extend(lines)
        while self.waiting and self.waiting[0][0] < first:
            self.waiting.popleft()
            self._n_lost += 1

    def take_in(self, most: int | None = None) -> list[LogLine]:
        """Make rows of the next lines that wait, all or `most`; a gap is told of by a note."""
        n_lines = len(self.waiting) if most is None else min(most, len(self.waiting))
        lines = [self.waiting.popleft() for _ in range(n_lines)]
        if self._n_lost and self.rows:
            note = LogLine(Level.NOTE, not_shown(self._n_lost, in_file=False))
            lines.insert(0, (self.rows[-1][0], note))
        self._n_lost = 0
        self.rows.extend(lines)
        self.search.extend(line.text for _, line in lines)
        return [line for _, line in lines]

    def drop(self, n_rows: int) -> None:
        """Forget the oldest rows."""
        for _ in range(n_rows):
            self.rows.popleft()
        self.search.drop(n_rows)

    def n_before(self, first: int) -> int:
        """Rows older than number `first`."""
        return bisect_left(self.rows, first, key=lambda pair: pair[0])

    def n_over(self) -> int:
        """Rows beyond those there may be."""
        return max(len(self.rows) - MOST_LINES, 0)

    # Search

    def look_for(self, words: str, *, match_case: bool) -> None:
        """Look for other words."""
        texts = (line.text for _, line in self.rows)
        self.search.look_for(words, match_case=match_case, texts=texts)
        self._current = None

    @property
    def current(self) -> Match | None:
        """The match that was stepped to last, where it is now."""
        if self._current is None:
            return None
        number, start = self._current
        row = self.n_before(number)
        if row == len(self.rows) or self.rows[row][0] != number:
            return None
        return Match(row, start, len(self.search.words))

    def ordinal(self) -> int | None:
        """Which of all matches the current one is, from 1 on."""
        match = self.current
        return None if match is None else self.search.ordinal(match, self._text(match.row))

    def forget_current(self) -> None:
        """The reader goes elsewhere."""
        self._current = None

    def first_from(self, row: int) -> Match | None:
        """Step to the first match from a row on, or to the nearest one above it."""
        return self._stepped(self._after(row, -1) or self._before(row, 0))

    def step(self, *, forward: bool, row: int) -> Match | None:
        """Step to the next or previous match, and on from the other end.

        Args:
            forward: Towards the newest line.
            row: Where to begin without a current match.
        """
        at = self.current
        if forward:
            here = self._after(at.row, at.start) if at else self._after(row, -1)
            return self._stepped(here or self._after(0, -1))
        here = self._before(at.row, at.start) if at else self._before(row, 0)
        return self._stepped(here or self._before(len(self.rows), 0))

    def _stepped(self, match: Match | None) -> Match | None:
        self._current = None if match is None else (self.rows[match.row][0], match.start)
        return match

    def _text(self, row: int) -> str:
        return self.rows[row][1].text

    def _after(self, row: int, start: int) -> Match | None:
        """The first match behind a place."""
        length = len(self.search.words)
        if row < len(self.rows):
            for at in self._starts(row):
                if at > start:
                    return Match(row, at, length)
        found = self.search.row_after(row + 1)
        return None if found is None else Match(found, self._starts(found)[0], length)

    def _before(self, row: int, start: int) -> Match | None:
        """The last match before a place."""
        length = len(self.search.words)
        if row < len(self.rows):
            for at in reversed(self._starts(row)):
                if at < start:
                    return Match(row, at, length)
        found = self.search.row_before(row - 1)
        return None if found is None else Match(found, self._starts(found)[-1], length)

    def _starts(self, row: int) -> list[int]:
        return self.search.starts(self._text(row))
