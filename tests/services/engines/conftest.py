"""A supervisor with its mailbox, on a fake engine or the real one."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.services.engines.guarded import Child, Start
from tests.support.provisioned import (
    LlamaCppPythonEnv,
    OllamaInstall,
    llama_cpp_python_install,
    ollama_built,
)

from splitrig.core.engine import EngineKind, EngineStatus, LaunchRequest, Phase
from splitrig.core.footprint import Backend
from splitrig.core.gpu import Rig
from splitrig.core.plan import Plan, PlanDevice, PlanRequest, make_plan
from splitrig.core.restart import RestartPolicy
from splitrig.core.settings import EngineSettings
from splitrig.core.units import GIB
from splitrig.services.engines.engines import DevicesFound, Engines
from splitrig.services.engines.line_feed import EngineLogLines
from splitrig.services.engines.meter import EngineMetered
from splitrig.services.engines.supervisor import Supervisor
from splitrig.services.mailbox import Mailbox
from splitrig.services.models.demo import demo_model
from splitrig.services.models.gguf import read_model

FAKE = Path(__file__).with_name("fake_llama_server.py")


@pytest.fixture(scope="session")
def llama_cpp_python_env() -> LlamaCppPythonEnv:
    """The real llama-cpp-python that `./test` has built."""
    return llama_cpp_python_install()


@pytest.fixture(scope="session")
def ollama_install() -> OllamaInstall:
    """The real Ollama that `./test` has built."""
    return ollama_built()


def model_file() -> Path:
    """The demo model, which `./test` installs."""
    path = demo_model()
    assert path is not None, "the demo model is not installed: run ./test"
    return path


def planned(
    *shares: float, backend: Backend = Backend.RPC, names: tuple[str, ...] = ()
) -> tuple[LaunchRequest, Plan]:
    """The demo model on lent devices (or on named ones), with this split."""
    request = PlanRequest(split=shares)
    devices = [
        PlanDevice(name=f"card {n}", id=f"demo-{n}", free_bytes=8 * GIB, backend=backend)
        for n in range(len(shares))
    ]
    launch = LaunchRequest(
        model=model_file(),
        gpu_ids=() if names else tuple(d.id for d in devices),
        devices=names,
        plan=request,
        n_threads=1,
    )
    return launch, make_plan(read_model(model_file()), devices, request)


@dataclass
class Watched:
    """A supervisor and what it has posted."""

    supervisor: Supervisor
    engines: Engines
    mailbox: Mailbox
    records: Path
    statuses: list[EngineStatus] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    found: list[DevicesFound] = field(default_factory=list)
    metered: list[EngineMetered] = field(default_factory=list)

    def start(self, request: LaunchRequest, plan: Plan) -> None:
        self.supervisor.start(request, plan, Rig(time_s=time.monotonic()))

    def close(self) -> None:
        self.supervisor.close()
        self.engines.close()

    def discover(self, rig: Rig, model: Path | None = None) -> None:
        self.engines.discover(EngineKind.LLAMA_CPP, rig, model)

    def drain(self) -> None:
        for item in self.mailbox.drain():
            match item:
                case EngineStatus():
                    self.statuses.append(item)
                case EngineLogLines():
                    self.lines += item.lines
                case DevicesFound():
                    self.found.append(item)
                case EngineMetered():
                    self.metered.append(item)
                case _:
                    raise AssertionError(item)

    def wait(self, *phases: Phase, most_s: float = 60) -> EngineStatus:
        """Wait for a posted status in one of these phases; another end is a failure."""
        deadline = time.monotonic() + most_s
        while True:
            self.drain()
            last = self.statuses[-1] if self.statuses else EngineStatus()
            if last.phase in phases:
                return last
            assert last.phase is not Phase.FAILED, (last.failure, self.lines[-20:])
            assert time.monotonic() < deadline, (last.phase, self.lines[-20:])
            time.sleep(0.005)

    def phases(self) -> list[Phase]:
        """Phases in the order they were posted, each once."""
        self.drain()
        return list(dict.fromkeys(status.phase for status in self.statuses))


Watch = Callable[..., Watched]


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Watch]:
    """Make supervisors; they are closed afterwards."""
    made: list[Watched] = []

    def make(
        binary: Path | None = None,
        extra_env: Mapping[str, str] | None = None,
        start_timeout_s: float = 60,
        settings: EngineSettings | None = None,
    ) -> Watched:
        mailbox = Mailbox()
        chosen = settings or EngineSettings(llama_server=binary)
        engines = Engines(mailbox, chosen, extra_env=extra_env)
        supervisor = Supervisor(
            mailbox,
            engines,
            log_dir=tmp_path / "logs",
            start_timeout_s=start_timeout_s,
            records=tmp_path / "running",
        )
        made.append(Watched(supervisor, engines, mailbox, tmp_path / "running"))
        return made[-1]

    yield make
    for watched in made:
        watched.close()


@pytest.fixture
def fake(tmp_path: Path) -> Path:
    """A llama-server that misbehaves as `FAKE_MODE` says."""
    path = tmp_path / "fake" / "llama-server"
    path.parent.mkdir()
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{FAKE}" "$@"\n')
    path.chmod(0o755)
    return path


@pytest.fixture
def start_fake(watch: Watch, fake: Path, tmp_path: Path) -> Callable[..., Watched]:
    """Start the fake engine in a mode."""

    def start(
        mode: str,
        *,
        port: int = 0,
        start_timeout_s: float = 60,
        restart: RestartPolicy | None = None,
    ) -> Watched:
        watched = watch(
            fake, {"FAKE_MODE": mode, "FAKE_SEEN": str(tmp_path / "seen")}, start_timeout_s
        )
        watched.supervisor.restart = restart or RestartPolicy()
        request, plan = planned(1.0, names=("CUDA0",))
        watched.start(
            LaunchRequest(
                model=request.model, devices=request.devices, plan=request.plan, port=port
            ),
            plan,
        )
        return watched

    return start


@pytest.fixture
def start() -> Iterator[Start]:
    """Launches process trees; they are stopped afterwards."""
    children: list[Child] = []

    def begin(*command: str, **options: Any) -> Child:
        child = Child(list(command), **options)
        children.append(child)
        return child

    yield begin
    for child in children:
        child.process.stop()
        child.process.close()
