"""The engines themselves, for `kill_storm`: started by the real supervisor over lent devices."""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.support.fake_vllm import make_environment, make_model

from splitrig.core.engine import EngineKind, LaunchRequest
from splitrig.core.footprint import Backend
from splitrig.core.gpu import Rig
from splitrig.core.plan import Plan, PlanDevice, PlanRequest, make_plan
from splitrig.core.settings import EngineSettings
from splitrig.core.units import GIB
from splitrig.core.vllm import VllmCard, VllmOptions
from splitrig.core.vllm_plan import make_vllm_plan
from splitrig.services.engines.engines import Engines
from splitrig.services.engines.supervisor import Supervisor
from splitrig.services.mailbox import Mailbox
from splitrig.services.models.gguf import read_model
from splitrig.services.models.hf import read_hf_model

FOUND = Path(sys.prefix) / "splitrig-test-engines.json"
KNOBS = PlanRequest(split=(3.0, 1.0), n_ctx=512)
Start = Callable[[Path], None]
"""Starts an engine and looks after it until the process is killed; gets a folder for records."""


def engines(model: Path, folder: Path) -> dict[str, Start]:
    """What is here: llama.cpp, the engines that `./test` has built, and the fake vLLM."""
    found = json.loads(FOUND.read_text(encoding="utf-8")) if FOUND.exists() else {}
    known: dict[str, Start] = {"llama.cpp, supervised": _lent(model, EngineSettings(), {})}
    python, ollama = found.get("llama_cpp_python", {}), found.get("ollama", {})
    if "python" in python:
        known["llama-cpp-python, supervised"] = _lent(
            model,
            EngineSettings(python=Path(python["python"])),
            {"LLAMA_CPP_LIB_PATH": python["library_dir"]},
            EngineKind.LLAMA_CPP_PYTHON,
        )
    if "program" in ollama:
        known["Ollama, supervised"] = _lent(
            model, EngineSettings(ollama=Path(ollama["program"])), {}, EngineKind.OLLAMA
        )
    known["vLLM (fake), supervised"] = _vllm(folder)
    return known


def _run(
    settings: EngineSettings,
    env: dict[str, str],
    request: LaunchRequest,
    plan: Plan,
    records: Path,
) -> None:
    mailbox = Mailbox()
    supervisor = Supervisor(
        mailbox,
        Engines(mailbox, settings, extra_env={**env, "HOME": str(records.parent)}),
        log_dir=records.parent / "logs",
        records=records,
    )
    supervisor.start(request, plan, Rig(time_s=0, demo=True))
    while True:
        mailbox.drain()
        if supervisor.status.failure is not None:
            os.write(2, f"{supervisor.status.failure}\n".encode())
            os._exit(1)
        time.sleep(0.05)


def _lent(
    model: Path,
    settings: EngineSettings,
    env: dict[str, str],
    kind: EngineKind = EngineKind.LLAMA_CPP,
) -> Start:
    devices = [
        PlanDevice(name=f"card {n}", id=f"demo-{n}", free_bytes=8 * GIB, backend=Backend.RPC)
        for n in range(2)
    ]
    request = LaunchRequest(
        model=model,
        gpu_ids=tuple(device.id for device in devices),
        plan=KNOBS,
        engine=kind,
        n_threads=1,
    )
    plan = make_plan(read_model(model), devices, KNOBS)
    return lambda records: _run(settings, env, request, plan, records)


def _vllm(folder: Path) -> Start:
    settings = EngineSettings(vllm=make_environment(folder / "vllm"))
    path = make_model(folder / "model")
    cards = [
        VllmCard(name=f"card {n}", id=f"GPU-{n}", free_bytes=23 * GIB, total_bytes=24 * GIB)
        for n in range(2)
    ]
    options = VllmOptions(n_ctx=4096, tp=2, pp=1)
    plan = make_vllm_plan(read_hf_model(path), cards, options)
    request = LaunchRequest(
        model=path,
        devices=("CUDA0", "CUDA1"),
        plan=KNOBS,
        engine=EngineKind.VLLM,
        vllm=plan.decided(options),
    )
    env = {"FAKE_CARDS": "23/24,23/24"}
    return lambda records: _run(settings, env, request, plan.as_plan(), records)
