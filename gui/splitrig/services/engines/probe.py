"""Short runs of a program that ask it what it is; like an engine, none outlives this program."""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from splitrig.core.errors import EngineError
from splitrig.services.engines.process import EngineProcess, launch

PROBE_TIMEOUT_S = 20
PROBE_LINES = 5000
"""Kept of a probe's output; the longest help has some 500."""

Cancelled = Callable[[], bool]
"""Asked while something waits: whether to give it up."""


class ProbeCancelledError(EngineError):
    """A probe was given up because nobody wants its answer any more."""


class ProbeTimeoutError(EngineError):
    """A probe did not end in time."""


def never() -> bool:
    """Nobody gives up."""
    return False


def probe(
    command: Sequence[str],
    env: Mapping[str, str],
    *,
    way_out: str,
    cancelled: Cancelled = never,
    timeout_s: float | None = None,
) -> tuple[int, str]:
    """Run a program to its end; blocks until then.

    Args:
        command: Program and arguments.
        env: The whole environment of the child.
        way_out: What the user can do when it does not run.
        cancelled: Asked meanwhile whether to give up.
        timeout_s: Longest time, seconds; `None` means `PROBE_TIMEOUT_S`.

    Returns:
        Its exit code, and the last `PROBE_LINES` lines of standard output and error.

    Raises:
        ProbeCancelledError: It was given up.
        ProbeTimeoutError: It did not end in time.
        EngineError: It cannot be run, or a signal ended it.
    """
    path = Path(command[0])
    limit_s = PROBE_TIMEOUT_S if timeout_s is None else timeout_s
    lines: deque[str] = deque(maxlen=PROBE_LINES)
    process = launch(command, env, lines.extend)
    try:
        in_time = wait_until(process, cancelled, limit_s)
        code = process.poll()
    finally:
        process.stop()
        process.close()
    if code is None and in_time:
        raise ProbeCancelledError(f"{path.name} was not waited for.")
    if code is None:
        raise ProbeTimeoutError(
            f"{path.name} did not answer within {limit_s:g} s.",
            f"A driver may hang; restart the machine. {way_out}",
        )
    last = next((line for line in reversed(lines) if line.strip()), "no output").strip()
    if last.startswith(f"guard: {path}: "):
        reason = last.removeprefix(f"guard: {path}: ")
        raise EngineError(f"{path} cannot be run: {reason}.", way_out)
    if code < 0:
        why = "needs processor features this machine lacks" if code == -4 else (
            f"ended with signal {-code}")  # fmt: skip
        raise EngineError(f"{path} {why}.", way_out)
    text = "\n".join(lines)
    if code == 127 or "error while loading shared libraries" in text:
        raise EngineError(f"{path} does not start: {last}.", way_out)
    return code, text


def wait_until(process: EngineProcess, enough: Cancelled, timeout_s: float) -> bool:
    """Wait for the end of a process, or until it is `enough`; false when the time is up."""
    deadline = time.monotonic() + timeout_s
    while process.poll() is None and not enough():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
