"""Drains the mailbox on the GUI thread and hands each value to who listens for its type."""

from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from PySide6.QtCore import QObject, Qt, QTimer, Slot

from splitrig.services.mailbox import Mailbox

T = TypeVar("T")


class Pump(QObject):
    """One timer between the services' threads and the window.

    A window that is slow skips readings; nothing queues up, because the mailbox is bounded. An
    error in a listener reaches `sys.excepthook`; what follows is delivered with the next tick.
    """

    def __init__(self, mailbox: Mailbox, *, interval_ms: int = 33) -> None:
        super().__init__()
        self._mailbox = mailbox
        self._listeners: dict[type, list[Callable[[Any], None]]] = {}
        self._due: deque[tuple[Callable[[Any], None], object]] = deque()
        self._timer = QTimer(self)
        self._timer.setTimerType(Qt.TimerType.CoarseTimer)
        self._timer.setInterval(interval_ms)
        self._timer.timeout.connect(self.drain)

    def listen(self, kind: type[T], listener: Callable[[T], None]) -> None:
        """Call `listener` on the GUI thread with every posted value of exactly this type."""
        self._listeners.setdefault(kind, []).append(listener)

    def start(self) -> None:
        """Begin draining."""
        self._timer.start()

    def stop(self) -> None:
        """Stop draining; what is posted from now on stays in the box."""
        self._timer.stop()

    @Slot()
    def drain(self) -> None:
        """Deliver everything that is in the mailbox now."""
        # What a listener that failed left over comes first; the box stays the bound meanwhile.
        if not self._due:
            for item in self._mailbox.drain():
                self._due.extend(
                    (listener, item) for listener in self._listeners.get(type(item), ())
                )
        while self._due:
            listener, item = self._due.popleft()
            listener(item)
