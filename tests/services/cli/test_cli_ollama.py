"""`splitrig serve --engine ollama`: models by file and by name, and an Ollama that runs already."""

import json
import signal
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
from tests.services.engines.processes import seconds_until_gone
from tests.support.ollama_old import old_ollama
from tests.support.ollama_rig import running_ollama
from tests.support.ollama_store import add_model
from tests.support.provisioned import OllamaInstall, ollama_built
from tests.support.real_process import ask

from splitrig.core.units import MIB
from splitrig.services.models.demo import demo_model

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(sys.platform == "win32", reason="the engine is built on Linux only"),
]
MODEL = str(demo_model())


@pytest.fixture(scope="module")
def ollama_install() -> OllamaInstall:
    """The real Ollama that `./test` has built."""
    return ollama_built()


@contextmanager
def serving(*arguments: str, **env: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """A running `splitrig serve` that is ready, and what it said then."""
    command = [sys.executable, "-m", "splitrig", "serve", "--engine", "ollama", "--json"]
    serve = subprocess.Popen(
        [*command, *arguments], stdout=subprocess.PIPE, text=True, env=environment(**env)
    )
    assert serve.stdout is not None
    try:
        event: dict[str, Any] = {}
        for line in serve.stdout:
            event = json.loads(line)
            if event["event"] in ("ready", "failed"):
                break
        assert event.get("event") == "ready", event
        yield serve, event
    finally:
        serve.send_signal(signal.SIGINT)
        serve.communicate(timeout=10)


def test_a_file_is_served_with_the_split(ollama_install: OllamaInstall) -> None:
    program = str(ollama_install.program)
    with serving("--ollama", program, "--model", MODEL, "--demo", "--tensor-split", "3,1") as (
        serve,
        ready,
    ):
        rows = ready["devices"]
        assert [row["layers"] for row in rows] == [24, 7]
        for row in rows:
            for part in ("model_bytes", "kv_bytes"):
                assert row["actual"][part] == pytest.approx(row["planned"][part], abs=0.02 * MIB)
        assert (ready["build"], ready["api_key"], ready["mismatches"]) == ("0.32.15", None, [])
        (model,) = ask(f"{ready['url']}/v1/models")["data"]
        assert model["id"] == "splitrig/SmolLM2-135M-Instruct.Q4_1:latest"
        below = [p.pid for p in psutil.Process(serve.pid).children(recursive=True)]
        assert len(below) >= 4
        serve.kill()
        serve.wait()
        seconds_until_gone(below)


def test_a_model_is_served_by_its_name(ollama_install: OllamaInstall, tmp_path: Path) -> None:
    store = tmp_path / "store"
    add_model(store, Path(MODEL), "smollm2")
    program, env = str(ollama_install.program), {"OLLAMA_MODELS": str(store)}
    with serving(
        "--ollama", program, "--model", "smollm2", "--demo", "--tensor-split", "1,1", **env
    ) as (_, ready):
        assert [row["layers"] for row in ready["devices"]] == [16, 15]
        assert ask(f"{ready['url']}/api/tags")["models"][0]["name"] == "smollm2:latest"
    failed = splitrig("serve", "--engine", "ollama", "--model", "nope", "--json", **env)
    assert failed.returncode == 1
    event = json.loads(failed.stdout.splitlines()[-1])
    assert event["message"] == "Ollama has no model 'nope'; it has smollm2:latest."


def test_one_that_runs_already_is_used_and_left_running(
    ollama_install: OllamaInstall, tmp_path: Path
) -> None:
    with running_ollama(ollama_install, tmp_path, Path(MODEL)) as ollama:
        with serving("--attach", ollama.url, "--model", "smollm2", "--ctx", "512") as (_, ready):
            assert (ready["url"], ready["pid"], ready["devices"]) == (ollama.url, None, [])
            assert ollama.loaded() == ["smollm2:latest"]
        assert ask(f"{ollama.url}/api/version")
        refused = splitrig(
            "serve", "--engine", "ollama", "--attach", "--model", "nope", OLLAMA_HOST=ollama.url
        )
        assert "Ollama has no model 'nope:latest'; it has smollm2:latest." in refused.stdout


def test_its_models_are_listed_from_the_disk_and_from_a_server(
    ollama_install: OllamaInstall, tmp_path: Path
) -> None:
    with running_ollama(ollama_install, tmp_path, Path(MODEL)) as ollama:
        there = ("models", "--engine", "ollama-attached")
        (model,) = json.loads(splitrig(*there, "--json", OLLAMA_HOST=ollama.url).stdout)["models"]
        assert (model["name"], model["engine"]) == ("smollm2:latest", "ollama-attached")
        assert (model["parameters"], model["quantization"]) == ("134.52M", "Q4_1")
        assert model["size_bytes"] > 90 * MIB
        shown = splitrig(*there, "--attach", ollama.url).stdout
        assert "smollm2:latest" in shown
        assert "Q4_1" in shown
        gone = ollama.url
    store = {"OLLAMA_MODELS": str(tmp_path / "models"), "HOME": str(tmp_path)}
    stored = json.loads(splitrig("models", "--json", **store).stdout)
    assert [m["name"] for m in stored["models"]] == ["smollm2:latest"]
    assert Path(stored["models"][0]["path"]).is_file()
    failed = splitrig(*there, "--attach", gone)
    assert (failed.returncode, failed.stdout) == (1, "")
    assert f"Nothing answers at {gone}" in failed.stderr
    assert splitrig("models", "--attach", gone).returncode == 1


CARD = (
    'time=x level=INFO source=types.go:32 msg="inference compute" id={n} library=CUDA '
    'name=CUDA{n} description="{name}" pci_id={pci} type=discrete total="{gib}.0 GiB" '
    'available="{gib}.0 GiB"'
)


def test_one_before_0_30_serves_on_two_cards_without_a_ratio(tmp_path: Path) -> None:
    gpus = fake_nvml.environment(tmp_path / "nvml", fake_nvml.MIXED)
    rig = json.loads(splitrig("gpus", "--source", "nvml", "--json", **gpus).stdout)["gpus"]
    cards = [
        CARD.format(n=n, name=gpu["name"], pci=gpu["pci"], gib=gpu["vram_total_bytes"] >> 30)
        for n, gpu in enumerate(rig)
    ]
    program, env = old_ollama(tmp_path, "\n".join(cards), [gpu["pci"] for gpu in rig])
    store = tmp_path / "store"
    add_model(store, Path(MODEL), "smollm2")
    env |= gpus | {"OLLAMA_MODELS": str(store)}
    with serving("--ollama", str(program), "--model", "smollm2", **env) as (_, ready):
        assert (ready["build"], ready["mismatches"]) == ("0.24.0", [])
        assert [row["device"] for row in ready["devices"]] == ["CUDA0", "CUDA1"]
        assert ready["notes"][0].startswith("Ollama 0.24.0 divides a model by itself, and only it")
        assert not any("LLAMA_ARG" in word for word in ready["command"])
    refused = splitrig(
        "serve", "--engine", "ollama", "--ollama", str(program), "--model", "smollm2",
        "--tensor-split", "3,1", **env,
    )  # fmt: skip
    assert refused.returncode == 1
    assert "it does not take 3 : 1 as a ratio" in refused.stdout
    assert "leave the ratio out" in refused.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--attach",), "--attach is for an Ollama that runs already, not for llama.cpp."),
        (
            ("--engine", "ollama", "--attach", "--tensor-split", "1,1"),
            "--tensor-split is not taken by Ollama",
        ),
        (("--engine", "ollama", "--attach", "x y"), "'x y' is no address of an Ollama."),
        (("--engine", "ollama", "--ollama", "/nowhere"), "There is no ollama at /nowhere."),
    ],
)
def test_what_does_not_go_together_is_one_sentence(arguments: tuple[str, ...], words: str) -> None:
    run = splitrig("serve", "--model", MODEL, *arguments)
    assert run.returncode == 1
    assert words in run.stdout + run.stderr
