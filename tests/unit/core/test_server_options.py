"""What a binary's own help says it takes."""

from pathlib import Path

import pytest

from splitrig.core.server_options import Options, lacks, parse_help

HELP = Path(__file__).parents[2] / "recorded" / "llama_server_help"
BUILDS = ("571d0d5", "0c1e570")


def options(build: str) -> Options:
    return parse_help((HELP / f"{build}.txt").read_text(encoding="utf-8"))


@pytest.mark.parametrize("build", BUILDS)
def test_every_line_of_the_help_that_begins_with_a_dash_is_read(build: str) -> None:
    known = options(build)
    lines = (HELP / f"{build}.txt").read_text(encoding="utf-8").splitlines()
    heads = [line.split(",")[0].split(" ")[0] for line in lines if line.startswith("-")]
    named = [head for head in heads if not head.startswith("---")]
    assert len(named) > 200
    assert [head for head in named if known.find(head) is None] == []


@pytest.mark.parametrize("build", BUILDS)
def test_all_names_of_an_option_are_one_option(build: str) -> None:
    known = options(build)
    cache = known.find("-kvo")
    assert cache is not None
    assert cache.names == ("-kvo", "--kv-offload", "-nkvo", "--no-kv-offload")
    assert known.find("--no-kv-offload") is cache
    assert cache.n_values == 0
    agent = known.find("--no-agent")
    assert agent is not None
    assert "-ag" in agent.names


@pytest.mark.parametrize(
    ("name", "n_values", "value"),
    [
        ("--threads", 1, "N"),
        ("--mlock", 0, ""),
        ("--flash-attn", 1, "[on|off|auto]"),
        ("--override-tensor", 1, "<tensor name pattern>=<buffer type>,..."),
        ("--control-vector-layer-range", 2, "START END"),
        ("--fim-qwen-1.5b-default", 0, ""),
        ("-Crb", 1, "lo-hi"),
    ],
)
def test_values_are_told_apart_from_what_an_option_does(
    name: str, n_values: int, value: str
) -> None:
    option = options("571d0d5").find(name)
    assert option is not None
    assert (option.n_values, option.value) == (n_values, value)
    assert option.text


def test_split_modes_and_cache_types_are_those_of_the_binary() -> None:
    known = options("571d0d5")
    assert known.split_modes == ("none", "layer", "row", "tensor")
    assert known.cache_types[:3] == ("f32", "f16", "bf16")
    assert "q8_0" in known.cache_types
    assert parse_help("-sm, --split-mode {none,layer,row}").split_modes == ("none", "layer", "row")
    assert parse_help("-sm, --split-mode MODE   how").split_modes == ()
    assert parse_help("-m, --model FNAME").cache_types == ()
    assert Options().split_modes == Options().cache_types == ()


def test_an_option_that_is_gone_says_so() -> None:
    gone = options("571d0d5").find("--draft-max")
    assert gone is not None
    assert gone.removed
    assert options("571d0d5").first_of("--draft-max", "-md") == "-md"
    assert options("571d0d5").first_of("--draft-max") == ""


def test_names_are_compared_as_the_engine_does() -> None:
    known = options("571d0d5")
    assert known.find("--ctx_size") is known.find("--ctx-size")
    assert known.find("-t_b") is None
    assert known.nearest("--ctx-sze") == "--ctx-size"
    assert known.nearest("--xyzzy-plugh-42") == ""


def test_what_is_no_help_has_no_options() -> None:
    assert parse_help("").by_name == {}
    assert parse_help("usage: something\n  -m FNAME   with spaces before it\n").by_name == {}


def test_a_sentence_ends_with_what_there_is_instead() -> None:
    assert lacks("It has no x", ("a", "b")) == "It has no x; it has a and b."
    assert lacks("It has no x", ()) == "It has no x."
