"""Finding words in the lines shown, while lines come and go at the ends."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice


@dataclass(frozen=True, slots=True)
class Match:
    """One place where the words stand.

    Attributes:
        row: Line, counted from the oldest one shown.
        start: First character in the line's text.
        length: Characters.
    """

    row: int
    start: int
    length: int


class LogSearch:
    """Counts matches of all lines at once, and finds places of one line when it is asked for.

    Attributes:
        words: What is searched; empty finds nothing.
        match_case: Capitals count.
        total: Matches in all lines.
    """

    def __init__(self) -> None:
        self.words = ""
        self.match_case = False
        self.total = 0
        self._rows: deque[int] = deque()
        self._wanted = ""

    def look_for(self, words: str, *, match_case: bool, texts: Iterable[str]) -> None:
        """Search all lines anew."""
        self.words = words
        self.match_case = match_case
        self._wanted = words if match_case else words.lower()
        self.reset(texts)

    def reset(self, texts: Iterable[str]) -> None:
        """Search other lines for the same words."""
        self._rows.clear()
        self.total = 0
        self.extend(texts)

    def extend(self, texts: Iterable[str]) -> None:
        """Search lines that came behind the others."""
        if not self._wanted:
            return
        counts = [self._searched(text).count(self._wanted) for text in texts]
        self._rows.extend(counts)
        self.total += sum(counts)

    def _searched(self, text: str) -> str:
        """The text that is compared with the words; as long as the line itself."""
        if self.match_case:
            return text
        lowered = text.lower()
        # 'İ' becomes two characters; places in such a line would be off, so it is taken as it is.
        return lowered if len(lowered) == len(text) else text

    def drop(self, n_rows: int) -> None:
        """Forget the oldest lines."""
        for _ in range(min(n_rows, len(self._rows))):
            self.total -= self._rows.popleft()

    def starts(self, text: str) -> list[int]:
        """Where in a line the words begin; matches do not overlap."""
        if not self._wanted:
            return []
        searched = self._searched(text)
        found, at = [], searched.find(self._wanted)
        while at >= 0:
            found.append(at)
            at = searched.find(self._wanted, at + len(self._wanted))
        return found

    def row_after(self, row: int) -> int | None:
        """The nearest row from `row` on that has a match."""
        rows = enumerate(islice(self._rows, max(row, 0), None), max(row, 0))
        return next((at for at, count in rows if count), None)

    def row_before(self, row: int) -> int | None:
        """The nearest row up to `row` that has a match."""
        last = len(self._rows) - 1
        row = min(row, last)
        if row < 0:
            return None
        rows = enumerate(islice(reversed(self._rows), last - row, None))
        return next((row - back for back, count in rows if count), None)

    def ordinal(self, match: Match, text: str) -> int:
        """Which of all matches this one is, from 1 on."""
        before = sum(islice(self._rows, 0, match.row))
        return before + sum(start <= match.start for start in self.starts(text))
