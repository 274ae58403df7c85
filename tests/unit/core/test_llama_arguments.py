"""What goes onto the command line, by the names a binary has; what it lacks is told."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.model_samples import model

from splitrig.core.companion import Projector
from splitrig.core.engine import EngineKind, LaunchRequest
from splitrig.core.engine_rules import RULES, Knob
from splitrig.core.errors import ArgumentError, EngineError
from splitrig.core.extra_arguments import check_arguments
from splitrig.core.llama_arguments import (
    OTHER,
    more_arguments,
    projector_device,
    rules_with,
    unsupported,
)
from splitrig.core.plan import PlanRequest
from splitrig.core.server_options import Options, parse_help

HELP = Path(__file__).parents[2] / "recorded" / "llama_server_help"
OPTIONS = parse_help((HELP / "571d0d5.txt").read_text(encoding="utf-8"))
NEWER = parse_help((HELP / "0c1e570.txt").read_text(encoding="utf-8"))
BARE = "-m, --model FNAME\n-sm, --split-mode {none,layer,row}\n"
DRAFT = model(path=Path("/m/draft.gguf"))
PROJECTOR = Projector(path=Path("/m/mmproj.gguf"), n_bytes=1)
NAMES = ("CUDA1", "CUDA0")


def arguments(
    plan: PlanRequest, options: Options = OPTIONS, *extra: str, names: tuple[str, ...] = NAMES
) -> tuple[str, ...]:
    request = LaunchRequest(model=Path("/m/m.gguf"), plan=plan, extra_arguments=extra)
    return more_arguments(request, options, names)


def test_the_common_needs_nothing_more() -> None:
    assert arguments(PlanRequest()) == ()
    assert arguments(PlanRequest(), Options()) == ()


@pytest.mark.parametrize(
    ("n", "help_text", "expected"),
    [
        (3, "-ncmoe, --n-cpu-moe N\n-cmoe, --cpu-moe\n", ("-ncmoe", "3")),
        (-1, "-ncmoe, --n-cpu-moe N\n-cmoe, --cpu-moe\n", ("-cmoe",)),
        (-1, "--n-cpu-moe N\n", ("--n-cpu-moe", "999")),
        (3, "--n-cpu-moe N\n", ("--n-cpu-moe", "3")),
        (-1, "--cpu-moe\n", ("--cpu-moe",)),
    ],
)
def test_experts_by_the_names_there_are(n: int, help_text: str, expected: tuple[str, ...]) -> None:
    assert arguments(PlanRequest(n_cpu_moe=n), parse_help(BARE + help_text)) == expected


def test_some_experts_cannot_be_kept_where_only_all_can() -> None:
    with pytest.raises(EngineError, match="keeps all experts with the processor, or none"):
        arguments(PlanRequest(n_cpu_moe=3), parse_help(BARE + "--cpu-moe\n"))
    with pytest.raises(EngineError, match="cannot keep experts") as raised:
        arguments(PlanRequest(n_cpu_moe=-1), parse_help(BARE))
    assert raised.value.hint


def test_one_cache_for_all_requests_is_not_left_out_in_silence() -> None:
    shared = PlanRequest(n_parallel=4, kv_unified=True)
    assert arguments(shared, NEWER) == ()
    with pytest.raises(EngineError, match="cannot let requests share one KV cache") as raised:
        arguments(shared, parse_help(BARE))
    assert raised.value.hint


def test_a_draft_model_is_told_to_draft() -> None:
    """Newer builds load it without `--spec-type`, and never ask it."""
    plan = PlanRequest(draft=DRAFT, draft_layers=5)
    found = arguments(plan)
    assert found == ("-md", "/m/draft.gguf", "-ngld", "5", "--spec-type", "draft-simple")
    assert arguments(replace(plan, draft_layers=-1))[3] == "999"
    # what the user wants instead stays, and is not asked for twice
    own = arguments(plan, OPTIONS, "--spec-type", "ngram-simple")
    assert own.count("--spec-type") == 1
    assert own[-2:] == ("--spec-type", "ngram-simple")


def test_older_names_of_a_draft_model_are_used_where_there_are_no_others() -> None:
    old = parse_help(BARE + "--model-draft FNAME\n--gpu-layers-draft N\n")
    plan = PlanRequest(draft=DRAFT)
    assert arguments(plan, old) == (
        "--model-draft", "/m/draft.gguf", "--gpu-layers-draft", "999",
    )  # fmt: skip
    assert arguments(plan, parse_help(BARE + "--spec-draft-model FNAME\n")) == (
        "--spec-draft-model", "/m/draft.gguf",
    )  # fmt: skip


def test_a_build_that_cannot_draft_says_so() -> None:
    plan = PlanRequest(draft=DRAFT)
    with pytest.raises(EngineError, match="takes no draft model"):
        arguments(plan, parse_help(BARE))
    with pytest.raises(EngineError, match="does not draft with a small model"):
        arguments(plan, parse_help(BARE + "-md, --model-draft F\n--spec-type none,ngram-mod\n"))


def test_a_projector_lies_on_the_first_device_of_the_split() -> None:
    plan = PlanRequest(projector=PROJECTOR)
    assert arguments(plan, NEWER) == ("-mm", "/m/mmproj.gguf", "-mmdev", "CUDA1")
    assert projector_device(plan, NEWER, NAMES) == {}
    # an older build has no option for it, but a variable
    assert arguments(plan, OPTIONS) == ("-mm", "/m/mmproj.gguf")
    assert projector_device(plan, OPTIONS, NAMES) == {"MTMD_BACKEND_DEVICE": "CUDA1"}
    assert projector_device(PlanRequest(), OPTIONS, NAMES) == {}


def test_a_projector_without_a_card_stays_in_ram() -> None:
    plan = PlanRequest(projector=PROJECTOR)
    assert arguments(plan, NEWER, names=())[2:] == ("-mmdev", "none")
    assert arguments(plan, OPTIONS, names=())[2:] == ("--no-mmproj-offload",)
    assert projector_device(plan, OPTIONS, ()) == {}
    bare = parse_help(BARE + "--mmproj FILE\n")
    assert arguments(plan, bare, names=()) == ("--mmproj", "/m/mmproj.gguf")
    with pytest.raises(EngineError, match="takes no projector"):
        arguments(plan, parse_help(BARE))


def test_a_split_mode_or_cache_type_that_a_binary_lacks_is_told() -> None:
    with pytest.raises(EngineError, match="has no tensor split; it has none, layer and row"):
        arguments(PlanRequest(split_mode="tensor"), parse_help(BARE))
    assert arguments(PlanRequest(split_mode="tensor"), OPTIONS) == ()
    types = "-ctk, --cache-type-k TYPE   x\n      allowed values: f16, q8_0 (default: f16)\n"
    with pytest.raises(EngineError, match="no KV cache of type q4_0; it has f16 and q8_0"):
        arguments(PlanRequest(cache_type_v="q4_0"), parse_help(BARE + types))
    assert arguments(PlanRequest(cache_type_v="q8_0"), parse_help(BARE + types)) == ()


def test_the_rules_follow_what_the_binary_takes() -> None:
    llama = RULES[EngineKind.LLAMA_CPP]
    assert rules_with(llama, Options()) == llama, "nothing is known of it"
    assert rules_with(llama, OPTIONS) == llama
    assert rules_with(llama, NEWER) == llama
    bare = rules_with(llama, parse_help(BARE))
    assert llama.knobs - bare.knobs == {Knob.EXPERTS, Knob.DRAFT, Knob.PROJECTOR}
    assert bare.refusal(Knob.DRAFT).startswith("This llama-server takes no draft model.")
    assert bare.refusal(Knob.PROJECTOR).endswith(OTHER)
    assert Knob.EXPERTS in rules_with(llama, parse_help(BARE + "--cpu-moe\n")).knobs
    unable = parse_help(BARE + "-md, --model-draft F\n--spec-type none,ngram-mod\n")
    assert "does not draft" in rules_with(llama, unable).refusal(Knob.DRAFT)


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (PlanRequest(cache_type_k="q4_0"), "no KV cache of type q4_0"),
        (PlanRequest(n_cpu_moe=2), "keeps all experts"),
        (PlanRequest(draft=DRAFT), "takes no draft model"),
        (PlanRequest(projector=PROJECTOR), "takes no projector"),
        (PlanRequest(), ""),
    ],
)
def test_what_a_binary_lacks_is_known_before_a_start(plan: PlanRequest, words: str) -> None:
    types = "-ctk, --cache-type-k TYPE   x\n      allowed values: f16, q8_0 (default: f16)\n"
    extra = check_arguments((), OPTIONS)
    said = unsupported(plan, parse_help(BARE + types + "--cpu-moe\n"), extra)
    assert words in said
    assert bool(said) == bool(words)
    assert unsupported(plan, OPTIONS, extra) == ""
    assert unsupported(plan, Options(), extra) == ""


def test_extra_arguments_come_last_and_are_checked() -> None:
    assert arguments(PlanRequest(n_cpu_moe=1), OPTIONS, "--alias", "x")[-2:] == ("--alias", "x")
    with pytest.raises(ArgumentError, match="--host is not taken"):
        arguments(PlanRequest(), OPTIONS, "--host", "0.0.0.0")
