"""Small helpers of these tests: who still runs, and waiting for a condition."""

import time
from collections.abc import Callable, Iterable

import psutil


def running(pids: Iterable[int]) -> list[int]:
    """Those that still run; a zombie holds neither memory nor a port."""
    found = []
    for pid in pids:
        try:
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                found.append(pid)
        except psutil.NoSuchProcess:
            continue
    return found


def seconds_until_gone(pids: Iterable[int], most_s: float = 2.0) -> float:
    """Seconds until none of them runs any more; fails when that takes longer than `most_s`."""
    pids, start = list(pids), time.monotonic()
    while left := running(pids):
        assert time.monotonic() - start < most_s, f"still running after {most_s} s: {left}"
        time.sleep(0.005)
    return time.monotonic() - start


def wait_for(condition: Callable[[], object], most_s: float = 10.0) -> None:
    """Wait until the condition holds."""
    deadline = time.monotonic() + most_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {most_s} s"
        time.sleep(0.005)
