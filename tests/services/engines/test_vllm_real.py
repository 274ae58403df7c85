"""The real vLLM on the processor, through the real supervisor. Slow and large, so only on demand:

.venv/bin/python packaging/build_vllm_cpu.py
.venv/bin/python -m pytest -m vllm tests/services/engines/test_vllm_real.py
"""

import json
import os
import signal
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from tests.services.engines.conftest import Watch, Watched
from tests.support.vllm_server import vllm_cpu

from splitrig.core.engine import EngineKind, EngineStatus, LaunchRequest, Phase
from splitrig.core.engine_log import BufferKind
from splitrig.core.metrics import read_counts
from splitrig.core.plan import PlanRequest
from splitrig.core.settings import EngineSettings
from splitrig.core.units import GIB
from splitrig.core.vllm import VllmCard, VllmOptions
from splitrig.core.vllm_plan import kv_token_bytes, make_vllm_plan
from splitrig.services.models.hf import read_hf_model

pytestmark = [pytest.mark.engine, pytest.mark.vllm, pytest.mark.timeout(600)]
CARDS = [
    VllmCard(name=f"half {n}", id=str(n), free_bytes=2 * GIB, total_bytes=2 * GIB) for n in (0, 1)
]
ENV = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "0|1"}
Start = Callable[[VllmOptions], Watched]


@pytest.fixture(scope="module")
def folder() -> Path:
    return vllm_cpu()


@pytest.fixture
def start(folder: Path, watch: Watch) -> Start:
    """Start the tiny model on both cores as if they were cards."""

    def begin(options: VllmOptions) -> Watched:
        plan = make_vllm_plan(read_hf_model(folder / "tiny"), CARDS, options)
        request = LaunchRequest(
            model=folder / "tiny",
            engine=EngineKind.VLLM,
            devices=("CUDA0", "CUDA1"),
            plan=PlanRequest(n_ctx=plan.n_ctx),
            vllm=plan.decided(options),
        )
        watched = watch(extra_env=ENV, settings=EngineSettings(vllm=folder / "env"))
        watched.supervisor.start_timeout_s = 300
        watched.start(request, plan.as_plan())
        return watched

    return begin


def ask(status: EngineStatus) -> str:
    """A greedy answer of eight tokens."""
    body = {
        "model": status.served_model,
        "messages": [{"role": "user", "content": "Hello"}],
        "max_tokens": 8,
        "temperature": 0,
    }
    head = {"Authorization": f"Bearer {status.api_key}", "Content-Type": "application/json"}
    request = urllib.request.Request(
        f"{status.url}/v1/chat/completions", json.dumps(body).encode(), head
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return str(json.load(answer)["choices"][0]["message"]["content"])


def generated(status: EngineStatus) -> float | None:
    with urllib.request.urlopen(f"{status.url}/metrics", timeout=10) as answer:
        return read_counts(answer.read().decode(), time.monotonic()).generated


def check_run(watched: Watched, folder: Path, tp: int, layers: tuple[int, int]) -> str:
    """From ready to stopped; returns the answer."""
    status = watched.wait(Phase.READY, most_s=300)
    assert status.build == "0.32.0"
    assert set(status.step_seconds) == {"process", "weights", "context", "warmup"}
    assert status.pid is not None
    processes = psutil.Process(status.pid).children(recursive=True)
    assert len([p for p in processes if "VLLM::" in " ".join(p.cmdline())]) == 3
    # 1 GiB of cache for every worker, in blocks of 128 tokens; the fuller stage decides
    per_layer = kv_token_bytes(read_hf_model(folder / "tiny"), tp)
    tokens = GIB // (max(layers) * per_layer * 128) * 128
    carried = status.log.bytes_on(BufferKind.KV)
    assert carried == {
        "CUDA0": tokens * layers[0] * per_layer,
        "CUDA1": tokens * layers[1] * per_layer,
    }
    assert generated(status) == 0
    text = ask(status)
    assert generated(status) == 8
    watched.supervisor.stop()
    watched.wait(Phase.STOPPED, most_s=10)
    assert not [process for process in processes if process.is_running()]
    return text


def test_tensor_parallel_over_two_workers(start: Start, folder: Path) -> None:
    watched = start(VllmOptions(tp=2, n_ctx=256, dtype="bfloat16", eager=True))
    assert len(check_run(watched, folder, 2, (6, 6))) == 8


def test_a_pipeline_with_the_layers_of_the_split_bar(start: Start, folder: Path) -> None:
    """Without graphs this version's pipeline does not answer on the processor (see README.md)."""
    options = VllmOptions(
        pp=2,
        split=(2, 1),
        n_ctx=256,
        dtype="bfloat16",
        extra=("--compilation-config.backend", "eager"),
    )
    watched = start(options)
    assert len(check_run(watched, folder, 1, (4, 2))) == 8
    assert "VLLM_PP_LAYER_PARTITION=4,2" in watched.statuses[-1].command


def test_kill_9_of_the_server_leaves_nothing(start: Start) -> None:
    watched = start(VllmOptions(tp=2, n_ctx=256, dtype="bfloat16", eager=True))
    status = watched.wait(Phase.READY, most_s=300)
    assert status.pid is not None
    processes = psutil.Process(status.pid).children(recursive=True)
    assert len(processes) >= 3
    os.kill(status.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while watched.supervisor.status.phase is not Phase.FAILED:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert not [process for process in processes if process.is_running()]
