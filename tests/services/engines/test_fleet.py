"""Several real engines at once: each has its devices, port, key, log, and end."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from tests.services.engines.conftest import planned
from tests.services.engines.processes import running, wait_for

from splitrig.core.engine import EngineStatus, Phase
from splitrig.core.errors import EngineError
from splitrig.core.gpu import Rig
from splitrig.core.settings import EngineSettings
from splitrig.core.units import MIB
from splitrig.services.engines.engines import Engines
from splitrig.services.engines.fleet import MOST_ENGINES, Fleet
from splitrig.services.engines.line_feed import EngineLogLines
from splitrig.services.engines.ports import free_port
from splitrig.services.engines.rpc_server import lend_with
from splitrig.services.mailbox import Mailbox

RIG = Rig(time_s=0)


class Watched:
    """A fleet and what it has posted."""

    def __init__(self, folder: Path, binary: Path | None = None, **env: str) -> None:
        self.mailbox = Mailbox()
        settings = EngineSettings(llama_server=binary, start_timeout_s=60)
        self.engines = Engines(self.mailbox, settings, extra_env=env)
        self.fleet = Fleet(
            self.mailbox, self.engines, settings, log_dir=folder, records=folder.parent / "running"
        )
        self.lines: dict[int, list[str]] = {}

    def wait(self, slot: int, phase: Phase, most_s: float = 60) -> EngineStatus:
        deadline = time.monotonic() + most_s
        while True:
            for item in self.mailbox.drain():
                if isinstance(item, EngineLogLines):
                    self.lines.setdefault(item.slot, []).extend(item.lines)
            status = self.fleet.statuses[slot - 1]
            if status.phase is phase:
                return status
            assert phase is Phase.FAILED or status.phase is not Phase.FAILED, status.failure
            assert time.monotonic() < deadline, status
            time.sleep(0.01)


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Callable[..., Watched]]:
    made: list[Watched] = []

    def make(binary: Path | None = None, **env: str) -> Watched:
        seen = str(tmp_path / "seen")
        made.append(Watched(tmp_path / "logs", binary, FAKE_SEEN=seen, **env))
        return made[-1]

    yield make
    for watched in made:
        watched.fleet.close()
        watched.engines.close()


def layers(status: EngineStatus) -> list[int]:
    return [status.layers[name] for name in status.device_names]


def ask(status: EngineStatus, key: str | None) -> int:
    request = urllib.request.Request(
        f"{status.url}/v1/chat/completions",
        json.dumps({"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 3}).encode(),
        {"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


@pytest.mark.engine
def test_two_engines_run_side_by_side_and_end_one_by_one(
    watch: Callable[..., Watched], tmp_path: Path
) -> None:
    watched = watch()
    fleet = watched.fleet
    assert fleet.start(*planned(3.0, 1.0), RIG) == 1
    assert fleet.start(*planned(1.0, 1.0), RIG) == 2
    first, second = watched.wait(1, Phase.READY), watched.wait(2, Phase.READY)
    assert (first.slot, second.slot) == (1, 2)
    assert (layers(first), layers(second)) == ([24, 7], [16, 15])
    assert round((first.actual["RPC0"].model_bytes or 0) / MIB, 2) == 50.73
    assert first.mismatches == second.mismatches == ()
    assert first.url != second.url
    for slot, pid in ((1, first.pid), (2, second.pid)):
        wait_for(lambda slot=slot: fleet.statuses[slot - 1].pids != frozenset())
        assert pid in fleet.statuses[slot - 1].pids
    assert (ask(first, first.api_key), ask(second, second.api_key)) == (200, 200)
    assert ask(second, first.api_key) == 401
    for slot, name in ((1, "llama-server_*.log"), (2, "llama-server-2_*.log")):
        assert any("model buffer size" in line for line in watched.lines[slot])
        (file,) = (tmp_path / "logs").glob(name)
        assert "model buffer size" in file.read_text()

    fleet.stop(1)
    watched.wait(1, Phase.STOPPED)
    assert running([first.pid or 0]) == []
    assert ask(second, second.api_key) == 200

    # the slot is free again, and the other engine is not touched by what happens in it
    assert fleet.start(*planned(1.0, 3.0), RIG) == 1
    again = watched.wait(1, Phase.READY)
    assert layers(again) == [8, 23]
    psutil.Process(again.pid).kill()
    failed = watched.wait(1, Phase.FAILED)
    assert failed.failure is not None
    assert watched.fleet.statuses[1].phase is Phase.READY

    begun = time.monotonic()
    fleet.close()
    assert time.monotonic() - begun < 3
    assert psutil.Process().children(recursive=True) == []


@pytest.mark.engine
def test_an_rpc_server_is_not_shared_by_two_engines(watch: Callable[..., Watched]) -> None:
    watched = watch()
    lender = lend_with(watched.engines.llama_server(), 1, lambda _lines: None)
    try:
        request, plan = planned(1.0, names=("RPC0",))
        request = replace(request, rpc=(lender.endpoint,))
        watched.fleet.start(request, plan, RIG)
        watched.wait(1, Phase.READY)
        with pytest.raises(EngineError, match=f"{lender.endpoint} serves another engine"):
            watched.fleet.start(request, plan, RIG)
        watched.fleet.stop(1)
        watched.wait(1, Phase.STOPPED)
        watched.fleet.start(request, plan, RIG)
        watched.wait(1, Phase.READY)
        watched.fleet.close()
    finally:
        lender.stop()


def test_a_port_that_another_engine_is_about_to_take_is_refused(
    watch: Callable[..., Watched], fake: Path
) -> None:
    """One that takes its port last would load its model only to find it gone."""
    watched = watch(fake, FAKE_MODE="stubborn")
    request, plan = planned(1.0, names=("CUDA0",))
    port = free_port()
    watched.fleet.start(replace(request, port=port), plan, RIG)
    with pytest.raises(EngineError, match=f"Engine 1 has the port {port} already"):
        watched.fleet.start(replace(request, port=port), plan, RIG)
    watched.fleet.start(request, plan, RIG)
    automatic = watched.wait(2, Phase.LOADING)
    taken = int((automatic.url or "").rpartition(":")[2])
    with pytest.raises(EngineError, match="Engine 2 has the port"):
        watched.fleet.start(replace(request, port=taken), plan, RIG)


def test_there_is_a_bound_and_all_end_at_once(watch: Callable[..., Watched], fake: Path) -> None:
    watched = watch(fake, FAKE_MODE="stubborn")
    request, plan = planned(1.0, names=("CUDA0",))
    slots = [watched.fleet.start(request, plan, RIG) for _ in range(MOST_ENGINES)]
    assert slots == list(range(1, MOST_ENGINES + 1))
    with pytest.raises(EngineError, match="8 engines run already"):
        watched.fleet.start(request, plan, RIG)
    assert watched.fleet.command_for(request) == ()
    for slot in slots:
        watched.wait(slot, Phase.LOADING)
    begun = time.monotonic()
    watched.fleet.close()
    assert time.monotonic() - begun < 4
    assert psutil.Process().children(recursive=True) == []


def test_a_stop_of_nothing_is_harmless(watch: Callable[..., Watched]) -> None:
    watched = watch()
    watched.fleet.stop(1)
    watched.fleet.stop(7)
    assert [status.phase for status in watched.fleet.statuses] == [Phase.STOPPED]
