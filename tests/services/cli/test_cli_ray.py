"""`splitrig serve --ray`: a cluster that runs, or one started here; Ray is the recorded one."""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.fakes.nvml import fake_nvml
from tests.services.cli.run_cli import environment, splitrig
from tests.services.engines.rpc_servers import wait_for
from tests.support.fake_vllm import make_environment, make_model

from splitrig.services.engines.ports import answers, free_port

OTHERS = "2@127.0.0.1,2@10.0.0.2"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("models") / "Llama-8B")


@pytest.fixture(scope="module")
def vllm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_environment(tmp_path_factory.mktemp("vllm") / "env", ray=True)


@pytest.fixture
def rig(tmp_path: Path) -> dict[str, str]:
    """A 4090 and a 3080 here, and enough memory for the fake on the other machine's cards."""
    env = fake_nvml.environment(tmp_path / "nvml", fake_nvml.MIXED)
    return env | {"FAKE_CARDS": "23.2/23.99,9.56/10,9.56/10,9.56/10", "FAKE_SPEED": "0.005"}


@pytest.fixture
def port() -> Iterator[int]:
    """A port that somebody listens on, as a cluster's head would."""
    with socket.create_server(("127.0.0.1", 0)) as head:
        yield int(head.getsockname()[1])


def arguments(model: Path, vllm: Path, *more: str) -> list[str]:
    return ["serve", "--engine", "vllm", "--vllm", str(vllm), "--model", str(model), *more]


def refused(*given: str, **env: str) -> str:
    done = splitrig(*given, **env)
    assert done.returncode == 1, done.stdout
    return done.stderr


@contextmanager
def serving(given: list[str], env: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "splitrig", *given]
    with subprocess.Popen(
        command, env=environment(**env), stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def told(process: subprocess.Popen[str], *events: str) -> dict[str, Any]:
    """The next of these events."""
    assert process.stdout is not None
    for line in process.stdout:
        news: dict[str, Any] = json.loads(line)
        if news["event"] in (*events, "failed"):
            assert news["event"] in events, news
            return news
    raise AssertionError("it ended")


def test_refusals(model: Path, vllm: Path, rig: dict[str, str], port: int) -> None:
    gguf = ("serve", "--model", "x.gguf")
    said = refused(*gguf, "--ray", "127.0.0.1", **rig)
    assert "--ray is not taken by llama.cpp: only vLLM has it. Add --engine vllm" in said
    assert "with --rpc" in said
    said = refused(*gguf, "--engine", "ollama", "--ray-start", "2", **rig)
    assert "--ray-start is not taken by Ollama: only vLLM has it. Leave it out, or take" in said
    asked = arguments(model, vllm)
    assert "--ray-start does not say at which address." in refused(*asked, "--ray-start", "2")
    assert "'workshop' is no IPv4 address" in refused(*asked, "--ray", "workshop", **rig)
    said = refused(*asked, "--ray", "192.0.2.7", **rig)
    assert "192.0.2.7 is not this machine, whose addresses are " in said
    assert splitrig(*asked, "--ray", "127.0.0.1", "--ray-start", "0").returncode == 2
    said = refused(*asked, "--ray", f"127.0.0.1:{free_port()}", **rig)
    assert "No Ray cluster answers at 127.0.0.1:" in said
    said = refused(*asked, "--ray", f"127.0.0.1:{port}", **rig, FAKE_RAY="1@127.0.0.1,2@10.0.0.2")
    assert "The Ray cluster has 1 cards of this machine (127.0.0.1), where there are 2." in said
    assert "(--num-gpus=2), or let --ray-start do it." in said


def test_without_a_card_no_head_is_started(model: Path, vllm: Path, tmp_path: Path) -> None:
    env = fake_nvml.environment(tmp_path / "nvml", fake_nvml.DRIVER_ABSENT)
    free = free_port()
    given = arguments(model, vllm, "--ray", f"127.0.0.1:{free}", "--ray-start", "2")
    assert "vLLM needs a real card" in refused(*given, **env)
    assert not answers(f"127.0.0.1:{free}")


def test_a_running_cluster_is_used_and_left(
    model: Path, vllm: Path, rig: dict[str, str], port: int
) -> None:
    given = arguments(model, vllm, "--ray", f"127.0.0.1:{port}", "--json")
    given += ["--tensor-split", "4,2,1,1"]
    with serving(given, rig | {"FAKE_RAY": OTHERS}) as process:
        ray = told(process, "ray")
        assert ray["nodes"] == [{"ip": "127.0.0.1", "cards": 2}, {"ip": "10.0.0.2", "cards": 2}]
        assert (ray["started"], ray["cards"], ray["free"], ray["wanted"]) == (False, 4, 4, None)
        assert ray["join"] == f"ray start --address=127.0.0.1:{port} --block"
        assert len(ray["warnings"]) == 2
        ready = told(process, "ready")
        command = " ".join(ready["command"])
        assert "--distributed-executor-backend ray" in command
        assert f"RAY_ADDRESS=127.0.0.1:{port}" in command
        assert "VLLM_PP_LAYER_PARTITION=16,8,4,4" in command
        assert "CUDA_VISIBLE_DEVICES" not in command
        assert [device["device"] for device in ready["devices"]] == ["CUDA0", "CUDA1", None, None]
        assert [d["name"] for d in ready["devices"]][2:] == [
            "10.0.0.2 · card 0",
            "10.0.0.2 · card 1",
        ]
        assert [d["planned"]["layers"] for d in ready["devices"]] == [16, 8, 4, 5]
        assert ready["devices"][3]["actual"]["model_bytes"] is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert answers(f"127.0.0.1:{port}")


def test_the_same_in_words(model: Path, vllm: Path, rig: dict[str, str], port: int) -> None:
    given = arguments(model, vllm, "--ray", f"127.0.0.1:{port}", "--tensor-split", "4,2,1,1")
    with serving(given, rig | {"FAKE_RAY": OTHERS}) as process:
        assert process.stdout is not None
        text = ""
        while "Ctrl-C stops it." not in text:
            line = process.stdout.readline()
            assert line, text
            text += line
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert "Each is planned like the smallest card of this machine that takes part" in text
    assert "  10.0.0.2 · card 0: 4 layers, planned " in text


def test_a_head_is_started_waited_with_and_ended(
    model: Path, vllm: Path, rig: dict[str, str], tmp_path: Path
) -> None:
    said = tmp_path / "ray"
    said.write_text("2@127.0.0.1")
    address = f"127.0.0.1:{free_port()}"
    given = arguments(model, vllm, "--ray", address, "--ray-start", "3", "--json")
    with serving(given, rig | {"FAKE_RAY": str(said)}) as process:
        ray = told(process, "ray")
        assert (ray["started"], ray["cards"], ray["wanted"]) == (True, 2, 3)
        assert answers(address)
        heads = [p for p in psutil.Process(process.pid).children(recursive=True)
                 if "--head" in p.cmdline()]  # fmt: skip
        assert all("--num-gpus=2" in head.cmdline() for head in heads)
        said.write_text("2@127.0.0.1,1@10.0.0.2")
        assert told(process, "ray")["cards"] == 3
        ready = told(process, "ready")
        assert len(ready["devices"]) == 3
        below = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert not answers(address)
    assert not [child for child in below if child.is_running()]


def test_waiting_ends_with_ctrl_c_and_with_the_head(
    model: Path, vllm: Path, rig: dict[str, str]
) -> None:
    address = f"127.0.0.1:{free_port()}"
    given = arguments(model, vllm, "--ray", address, "--ray-start", "3")
    with serving(given, rig | {"FAKE_RAY": "2@127.0.0.1"}) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().strip() for _ in range(4)]
        assert lines[0] == f"Ray at {address}: 2 cards on 1 machine, 2 free: 2 on 127.0.0.1."
        assert lines[1].startswith("Waiting for 3 cards. Ray lets everyone")
        assert lines[3] == f"ray start --address={address} --block"
        process.send_signal(signal.SIGINT)
        assert process.stdout.read().strip() == "Stopped."
        assert process.wait(10) == 0
    assert not answers(address)
    with serving([*given, "--json"], rig | {"FAKE_RAY": "2@127.0.0.1"}) as process:
        told(process, "ray")
        heads = [p for p in psutil.Process(process.pid).children(recursive=True)
                 if "--head" in p.cmdline()]  # fmt: skip
        max(heads, key=lambda head: head.create_time()).kill()
        assert process.stdout is not None
        failed = json.loads(process.stdout.readline())
        assert failed["message"].startswith(("Ray's head here ended", "No Ray cluster answers"))
        assert process.wait(10) == 1
    wait_for(lambda: not answers(address))


def test_an_environment_without_ray(
    model: Path, rig: dict[str, str], tmp_path: Path, port: int
) -> None:
    given = arguments(model, make_environment(tmp_path / "env"), "--ray", f"127.0.0.1:{port}")
    assert "Ray is not installed beside vLLM." in refused(*given, **rig)
    assert "Ray is not installed beside vLLM." in refused(*given, "--ray-start", "3", **rig)
