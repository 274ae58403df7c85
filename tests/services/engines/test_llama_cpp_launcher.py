"""The real llama-cpp-python, alone and with the devices of an RPC server."""

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.services.engines.conftest import model_file
from tests.support.provisioned import LlamaCppPythonEnv
from tests.support.real_process import ask, clean_environment, running

from splitrig.core.engine_log import Trouble, TroubleKind, read_line
from splitrig.services.engines import llama_cpp_launcher
from splitrig.services.engines.llama_server import LlamaServer
from splitrig.services.engines.ports import free_port
from splitrig.services.engines.rpc_server import RpcServer, lend_with

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(sys.platform == "win32", reason="the engine is built on Linux only"),
]
LAUNCHER = Path(llama_cpp_launcher.__file__)
HELLO = {
    "messages": [{"role": "user", "content": "Say hello."}],
    "max_tokens": 4,
    "temperature": 0,
}


@pytest.fixture
def lent(llama_cpp_python_env: LlamaCppPythonEnv) -> Iterator[RpcServer]:
    """Two processor devices, lent by the server from the same source: the protocol must match."""
    server = lend_with(LlamaServer(llama_cpp_python_env.llama_server), 2, lambda lines: None)
    yield server
    server.stop()


def options(port: int, *more: str) -> list[str]:
    threads = ["--n_threads", "1", "--n_threads_batch", "1"]
    address = ["--host", "127.0.0.1", "--port", str(port)]
    return ["--model", str(model_file()), "--n_ctx", "512", *threads, *address, *more]


def test_its_server_answers_on_libraries_that_were_built_once(
    llama_cpp_python_env: LlamaCppPythonEnv, tmp_path: Path
) -> None:
    port = free_port()
    command = [llama_cpp_python_env.python, "-m", "llama_cpp.server", *options(port)]
    env = clean_environment(tmp_path, llama_cpp_python_env.environment)
    url = f"http://127.0.0.1:{port}/v1"
    with running(command, tmp_path / "log", env=env, ready_at=f"{url}/models"):
        assert [model["id"] for model in ask(f"{url}/models")["data"]] == [str(model_file())]
        answer = ask(f"{url}/chat/completions", HELLO)
    assert answer["choices"][0]["message"]["content"]
    assert answer["usage"]["completion_tokens"] <= 4


def test_a_ratio_arrives_on_the_devices_of_an_rpc_server(
    llama_cpp_python_env: LlamaCppPythonEnv, lent: RpcServer, tmp_path: Path
) -> None:
    port = free_port()
    split = ["--tensor_split", "3", "1", "--split_mode", "1", "--n_gpu_layers", "-1"]
    command = [llama_cpp_python_env.python, LAUNCHER, "--rpc", lent.endpoint]
    env = clean_environment(tmp_path, llama_cpp_python_env.environment)
    url, log = f"http://127.0.0.1:{port}/v1", tmp_path / "log"
    with running([*command, *options(port, *split)], log, env=env, ready_at=f"{url}/models"):
        answer = ask(f"{url}/chat/completions", HELLO)
    assert answer["choices"][0]["message"]["content"]
    text = log.read_text()
    layers = Counter(re.findall(r"layer +\d+ assigned to device (\w+)", text))
    assert layers == {"RPC0": 24, "RPC1": 7}
    buffers = re.findall(r"(RPC\d)\S* model buffer size = +([\d.]+) MiB", text)
    assert [float(size) for _, size in buffers] == [50.73, 41.37]


@pytest.mark.parametrize(
    ("devices", "layers"),
    [("RPC1,RPC0", {"RPC1": 24, "RPC0": 7}), ("RPC1", {"RPC1": 31})],
)
def test_the_shares_land_on_the_devices_that_are_named_in_that_order(
    devices: str,
    layers: dict[str, int],
    llama_cpp_python_env: LlamaCppPythonEnv,
    lent: RpcServer,
    tmp_path: Path,
) -> None:
    """By itself it takes all devices in an order of its own, as it would with two makes of card."""
    port, n_devices = free_port(), len(layers)
    split = ["--n_gpu_layers", "-1", *["--tensor_split", "3", "1"][: n_devices + 1]]
    command = [llama_cpp_python_env.python, LAUNCHER, "--rpc", lent.endpoint, "--devices", devices]
    env = clean_environment(tmp_path, llama_cpp_python_env.environment)
    url, log = f"http://127.0.0.1:{port}/v1", tmp_path / "log"
    with running([*command, *options(port, *split)], log, env=env, ready_at=f"{url}/models"):
        pass
    assigned = re.findall(r"layer +\d+ assigned to device (\w+)", log.read_text())
    assert Counter(assigned) == layers


def test_a_device_that_is_not_there_is_named(
    llama_cpp_python_env: LlamaCppPythonEnv, tmp_path: Path
) -> None:
    command = [llama_cpp_python_env.python, LAUNCHER, "--devices", "CUDA7", *options(free_port())]
    env = clean_environment(tmp_path, llama_cpp_python_env.environment)
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    event = read_line(done.stderr.splitlines()[-1])
    assert isinstance(event, Trouble)
    assert (event.kind, event.subject) == (TroubleKind.BAD_DEVICE, "CUDA7")


def test_the_devices_it_sees_are_listed_as_llama_server_lists_them(
    llama_cpp_python_env: LlamaCppPythonEnv, lent: RpcServer, tmp_path: Path
) -> None:
    def listed(*command: str | Path) -> list[str]:
        env = clean_environment(tmp_path, llama_cpp_python_env.environment)
        arguments = [*command, "--rpc", lent.endpoint, "--list-devices"]
        done = subprocess.run(
            arguments, env=env, capture_output=True, text=True, timeout=60, check=True
        )
        return re.sub(r"\d+ MiB free", "free", done.stdout).splitlines()

    of_bindings = listed(llama_cpp_python_env.python, LAUNCHER)
    assert of_bindings == listed(llama_cpp_python_env.llama_server)
    assert len(of_bindings) == 3
    assert f"RPC1: {lent.endpoint}" in of_bindings[2]
