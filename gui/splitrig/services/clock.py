"""The clock that readings and the history are stamped with."""

import sys
import time


def now_s() -> float:
    """Seconds on a clock that never steps back and goes on while the machine sleeps.

    `time.monotonic` stops in suspend on Linux, so a night of sleep would leave no hole in the
    graphs. Timeouts keep it: a sleeping machine keeps nobody waiting.
    """
    if sys.platform == "linux":
        seconds = time.clock_gettime(time.CLOCK_BOOTTIME)
    else:
        seconds = time.monotonic()
    return seconds
