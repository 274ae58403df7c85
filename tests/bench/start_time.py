"""Start to ready, by the supervisor against the same engine by hand, on two lent devices.

By hand is what the supervisor ran, command and variables, without it: the server that lends the
devices, then the engine, then for Ollama the request that loads the model.
"""

import json
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from tests.bench.bench_engines import Asked

from splitrig.core.engine import Dialect, EngineKind, EngineStatus, LaunchRequest, Phase
from splitrig.core.footprint import Backend
from splitrig.core.gpu import Rig
from splitrig.core.plan import PlanDevice, PlanRequest, make_plan
from splitrig.core.settings import EngineSettings
from splitrig.core.units import GIB
from splitrig.services.engines.engines import Engines
from splitrig.services.engines.ports import accepts
from splitrig.services.engines.supervisor import Supervisor
from splitrig.services.mailbox import Mailbox
from splitrig.services.models.gguf import read_model

KNOBS = PlanRequest(split=(3.0, 1.0), n_ctx=4096)
LONGEST_S = 120


@dataclass(frozen=True, slots=True)
class Captured:
    """A process as it was started."""

    command: tuple[str, ...]
    env: Mapping[str, str]

    @classmethod
    def of(cls, process: psutil.Process) -> "Captured":
        """Of one that runs."""
        return cls(tuple(process.cmdline()), process.environ())


@dataclass(frozen=True, slots=True)
class Supervised:
    """A start by the supervisor.

    Attributes:
        seconds: From pressing Start to READY.
        lender: The server that lends the devices.
        engine: The engine.
        status: When it was ready.
    """

    seconds: float
    lender: Captured
    engine: Captured
    status: EngineStatus


def by_supervisor(
    model: Path, kind: EngineKind, settings: EngineSettings, env: Mapping[str, str], folder: Path
) -> Supervised:
    """Start, and stop again; what the engine reads from its own folders is kept in `folder`."""
    engines = Engines(Mailbox(), settings, extra_env=dict(env))
    supervisor = Supervisor(Mailbox(), engines, log_dir=folder / "logs", records=folder / "runs")
    devices = [
        PlanDevice(name=f"RPC{n}", id=f"demo-{n}", free_bytes=8 * GIB, backend=Backend.RPC)
        for n in range(2)
    ]
    ids = tuple(device.id for device in devices)
    request = LaunchRequest(model=model, gpu_ids=ids, plan=KNOBS, engine=kind, n_threads=1)
    plan = make_plan(read_model(model), devices, KNOBS)
    engines.llama_server().capabilities()  # the window has asked for them before
    start = time.monotonic()
    supervisor.start(request, plan, Rig(time_s=0, demo=True))
    while supervisor.status.phase is not Phase.READY:
        assert supervisor.status.failure is None, supervisor.status.failure
        time.sleep(0.005)
    seconds = time.monotonic() - start
    try:
        below = psutil.Process().children(recursive=True)
        lender = next(p for p in below if _lent_port(p.cmdline()) is not None)
        captured = Captured.of(psutil.Process(supervisor.status.pid))
        if "OLLAMA_MODELS" in captured.env:  # links that are gone with the engine
            kept = folder / "store"
            shutil.copytree(captured.env["OLLAMA_MODELS"], kept, symlinks=True, dirs_exist_ok=True)
            captured = Captured(captured.command, {**captured.env, "OLLAMA_MODELS": str(kept)})
        return Supervised(seconds, Captured.of(lender), captured, supervisor.status)
    finally:
        supervisor.close()


def by_hand(started: Supervised) -> float:
    """Seconds until the same is ready; polled every 10 ms."""
    status = started.status
    lent_port = _lent_port(started.lender.command)
    assert lent_port is not None
    start = time.monotonic()
    with ExitStack() as stack:
        stack.enter_context(_run(started.lender))
        _until(lambda: accepts(lent_port))
        stack.enter_context(_run(started.engine))
        if status.dialect is Dialect.OLLAMA:
            _until(lambda: _get(status, "/api/version"))
            load = {"model": status.served_model, "options": {"num_ctx": KNOBS.n_ctx}}
            assert _get(status, "/api/generate", load)
        else:
            llama_cpp = status.request is not None and status.request.engine.value == "llama.cpp"
            path = "/health" if llama_cpp else "/v1/models"
            _until(lambda: _get(status, path))
        return time.monotonic() - start


def _lent_port(command: Sequence[str]) -> int | None:
    """Where a process lends devices: llama.cpp's own program does, or llama-cpp-python."""
    if any(Path(word).name == "guard.py" for word in command):
        return None  # it holds the other's command
    if "rpc-server" in Path(command[0]).name:
        return int(command[command.index("-p") + 1])
    if "--lend" in command:
        return int(command[command.index("--lend") + 1].rpartition(":")[2])
    return None


@contextmanager
def _run(captured: Captured) -> Iterator[None]:
    quiet = subprocess.DEVNULL
    with subprocess.Popen(captured.command, env=captured.env, stdout=quiet, stderr=quiet) as child:
        try:
            yield
        finally:
            child.terminate()


def _until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + LONGEST_S
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("by hand it does not get ready")
        time.sleep(0.01)


def _get(status: EngineStatus, path: str, body: object | None = None) -> bool:
    """Whether it answers 200."""
    headers = {"Authorization": f"Bearer {status.api_key}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{status.url}{path}", data=data, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=LONGEST_S) as reply:
            reply.read()
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def both(asked: Asked, times: int) -> tuple[list[float], list[float]]:
    """Seconds by the supervisor and by hand; the runs alternate."""
    settings = EngineSettings(**{name: Path(path) for name, path in asked.program.items()})
    ours, bare = [], []
    with tempfile.TemporaryDirectory() as name:
        env = {**asked.env, "HOME": name}
        for turn in range(times):
            folder = Path(name) / str(turn)
            started = by_supervisor(asked.model, asked.kind, settings, env, folder)
            ours.append(started.seconds)
            bare.append(by_hand(started))
    return ours, bare
