"""`splitrig serve` and `plan` on chosen cards: which are taken, and whether somebody else has them.

The cards are numbers of the fake NVML, the engine on them is the fake vLLM.
"""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.nvml import fake_nvml
from tests.services.cli.run_cli import environment, splitrig
from tests.support.fake_vllm import LLAMA_8B, make_environment, make_model

from splitrig.services.models.demo import demo_model

if sys.platform == "win32":
    pytest.skip("vLLM runs on Linux only", allow_module_level=True)
MODEL = str(demo_model())
UUIDS = [f"GPU-0000000{n}-5711-0000-0000-00000000000{n}" for n in range(2)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A quarter of a Llama 8B, which the smaller card carries alone."""
    folder = tmp_path_factory.mktemp("models") / "Llama-2B"
    return make_model(folder, {**LLAMA_8B, "num_hidden_layers": 8})


@pytest.fixture(scope="module")
def vllm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_environment(tmp_path_factory.mktemp("vllm") / "env")


@pytest.fixture
def rig(tmp_path: Path) -> dict[str, str]:
    """A 4090 and a 3080."""
    env = fake_nvml.environment(tmp_path / "nvml", fake_nvml.MIXED)
    return env | {"FAKE_CARDS": "23.2/23.99,9.56/10", "FAKE_SPEED": "0.005"}


@contextmanager
def serving(
    model: Path, vllm: Path, *more: str, rig_later: str = "", until: str = "ready", **env: str
) -> Iterator[tuple[subprocess.Popen[str], dict[str, dict[str, Any]]]]:
    """A `splitrig serve` that is ready, and the last event of each kind so far.

    Args:
        model: The folder.
        vllm: The environment.
        more: Further options.
        rig_later: What the cards become after they were read for the first time.
        until: The last event that is waited for.
        env: Variables.
    """
    command = [sys.executable, "-m", "splitrig", "serve", "--engine", "vllm", "--json"]
    command += ["--vllm", str(vllm), "--model", str(model), *more]
    with subprocess.Popen(
        command, env=environment(**env), stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            events: dict[str, dict[str, Any]] = {}
            for line in process.stdout:
                news = json.loads(line)
                events[news["event"]] = news
                if news["event"] == "starting" and rig_later:
                    fake_nvml.write(Path(env[fake_nvml.VARIABLE]), rig_later)
                if news["event"] in (until, "failed"):
                    break
            assert "ready" in events, events
            yield process, events
            process.send_signal(signal.SIGTERM)
            process.stdout.read()
            assert process.wait(10) == 0
        finally:
            if process.poll() is None:
                process.kill()


@pytest.mark.parametrize(
    ("gpus", "visible", "names"),
    [
        ("1", "1", ["RTX 3080"]),
        ("1,0", "1,0", ["RTX 3080", "RTX 4090"]),
        (UUIDS[1], "1", ["RTX 3080"]),
        ("01:00.0", "0", ["RTX 4090"]),
    ],
)
def test_the_chosen_cards_are_used_in_their_order(
    model: Path, vllm: Path, rig: dict[str, str], gpus: str, visible: str, names: list[str]
) -> None:
    with serving(model, vllm, "--gpus", gpus, **rig) as (_, events):
        ready = events["ready"]
        assert f"CUDA_VISIBLE_DEVICES={visible}" in ready["command"]
        assert [device["name"] for device in ready["devices"]] == names
        assert "before" not in events


def test_cards_that_another_splitrig_uses_are_told_of(
    model: Path, vllm: Path, rig: dict[str, str]
) -> None:
    with serving(model, vllm, "--gpus", "1", **rig) as (_, first):
        with serving(model, vllm, "--gpus", "0", **rig) as (_, events):
            assert "before" not in events
        with serving(model, vllm, **rig) as (_, events):
            (note,) = events["before"]["notes"]
            assert (note["id"], note["gpu_ids"]) == ("card-in-use", [UUIDS[1]])
            assert note["message"] == (
                f"vllm of another SplitRig (process {first['ready']['pid']}) also uses RTX 3080."
            )
    with serving(model, vllm, **rig) as (_, events):
        assert "before" not in events


def test_a_card_that_is_not_there_is_one_sentence(
    model: Path, vllm: Path, rig: dict[str, str], tmp_path: Path
) -> None:
    asked = ("serve", "--engine", "vllm", "--vllm", str(vllm), "--model", str(model))
    done = splitrig(*asked, "--gpus", "2", **rig)
    assert done.returncode == 1
    assert done.stderr == (
        "There is no card '2' here. Name cards by number, UUID or PCI address: "
        "0 (RTX 4090 at 0000:01:00.0), 1 (RTX 3080 at 0000:02:00.0).\n"
    )
    none = fake_nvml.environment(tmp_path / "none", fake_nvml.DRIVER_ABSENT)
    done = splitrig("serve", "--model", MODEL, "--gpus", "0", **none)
    assert "There is no graphics card to choose from." in done.stderr
    done = splitrig("serve", "--model", MODEL, "--gpus", "0", "--rpc", "127.0.0.1:1", **rig)
    assert "Add --local-cards, or leave --gpus out." in done.stderr
    done = splitrig("serve", "--model", MODEL, "--gpus", "0", **rig)  # its driver is no driver
    assert "The engine cannot use RTX 4090: " in done.stderr


def test_plan_takes_the_same_names(rig: dict[str, str]) -> None:
    done = splitrig("plan", "--model", MODEL, "--gpus", "1,0", "--split", "3,1", "--json", **rig)
    assert [d["name"] for d in json.loads(done.stdout)["devices"]] == ["RTX 3080", "RTX 4090"]
    done = splitrig("plan", "--model", MODEL, "--gpus", "1", "--free-mib", "9", **rig)
    assert done.returncode == 2
    assert "not allowed with" in done.stderr


def test_a_demo_card_can_be_chosen() -> None:
    done = splitrig("serve", "--model", MODEL, "--demo", "--gpus", "3")
    assert "There is no card '3' here." in done.stderr


LOADED = fake_nvml.MIXED.replace("used_mib 420", "used_mib 15000")
ALL_LOADED = LOADED.replace("used_mib 210", "used_mib 8000")


@pytest.mark.parametrize(
    ("later", "ids"),
    [
        (ALL_LOADED, []),
        (LOADED, ["one-card-loaded"]),
        (fake_nvml.MIXED, ["card-stayed-empty", "card-stayed-empty"]),
    ],
)
def test_the_cards_own_figures_are_told_after_the_start(
    model: Path, vllm: Path, rig: dict[str, str], later: str, ids: list[str]
) -> None:
    with serving(model, vllm, rig_later=later, until="verified", **rig) as (_, events):
        notes = events["verified"]["notes"]
        assert [note["id"] for note in notes] == ids
    if ids == ["one-card-loaded"]:
        assert notes[0]["message"] == "Only RTX 4090 is loaded; RTX 3080 stayed empty."
        assert (notes[0]["severity"], notes[0]["gpu_ids"]) == ("danger", [UUIDS[1]])


def test_a_card_that_stayed_empty_is_told_in_words(
    model: Path, vllm: Path, rig: dict[str, str]
) -> None:
    command = [sys.executable, "-m", "splitrig", "serve", "--engine", "vllm", "--gpus", "1"]
    command += ["--vllm", str(vllm), "--model", str(model)]
    with subprocess.Popen(
        command, env=environment(**rig), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line.strip())
            if line.startswith(("RTX 3080 should carry", "The engine")):
                break
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        assert process.wait(10) == 0
    assert "GiB, but only 0.00 MiB came onto it. vLLM may have put its share" in lines[-1]
    assert any(line.startswith("Ready at http://127.0.0.1:") for line in lines)
