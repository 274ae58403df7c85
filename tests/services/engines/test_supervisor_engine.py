"""The supervisor on the real llama-server, with two devices lent by the processor or Mesa."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from tests.services.engines.conftest import Watch, Watched, model_file, planned
from tests.services.engines.processes import running, seconds_until_gone

from splitrig.core.engine import EngineStatus, Phase
from splitrig.core.footprint import Backend
from splitrig.core.restart import RestartPolicy
from splitrig.core.units import MIB

pytestmark = pytest.mark.engine
ROOT = Path(__file__).parents[3]


def rows(status: EngineStatus) -> list[tuple[int, float, float]]:
    """Layers, MiB of weights and MiB of KV cache per device, in the order of the split."""
    result = []
    for name in status.device_names:
        has = status.actual[name]
        assert has.model_bytes is not None
        assert has.kv_bytes is not None
        result.append(
            (status.layers[name], round(has.model_bytes / MIB, 2), round(has.kv_bytes / MIB, 2))
        )
    return result


def below_me() -> list[int]:
    return [p.pid for p in psutil.Process().children(recursive=True)]


def started(watch: Watch, *shares: float) -> tuple[Watched, EngineStatus]:
    watched = watch()
    watched.start(*planned(*shares))
    return watched, watched.wait(Phase.READY)


@pytest.mark.parametrize(
    ("shares", "carried"),
    [
        ((3.0, 1.0), [(24, 50.73, 72), (7, 41.37, 18)]),
        ((1.0, 1.0), [(16, 33.82, 48), (15, 58.28, 42)]),
        ((1.0, 3.0), [(8, 16.91, 24), (23, 75.19, 66)]),
        ((1.0, 0.0), [(31, 92.1, 90), (0, 0, 0)]),
    ],
)
def test_the_split_asked_for_is_the_split_on_the_devices(
    watch: Watch, shares: tuple[float, ...], carried: list[tuple[int, float, float]]
) -> None:
    watched, ready = started(watch, *shares)
    assert rows(ready) == carried
    assert ready.mismatches == ()
    assert list(ready.step_seconds) == ["process", "weights", "context", "warmup"]
    assert ready.build
    assert any("model buffer size" in line for line in watched.lines)
    watched.supervisor.close()
    assert below_me() == []


def test_layers_in_the_log_say_the_same(watch: Watch) -> None:
    watched = watch()
    request, plan = planned(3.0, 1.0)
    watched.start(replace(request, log_layers=True), plan)
    ready = watched.wait(Phase.READY)
    assert ready.log.layer_counts() == {"RPC0": 24, "RPC1": 7}


def test_two_software_vulkan_cards_carry_three_to_one(watch: Watch) -> None:
    watched = watch(extra_env={"GGML_VK_VISIBLE_DEVICES": "0,0"}, start_timeout_s=240)
    request, plan = planned(3.0, 1.0, backend=Backend.VULKAN, names=("Vulkan0", "Vulkan1"))
    watched.start(replace(request, warmup=False), plan)
    ready = watched.wait(Phase.READY, most_s=240)
    assert rows(ready) == [(24, 50.73, 72), (7, 41.37, 18)]
    assert ready.mismatches == ()


def test_devices_taken_in_reverse_carry_the_split_in_that_order(watch: Watch) -> None:
    watched = watch(extra_env={"GGML_VK_VISIBLE_DEVICES": "0,0"}, start_timeout_s=240)
    request, plan = planned(3.0, 1.0, backend=Backend.VULKAN, names=("Vulkan1", "Vulkan0"))
    watched.start(replace(request, warmup=False), plan)
    ready = watched.wait(Phase.READY, most_s=240)
    assert ready.device_names == ("Vulkan1", "Vulkan0")
    assert rows(ready) == [(24, 50.73, 72), (7, 41.37, 18)]


def test_the_engine_wants_its_key_and_nobody_can_read_it(watch: Watch) -> None:
    _, ready = started(watch, 3.0, 1.0)
    assert ready.api_key is not None
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{ready.url}/props", timeout=5)
    assert refused.value.code == 401
    refused.value.close()
    request = urllib.request.Request(
        f"{ready.url}/props", headers={"Authorization": f"Bearer {ready.api_key}"}
    )
    with urllib.request.urlopen(request, timeout=5) as answer:
        assert answer.status == 200
    assert ready.pid is not None
    assert ready.api_key not in " ".join(psutil.Process(ready.pid).cmdline())


def answers_with(url: str | None, key: str | None) -> int:
    """What the engine's `/props` answers to whoever has this key."""
    request = urllib.request.Request(f"{url}/props", headers={"Authorization": f"Bearer {key}"})
    with urllib.request.urlopen(request, timeout=5) as answer:
        return int(answer.status)


def test_after_a_restart_address_and_key_are_those_that_were_shared(watch: Watch) -> None:
    watched = watch()
    watched.supervisor.restart = RestartPolicy(enabled=True, first_delay_s=0.1)
    request, plan = planned(3.0, 1.0)
    watched.start(request, plan)
    first = watched.wait(Phase.READY)
    assert first.pid is not None
    os.kill(first.pid, signal.SIGKILL)
    watched.wait(Phase.STARTING)
    again = watched.wait(Phase.READY)
    assert again.pid != first.pid
    assert (again.url, again.api_key) == (first.url, first.api_key)
    assert answers_with(first.url, first.api_key) == 200
    watched.supervisor.stop()
    watched.wait(Phase.STOPPED)
    watched.start(request, plan)
    of_the_users_next_start = watched.wait(Phase.READY)
    assert of_the_users_next_start.api_key != first.api_key


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "incomplete or broken: tensor 'blk.11.ffn_up.weight'"),
        (b"this is a shopping list, and no model", "no GGUF file"),
    ],
    ids=["truncated", "text"],
)
def test_a_broken_model_is_one_sentence(
    watch: Watch, tmp_path: Path, content: bytes | None, words: str
) -> None:
    """The window reads the file first; this is what the engine itself makes of it."""
    path = tmp_path / "broken.gguf"
    path.write_bytes(content or model_file().read_bytes()[:40_000_000])
    watched = watch()
    request, plan = planned(3.0, 1.0)
    watched.start(replace(request, model=path), plan)
    failed = watched.wait(Phase.FAILED)
    assert failed.failure is not None
    assert words in failed.failure.message
    assert failed.failure.hint
    assert failed.failure.exit_code == 1
    watched.supervisor.close()
    assert below_me() == []


def test_an_engine_killed_in_mid_run_is_a_failure_and_can_be_started_again(watch: Watch) -> None:
    watched, ready = started(watch, 3.0, 1.0)
    assert ready.pid is not None
    os.kill(ready.pid, signal.SIGKILL)
    failed = watched.wait(Phase.FAILED, most_s=2)
    assert failed.failure is not None
    assert "was killed" in failed.failure.message
    assert failed.url is None
    watched.start(*planned(1.0, 1.0))
    watched.wait(Phase.STARTING, Phase.LOADING)
    assert rows(watched.wait(Phase.READY)) == [(16, 33.82, 48), (15, 58.28, 42)]


def test_a_lending_server_killed_in_mid_run_is_a_failure(watch: Watch) -> None:
    watched, _ = started(watch, 3.0, 1.0)
    lender = next(
        p
        for p in psutil.Process().children(recursive=True)
        if p.name().startswith("ggml-rpc-server")
    )
    lender.kill()
    failed = watched.wait(Phase.FAILED, most_s=3)
    assert failed.failure is not None
    assert failed.failure.message.startswith(("The server that lends", "The engine"))
    assert below_me() == []  # told only when nothing of it is left
    # the next start, right after the news, is not touched by the end of this one
    watched.start(*planned(1.0, 1.0))
    again = watched.wait(Phase.READY)
    assert rows(again) == [(16, 33.82, 48), (15, 58.28, 42)]
    watched.supervisor.close()
    assert below_me() == []


def test_stop_while_it_loads_leaves_nothing(watch: Watch) -> None:
    watched = watch()
    watched.start(*planned(3.0, 1.0))
    watched.wait(Phase.LOADING)
    below = below_me()
    assert len(below) >= 4
    begun = time.monotonic()
    watched.supervisor.stop()
    watched.wait(Phase.STOPPED, most_s=2.5)
    watched.supervisor.close()
    assert time.monotonic() - begun < 2.5
    assert running(below) == []


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL; Windows ends the job instead")
@pytest.mark.parametrize("phase", [Phase.READY, Phase.LOADING])
def test_a_program_killed_by_force_leaves_no_process(phase: Phase, tmp_path: Path) -> None:
    slowest_s = 0.0
    for _ in range(3):
        program = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("supervised_program.py")),
             phase.value, str(tmp_path)],
            stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": f"{ROOT / 'gui'}{os.pathsep}{ROOT}"},
        )  # fmt: skip
        assert program.stdout is not None
        news = json.loads(program.stdout.readline())
        names = news["below"].values()
        assert sum("llama-server" in name for name in names) == 1
        assert len(names) == 6, "engine, the server that lends, and both halves of their guards"
        program.kill()
        program.wait()
        program.stdout.close()
        slowest_s = max(slowest_s, seconds_until_gone(int(pid) for pid in news["below"]))
    print(f"gone after {slowest_s:.2f} s at most")
