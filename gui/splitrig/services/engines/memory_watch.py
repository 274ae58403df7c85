"""Whether the computer's memory ran out: what the kernel counts, and what was free at last."""

import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

EVERY_S = 0.5
LATELY_S = 5.0
"""A large process takes seconds to die after the kernel has counted it."""
LOW_SHARE = 0.02
"""Of the computer's memory; with less than this left the kernel is about to kill."""
PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")


class _Look(NamedTuple):
    """How it was at one moment; `kills` is `None` where nothing counts them."""

    time_s: float
    kills: int | None
    low: bool


class MemoryWatch:
    """Tells, after an engine was killed, whether that was for want of memory.

    Only what happened in the last seconds counts: whoever watches looks again and again. Of the
    kernel's counters that of our own control group is taken, to which the engine belongs; where it
    has none, that of the whole machine.
    """

    def __init__(self, *, proc: Path = PROC, cgroups: Path = CGROUPS) -> None:
        """Look for the first time.

        Args:
            proc: Stands for /proc.
            cgroups: Stands for /sys/fs/cgroup.
        """
        self._counters = tuple(_counters(proc, cgroups)) if sys.platform == "linux" else ()
        self._looks: deque[_Look] = deque()
        self._look(time.monotonic())

    def look(self) -> None:
        """Remember how it is now; reads two small files, at most twice a second."""
        now_s = time.monotonic()
        if now_s - self._looks[-1].time_s >= EVERY_S:
            self._look(now_s)

    def ran_out(self) -> bool:
        """Whether the kernel killed for want of memory lately, or hardly any was left."""
        before, now = self._looks[0].kills, self._kills()
        killed = now is not None and before is not None and now > before
        return killed or any(look.low for look in self._looks)

    def _look(self, now_s: float) -> None:
        while self._looks and now_s - self._looks[0].time_s > LATELY_S:
            self._looks.popleft()
        memory = psutil.virtual_memory()
        low = memory.available < LOW_SHARE * memory.total
        self._looks.append(_Look(now_s, self._kills(), low))

    def _kills(self) -> int | None:
        """How often the kernel has killed; `None` where nothing counts that."""
        counts = (_count(path) for path in self._counters)
        return next((count for count in counts if count is not None), None)


def _counters(proc: Path, cgroups: Path) -> Iterator[Path]:
    """Files with a line `oom_kill N`, the nearest to us first."""
    for line in _text(proc / "self" / "cgroup").splitlines():
        number, controllers, path = (*line.split(":", 2), "", "")[:3]
        # inside a container the path is often that of the host, and its own group the root
        here = [path.lstrip("/"), ""]
        if number == "0":
            yield from (cgroups / name / "memory.events" for name in here)
        elif "memory" in controllers.split(","):
            yield from (cgroups / "memory" / name / "memory.oom_control" for name in here)
    yield proc / "vmstat"


def _count(path: Path) -> int | None:
    for line in _text(path).splitlines():
        name, _, number = line.partition(" ")
        if name == "oom_kill" and number.strip().isdigit():
            return int(number)
    return None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
