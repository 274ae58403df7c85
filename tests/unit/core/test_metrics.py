"""The figures engines count, on recordings of vLLM and llama-server."""

import math
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitrig.core.errors import EngineError
from splitrig.core.metrics import (
    EngineCounts,
    EngineRates,
    RatesOfAll,
    Sample,
    parse_metrics,
    rates,
    read_counts,
)

RECORDED = Path(__file__).parents[2] / "recorded"


def recorded(name: str) -> str:
    return (RECORDED / name).read_text(encoding="utf-8")


def test_vllm_before_and_after_three_answers() -> None:
    before = read_counts(recorded("vllm/metrics_before.txt"), 10.0)
    after = read_counts(recorded("vllm/metrics_after.txt"), 12.0)
    assert (before.generated, before.prompt, before.first_n) == (0, 0, 0)
    assert (after.generated, after.prompt, after.first_n) == (20, 48, 3)
    assert (after.running, after.waiting, after.kv_share) == (0, 0, 0)
    seen = rates(before, after)
    assert seen.tok_s == 10
    assert seen.prompt_tok_s == 24
    assert seen.first_token_ms is not None
    assert 1 < seen.first_token_ms < 1000


def test_llama_server() -> None:
    counts = read_counts(recorded("engine/metrics.txt"), 1.0)
    assert counts.generated == 6
    assert counts.prompt is not None
    assert counts.prompt > 0
    assert counts.running == 0
    assert counts.first_s is None


def test_older_names_of_the_cache() -> None:
    assert read_counts('vllm:gpu_cache_usage_perc{model_name="m"} 0.25', 0).kv_share == 0.25
    assert read_counts("llamacpp:kv_cache_usage_ratio 0.5", 0).kv_share == 0.5


def test_several_engines_behind_one_address_are_added_up_and_the_fullest_cache_is_shown() -> None:
    text = "\n".join(
        f'vllm:{name}{{engine="{engine}"}} {value}'
        for engine, value in (("0", 0.25), ("1", 0.75))
        for name in ("kv_cache_usage_perc", "num_requests_running", "generation_tokens_total")
    )
    counts = read_counts(text, 0)
    assert counts.kv_share == 0.75
    assert counts.generated == 1.0
    assert counts.running == 1.0


def test_an_engine_that_says_nothing_gives_no_figures() -> None:
    nothing = read_counts("", 1.0)
    assert nothing == EngineCounts(time_s=1.0)
    seen = rates(nothing, nothing)
    assert (seen.tok_s, seen.running, seen.first_token_ms) == (None, None, None)


def test_a_counter_that_began_again_counts_from_zero() -> None:
    before = EngineCounts(time_s=0, generated=1000, prompt=500)
    after = EngineCounts(time_s=2, generated=30, prompt=500)
    seen = rates(before, after)
    assert seen.tok_s == 15
    assert seen.prompt_tok_s == 0


def test_no_time_between_two_looks_gives_no_rate() -> None:
    counts = EngineCounts(time_s=5, generated=10, running=2)
    assert rates(counts, counts).tok_s is None
    assert rates(counts, counts).running == 2


def test_labels_and_values() -> None:
    text = (
        "# HELP a help\n# TYPE a counter\n"
        'a{b="x y",c="\\"q\\" \\\\ \\n"} 1.5e3 1395066363000\n'
        "\n  plain\t-2\n"
        'inf{} +Inf\nnan NaN\nlast{a="1",} 7'
    )
    a, plain, inf, nan, last = parse_metrics(text)
    assert a == Sample("a", {"b": "x y", "c": '"q" \\ \n'}, 1500.0)
    assert plain == Sample("plain", {}, -2.0)
    assert inf.value == math.inf
    assert math.isnan(nan.value)
    assert last.labels == {"a": "1"}


def test_what_is_not_wanted_is_not_looked_into() -> None:
    assert parse_metrics("junk{{{ 1\na 2", {"a"}) == (Sample("a", {}, 2.0),)


@pytest.mark.parametrize(
    "line",
    [
        "{}",
        "1abc 2",
        "a",
        "a b",
        'a{b="1" 2',
        "a{b=1} 2",
        "a{b} 2",
        "a 1 2 3",
        'a{b="1"}',
        "<html>",
    ],
)
def test_other_text_is_one_sentence(line: str) -> None:
    with pytest.raises(EngineError, match="line 2 is no Prometheus text"):
        parse_metrics(f"# fine\n{line}")


def test_nobody_can_send_labels_without_end() -> None:
    many = ",".join(f'l{n}="x"' for n in range(100))
    with pytest.raises(EngineError):
        parse_metrics(f"a{{{many}}} 1")


@given(st.text(max_size=300))
def test_any_text_ends_in_samples_or_in_that_sentence(text: str) -> None:
    with suppress(EngineError):
        assert all(sample.name for sample in parse_metrics(text))


def test_llama_server_counts_while_it_writes() -> None:
    """Recorded from b10068: the answer's tokens are added at its end, decode steps at once."""
    first = "llamacpp:tokens_predicted_total 0\nllamacpp:n_decode_total 96\n"
    second = "llamacpp:tokens_predicted_total 0\nllamacpp:n_decode_total 153\n"
    busy = "llamacpp:n_busy_slots_per_decode 1\n"
    speed = rates(read_counts(first + busy, 0.0), read_counts(second + busy, 0.7))
    assert speed.tok_s == pytest.approx(57 / 0.7)
    ended = "llamacpp:tokens_predicted_total 300\nllamacpp:n_decode_total 300\n"
    assert read_counts(ended + busy, 2.0).generated == 300
    assert read_counts("llamacpp:tokens_predicted_total 300", 2.0).generated == 300


def test_the_rates_of_all_engines_are_those_of_the_ones_that_are_ready() -> None:
    everyone = RatesOfAll()
    everyone.add(1, EngineRates(time_s=0, tok_s=20.0))
    everyone.add(2, EngineRates(time_s=0, tok_s=5.0, prompt_tok_s=100.0))
    assert (everyone.tok_s, everyone.prompt_tok_s) == (25.0, 100.0)
    everyone.keep({2})
    everyone.keep({1, 2})  # another engine has the slot, and has told nothing yet
    assert (everyone.tok_s, everyone.prompt_tok_s) == (5.0, 100.0)


def test_the_engine_of_the_chat_counts_by_its_answer_and_the_others_by_their_meters() -> None:
    everyone = RatesOfAll()
    everyone.add(1, EngineRates(time_s=0, tok_s=20.0, prompt_tok_s=50.0))
    everyone.add(2, EngineRates(time_s=0, tok_s=5.0, prompt_tok_s=100.0))
    everyone.answer(1, 33.0, None)
    assert (everyone.tok_s, everyone.prompt_tok_s) == (38.0, 100.0)
    everyone.add(2, EngineRates(time_s=1, tok_s=7.0))
    everyone.add(1, EngineRates(time_s=1, tok_s=30.0))
    assert (everyone.tok_s, everyone.prompt_tok_s) == (40.0, 0.0)
    everyone.end_answer()
    assert everyone.tok_s == 7.0, "what the engine counted during the answer was the answer"
    everyone.end_answer()
    everyone.add(1, EngineRates(time_s=2, tok_s=1.0))
    assert everyone.tok_s == 8.0


def test_an_engine_that_counts_nothing_is_seen_while_the_chat_uses_it() -> None:
    everyone = RatesOfAll()
    everyone.answer(3, 12.0, 400.0)
    assert (everyone.tok_s, everyone.prompt_tok_s) == (12.0, 400.0)
    everyone.answer(3, 12.5, 0.0)
    assert (everyone.tok_s, everyone.prompt_tok_s) == (12.5, 0.0)
    everyone.keep({1})
    assert everyone.tok_s == 0.0
