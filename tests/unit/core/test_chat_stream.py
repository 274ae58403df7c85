"""What the chunks of recorded and odd streams say."""

import json
from pathlib import Path

import pytest

from splitrig.core.chat import (
    AnswerStats,
    ChatDelta,
    Message,
    Role,
    conversation,
    count_delta,
    read_chunk,
    read_error,
)
from splitrig.core.errors import ChatError
from splitrig.core.sse import EventParser

RECORDED = Path(__file__).parents[2] / "recorded" / "chat"


def deltas(name: str) -> list[ChatDelta]:
    events = EventParser().feed((RECORDED / name).read_bytes())
    return [read_chunk(json.loads(event.data)) for event in events if event.data != "[DONE]"]


def total(name: str) -> tuple[str, list[AnswerStats]]:
    text, stats, steps = "", AnswerStats(), []
    for n, delta in enumerate(deltas(name)):
        text += delta.text
        stats = count_delta(stats, delta, 0.1 * (n + 1))
        steps.append(stats)
    return text, steps


def test_a_recorded_answer_adds_up() -> None:
    text, steps = total("hello.sse")
    last = steps[-1]
    assert text == "Serene, just a pleasure to meet you."
    assert (last.tokens, last.prompt_tokens, last.cached_tokens) == (12, 36, 0)
    assert last.tok_s == pytest.approx(107.2, abs=0.1)
    assert last.prompt_tok_s == pytest.approx(174.3, abs=0.1)
    assert last.finish_reason == "stop"
    assert last.context_tokens == 48


def test_the_first_token_is_timed_by_our_own_clock_and_only_once() -> None:
    _, steps = total("hello.sse")
    assert [s.first_token_s for s in steps[:3]] == [None] * 3
    assert {s.first_token_s for s in steps[3:]} == {0.4}


def test_absurd_speeds_of_first_chunks_are_never_shown() -> None:
    _, steps = total("hello.sse")
    assert steps[3].tokens == 1
    assert steps[3].tok_s is None
    assert max(s.tok_s or 0 for s in steps) < 200
    assert max(s.prompt_tok_s or 0 for s in steps) < 200


def test_progress_of_the_prompt_is_seen_before_the_first_token() -> None:
    _, steps = total("hello.sse")
    assert (steps[0].prompt_tokens, steps[0].prompt_read_tokens) == (36, 0)
    assert (steps[1].prompt_tokens, steps[1].prompt_read_tokens) == (36, 36)
    assert steps[1].prompt_tok_s == pytest.approx(36 / 0.204)


def test_cached_tokens_of_the_prompt_are_counted() -> None:
    _, steps = total("cached_and_cut_off.sse")
    last = steps[-1]
    assert last.cached_tokens
    assert last.prompt_tokens is not None
    assert last.prompt_tokens > last.cached_tokens
    assert last.finish_reason == "length"
    assert last.tokens == 8


def test_figures_of_the_answer_before_do_not_leak_into_this_one() -> None:
    _, steps = total("cached_and_cut_off.sse")
    assert [s.tokens for s in steps[:4]] == [0, 0, 0, 1]
    assert steps[0].tok_s is None


def test_a_token_in_several_chunks_counts_once() -> None:
    timed = {"choices": [{"delta": {"content": "a"}}], "timings": {"predicted_n": 5}}
    stats = count_delta(AnswerStats(), read_chunk(timed), 1)
    stats = count_delta(stats, read_chunk({"choices": [{"delta": {"content": "b"}}]}), 1.1)
    assert stats.tokens == 5


def test_thinking_is_kept_apart_and_counts_as_visible() -> None:
    delta = read_chunk({"choices": [{"delta": {"content": None, "reasoning_content": "hm"}}]})
    assert (delta.text, delta.reasoning) == ("", "hm")
    assert count_delta(AnswerStats(), delta, 0.7).first_token_s == 0.7


def test_an_engine_without_timings_is_counted_here() -> None:
    stats = AnswerStats()
    for n in range(11):
        delta = read_chunk({"choices": [{"delta": {"content": "x"}}]})
        stats = count_delta(stats, delta, 1 + n * 0.1)
    assert stats.tokens == 11
    assert stats.tok_s == pytest.approx(10)


def test_usage_alone_gives_the_tokens() -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 4}
    stats = count_delta(AnswerStats(), read_chunk({"choices": [], "usage": usage}), 1)
    assert (stats.prompt_tokens, stats.tokens) == (9, 4)


@pytest.mark.parametrize(
    "chunk",
    [
        {},
        {"choices": None},
        {"choices": []},
        {"choices": [None]},
        {"choices": [{"delta": None}]},
        {"choices": [{"delta": {"content": 7}}]},
        {"choices": {"delta": "x"}, "timings": [], "usage": "many"},
        {"timings": {"predicted_n": "12", "prompt_n": -1, "predicted_per_second": "fast"}},
        {"timings": {"predicted_n": True, "predicted_per_second": float("nan")}},
        {"prompt_progress": {"total": None, "processed": 1.5, "time_ms": 0}},
    ],
)
def test_odd_fields_are_not_reported_rather_than_wrong(chunk: dict[str, object]) -> None:
    delta = read_chunk(chunk)
    assert delta == ChatDelta()


@pytest.mark.parametrize("chunk", [None, [], "text", 3])
def test_a_chunk_that_is_no_object_is_refused(chunk: object) -> None:
    with pytest.raises(ChatError):
        read_chunk(chunk)


def test_an_error_inside_a_stream_is_read() -> None:
    delta = read_chunk({"error": {"message": "boom", "type": "server_error", "code": 500}})
    assert delta.error is not None
    assert (delta.error.message, delta.error.code) == ("boom", 500)


def test_a_refusal_for_the_context_carries_its_numbers() -> None:
    error = read_error(json.loads((RECORDED / "context_exceeded.json").read_text()))
    assert (error.n_prompt_tokens, error.n_ctx) == (4031, 2048)


def test_an_error_may_be_a_bare_sentence() -> None:
    assert read_error({"error": "no such model"}).message == "no such model"


def test_a_conversation_takes_strict_turns() -> None:
    user, assistant = Role.USER, Role.ASSISTANT
    turns = [
        Message(user, "one"),
        Message(assistant, " "),
        Message(user, "two"),
        Message(assistant, "yes"),
        Message(user, "three"),
    ]
    assert conversation(turns, " be kind ") == [
        Message(Role.SYSTEM, "be kind"),
        Message(user, "one\n\ntwo"),
        Message(assistant, "yes"),
        Message(user, "three"),
    ]
