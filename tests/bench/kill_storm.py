"""`kill -9` of the program at random moments, over every kind of process tree.

`python tests/bench/kill_storm.py [N]`, or `./bench --kill N`. Each round forks a program that
starts an engine as SplitRig does, kills it up to 1.5 s later, in every other round together with
one half of the guard, and looks for anything that carries the round's mark in its environment.
"""

import os
import random
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "gui"), str(ROOT)]

from tests.bench.kill_engines import Start, engines  # noqa: E402
from tests.bench.kill_trees import trees  # noqa: E402

from splitrig.core.orphan import RunAbout  # noqa: E402 - after the path is set
from splitrig.services.engines.llama_server import find_llama_server  # noqa: E402
from splitrig.services.engines.orphans import find_orphans  # noqa: E402
from splitrig.services.engines.records import launch_recorded  # noqa: E402
from splitrig.services.models.demo import demo_model  # noqa: E402

MARK = "SPLITRIG_KILL_STORM"
LATEST_S = 1.5
MOST_S = 2.0
"""Longest that anything may live on."""
GIVE_UP_S = 5.0


@dataclass(frozen=True, slots=True)
class Round:
    """One kill.

    Attributes:
        kind: The tree.
        at_s: How long after the start of the launch.
        half_too: One half of the guard was killed in the same moment.
        seconds: Until nothing was left.
        left: Names of what was still there after `GIVE_UP_S`.
    """

    kind: str
    at_s: float
    half_too: bool
    seconds: float
    left: tuple[str, ...]


def launched(command: list[str], library_path: str) -> Start:
    """Starts a command as engines are, then looks after it."""

    def start(folder: Path) -> None:
        about = RunAbout(kind="storm")
        env = {**os.environ, "LD_LIBRARY_PATH": library_path}
        process = launch_recorded(command, env, lambda _lines: None, about=about, folder=folder)
        while True:
            process.poll()
            time.sleep(0.05)

    return start


def marked(mark: str) -> Iterator[psutil.Process]:
    """Everything that carries the mark and is not dead."""
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                yield process


def victims(program_pid: int, *, half_too: bool) -> list[int]:
    """The program, and one half of the guard if it has come so far."""
    found = [program_pid]
    if half_too:
        with suppress(psutil.Error):
            guard = psutil.Process(program_pid).children()
            halves = [*guard, *(inner for half in guard for inner in half.children())]
            found += [half.pid for half in random.sample(halves, min(1, len(halves)))]
    return found


def one_round(number: int, kind: str, start: Start, folder: Path) -> Round:
    """Start, kill, wait until everything is gone."""
    mark = f"{os.getpid()}-{number}"
    at_s, half_too = random.uniform(0, LATEST_S), number % 2 == 1
    started, go = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.environ[MARK] = mark
            os.write(go, b"go")
            start(folder)
        finally:
            os._exit(1)
    os.read(started, 2)
    time.sleep(at_s)
    for victim in victims(pid, half_too=half_too):
        with suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
    killed_s = time.monotonic()
    os.waitpid(pid, 0)
    left = list(marked(mark))
    while left and time.monotonic() - killed_s < GIVE_UP_S:
        time.sleep(0.01)
        left = list(marked(mark))
    seconds = time.monotonic() - killed_s
    names = tuple(f"{p.pid} {' '.join(p.cmdline())[:80]}" for p in left)
    for process in left:
        process.kill()
    for descriptor in (started, go):
        os.close(descriptor)
    return Round(kind, at_s, half_too, seconds, names)


def storm(rounds: int, seed: int) -> list[Round]:
    """All rounds, the kinds of trees in turn.

    Raises:
        RuntimeError: The demo model is missing.
    """
    model = demo_model()
    if model is None:
        raise RuntimeError("The demo model is missing; run ./run --setup first.")
    server = find_llama_server()
    random.seed(seed)
    library_path = server.environment().get("LD_LIBRARY_PATH", "")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "running"
        folder.mkdir()
        plain = trees(server.path, model).items()
        kinds = [(kind, launched(command, library_path)) for kind, command in plain]
        kinds += engines(model, Path(name)).items()
        done = [one_round(n, *kinds[n // 2 % len(kinds)], folder) for n in range(rounds)]
        orphans = find_orphans(folder)
        if orphans or any(folder.iterdir()):
            raise RuntimeError(f"records are left: {orphans or list(folder.iterdir())}")
    return done


def verdict(rounds: Sequence[Round]) -> tuple[str, bool]:
    """The slowest round in words, and whether everything was gone in time each time."""
    slowest = max(rounds, key=lambda r: r.seconds)
    good = not any(r.left for r in rounds) and slowest.seconds <= MOST_S
    return f"{slowest.seconds:.2f} s", good


def report(rounds: Sequence[Round]) -> str:
    """A table by kind, and every round in which something was left."""
    lines = [f"{'kills':>5}  {'median':>7}  {'slowest':>7}  tree"]
    for kind in dict.fromkeys(r.kind for r in rounds):
        took = [r.seconds for r in rounds if r.kind == kind]
        middle = statistics.median(took)
        lines.append(f"{len(took):5}  {middle:5.2f} s  {max(took):5.2f} s  {kind}")
    for r in rounds:
        if r.left or r.seconds > MOST_S:
            half = " with half of the guard" if r.half_too else ""
            lines.append(f"after {r.at_s:.2f} s{half}: {r.kind}, {r.seconds:.2f} s: {r.left}")
    slowest, good = verdict(rounds)
    lines.append(f"{len(rounds)} kills, slowest {slowest}: {'nothing left' if good else 'FAILED'}")
    return "\n".join(lines)


def main(rounds: int) -> int:
    """Print the report; 1 if anything was left, or for too long."""
    seed = int(os.environ.get("KILL_SEED") or random.randrange(10**6))
    begun_s = time.monotonic()
    done = storm(rounds, seed)
    print(report(done))
    print(f"seed {seed}, {time.monotonic() - begun_s:.0f} s altogether")
    return 0 if verdict(done)[1] else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100))
