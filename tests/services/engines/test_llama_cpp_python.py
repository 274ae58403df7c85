"""llama-cpp-python as an engine, for real: two lent devices or two software cards, 3 : 1."""

import json
import os
import subprocess
import time
import urllib.request
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from tests.services.engines.conftest import Watch, planned
from tests.services.engines.processes import running
from tests.support.provisioned import LlamaCppPythonEnv

from splitrig.core.engine import EngineKind, EngineStatus, LaunchRequest, Phase
from splitrig.core.environment import engine_environment
from splitrig.core.errors import EngineError
from splitrig.core.gpu import GpuInfo, Vendor
from splitrig.core.plan import Plan
from splitrig.core.settings import EngineSettings
from splitrig.core.units import MIB
from splitrig.services.engines.llama_cpp_python import LlamaCppPython, find_llama_cpp_python
from splitrig.services.engines.ports import free_port

pytestmark = pytest.mark.engine
CARD = GpuInfo(id="GPU-1", name="A card", vendor=Vendor.NVIDIA, source="test")


def for_python(request: LaunchRequest, **changes: object) -> LaunchRequest:
    return replace(request, engine=EngineKind.LLAMA_CPP_PYTHON, **changes)


def settings(env: LlamaCppPythonEnv) -> EngineSettings:
    return EngineSettings(python=env.python)


def row(status: EngineStatus, name: str) -> tuple[int, float, float]:
    has = status.actual[name]
    assert has.model_bytes is not None
    assert has.kv_bytes is not None
    return status.layers[name], round(has.model_bytes / MIB, 2), round(has.kv_bytes / MIB, 2)


def answer_of(status: EngineStatus) -> list[dict[str, object]]:
    """The chunks of a short streamed answer."""
    body = {
        "messages": [{"role": "user", "content": "Say hello."}],
        "max_tokens": 6,
        "temperature": 0,
        "stream": True,
    }
    request = urllib.request.Request(
        f"{status.url}/v1/chat/completions",
        json.dumps(body).encode(),
        {"Authorization": f"Bearer {status.api_key}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as stream:
        lines = [line.decode().strip() for line in stream]
    return [json.loads(line[6:]) for line in lines if line.startswith("data: {")]


def test_three_to_one_arrives_on_two_lent_devices(
    watch: Watch, llama_cpp_python_env: LlamaCppPythonEnv
) -> None:
    env = llama_cpp_python_env
    watched = watch(settings=settings(env), extra_env=env.environment)
    request, plan = planned(3.0, 1.0)
    watched.start(for_python(request), plan)
    ready = watched.wait(Phase.READY, most_s=120)
    assert ready.build == env.version
    assert ready.device_names == ("RPC0", "RPC1")
    assert row(ready, "RPC0") == (24, 50.73, 72.0)
    assert row(ready, "RPC1") == (7, 41.37, 18.0)
    assert ready.mismatches == ()
    assert ready.step_seconds["weights"] > 0
    assert ready.api_key is not None
    assert ready.api_key not in " ".join(ready.command)
    chunks = answer_of(ready)
    assert len(chunks) > 3
    below = [p.pid for p in psutil.Process().children(recursive=True)]
    watched.supervisor.stop()
    watched.wait(Phase.STOPPED, most_s=3)
    assert running(below) == []


def test_three_to_one_arrives_by_names_of_devices(
    watch: Watch, llama_cpp_python_env: LlamaCppPythonEnv
) -> None:
    """A split of 1 : 3 over the same devices in their own order, with a quantised cache."""
    env = llama_cpp_python_env
    watched = watch(settings=settings(env), extra_env=env.environment)
    request, plan = planned(1.0, 3.0)
    knobs = replace(request.plan, cache_type_k="q8_0", cache_type_v="q8_0", n_ctx=2048)
    watched.start(for_python(request, plan=knobs), plan)
    ready = watched.wait(Phase.READY, most_s=120)
    assert row(ready, "RPC0")[0:2] == (8, 16.91)
    assert row(ready, "RPC1")[0:2] == (23, 75.19)
    kv = [ready.actual[name].kv_bytes or 0 for name in ready.device_names]
    # a cache of 24 MiB in f16 and 4,096 tokens is half of that in 2,048, and 34/64 in q8_0
    assert round(kv[0] / MIB, 2) == round(24 / 2 * 34 / 64, 2)


def test_an_engine_that_cannot_be_used_says_why(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="There is no Python at"):
        find_llama_cpp_python(tmp_path / "python")
    with pytest.raises(EngineError, match="not installed beside SplitRig"):
        find_llama_cpp_python()


def test_a_split_it_does_not_know_is_refused_instead_of_another_one() -> None:
    request, _ = planned(3.0, 1.0)
    request = replace(request, plan=replace(request.plan, split_mode="tensor"))
    engine = LlamaCppPython(Path("/usr/bin/python3"))
    with pytest.raises(EngineError, match="no split mode 'tensor'"):
        engine.command(request, ("CUDA0", "CUDA1"), 8137)


def test_a_python_without_the_package_is_one_sentence(
    llama_cpp_python_env: LlamaCppPythonEnv,
) -> None:
    with pytest.raises(EngineError, match="has no llama-cpp-python"):
        LlamaCppPython(Path("/usr/bin/python3")).check()
    engine = LlamaCppPython(llama_cpp_python_env.python, extra_env=llama_cpp_python_env.environment)
    assert engine.build is None
    assert engine.check() == llama_cpp_python_env.version
    assert engine.build == llama_cpp_python_env.version
    # built for the processor: no card is there, which is no error
    assert engine.list_devices([CARD], None) == ()


def test_libraries_that_are_not_there_are_one_sentence(
    llama_cpp_python_env: LlamaCppPythonEnv, tmp_path: Path
) -> None:
    broken = {"LLAMA_CPP_LIB_PATH": str(tmp_path)}
    engine = LlamaCppPython(llama_cpp_python_env.python, extra_env=broken)
    with pytest.raises(EngineError, match="llama-cpp-python does not start: ") as error:
        engine.list_devices([CARD], None)
    assert "Traceback" not in error.value.message


def test_settings_in_the_environment_do_not_reach_the_server(
    watch: Watch, llama_cpp_python_env: LlamaCppPythonEnv, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would take the port, the model and a hundred other things from variables."""
    for name, value in (("PORT", "1"), ("HOST", "0.0.0.0"), ("n_ctx", "99"), ("VOCAB_ONLY", "1")):
        monkeypatch.setenv(name, value)
    env = llama_cpp_python_env
    watched = watch(settings=settings(env), extra_env=env.environment)
    request, plan = planned(3.0, 1.0)
    watched.start(for_python(request), plan)
    ready = watched.wait(Phase.READY, most_s=120)
    assert row(ready, "RPC0") == (24, 50.73, 72.0)


def test_every_setting_that_the_server_has_is_kept_from_it(
    llama_cpp_python_env: LlamaCppPythonEnv,
) -> None:
    env = llama_cpp_python_env
    ask = "from llama_cpp.server import settings as s\n"
    ask += "print(*s.Settings.model_fields, *s.ConfigFileSettings.model_fields)"
    done = subprocess.run(
        [env.python, "-c", ask],
        env={**os.environ, **env.environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    names = done.stdout.split()
    assert len(names) > 50
    inherited = {name.upper(): "1" for name in names}
    assert engine_environment(EngineKind.LLAMA_CPP_PYTHON, inherited).variables.keys() == {
        "CUDA_DEVICE_ORDER"
    }


def test_failures_are_sentences_and_leave_nothing(
    watch: Watch, llama_cpp_python_env: LlamaCppPythonEnv, tmp_path: Path
) -> None:
    env = llama_cpp_python_env
    watched = watch(settings=settings(env), extra_env=env.environment)
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"not a model at all")

    def fail(request: LaunchRequest, plan: Plan) -> str:
        watched.statuses.clear()
        watched.start(request, plan)
        failed = watched.wait(Phase.FAILED, most_s=120)
        assert failed.failure is not None
        assert failed.failure.hint
        assert psutil.Process().children(recursive=True) == []
        return failed.failure.message

    request, plan = planned(3.0, 1.0)
    assert "no GGUF file" in fail(for_python(request, model=broken), plan)
    missing = tmp_path / "gone.gguf"
    assert "cannot be opened" in fail(for_python(request, model=missing), plan)


def test_an_engine_killed_in_mid_run_is_a_failure(
    watch: Watch, llama_cpp_python_env: LlamaCppPythonEnv
) -> None:
    env = llama_cpp_python_env
    watched = watch(settings=settings(env), extra_env=env.environment)
    request, plan = planned(3.0, 1.0)
    watched.start(for_python(request, port=free_port()), plan)
    ready = watched.wait(Phase.READY, most_s=120)
    psutil.Process(ready.pid).kill()
    failed = watched.wait(Phase.FAILED, most_s=5)
    assert failed.failure is not None
    assert "killed" in failed.failure.message
    deadline = time.monotonic() + 3
    while psutil.Process().children(recursive=True):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_package_without_its_libraries_says_so(
    watch: Watch, llama_cpp_python_env: LlamaCppPythonEnv
) -> None:
    watched = watch(settings=settings(llama_cpp_python_env))
    request, plan = planned(3.0, 1.0)
    watched.start(for_python(request), plan)
    failed = watched.wait(Phase.FAILED, most_s=60)
    assert failed.failure is not None
    assert failed.failure.message.startswith("llama-cpp-python does not start: FileNotFoundError: ")
