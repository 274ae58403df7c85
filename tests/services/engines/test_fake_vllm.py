"""The fake vLLM keeps to what was recorded of the real one: shapes, words, processes, pace."""

import http.client
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.support.fake_vllm import RECORDED, make_environment, make_model
from tests.support.vllm_server import KEY, RealServer

ANSWERS = json.loads((RECORDED / "answers.json").read_text(encoding="utf-8"))
TINY = {
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "hidden_size": 128,
    "intermediate_size": 256,
    "head_dim": 32,
    "vocab_size": 259,
    "max_position_embeddings": 512,
}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_environment(tmp_path_factory.mktemp("vllm") / "env")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("models") / "tiny", TINY)


def start(environment: Path, tiny: Path, *arguments: str, **env: str) -> RealServer:
    """The fake as the real one was started for the recordings."""
    words = [str(tiny), "--served-model-name", "tiny", "--max-model-len", "256", *arguments]
    return RealServer(environment / "bin/vllm", words, {"FAKE_SPEED": "0.002", **env})


@pytest.fixture
def fake(environment: Path, tiny: Path) -> Iterator[RealServer]:
    """The fake, ready."""
    server = start(environment, tiny)
    try:
        assert server.wait_ready(20)[-1][1] == "200", server.lines[-5:]
        yield server
    finally:
        server.stop(most_s=5, watched_s=0)
        server.close()


def shape(value: Any) -> Any:
    """Keys and types, without the values."""
    if isinstance(value, dict):
        return {key: shape(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


def events(body: str) -> list[Any]:
    found = [event.removeprefix("data: ") for event in body.split("\n\n") if event]
    assert found.pop() == "[DONE]"
    return [json.loads(event) for event in found]


@pytest.mark.parametrize(
    "name",
    [
        "health",
        "version",
        "models",
        "models_no_key",
        "models_wrong_key",
        "chat",
        "chat_wrong_key",
        "chat_wrong_model",
        "chat_too_long",
        "chat_too_long_stream",
        "chat_too_many_tokens",
        "chat_bad_json",
        "chat_bad_field",
        "chat_no_messages",
        "not_found",
        "wrong_method",
    ],
)
def test_an_answer_has_the_recorded_shape(fake: RealServer, name: str) -> None:
    recorded = ANSWERS[name]
    key = {"right": KEY, "wrong": "no", None: None}[recorded["key"]]
    answer = fake.ask(recorded["method"], recorded["path"], recorded["request"], key=key)
    assert answer["status"] == recorded["status"]
    kind = recorded["headers"].get("content-type", "application/json")
    assert answer["headers"]["content-type"] == kind  # type: ignore[index]
    if not recorded["body"]:
        assert answer["body"] == ""
        return
    told, expected = json.loads(str(answer["body"])), json.loads(recorded["body"])
    assert shape(told) == shape(expected)
    if "error" in expected:
        assert told == expected


def test_a_streamed_answer_has_the_recorded_chunks(fake: RealServer) -> None:
    recorded = ANSWERS["chat_stream"]
    answer = fake.ask("POST", "/v1/chat/completions", recorded["request"])
    told, expected = events(str(answer["body"])), events(recorded["body"])
    assert [shape(chunk) for chunk in told] == [shape(chunk) for chunk in expected]
    assert told[-1]["usage"] == expected[-1]["usage"]
    for name in ("content-type", "transfer-encoding"):
        assert answer["headers"][name] == recorded["headers"][name]  # type: ignore[index]


def test_the_figures_have_the_recorded_names_and_count(fake: RealServer) -> None:
    names = re.compile(r"(?m)^[a-z][\w:]*(?:\{[^}]*\})?")
    recorded = (RECORDED / "metrics_before.txt").read_text(encoding="utf-8")
    before = str(fake.ask("GET", "/metrics", key=None)["body"])
    assert names.findall(before) == names.findall(recorded)
    for _ in range(2):
        fake.ask("POST", "/v1/chat/completions", ANSWERS["chat"]["request"])
    after = str(fake.ask("GET", "/metrics", key=None)["body"])
    assert 'vllm:generation_tokens_total{engine="0",model_name="tiny"} 16.0' in after
    assert 'vllm:prompt_tokens_total{engine="0",model_name="tiny"} 46.0' in after


def said(server: RealServer) -> list[str]:
    """Lines without what differs from run to run."""
    numbers = re.compile(r"pid=\d+|'port': \d+|127.0.0.1:\d+|process \[\d+\]|/\S*/tiny")
    return [numbers.sub("#", line) for _, line in server.lines]


@pytest.mark.parametrize(
    ("name", "arguments", "n_workers"),
    [("tp1", (), 1), ("tp2", ("-tp", "2"), 2), ("pp2", ("-pp", "2"), 2)],
)
def test_it_logs_and_ends_as_the_real_one_did(
    environment: Path, tiny: Path, name: str, arguments: tuple[str, ...], n_workers: int
) -> None:
    server = start(environment, tiny, *arguments)
    try:
        health = [answer for _, answer in server.wait_ready(20)]
        server.look()
        words = " ".join(server.alive().values())
        ended = server.stop(most_s=5, watched_s=0)
    finally:
        server.close()
    recorded = json.loads((RECORDED / f"{name}.json").read_text(encoding="utf-8"))
    assert health == [recorded["health"][0][1], "200"]
    assert ended["exit_code"] == recorded["stop"]["exit_code"] == 0
    assert len(re.findall("EngineCore", words)) == 1
    assert len(re.findall(" Worker", words)) == n_workers
    numbers = re.compile(r"pid=\d+|'port': \d+|127.0.0.1:\d+|process \[\d+\]|/models/tiny")
    lines = (RECORDED / f"{name}.log").read_bytes().decode().split("\n")[:-1]
    expected = [numbers.sub("#", line.split("\t", 1)[1]) for line in lines]
    ready = next(n for n, line in enumerate(expected) if "startup complete" in line)
    assert said(server)[: ready + 1] == expected[: ready + 1]


@pytest.mark.parametrize(
    ("name", "arguments", "env"),
    [
        ("heads", ("-tp", "3"), {}),
        ("bad_argument", ("--no-such-thing", "1"), {}),
        ("partition", ("-pp", "2"), {"VLLM_PP_LAYER_PARTITION": "4,3"}),
        ("truncated", (), {"FAKE_VLLM": "truncated"}),
    ],
)
def test_a_failure_is_the_recorded_one(
    environment: Path, tiny: Path, name: str, arguments: tuple[str, ...], env: dict[str, str]
) -> None:
    server = start(environment, tiny, *arguments, **env)
    try:
        server.wait_ready(20)
    finally:
        server.close()
    recorded = json.loads((RECORDED / f"{name}.json").read_text(encoding="utf-8"))
    assert server.process.returncode == recorded["exit_code"]
    last = (RECORDED / f"{name}.log").read_bytes().decode().split("\n")[-2].split("\t", 1)[1]
    assert server.lines[-1][1] == last


def test_kill_9_of_the_server_leaves_its_workers_as_the_real_one_does(
    environment: Path, tiny: Path
) -> None:
    server = start(environment, tiny, "-tp", "2")
    try:
        server.wait_ready(20)
        told = server.stop(signal.SIGKILL, most_s=5, watched_s=0.2)
        assert told["exit_code"] == -9
        left = [psutil.Process(pid).cmdline()[2] for pid in server.alive()]
        assert sorted(left) == ["EngineCore", "Worker", "Worker"]
    finally:
        server.close()


def test_a_dead_engine_core_shows_in_health_and_inside_the_answer(
    environment: Path, tiny: Path
) -> None:
    server = start(environment, tiny, FAKE_VLLM="engine_died", FAKE_SPEED="0.02")
    try:
        server.wait_ready(20)
        answer = server.ask("POST", "/v1/chat/completions", ANSWERS["chat_stream"]["request"])
        recorded = json.loads((RECORDED / "engine_died.json").read_text(encoding="utf-8"))
        assert answer["status"] == 200
        assert answer["body"] == recorded["chat"]["body"]
        assert server.health() == "503"
        assert server.process.wait(10) == 0
    finally:
        server.close()


def test_its_environment_is_asked_as_a_real_one(environment: Path) -> None:
    command = [str(environment / "bin/vllm"), "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout.strip() == "0.32.0"


def test_the_port_is_taken_long_before_it_answers(environment: Path, tiny: Path) -> None:
    server = start(environment, tiny, FAKE_VLLM="silent")
    try:
        deadline = time.monotonic() + 10
        while len(server.lines) < 10:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=2)
        with pytest.raises(ConnectionRefusedError):
            connection.request("GET", "/health")
        server.stop(most_s=5, watched_s=0)
    finally:
        server.close()
