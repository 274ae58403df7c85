"""What engines can do, and what a change of engine costs."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.model_samples import model

from splitrig.core.companion import Projector
from splitrig.core.engine import EngineKind, LaunchRequest
from splitrig.core.engine_rules import (
    RULES,
    Knob,
    Ratio,
    Reads,
    divided_by_engine,
    lost_on_switch,
    reads,
    refused,
    rules_of,
    stay_home,
    version_of,
    why_not_here,
)
from splitrig.core.errors import EngineError
from splitrig.core.plan import DevicePlan, HostPlan, Plan, PlanRequest
from splitrig.core.share import EVERYWHERE, LOOPBACK

GGUF = Path("model.gguf")
FOLDER = Path("Qwen3-8B")


def test_every_engine_has_rules_and_a_reason_for_whatever_it_refuses() -> None:
    assert set(RULES) == set(EngineKind)
    for rules in RULES.values():
        assert rules.says
        assert bool(rules.no_ratio) == (rules.ratio is Ratio.NONE)
        for knob in Knob:
            refusal = rules.refusal(knob)
            assert bool(refusal) == (knob not in rules.knobs), (rules.kind, knob)
            assert not refusal or refusal.endswith(".")


@pytest.mark.parametrize(
    ("build", "ratio"),
    [
        ("0.29.9", Ratio.NONE),
        ("0.5.1", Ratio.NONE),
        ("v0.12.1-rc2", Ratio.NONE),
        ("0.30.0", Ratio.EXACT),
        ("0.32.15", Ratio.EXACT),
        ("1.0", Ratio.EXACT),
        ("0.0.0", Ratio.EXACT),
        ("unknown", Ratio.EXACT),
        (None, Ratio.EXACT),
    ],
)
def test_ollama_takes_a_ratio_from_the_version_that_runs_llama_server(
    build: str | None, ratio: Ratio
) -> None:
    rules = rules_of(EngineKind.OLLAMA, build)
    assert rules.ratio is ratio
    assert (f"Ollama {build}" in rules.no_ratio) == (ratio is Ratio.NONE)


def test_a_plan_for_an_engine_that_takes_no_ratio_says_so() -> None:
    host = HostPlan(model_bytes=0, kv_bytes=0, compute_bytes=None)
    card = DevicePlan(
        name="RTX 4090", id="a", first_layer=0, n_blocks=1, has_output=False, model_bytes=1,
        kv_bytes=1, compute_bytes=None, overhead_bytes=0, free_bytes=1,
    )  # fmt: skip
    plan = Plan(devices=(card, card), host=host, split=(1.0, 1.0), fits=True, notes=("Other.",))
    old, new = (rules_of(EngineKind.OLLAMA, build) for build in ("0.24.0", "0.32.15"))
    told, other = divided_by_engine(plan, old).notes
    assert told.startswith("Ollama 0.24.0 divides a model by itself, and only it knows the shares")
    assert told.endswith("The shares in this plan follow free memory.")
    assert other == "Other."
    assert divided_by_engine(plan, new) == plan
    alone = replace(plan, devices=(card,))
    assert divided_by_engine(alone, old) == alone
    assert old.reads is Reads.STORE
    assert new.reads is Reads.GGUF


def test_versions_are_read_and_nonsense_is_none() -> None:
    assert version_of("v0.32.15") == (0, 32, 15)
    assert version_of(" 0.11.0+cpu") == (0, 11, 0)
    assert version_of("b10068") is None


@pytest.mark.parametrize("kind", list(EngineKind))
def test_an_engine_whose_key_does_not_guard_all_of_it_stays_home(kind: EngineKind) -> None:
    rules = RULES[kind]
    for own in (LOOPBACK, "127.0.0.2", "localhost"):
        stay_home(rules, own)
    closed = kind in (EngineKind.OLLAMA, EngineKind.OLLAMA_ATTACHED, EngineKind.VLLM)
    assert bool(rules.no_network) == bool(rules.network_way_out) == closed
    for other in (EVERYWHERE, "192.168.1.5"):
        if not closed:
            stay_home(rules, other)
            continue
        with pytest.raises(EngineError) as refusal:
            stay_home(rules, other)
        assert (refusal.value.message, refusal.value.hint) == (
            rules.no_network,
            rules.network_way_out,
        )


def test_vllm_is_for_linux() -> None:
    assert why_not_here(EngineKind.VLLM, "linux") == ""
    assert "WSL2" in why_not_here(EngineKind.VLLM, "win32")
    assert why_not_here(EngineKind.LLAMA_CPP, "win32") == ""


@pytest.mark.parametrize(
    ("kind", "model", "is_folder", "in_store", "word"),
    [
        (EngineKind.LLAMA_CPP, GGUF, False, False, ""),
        (EngineKind.LLAMA_CPP, FOLDER, True, False, "Qwen3-8B is a folder"),
        (EngineKind.LLAMA_CPP_PYTHON, GGUF, False, True, ""),
        (EngineKind.VLLM, FOLDER, True, False, ""),
        (EngineKind.VLLM, GGUF, False, False, "model.gguf is one file"),
        (EngineKind.OLLAMA, GGUF, False, True, ""),
        (EngineKind.OLLAMA, GGUF, False, False, ""),
        (EngineKind.OLLAMA, FOLDER, True, False, "Qwen3-8B is a folder"),
        (EngineKind.OLLAMA_ATTACHED, GGUF, False, False, "model.gguf is not one of them"),
    ],
)
def test_which_models_an_engine_loads(
    kind: EngineKind, model: Path, is_folder: bool, in_store: bool, word: str
) -> None:
    why = reads(RULES[kind], model, is_folder=is_folder, in_store=in_store)
    assert word in why
    assert bool(word) == bool(why)


def test_a_change_of_engine_says_what_is_lost_and_nothing_else() -> None:
    llama, python = RULES[EngineKind.LLAMA_CPP], RULES[EngineKind.LLAMA_CPP_PYTHON]
    ollama, vllm = RULES[EngineKind.OLLAMA], RULES[EngineKind.VLLM]
    attached = RULES[EngineKind.OLLAMA_ATTACHED]
    assert lost_on_switch(python, llama, several_cards=True) == ()
    assert lost_on_switch(llama, python, several_cards=True) == (
        "Requests: Its server answers one request after the other.",
    )
    assert lost_on_switch(llama, ollama, several_cards=True) == ()
    old = rules_of(EngineKind.OLLAMA, "0.24.0")
    split, one = lost_on_switch(llama, old, several_cards=True)
    assert "Ollama 0.24.0 divides a model by itself" in split
    assert "one type for keys and values" in one
    to_attached = lost_on_switch(ollama, attached, several_cards=True)
    assert to_attached[0].startswith("The split is not kept. This Ollama was started")
    assert len(to_attached) == len(set(to_attached))
    assert not any("split" in s for s in lost_on_switch(ollama, attached, several_cards=False))
    assert any("layers per stage" in s for s in lost_on_switch(llama, vllm, several_cards=True))


def asked(**changes: object) -> LaunchRequest:
    plan = {k: v for k, v in changes.items() if k != "extra_arguments"}
    extra = changes.get("extra_arguments", ())
    return LaunchRequest(model=GGUF, plan=PlanRequest(**plan), extra_arguments=extra)


@pytest.mark.parametrize("kind", list(EngineKind))
def test_what_comes_as_it_is_is_refused_by_no_engine(kind: EngineKind) -> None:
    assert refused(RULES[kind], asked()) == ""


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"split_mode": "tensor"}, "knows no split mode tensor, only layer and none"),
        ({"n_cpu_moe": -1}, "Experts on the processor"),
        ({"draft": model()}, "Draft model"),
        ({"projector": Projector(path=GGUF, n_bytes=1)}, "Projector"),
        ({"extra_arguments": ("--alias", "x")}, "Extra arguments"),
    ],
)
def test_what_an_engine_would_leave_out_in_silence_is_refused(
    changes: dict[str, object], words: str
) -> None:
    request = asked(**changes)
    assert refused(RULES[EngineKind.LLAMA_CPP], request) == ""
    for kind in (EngineKind.LLAMA_CPP_PYTHON, EngineKind.OLLAMA, EngineKind.VLLM):
        if kind is EngineKind.VLLM and "extra_arguments" in changes:
            assert refused(RULES[kind], request) == ""
            continue
        why = refused(RULES[kind], request)
        assert why.endswith(".")
        if kind is EngineKind.LLAMA_CPP_PYTHON:
            assert words in why
    none = asked(split_mode="none")
    assert refused(RULES[EngineKind.LLAMA_CPP_PYTHON], none) == ""
    assert refused(RULES[EngineKind.OLLAMA], none) == ""
    assert refused(rules_of(EngineKind.OLLAMA, "0.24.0"), none) == ""


def test_folded_settings_are_told_as_lost_only_where_they_were_used() -> None:
    llama, python = RULES[EngineKind.LLAMA_CPP], RULES[EngineKind.LLAMA_CPP_PYTHON]
    lost = lost_on_switch(llama, python, several_cards=True, used={Knob.DRAFT, Knob.EXTRA})
    assert len(lost) == 2
    assert lost[1].startswith("Draft model and extra arguments: The server of llama-cpp-python")


def test_a_split_mode_the_other_engine_does_not_know_is_told_as_lost() -> None:
    llama, ollama = RULES[EngineKind.LLAMA_CPP], RULES[EngineKind.OLLAMA]
    used = {Knob.SPLIT_MODE}
    (lost,) = lost_on_switch(llama, ollama, several_cards=True, used=used, split_mode="tensor")
    assert lost == "Ollama knows no split mode tensor; it splits by layers."
    assert lost_on_switch(llama, ollama, several_cards=True, used=used, split_mode="none") == ()
    vllm = RULES[EngineKind.VLLM]
    to_vllm = lost_on_switch(llama, vllm, several_cards=True, used=used, split_mode="row")
    assert "Split mode: vLLM has a layout instead: tensor × pipeline parallel." in to_vllm
    assert any(s.startswith("Cache type of keys and cache type of values: ") for s in to_vllm)
