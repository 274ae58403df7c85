"""`kill -9` of the program in mid-answer leaves no process behind."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from splitrig.services.models.demo import demo_model

ROOT = Path(__file__).resolve().parents[2]
TIMES = 20


def alive(pids: list[int]) -> list[str]:
    """Those of `pids` that still run (a zombie holds no memory and no port)."""
    found = []
    for pid in pids:
        try:
            process = psutil.Process(pid)
            if process.status() != psutil.STATUS_ZOMBIE:
                found.append(f"{pid} {process.name()}")
        except psutil.NoSuchProcess:
            continue
    return found


@pytest.mark.e2e
@pytest.mark.timeout(900)
def test_twenty_kills_in_mid_answer_leave_nothing(tmp_path: Path) -> None:
    model = demo_model()
    assert model is not None
    slowest_s = 0.0
    for _ in range(TIMES):
        program = subprocess.Popen(
            [sys.executable, str(ROOT / "tests/e2e/mid_answer.py"), str(model)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": f"{ROOT / 'gui'}{os.pathsep}{ROOT}"},
        )
        assert program.stdout is not None
        assert program.stderr is not None
        line = program.stdout.readline()
        assert line, program.stderr.read()
        news = json.loads(line)
        below = [int(pid) for pid in news["below"]]
        assert news["engine"] in below
        assert any("llama-server" in name for name in news["below"].values())
        program.send_signal(signal.SIGKILL)
        killed_s = time.monotonic()
        program.wait()
        while (left := alive(below)) and time.monotonic() - killed_s < 2:
            time.sleep(0.01)
        slowest_s = max(slowest_s, time.monotonic() - killed_s)
        program.stdout.close()
        program.stderr.close()
        assert not left
    print(f"the slowest of {TIMES} was gone after {slowest_s:.2f} s")
