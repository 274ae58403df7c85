"""The one way from a service's thread to whoever shows its news."""

import threading
from collections import deque


class Mailbox:
    """A bounded queue of frozen values; when full the oldest is dropped and counted.

    Any thread may post; one consumer drains. Nothing here blocks for longer than a deque
    operation.

    Attributes:
        dropped: Values lost because nobody drained in time.
    """

    def __init__(self, capacity: int = 4096) -> None:
        self._items: deque[object] = deque(maxlen=capacity)
        self._lock = threading.Lock()
        self.dropped = 0

    def post(self, item: object) -> None:
        """Add a value; drops the oldest one when the box is full."""
        with self._lock:
            if len(self._items) == self._items.maxlen:
                self.dropped += 1
            self._items.append(item)

    def drain(self) -> list[object]:
        """Take everything that is in the box, oldest first."""
        with self._lock:
            items = list(self._items)
            self._items.clear()
        return items
