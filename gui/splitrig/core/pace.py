"""How fast something arrives."""

from collections import deque

WINDOW_S = 5.0
"""Long enough for a steady number, short enough to show that a line became slow."""
_LEAST_S = 0.5


class Pace:
    """Speed over the last few seconds, from how much had arrived when.

    Times are seconds on any clock that only goes forward.
    """

    def __init__(self, window_s: float = WINDOW_S) -> None:
        self._window_s = window_s
        self._seen: deque[tuple[float, int]] = deque()

    def add(self, time_s: float, n_bytes: int) -> None:
        """So many bytes had arrived by then, in all."""
        self._seen.append((time_s, n_bytes))

    def bytes_s(self, now_s: float) -> float | None:
        """Bytes per second; 0 after a silence, `None` until half a second was watched."""
        # one from before the window stays, as its beginning
        while len(self._seen) > 1 and self._seen[1][0] <= now_s - self._window_s:
            self._seen.popleft()
        if not self._seen:
            return None
        begin_s, before = self._seen[0]
        begin_s = max(begin_s, now_s - self._window_s)
        if now_s - begin_s < _LEAST_S:
            return None
        return (self._seen[-1][1] - before) / (now_s - begin_s)
