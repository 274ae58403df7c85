"""`kill -9` of the program at random moments: with every engine, and over odd process trees.

`python tests/bench/kill_storm.py [N]`, or `./bench --kill N`. For the engines the program is
`splitrig serve`, killed while it starts, while the engine loads, or in mid-answer; for the trees
it is a fork that starts one as SplitRig starts engines. In every other round one half of the guard
is killed in the same moment. Afterwards nothing may carry the round's mark in its environment.
"""

import os
import random
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "gui"), str(ROOT)]

from tests.bench import kill_engines  # noqa: E402
from tests.bench.kill_engines import Program, Running, programs  # noqa: E402
from tests.bench.kill_trees import trees  # noqa: E402

from splitrig.core.orphan import RunAbout  # noqa: E402 - after the path is set
from splitrig.services.engines.llama_server import find_llama_server  # noqa: E402
from splitrig.services.engines.orphans import find_orphans  # noqa: E402
from splitrig.services.engines.records import launch_recorded  # noqa: E402
from splitrig.services.models.demo import demo_model  # noqa: E402

Start = Callable[[Path], None]
"""Starts a tree and looks after it until its process is killed; gets a folder for records."""
TREES = 30
READY_S = 90.0
ANSWER_S = 2.0
"""How long an engine is let answer at most before it is killed."""
MARK = "SPLITRIG_KILL_STORM"
LATEST_S = 1.5
MOST_S = 2.0
"""Longest that anything may live on."""
GIVE_UP_S = 5.0


@dataclass(frozen=True, slots=True)
class Round:
    """One kill.

    Attributes:
        kind: The engine or the tree.
        phase: What the program was doing.
        at_s: How long after its start.
        half_too: One half of the guard was killed in the same moment.
        seconds: Until nothing was left.
        left: Names of what was still there after `GIVE_UP_S`.
    """

    kind: str
    phase: str
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
    """The program, and one half of a guard if it has come so far."""
    found = [program_pid]
    if half_too:
        with suppress(psutil.Error):
            below = psutil.Process(program_pid).children(recursive=True)
            halves = [p for p in below if any("guard.py" in word for word in p.cmdline())]
            found += [half.pid for half in random.sample(halves, min(1, len(halves)))]
    return found


def kill(pid: int, mark: str, *, half_too: bool) -> tuple[float, tuple[str, ...]]:
    """Kill, and wait until everything is gone: how long it took, and what was left."""
    for victim in victims(pid, half_too=half_too):
        with suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
    killed_s = time.monotonic()
    left = [process for process in marked(mark) if process.pid != pid]
    while left and time.monotonic() - killed_s < GIVE_UP_S:
        time.sleep(0.01)
        left = [process for process in marked(mark) if process.pid != pid]
    seconds = time.monotonic() - killed_s
    names = tuple(f"{p.pid} {' '.join(p.cmdline())[:80]}" for p in left)
    for process in left:
        process.kill()
    return seconds, names


def engine_round(number: int, kind: str, program: Program, latest_s: float) -> Round:
    """Start the program, kill it at some moment, wait until everything is gone."""
    mark = f"{os.getpid()}-{number}"
    at_s, half_too = random.uniform(0, latest_s), random.random() < 0.5
    running = kill_engines.start(program, {MARK: mark})
    time.sleep(at_s)
    phase = running.phase
    if running.process.poll() is not None:
        raise RuntimeError(f"{kind} ended by itself: {running.told}")
    seconds, left = kill(running.process.pid, mark, half_too=half_too)
    running.process.wait()
    return Round(kind, phase, at_s, half_too, seconds, left)


def answers_after_s(kind: str, program: Program) -> float:
    """Seconds from the start of a program to its first word; it is stopped again.

    Raises:
        RuntimeError: It does not come so far.
    """
    running: Running = kill_engines.start(program, {})
    end_s = time.monotonic() + READY_S
    while running.phase != "answering":
        if running.process.poll() is not None or time.monotonic() > end_s:
            running.process.kill()
            raise RuntimeError(f"{kind} does not answer: {running.told}")
        time.sleep(0.01)
    running.process.terminate()
    running.process.wait(20)
    return running.since_s["answering"]


def tree_round(number: int, kind: str, start: Start, folder: Path) -> Round:
    """Fork a program that starts a tree, kill it, wait until everything is gone."""
    mark = f"{os.getpid()}-tree-{number}"
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
    seconds, left = kill(pid, mark, half_too=half_too)
    os.waitpid(pid, 0)
    for descriptor in (started, go):
        os.close(descriptor)
    return Round(kind, "", at_s, half_too, seconds, left)


def demo() -> Path:
    """The demo model.

    Raises:
        RuntimeError: It is missing.
    """
    if (model := demo_model()) is None:
        raise RuntimeError("The demo model is missing; run ./run --setup first.")
    return model


def storm_of_engines(rounds: int, seed: int) -> list[Round]:
    """`rounds` kills, the engines in turn.

    Raises:
        RuntimeError: An engine does not answer, or records of runs are left.
    """
    random.seed(seed)
    with tempfile.TemporaryDirectory() as name:
        kinds = list(programs(demo(), Path(name)).items())
        latest = {kind: answers_after_s(kind, p) + ANSWER_S for kind, p in kinds}
        done = []
        for number in range(rounds):
            kind, program = kinds[number % len(kinds)]
            done.append(engine_round(number, kind, program, latest[kind]))
        for _, program in kinds:
            check_records(Path(program.env["XDG_STATE_HOME"]) / "splitrig" / "running")
    return done


def storm_of_trees(rounds: int, seed: int) -> list[Round]:
    """`rounds` kills, the kinds of trees in turn.

    Raises:
        RuntimeError: Records of runs are left.
    """
    server = find_llama_server()
    random.seed(seed)
    library_path = server.environment().get("LD_LIBRARY_PATH", "")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "running"
        folder.mkdir()
        plain = trees(server.path, demo()).items()
        kinds = [(kind, launched(command, library_path)) for kind, command in plain]
        done = [tree_round(n, *kinds[n // 2 % len(kinds)], folder) for n in range(rounds)]
        check_records(folder)
    return done


def check_records(folder: Path) -> None:
    """Look for orphans, which removes the records of what is gone; none may be found.

    Raises:
        RuntimeError: One was, or a record stayed.
    """
    orphans = find_orphans(folder)
    if orphans or (folder.is_dir() and any(folder.iterdir())):
        raise RuntimeError(f"records are left: {orphans or list(folder.iterdir())}")


def verdict(rounds: Sequence[Round]) -> tuple[str, bool]:
    """The slowest round in words, and whether everything was gone in time each time."""
    slowest = max(rounds, key=lambda r: r.seconds)
    good = not any(r.left for r in rounds) and slowest.seconds <= MOST_S
    return f"{slowest.seconds:.2f} s", good


def report(rounds: Sequence[Round]) -> str:
    """A table by kind, and every round in which something was left."""
    lines = [f"{'kills':>5}  {'median':>7}  {'slowest':>7}  of"]
    for kind in dict.fromkeys(r.kind for r in rounds):
        of_kind = [r for r in rounds if r.kind == kind]
        took = [r.seconds for r in of_kind]
        phases = Counter(r.phase for r in of_kind if r.phase)
        while_ = ", ".join(f"{n} {phase}" for phase, n in phases.most_common())
        words = f"{kind} ({while_})" if while_ else kind
        lines.append(
            f"{len(took):5}  {statistics.median(took):5.2f} s  {max(took):5.2f} s  {words}"
        )
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
    done = [*storm_of_engines(rounds, seed), *storm_of_trees(TREES, seed)]
    print(report(done))
    print(f"seed {seed}, {time.monotonic() - begun_s:.0f} s altogether")
    return 0 if verdict(done)[1] else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100))
