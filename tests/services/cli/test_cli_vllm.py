"""`splitrig plan` and `splitrig serve` with a Hugging Face folder."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.fakes.nvml import fake_nvml
from tests.services.cli.run_cli import environment, splitrig
from tests.support.fake_vllm import LLAMA_8B, make_environment, make_model

from splitrig.core.units import GIB


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("models") / "Llama-8B")


def planned(model: Path, *arguments: str) -> dict[str, Any]:
    done = splitrig("plan", "--model", str(model), "--json", *arguments)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_folder_is_planned_for_vllm(model: Path) -> None:
    plan = planned(model, "--free-mib", "23000,9000")
    assert plan["engine"] == "vllm"
    assert (plan["tensor_parallel_size"], plan["pipeline_parallel_size"]) == (1, 2)
    assert sum(plan["layers_per_stage"]) == 32
    assert plan["fits"]
    assert plan["max_ctx"] >= 4096
    assert sum(device["model_bytes"] for device in plan["devices"]) == pytest.approx(
        14.96 * GIB, rel=0.001
    )


def test_the_split_becomes_layers_of_a_pipeline(model: Path) -> None:
    plan = planned(model, "--free-mib", "23000,9000", "--tensor-split", "3,1")
    assert plan["layers_per_stage"] == [24, 8]


def test_tensor_parallel_strands_memory_and_says_how_much(model: Path) -> None:
    cards = ("--free-mib", "23000,12000", "--tensor-parallel-size", "2")
    plan = planned(model, *cards)
    assert plan["stranded_bytes"][0] > 8 * GIB
    assert plan["stranded_bytes"][1] < GIB // 2
    done = splitrig("plan", "--model", str(model), *cards)
    assert "tensor parallel over 2 cards" in done.stdout
    assert "GiB of card 0 stay unused" in done.stdout


def test_what_vllm_refuses(model: Path) -> None:
    cards = ("--free-mib", "23000,23000,23000")
    done = splitrig("plan", "--model", str(model), *cards, "--tensor-parallel-size", "3")
    assert done.returncode == 1
    assert "32 heads cannot be shared by 3 cards; 2 or 4 can, or use pipeline." in done.stderr
    done = splitrig("plan", "--model", str(model.parent), *cards)
    assert done.returncode == 1
    assert "has no config.json" in done.stderr


def test_why_there_is_only_a_pipeline_is_told(model: Path) -> None:
    cards = ("--free-mib", "23000,23000,23000")
    why = "32 heads cannot be shared by 3 cards; 2 or 4 can, or use pipeline."
    plan = planned(model, *cards)
    assert f"{why} Here it is a pipeline of 3 cards." in plan["notes"]
    assert plan["layouts"] == [
        {"tensor_parallel_size": 3, "pipeline_parallel_size": 1, "refused": why},
        {"tensor_parallel_size": 1, "pipeline_parallel_size": 3, "refused": None},
    ]
    done = splitrig("plan", "--model", str(model), *cards)
    assert why in done.stdout
    two = planned(model, "--free-mib", "23000,9000")
    assert [layout["refused"] for layout in two["layouts"]] == [None, None]
    assert not any("cannot be shared" in note for note in two["notes"])


def test_its_own_knobs_change_the_plan(model: Path) -> None:
    cards = ("--free-mib", "23000")
    plain = planned(model, *cards)
    assert planned(model, *cards, "--enforce-eager")["kv_tokens"] > plain["kv_tokens"]
    assert planned(model, *cards, "--kv-cache-dtype", "fp8")["kv_tokens"] > 1.9 * plain["kv_tokens"]
    less = planned(model, *cards, "--gpu-memory-utilization", "0.8")
    assert less["gpu_memory_utilization"] == 0.8
    assert less["kv_tokens"] < plain["kv_tokens"]
    offload = planned(model, *cards, "--", "--cpu-offload-gb", "4")
    assert offload["devices"] == plain["devices"]
    assert any(note.startswith("With --cpu-offload-gb ") for note in offload["notes"])


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (("--host", "0.0.0.0"), "--host cannot be set here: its key does not guard all"),
        (("--api-key", "x"), "--api-key cannot be set here"),
        (("--hos", "0.0.0.0"), "it could stand for --host"),
        (("--kv-events-config", "{}"), "it would open a port that asks for no key"),
        (("--quantization", "fp8"), "the weights are planned as they lie in the folder"),
        (("-tp", "2"), "Write options in their long form"),
    ],
)
@pytest.mark.parametrize("command", ["plan", "serve"])
def test_extra_arguments_that_are_not_passed_on(
    model: Path, tmp_path: Path, command: str, extra: tuple[str, ...], words: str
) -> None:
    env = fake_nvml.environment(tmp_path / "nvml", fake_nvml.MIXED)
    vllm = ("--engine", "vllm", "--vllm", str(make_environment(tmp_path / "env")))
    where = ("--free-mib", "23000") if command == "plan" else vllm
    done = splitrig(command, "--model", str(model), *where, "--", *extra, **env)
    assert done.returncode == 1
    assert words in done.stderr


def test_without_a_card_it_is_not_started(model: Path, tmp_path: Path) -> None:
    env = fake_nvml.environment(tmp_path / "nvml", fake_nvml.DRIVER_ABSENT)
    vllm = make_environment(tmp_path / "env")
    done = splitrig("serve", "--engine", "vllm", "--vllm", str(vllm), "--model", str(model), **env)
    assert done.returncode == 1
    assert "vLLM needs a real card" in done.stderr


def test_it_is_not_opened_to_the_network(model: Path) -> None:
    command = ("serve", "--engine", "vllm", "--model", str(model), "--host", "0.0.0.0")
    done = splitrig(*command, "--ray", "127.0.0.1", "--ray-start", "2")
    assert done.returncode == 1
    assert done.stderr.startswith("vLLM's key guards only some of its paths")
    assert "Put a reverse proxy before it" in done.stderr
    assert done.stdout == ""


@pytest.fixture
def serving(model: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """`splitrig serve` with the fake vLLM beside a 4090 and a 3080."""
    vllm = make_environment(tmp_path / "env")
    env = fake_nvml.environment(tmp_path / "nvml", fake_nvml.MIXED)
    env |= {"FAKE_CARDS": "23.2/23.99,9.56/10", "FAKE_SPEED": "0.005"}
    command = [sys.executable, "-m", "splitrig", "serve", "--engine", "vllm", "--vllm", str(vllm)]
    command += ["--model", str(model), "--tensor-split", "3,1", "--json"]
    command += ["--dtype", "float16", "--enforce-eager", "--", "--seed", "7"]
    with subprocess.Popen(
        command, env=environment(**env), stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        if process.poll() is None:
            process.kill()


def test_serve_carries_the_split_to_vllm_and_leaves_nothing(
    serving: subprocess.Popen[str],
) -> None:
    assert serving.stdout is not None
    told = None
    for line in serving.stdout:
        told = json.loads(line)
        if told["event"] in ("ready", "failed"):
            break
    assert told is not None
    assert told["event"] == "ready", told
    assert "CUDA_VISIBLE_DEVICES=0,1" in told["command"]
    assert "VLLM_PP_LAYER_PARTITION=24,8" in told["command"]
    assert "--dtype float16 --enforce-eager" in " ".join(told["command"])
    assert told["command"][-2:] == ["--seed", "7"]
    assert [device["device"] for device in told["devices"]] == ["CUDA0", "CUDA1"]
    for device in told["devices"]:
        assert device["actual"]["model_bytes"] == pytest.approx(
            device["planned"]["model_bytes"], rel=0.01
        )
    assert told["mismatches"] == []
    assert told["api_key"] not in " ".join(told["command"])
    processes = psutil.Process(told["pid"]).children(recursive=True)
    assert len(processes) == 3
    serving.send_signal(signal.SIGTERM)
    assert serving.wait(10) == 0
    assert not [process for process in processes if process.is_running()]


@pytest.mark.parametrize("as_json", [True, False])
def test_serve_tells_why_there_is_only_a_pipeline(tmp_path: Path, *, as_json: bool) -> None:
    odd = make_model(tmp_path / "Odd", LLAMA_8B | {"num_attention_heads": 33})
    env = fake_nvml.environment(tmp_path / "nvml", fake_nvml.MIXED)
    env |= {"FAKE_CARDS": "23.2/23.99,9.56/10", "FAKE_SPEED": "0.005"}
    command = [sys.executable, "-m", "splitrig", "serve", "--engine", "vllm", "--vllm"]
    command += [str(make_environment(tmp_path / "env")), "--model", str(odd)]
    why = "33 heads cannot be shared by 2 cards; 3 or 11 can, or use pipeline."
    with subprocess.Popen(
        [*command, *(["--json"] if as_json else [])],
        env=environment(**env),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        told = ""
        for line in process.stdout:
            told += line
            if '"ready"' in line or "Ctrl-C stops it." in line:
                break
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    if as_json:
        ready = json.loads(told.splitlines()[-1])
        assert f"{why} Here it is a pipeline of 2 cards." in ready["notes"]
    else:
        assert f"  {why} Here it is a pipeline of 2 cards." in told
