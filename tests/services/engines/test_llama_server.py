"""Finding a llama-server, asking it what it is, and writing its command line."""

import os
import shutil
import sys
from pathlib import Path

import pytest
from tests.services.engines.conftest import model_file, planned

from splitrig.core.engine import LaunchRequest
from splitrig.core.errors import EngineError, EngineMissingError
from splitrig.core.plan import PlanRequest
from splitrig.services.engines import llama_server, probe
from splitrig.services.engines.llama_server import LlamaServer, find_llama_server

if sys.platform == "win32":
    pytest.skip("the engine package and the scripts here are for Linux", allow_module_level=True)


def script(path: Path, body: str) -> Path:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def value(command: tuple[str, ...], flag: str) -> str:
    return command[command.index(flag) + 1]


def test_the_installed_engine_is_found_and_says_what_it_is() -> None:
    server = find_llama_server()
    assert server.path.name == "llama-server"
    capabilities = server.capabilities()
    assert capabilities.build
    assert {"-ts", "--tensor-split", "-fit", "--no-ui", "--rpc"} <= capabilities.flags
    assert server.capabilities() is capabilities
    assert server.rpc_server is not None


def test_the_chosen_file_comes_first(tmp_path: Path) -> None:
    chosen = script(tmp_path / "llama-server", "exit 0")
    assert find_llama_server(chosen).path == chosen
    with pytest.raises(EngineError, match="There is no llama-server at"):
        find_llama_server(tmp_path / "none")


def test_without_the_package_the_one_on_path_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llama_server, "WHEEL", "no_such_package")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineMissingError, match="No llama-server was found"):
        find_llama_server()
    on_path = script(tmp_path / "llama-server", "exit 0")
    assert find_llama_server().path == on_path


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("echo a shopping list", "is no llama-server"),
        ("kill -ILL $$", "needs processor features this machine lacks"),
        ("kill -SEGV $$", "ended with signal 11"),
        ("echo 'x: error while loading shared libraries: libcudart.so.12: no' >&2; exit 127",
         "libcudart.so.12"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_working_engine_is_one_sentence(
    tmp_path: Path, body: str, words: str
) -> None:
    server = LlamaServer(script(tmp_path / "llama-server", body))
    with pytest.raises(EngineError, match=words) as raised:
        server.capabilities()
    assert raised.value.hint


def test_a_file_that_cannot_be_run_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "llama-server").write_text("not a program")
    with pytest.raises(EngineError, match="cannot be run"):
        LlamaServer(tmp_path / "llama-server").capabilities()


def test_an_engine_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "PROBE_TIMEOUT_S", 0.3)
    server = LlamaServer(script(tmp_path / "llama-server", "exec sleep 30"))
    with pytest.raises(EngineError, match="did not answer within"):
        server.capabilities()


def test_a_copy_without_the_executable_bit_is_made_executable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "an_engine_package"
    (package / "bin").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "bin" / "llama-server").write_text("#!/bin/sh\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(llama_server, "WHEEL", "an_engine_package")
    assert os.access(find_llama_server().path, os.X_OK)


def test_the_environment_of_the_engine_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    monkeypatch.setenv("GGML_VK_VISIBLE_DEVICES", "1")
    monkeypatch.setenv("HIP_VISIBLE_DEVICES", "")
    monkeypatch.setenv("LLAMA_ARG_TENSOR_SPLIT", "9,1")
    monkeypatch.setenv("LLAMA_API_KEY", "an old key")
    env = find_llama_server().environment("new key")
    assert "CUDA_VISIBLE_DEVICES" not in env
    assert "GGML_VK_VISIBLE_DEVICES" not in env
    assert "HIP_VISIBLE_DEVICES" not in env
    assert "LLAMA_ARG_TENSOR_SPLIT" not in env
    assert env["LLAMA_API_KEY"] == "new key"
    assert env["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert env["GGML_NO_BACKTRACE"] == "1"
    assert env["PATH"] == os.environ["PATH"]


def test_an_explicit_environment_is_passed_on() -> None:
    server = find_llama_server(extra_env={"GGML_VK_VISIBLE_DEVICES": "0,0"})
    assert server.environment()["GGML_VK_VISIBLE_DEVICES"] == "0,0"


def test_two_software_cards_are_listed_without_an_address() -> None:
    server = find_llama_server(extra_env={"GGML_VK_VISIBLE_DEVICES": "0,0"})
    devices = server.list_devices()
    assert [d.name for d in devices] == ["Vulkan0", "Vulkan1"]
    assert all("llvmpipe" in d.description for d in devices)
    assert all(d.total_bytes > 0 and d.pci is None for d in devices)


def test_a_machine_without_a_card_has_no_device() -> None:
    assert find_llama_server().list_devices() == ()
    assert find_llama_server().identify_devices(model_file()) == ()


@pytest.mark.engine
def test_asking_for_addresses_loads_a_model_and_leaves_nothing() -> None:
    server = find_llama_server(extra_env={"GGML_VK_VISIBLE_DEVICES": "0,0"})
    devices = server.identify_devices(model_file())
    assert [(d.name, d.pci) for d in devices] == [("Vulkan0", None), ("Vulkan1", None)]


def test_the_command_says_everything_that_decides_where_bytes_go() -> None:
    request, _ = planned(3.0, 1.0)
    command = find_llama_server().command(request, ("RPC0", "RPC1"), 8137)
    assert value(command, "-dev") == "RPC0,RPC1"
    assert value(command, "-ts") == "3,1"
    assert value(command, "-sm") == "layer"
    assert value(command, "-c") == "4096"
    assert value(command, "-fit") == "off"
    assert value(command, "-fa") == "on"
    assert value(command, "-ctk") == value(command, "-ctv") == "f16"
    assert value(command, "--host") == "127.0.0.1"
    assert value(command, "--port") == "8137"
    assert value(command, "--cors-origins") == "http://127.0.0.1:8137"
    assert "--no-ui" in command
    assert "--no-warmup" not in command


def test_no_key_stands_in_the_command() -> None:
    request, _ = planned(3.0, 1.0)
    command = find_llama_server().command(request, ("RPC0", "RPC1"), 8137)
    assert not any("key" in part for part in command)


def test_other_choices_reach_the_command() -> None:
    plan = PlanRequest(
        split=(0.0, 1.0), n_ctx=0, n_gpu_layers=7, cache_type_k="q8_0", cache_type_v="q4_0",
        flash_attention=False, n_batch=64, n_ubatch=32, n_parallel=3, kv_unified=True,
    )  # fmt: skip
    request = LaunchRequest(
        model=Path("/m/m.gguf"), plan=plan, rpc=("h:1", "h:2"), n_threads=5, warmup=False
    )
    command = find_llama_server().command(request, ("CUDA1", "CUDA0"), 1)
    wanted = {
        "-m": "/m/m.gguf", "--rpc": "h:1,h:2", "-dev": "CUDA1,CUDA0", "-ts": "0,1", "-ngl": "7",
        "-c": "0", "-np": "3", "-b": "64", "-ub": "32", "-ctk": "q8_0", "-ctv": "q4_0",
        "-fa": "off", "-t": "5",
    }  # fmt: skip
    assert {flag: value(command, flag) for flag in wanted} == wanted
    assert "-kvu" in command
    assert "--no-warmup" in command


def test_one_device_and_none_need_no_split() -> None:
    request, _ = planned(1.0)
    server = find_llama_server()
    assert "-ts" not in server.command(request, ("RPC0",), 1)
    assert value(server.command(request, (), 1), "-dev") == "none"


def test_options_an_older_build_does_not_have_are_left_out_with_their_values(fake: Path) -> None:
    request, _ = planned(3.0, 1.0)
    server = LlamaServer(fake)
    assert server.capabilities().build == "b9876"
    command = server.command(request, ("CUDA0", "CUDA1"), 8137)
    assert "--no-webui" in command
    assert "--no-ui" not in command
    for missing in ("-fit", "--cors-origins", "-kvu", "-no-kvu", "off", "-b", "-t"):
        assert missing not in command
    assert value(command, "-ts") == "3,1"
    assert value(command, "--port") == "8137"


def test_the_engine_package_comes_with_its_tool_to_lend_the_processor(tmp_path: Path) -> None:
    copy = tmp_path / "llama-server"
    shutil.copy(find_llama_server().path, copy)
    assert LlamaServer(copy).rpc_server is None
