"""Runs every gate and every test, prints what each took, and fails if one failed.

Called by `./test` with the checkout's own Python. `--quick` leaves out what starts real engines
or a whole window; `--only NAME` runs the steps whose name contains NAME.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
LINUX = sys.platform.startswith("linux")


NEED_ENGINES = ("service tests", "widget tests", "whole program")


def steps(*, quick: bool) -> list[tuple[str, list[str], dict[str, str]]]:
    """Name, command and extra environment of every step, cheapest first."""
    python = sys.executable
    slow = ["-m", "not engine and not e2e"] if quick else []
    offscreen = {"QT_QPA_PLATFORM": "offscreen"}
    pytest = [python, "-m", "pytest", "-q"]
    without_qt = [*pytest, "-c", "tests/pytest-no-qt.ini", "--rootdir", str(ROOT)]
    plan = [
        ("format", [str(BIN / "ruff"), "format", "--check", "."], {}),
        ("lint", [str(BIN / "ruff"), "check", "."], {}),
        ("layers", [str(BIN / "lint-imports")], {}),
        ("types on Linux", [python, "-m", "mypy", "--platform", "linux"], {}),
        ("types on Windows", [python, "-m", "mypy", "--platform", "win32"], {}),
        ("unit tests, Qt absent", [*without_qt, "tests/unit"], {}),
        ("service tests, Qt absent", [*without_qt, *slow, "tests/services"], {}),
        ("widget tests", [*pytest, *slow, "tests/qt"], offscreen),
    ]
    if not quick:
        window = [*pytest, "tests/e2e"]
        if LINUX:
            window = ["xvfb-run", "-a", "-s", "-screen 0 1280x800x24", *window]
        plan.append(("whole program in a real window", window, {"QT_QPA_PLATFORM": "xcb"}))
    return plan


def chosen(*, quick: bool, only: str) -> list[tuple[str, list[str], dict[str, str]]]:
    """The steps to run, preceded by what provides the engines that some of them start."""
    plan = [step for step in steps(quick=quick) if only in step[0]]
    if not quick and any(step[0].startswith(NEED_ENGINES) for step in plan):
        provision = [sys.executable, "packaging/provision_engines.py"]
        plan.insert(0, ("engines of the tests", provision, {}))
    return plan


def main() -> int:
    """Run the steps; 0 only if all of them passed."""
    parser = argparse.ArgumentParser(prog="./test", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="leave out real engines and windows")
    parser.add_argument("--only", default="", help="run the steps whose name contains this")
    options = parser.parse_args()
    results = []
    for name, command, extra in chosen(quick=options.quick, only=options.only):
        print(f"\n== {name}", flush=True)
        start = time.monotonic()
        env = {**os.environ, **extra}
        passed = subprocess.run(command, cwd=ROOT, env=env, check=False).returncode == 0
        results.append((name, passed, time.monotonic() - start))
    print()
    for name, passed, seconds in results:
        print(f"{'ok    ' if passed else 'FAILED'} {seconds:7.1f} s  {name}")
    failed = sum(not passed for _, passed, _ in results)
    if failed or not results:
        print(f"{failed} of {len(results)} steps failed.")
    return 1 if failed or not results else 0


if __name__ == "__main__":
    sys.exit(main())
