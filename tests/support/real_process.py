"""Runs a real server for a test, and ends it with everything below it."""

import contextlib
import json
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

INHERITED = ("PATH", "LANG", "TMPDIR", "VK_ICD_FILENAMES", "VK_DRIVER_FILES")


def clean_environment(home: Path, extra: Mapping[str, str]) -> dict[str, str]:
    """An environment in which nothing of the caller's bends what a server does."""
    kept = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return {**kept, "HOME": str(home), **extra}


@contextlib.contextmanager
def running(
    command: Sequence[str | Path],
    log: Path,
    *,
    env: Mapping[str, str],
    ready_at: str,
    most_s: float = 60,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command until the end of the block; its output goes to `log`.

    Args:
        command: What to run.
        log: Standard output and error.
        env: The whole environment.
        ready_at: The block starts when this URL answers 200.
        most_s: It fails when that takes longer.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(env),
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + most_s
        while not answers(ready_at):
            text = log.read_text(errors="replace")[-3000:]
            assert process.poll() is None, f"exit code {process.returncode}: {text}"
            assert time.monotonic() < deadline, f"not ready after {most_s} s: {text}"
            time.sleep(0.05)
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def answers(url: str) -> bool:
    """Whether this URL answers 200."""
    try:
        with urllib.request.urlopen(url, timeout=2) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


def ask(url: str, body: object = None, *, most_s: float = 120) -> Any:
    """The JSON of an answer; of several lines, as Ollama streams them, a list."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, data, headers)
    with urllib.request.urlopen(request, timeout=most_s) as reply:
        lines = [json.loads(line) for line in reply.read().splitlines() if line.strip()]
    return lines[0] if len(lines) == 1 else lines
