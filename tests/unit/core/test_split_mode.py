"""Which split modes can be used, and why the others cannot."""

from pathlib import Path

import pytest

from splitrig.core.footprint import Backend
from splitrig.core.server_options import Options, parse_help
from splitrig.core.split_mode import (
    LABELS,
    MODES,
    SAYS,
    SplitNeeds,
    doubt,
    missing,
    obstacle,
    split_choices,
)

HELP = Path(__file__).parents[2] / "recorded" / "llama_server_help" / "571d0d5.txt"
OPTIONS = parse_help(HELP.read_text(encoding="utf-8"))
ALL = ("layer", "tensor", "row", "none")
TWO = (Backend.CUDA, Backend.CUDA)


@pytest.mark.parametrize(
    ("mode", "needs", "words"),
    [
        ("layer", SplitNeeds(backends=()), ""),
        ("none", SplitNeeds(backends=(), flash_attention=False), ""),
        ("tensor", SplitNeeds(backends=TWO), ""),
        ("tensor", SplitNeeds(backends=(Backend.RPC, Backend.VULKAN)), ""),
        ("tensor", SplitNeeds(backends=(Backend.CUDA,)), "needs two cards or more"),
        ("tensor", SplitNeeds(backends=TWO, flash_attention=False), "needs flash attention"),
        ("tensor", SplitNeeds(backends=(Backend.CUDA,) * 16), ""),
        ("tensor", SplitNeeds(backends=(Backend.CUDA,) * 17), "at most 16 cards, not 17"),
        ("row", SplitNeeds(backends=TWO, flash_attention=False), ""),
        ("row", SplitNeeds(backends=(Backend.CUDA, Backend.ROCM)), ""),
        ("row", SplitNeeds(backends=(Backend.ROCM,)), "needs two cards or more"),
        ("row", SplitNeeds(backends=(Backend.VULKAN, Backend.CUDA)), "not on Vulkan."),
        ("row", SplitNeeds(backends=(Backend.RPC, Backend.VULKAN)), "not on RPC and Vulkan."),
        ("row", SplitNeeds(backends=(Backend.CPU, Backend.CUDA)), "not on the processor."),
    ],
)
def test_each_mode_has_its_conditions(mode: str, needs: SplitNeeds, words: str) -> None:
    why = obstacle(mode, needs)
    assert words in why
    assert bool(words) == bool(why)
    assert not why or why.endswith(".")


def test_a_mode_that_a_binary_lacks_is_told_with_what_it_has() -> None:
    assert missing("tensor", ("none", "layer", "row")) == (
        "This llama-server has no tensor split; it has none, layer and row."
    )
    assert missing("row", ("none", "layer", "row")) == ""
    # without a list only the two that every build has
    assert missing("layer", ()) == missing("none", ()) == ""
    assert "has no row split" in missing("row", ())


def test_choices_follow_engine_binary_and_cards() -> None:
    choices = split_choices(ALL, OPTIONS, SplitNeeds(backends=(Backend.VULKAN,) * 2))
    assert [c.mode for c in choices] == list(MODES)
    reasons = {c.mode: c.reason for c in choices}
    assert reasons["layer"] == reasons["tensor"] == reasons["none"] == ""
    assert "CUDA and ROCm only" in reasons["row"]
    assert [c.mode for c in split_choices(("layer",), OPTIONS, SplitNeeds(backends=TWO))] == [
        "layer"
    ]


def test_row_is_offered_only_where_that_very_binary_has_it() -> None:
    without = parse_help("-sm, --split-mode {none,layer,tensor}")
    for options in (without, Options()):
        assert "row" not in [c.mode for c in split_choices(ALL, options, SplitNeeds(backends=TWO))]
    old = parse_help("-sm, --split-mode {none,layer,row}")
    reasons = {c.mode: c.reason for c in split_choices(ALL, old, SplitNeeds(backends=TWO))}
    assert reasons["row"] == ""
    assert "has no tensor split" in reasons["tensor"]


def test_an_architecture_that_was_left_out_is_doubted_but_not_closed() -> None:
    assert "olmoe" in doubt("tensor", "olmoe")
    assert "KV cache in RAM" in doubt("tensor", "llama", cache_in_ram=True)
    assert doubt("layer", "olmoe", cache_in_ram=True) == doubt("tensor", "llama") == ""


def test_every_mode_has_words() -> None:
    assert set(LABELS) == set(SAYS) == set(MODES)
