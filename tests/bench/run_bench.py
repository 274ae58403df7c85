"""Measures what SplitRig promises, each figure beside its peer or bound in the same run."""

import argparse
import hashlib
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "gui"), str(ROOT)]

from tests.bench import kill_storm, start_time  # noqa: E402
from tests.bench.bench_engines import Asked, asked_engines  # noqa: E402
from tests.fakes.nvml import fake_nvml  # noqa: E402

from splitrig.core.engine import EngineKind  # noqa: E402 - after the path is set
from splitrig.services.models.demo import demo_model  # noqa: E402

HERE = ROOT / "tests" / "bench"
KILLS = 100
STARTS = 5
Environments = Callable[[str | None], dict[str, str]]
"""Gives the environment with these cards, or with none."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    what: str
    ours: str
    peer: str
    result: str
    bound: str
    ok: bool


@contextmanager
def screen() -> Iterator[str]:
    """One X server for all runs; gives the name of its display."""
    read, write = os.pipe()
    command = ["Xvfb", "-displayfd", str(write), "-screen", "0", "1280x800x24", "-nolisten", "tcp"]
    with subprocess.Popen(command, pass_fds=(write,), stderr=subprocess.DEVNULL) as server:
        os.close(write)
        try:
            with os.fdopen(read) as number:
                yield f":{number.readline().strip()}"
        finally:
            server.terminate()


def environment(folder: Path, display: str, scenario: str | None) -> dict[str, str]:
    """A clean environment: own settings, and a fake NVML with this rig if one is named."""
    env = {**os.environ, "PYTHONPATH": f"{ROOT / 'gui'}:{ROOT}", "QT_QPA_PLATFORM": "xcb"}
    # compiled modules, as every start but the first has them, for ours and for the peer
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    env["PYTHONPYCACHEPREFIX"] = str(folder / "pycache")
    env["DISPLAY"] = display
    for name in ("CONFIG", "DATA", "STATE", "CACHE"):
        env[f"XDG_{name}_HOME"] = str(folder / name.lower())
    if scenario is not None:
        env |= fake_nvml.environment(folder, scenario)
    return env


def child(script: str, *arguments: str, env: dict[str, str]) -> str:
    """Run a bench script in its own process and return its last line."""
    env = {**env, "SPAWNED_AT": str(time.monotonic())}
    done = subprocess.run(
        [sys.executable, str(HERE / script), *arguments],
        env=env, cwd=ROOT, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(f"{script} failed:\n{done.stderr[-2000:]}")
    return done.stdout.strip().splitlines()[-1]


def first_paint(env: dict[str, str]) -> Row:
    """First paint against a bare window with one plot; the runs alternate."""
    ours, bare = [], []
    for script in ("first_paint_bare.py", "first_paint_splitrig.py"):
        child(script, env=env)  # compiles what it imports
    for _ in range(7):
        bare.append(float(child("first_paint_bare.py", env=env)))
        ours.append(float(child("first_paint_splitrig.py", env=env)))
    a, b = statistics.median(ours), statistics.median(bare)
    return Row(
        "first paint", f"{a:.0f} ms", f"{b:.0f} ms bare", f"{a / b:.2f}", "≤ 1.6", a <= 1.6 * b
    )


def idle(env: dict[str, str]) -> list[Row]:
    """CPU and memory with live graphs on eight cards."""
    rows = []
    for page in ("rig", "chat"):
        figures = json.loads(child("idle_splitrig.py", page, "8", "30", env=env))
        cpu, rss = figures["cpu_pct"], figures["rss_mb"]
        cards = f"{figures['cards']} cards, 1 Hz"
        rows.append(Row(f"idle CPU, {page} page", f"{cpu:.1f} %", cards, "", "≤ 6 %", cpu <= 6))
        rows.append(Row(f"memory, {page} page", f"{rss:.0f} MB", cards, "", "≤ 180 MB", rss <= 180))
    return rows


def tokens(engines: Sequence[Asked], environments: Environments) -> list[Row]:
    """Generation speed as the client sees it, window against curl, and how long Stop takes."""
    rows, slowest_s = [], 0.0
    for engine in engines:
        env = {**environments(engine.scenario), **engine.env}
        file = Path(env["XDG_CONFIG_HOME"]) / "splitrig" / "settings.toml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(engine.settings, encoding="utf-8")
        words = [str(engine.model), engine.kind.value, str(engine.turns), str(engine.tokens)]
        words += [] if engine.scenario else ["--demo"]
        figures = json.loads(child("tokens_splitrig.py", *words, env=env))
        file.unlink()
        ours, curl = figures["window"], figures["curl"]
        ratio = figures["ratio"]  # of the turns, each beside its own peer
        slowest_s = max(slowest_s, figures["stop_s"])
        rows.append(
            Row(
                f"tok/s, {engine.kind}", f"{ours:.1f}", f"{curl:.1f} curl", f"{ratio:.3f}",
                "≥ 0.98", ratio >= 0.98,
            )
        )  # fmt: skip
    stop = f"{len(rows)} engines"
    return [*rows, Row("stop, slowest", f"{slowest_s:.2f} s", stop, "", "≤ 2 s", slowest_s <= 2)]


def starts(engines: Sequence[Asked]) -> list[Row]:
    """Start to ready against the same engine by hand; the runs alternate."""
    rows = []
    for engine in engines:
        if engine.scenario is not None:  # it takes real cards
            continue
        both = start_time.both(engine, STARTS)
        ours, raw = (statistics.median(seconds) for seconds in both)
        more = ours - raw
        rows.append(
            Row(
                f"start to ready, {engine.kind}", f"{ours:.2f} s", f"{raw:.2f} s by hand",
                f"{more:+.2f} s", "≤ +0.3 s", more <= 0.3,
            )
        )  # fmt: skip
    return rows


def kills(rounds: int, trees: int) -> list[Row]:
    """`kill -9` of the program at random moments, with every engine and over odd trees."""
    seed, most = random.randrange(10**6), f"≤ {kill_storm.MOST_S:g} s"
    engines = kill_storm.verdict(kill_storm.storm_of_engines(rounds, seed))
    odd = kill_storm.verdict(kill_storm.storm_of_trees(trees, seed))
    return [
        Row("gone after kill -9, engines", engines[0], f"{rounds} kills", "", most, engines[1]),
        Row("gone after kill -9, odd trees", odd[0], f"{trees} kills", "", most, odd[1]),
    ]


def flood(env: dict[str, str]) -> list[Row]:
    """100 MB of log lines through the window, three times; the worst figure of the three.

    Beside the longest block stands that of the same window without a flood, in the same run.
    """
    runs = [json.loads(child("flood_splitrig.py", "logs", "30", "100", env=env)) for _ in range(3)]
    worst = max(runs, key=lambda run: float(run["longest_block_ms"]))
    block, quiet = worst["longest_block_ms"], worst["quiet_block_ms"]
    growth = max(run["growth_mb"] for run in runs)
    writer = max((run["writer"] for run in runs), key=lambda said: float(said["longest_s"]))
    wait_ms, took_s = 1000 * writer["longest_s"], writer["seconds"]
    return [
        Row(
            "log flood, longest block", f"{block:.0f} ms", f"{quiet:.0f} ms without", "",
            "≤ 50 ms", block <= 50,
        ),
        Row(
            "log flood, memory", f"+{growth:.1f} MB", "100 MB in lines", "", "≤ 10 MB",
            growth <= 10,
        ),
        Row(
            "log flood, engine waits", f"{wait_ms:.0f} ms", f"100 MB in {took_s:.1f} s", "",
            "≤ 200 ms", wait_ms <= 200,
        ),
    ]  # fmt: skip


def provide_engines() -> None:
    """Build what `./test` builds, unless it is there."""
    subprocess.run([sys.executable, str(ROOT / "packaging" / "provision_engines.py")], check=False)


def main() -> int:
    """Print the table; 1 if a bound is missed."""
    parser = argparse.ArgumentParser(prog="./bench", description=__doc__)
    parser.add_argument("--kill", type=int, metavar="N", help="only kill the program N times")
    options = parser.parse_args()
    if options.kill is not None:
        return kill_storm.main(max(options.kill, 1))
    model = demo_model()
    if model is None:
        print("The demo model is missing; run ./run --setup first.", file=sys.stderr)
        return 1
    provide_engines()
    with tempfile.TemporaryDirectory() as name, screen() as display:
        engines = asked_engines(model, Path(name))
        here = [engine for engine in engines if not engine.missing]

        def environments(scenario: str | None) -> dict[str, str]:
            folder = Path(name) / hashlib.sha256((scenario or "").encode()).hexdigest()[:8]
            return environment(folder, display, scenario)

        none = environments(None)
        rows = [first_paint(none), *idle(environments(fake_nvml.EIGHT_CARDS))]
        rows += [*tokens(here, environments), *starts(here), *flood(none)]
    rows += kills(KILLS, kill_storm.TREES)
    print(f"{'':4} {'figure':34} {'ours':>10} {'against':>18} {'result':>9} {'bound':>10}")
    for row in rows:
        print(
            f"{'ok' if row.ok else 'MISS':4} {row.what:34} {row.ours:>10} {row.peer:>18} "
            f"{row.result:>9} {row.bound:>10}"
        )
    for engine in engines:
        if engine.missing:
            print(f"{engine.kind} was not measured: {engine.missing}")
    required = [engine for engine in engines if engine.kind is not EngineKind.VLLM]
    measured = not any(engine.missing for engine in required)
    return 0 if measured and all(row.ok for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
