"""What of this program's environment reaches an engine, seen from inside a child."""

import json
import os
import sys
from pathlib import Path

import pytest
from tests.services.cli.run_cli import splitrig
from tests.services.engines.guarded import Child, Start
from tests.services.engines.processes import wait_for
from tests.support.provisioned import LlamaCppPythonEnv

from splitrig.core.config_files import READERS
from splitrig.core.engine import EngineKind
from splitrig.core.environment import STARTED
from splitrig.services.engines.environment import environment_for
from splitrig.services.engines.llama_server import LlamaServer, find_llama_server

if sys.platform == "win32":
    pytest.skip("the engine package is for Linux", allow_module_level=True)


def seen_by(child: Child) -> dict[str, str]:
    child.wait()
    return dict(line.split("=", 1) for line in child.lines if "=" in line)


@pytest.mark.parametrize("engine", STARTED)
def test_an_engine_gets_the_order_of_the_bus_and_no_inherited_choice(
    start: Start, monkeypatch: pytest.MonkeyPatch, engine: EngineKind
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "FASTEST_FIRST")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    made = environment_for(engine, {"OWN": "x"})
    seen = seen_by(start("env", env=dict(made.variables)))
    assert "CUDA_VISIBLE_DEVICES" not in seen
    assert seen["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert seen["HTTPS_PROXY"] == "http://proxy:3128"
    assert seen["OWN"] == "x"
    assert [note.name for note in made.replaced][:2] == [
        "CUDA_DEVICE_ORDER", "CUDA_VISIBLE_DEVICES",
    ]  # fmt: skip


def test_libraries_beside_the_engine_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", "/theirs")
    made = environment_for(EngineKind.LLAMA_CPP, library_dir=Path("/ours"))
    assert made.variables["LD_LIBRARY_PATH"] == "/ours:/theirs"
    monkeypatch.delenv("LD_LIBRARY_PATH")
    made = environment_for(EngineKind.LLAMA_CPP, library_dir=Path("/ours"))
    assert made.variables["LD_LIBRARY_PATH"] == "/ours"


def test_a_real_llama_server_is_not_bent_by_what_was_inherited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The variable that makes it show two cards of the processor works, but only from here."""
    monkeypatch.setenv("GGML_VK_VISIBLE_DEVICES", "0,0")
    monkeypatch.setenv("LLAMA_ARG_PORT", "no number")
    assert find_llama_server().list_devices() == ()
    ours = {"GGML_VK_VISIBLE_DEVICES": "0,0"}
    assert len(find_llama_server(extra_env=ours).list_devices()) == 2


def test_a_real_llama_server_takes_the_inherited_arguments_otherwise(start: Start) -> None:
    """Without what is taken out here, the last test would test nothing."""
    server = find_llama_server()
    env = {**server.environment(), "LLAMA_ARG_PORT": "no number"}
    child = start(str(server.path), "--list-devices", env=env)
    wait_for(lambda: child.process.poll() is not None)
    child.process.close()
    assert child.process.poll() != 0
    assert any("LLAMA_ARG_PORT" in line for line in child.lines)


def test_doctor_names_what_was_inherited_and_shows_no_secret() -> None:
    inherited = {
        "CUDA_VISIBLE_DEVICES": "1",
        "LLAMA_API_KEY": "sesame",
        "GGML_CUDA_P2P": "1",
        "OLLAMA_HOST": "127.0.0.1:9",
    }
    run = splitrig("doctor", "--json", **inherited)
    assert "sesame" not in run.stdout + run.stderr
    checks = {check["id"]: check for check in json.loads(run.stdout)["checks"]}
    assert set(inherited) <= {name.removeprefix("environment-") for name in checks}
    assert (
        "CUDA_VISIBLE_DEVICES=1 was set in your environment"
        in (checks["environment-CUDA_VISIBLE_DEVICES"]["message"])
    )
    assert checks["environment-GGML_CUDA_P2P"]["state"] == "note"
    assert os.environ.get("OLLAMA_HOST") is None


def with_config(monkeypatch: pytest.MonkeyPatch, folder: Path, text: str) -> Path:
    file = folder / "llama.cpp" / "config.ini"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder))
    return file


def test_a_real_llama_server_takes_options_from_a_file_but_not_from_here(
    start: Start,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    llama_cpp_python_env: LlamaCppPythonEnv,
) -> None:
    """Its own files come before its environment and have no switch."""
    server = LlamaServer(llama_cpp_python_env.llama_server)
    file = with_config(monkeypatch, tmp_path / "conf", "override-tensor = nonsense\n")
    inherited = start(str(server.path), "--list-devices", env=dict(os.environ))
    inherited.wait()
    assert any(f"using config file: {file}" in line for line in inherited.lines)
    ours = start(str(server.path), "--list-devices", env=server.environment())
    ours.wait()
    assert not any("config" in line for line in ours.lines)
    assert any("Available devices" in line for line in ours.lines)


def test_nothing_is_hidden_where_there_is_no_such_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert environment_for(EngineKind.LLAMA_CPP).variables["XDG_CONFIG_HOME"] == str(tmp_path)
    with_config(monkeypatch, tmp_path, "")
    assert environment_for(EngineKind.VLLM).variables["XDG_CONFIG_HOME"] == str(tmp_path)
    for engine in READERS:
        assert environment_for(engine).variables["XDG_CONFIG_HOME"] != str(tmp_path)


def test_doctor_names_the_file_whose_options_are_not_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = with_config(monkeypatch, tmp_path, "threads = 1\n")
    run = splitrig("doctor", "--json")
    checks = {check["id"]: check for check in json.loads(run.stdout)["checks"]}
    told = checks["environment-llama.cpp-user"]
    assert told["state"] == "note"
    assert told["message"].startswith(str(file))
