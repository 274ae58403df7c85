"""Runs the program's command line in its own process, as a user does."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def environment(**extra: str) -> dict[str, str]:
    """The test's environment with the source tree in the path."""
    return {**os.environ, "PYTHONPATH": str(ROOT / "gui"), **extra}


def splitrig(*arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
    """Run `splitrig` to its end; standard output and error are kept apart."""
    return subprocess.run(
        [sys.executable, "-m", "splitrig", *arguments],
        env=environment(**extra),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
