"""Split modes, experts, draft models, projectors and extra arguments on the command line."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.services.cli.run_cli import splitrig
from tests.support.fake_vllm import make_model
from tests.support.tiny_models import EXPERT_TENSOR_BYTES, write_mixture, write_projector

from splitrig.cli.extra import parted
from splitrig.core.units import MIB
from splitrig.services.models.demo import demo_model

MODEL = str(demo_model())


@pytest.fixture(scope="module")
def mixture(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small mixture of experts."""
    path = tmp_path_factory.mktemp("cli-moe") / "mixture.gguf"
    return str(write_mixture(path, Path(MODEL)))


def plan(*arguments: str, model: str = MODEL) -> dict[str, Any]:
    cards = ("--free-mib", "24000,10000", "--tensor-split", "3,1", "--no-overhead", "--json")
    done = splitrig("plan", "--model", model, *cards, *arguments)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def sentence(*arguments: str, model: str = MODEL) -> str:
    """What is said of arguments that make no sense."""
    done = splitrig("plan", "--model", model, "--free-mib", "24000,10000", *arguments)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    return done.stderr


def test_what_stands_behind_two_dashes_is_the_engines() -> None:
    assert parted(["serve", "-x"]) == (["serve", "-x"], ())
    assert parted(["serve", "--", "--a", "--", "b"]) == (["serve"], ("--a", "--", "b"))


def test_a_tensor_split_is_planned_by_shares() -> None:
    found = plan("--split-mode", "tensor")
    assert found["split_mode"] == "tensor"
    assert [d["share"] for d in found["devices"]] == [0.75, 0.25]
    # 77.60 MiB in the engine's log, and a little more on cards that pad rows
    assert found["devices"][0]["model_bytes"] == pytest.approx(77.63 * MIB, rel=0.001)
    assert found["devices"][0]["kv_bytes"] == 75 * MIB
    assert any("tensor split" in note for note in found["notes"])
    text = splitrig("plan", "--model", MODEL, "--free-mib", "9000,9000", "--split-mode", "tensor")
    assert "50 %" in text.stdout


def test_experts_move_into_ram(mixture: str) -> None:
    before, after = plan(model=mixture), plan("--n-cpu-moe", "2", model=mixture)
    moved = after["host"]["model_bytes"] - before["host"]["model_bytes"]
    assert moved == 2 * 3 * EXPERT_TENSOR_BYTES
    assert (before["experts_in_ram"], after["experts_in_ram"]) == (0, 2)
    assert plan("--cpu-moe", model=mixture)["experts_in_ram"] == 4


def test_files_beside_the_model_are_counted(tmp_path: Path) -> None:
    projector = write_projector(tmp_path / "mmproj.gguf", 576)
    alone = plan()
    both = plan("--model-draft", MODEL, "--mmproj", str(projector))
    for device, before in zip(both["devices"], alone["devices"], strict=True):
        assert device["model_bytes"] == 2 * before["model_bytes"]
        assert device["share"] is None
    assert both["devices"][0]["overhead_bytes"] > 900_000
    assert any("projector lies on card 0" in note for note in both["notes"])
    kept = plan("--model-draft", MODEL, "--n-gpu-layers-draft", "0")
    assert kept["devices"][0]["model_bytes"] == alone["devices"][0]["model_bytes"]


def test_extra_arguments_that_change_the_figures_are_noted() -> None:
    assert "With --swa-full" in " ".join(plan("--", "--swa-full", "--alias", "x")["notes"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--split-mode", "sideways"], "invalid choice"),
        (["--split-mode", "tensor", "--flash-attn", "off"], "needs flash attention"),
        (["--n-cpu-moe", "many"], "not a whole number"),
        (["--n-cpu-moe", "1", "--cpu-moe"], "not allowed with"),
        (["--model-draft", "none.gguf"], "There is no file none.gguf"),
        (["--mmproj", MODEL], "is no projector"),
        (["--", "--host", "0.0.0.0"], "--host is not taken"),
        (["--", "--alais", "x"], "Did you mean --alias?"),
        (["--", "x"], "'x' belongs to no option"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(arguments: list[str], words: str) -> None:
    assert words in sentence(*arguments)


def test_only_commands_that_start_or_plan_take_extra_arguments() -> None:
    done = splitrig("gpus", "--", "--alias", "x")
    assert done.returncode == 2
    assert "Only serve and plan take arguments behind --" in done.stderr


def test_the_help_says_where_extra_arguments_go() -> None:
    text = " ".join(splitrig("serve", "--help").stdout.split())
    assert "splitrig serve … -- --alias mine" in text


def events(*arguments: str) -> list[dict[str, Any]]:
    """What a serve that must fail has said."""
    done = splitrig("serve", "--demo", "--json", *arguments)
    assert done.returncode == 1, done.stdout
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.engine
def test_a_refused_split_names_the_option_that_helps(tmp_path: Path) -> None:
    model = str(write_mixture(tmp_path / "olmoe.gguf", Path(MODEL), "olmoe"))
    failed = events("--model", model, "--split-mode", "tensor")[-1]
    assert failed["event"] == "failed"
    assert failed["try"] == "--split-mode layer"
    text = splitrig("serve", "--demo", "--model", model, "--split-mode", "tensor")
    assert text.returncode == 1
    assert "Try it with --split-mode layer." in text.stdout


def test_a_refused_argument_is_told_before_anything_starts() -> None:
    failed = events("--model", MODEL, "--", "--tools", "all")
    assert [event["event"] for event in failed] == ["failed"]
    assert "run programs" in failed[0]["message"]


def test_a_split_that_the_cards_do_not_allow_is_told_before_anything_starts() -> None:
    (failed,) = events("--model", MODEL, "--split-mode", "row")
    assert "not on RPC" in failed["message"]


@pytest.mark.parametrize(
    ("engine", "arguments", "words"),
    [
        (
            "llama-cpp-python",
            ("--", "--alias", "x"),
            "What stands behind -- is not taken by llama-cpp-python: the server",
        ),
        (
            "llama-cpp-python",
            ("--mmproj", "no.gguf"),
            "--mmproj is not taken by llama-cpp-python: the server of",
        ),
        (
            "ollama",
            ("--split-mode", "tensor"),
            "Ollama knows no split mode tensor, only layer and none",
        ),
        (
            "vllm",
            ("--cpu-moe",),
            "--cpu-moe is not taken by vLLM: vLLM keeps all experts on the cards.",
        ),
    ],
)
def test_what_an_engine_would_leave_out_is_refused(
    engine: str, arguments: tuple[str, ...], words: str
) -> None:
    (failed,) = events("--engine", engine, "--model", MODEL, *arguments)
    assert failed["message"].startswith(words)
    assert "llama.cpp" in failed["hint"]


def test_a_folder_takes_nothing_that_only_llama_cpp_has(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "Llama-8B")
    said = sentence("--model-draft", MODEL, model=str(folder))
    assert "--model-draft is not taken by vLLM: vLLM takes a draft model as --speculative" in said
