"""Ollama's chat: what is sent, and what its lines bring."""

import json
from pathlib import Path

import pytest

from splitrig.core.chat import AnswerStats, Message, Role, count_delta, nothing_cached
from splitrig.core.errors import ChatError
from splitrig.core.ollama_chat import (
    MAX_LINE_CHARS,
    LineParser,
    chat_body,
    read_ollama_chunk,
    read_ollama_error,
)

RECORDED = Path(__file__).parents[2] / "recorded" / "ollama"
TOO_LONG = (
    '{"error":"{\\"error\\":{\\"code\\":400,\\"message\\":\\"request (5030 tokens) exceeds the '
    'available context size (4096 tokens), try increasing it\\",\\"type\\":'
    '\\"exceed_context_size_error\\",\\"n_prompt_tokens\\":5030,\\"n_ctx\\":4096}}"}'
)


def test_a_recorded_answer_adds_up_to_the_servers_own_figures() -> None:
    text, stats = "", AnswerStats()
    lines = LineParser().feed((RECORDED / "chat.ndjson").read_bytes())
    for number, line in enumerate(lines):
        delta = read_ollama_chunk(json.loads(line))
        text += delta.text
        stats = count_delta(stats, delta, 0.5 * (number + 1))
    last = json.loads(lines[-1])
    assert text.startswith("Hello! I'm")
    assert stats.tokens == last["eval_count"] == 8
    assert stats.prompt_tokens == last["prompt_eval_count"]
    assert stats.tok_s == pytest.approx(last["eval_count"] / last["eval_duration"] * 1e9)
    assert stats.load_s == last["load_duration"] / 1e9
    assert stats.prompt_tok_s is None  # its count has cached tokens, its time has not
    known = nothing_cached(read_ollama_chunk(last))
    seconds = last["prompt_eval_duration"] / 1e9
    assert known.prompt_tok_s == pytest.approx(last["prompt_eval_count"] / seconds)
    assert stats.first_token_s == 0.5
    assert stats.finish_reason == "length"
    assert stats.counted_by_engine


def test_thinking_is_reasoning() -> None:
    delta = read_ollama_chunk({"message": {"content": "", "thinking": "hm"}, "done": False})
    assert (delta.text, delta.reasoning, delta.finish_reason) == ("", "hm", None)


def test_an_error_inside_a_stream_is_one() -> None:
    lines = LineParser().feed((RECORDED / "chat_engine_killed.ndjson").read_bytes())
    delta = read_ollama_chunk(json.loads(lines[-1]))
    assert delta.error is not None
    assert "unexpected EOF" in delta.error.message


def test_a_full_context_is_told_in_llama_servers_numbers() -> None:
    error = read_ollama_error(json.loads(TOO_LONG))
    assert error.kind == "exceed_context_size_error"
    assert (error.n_prompt_tokens, error.n_ctx, error.code) == (5030, 4096, 400)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"error": "plain"}, "plain"),
        ({"error": "{broken"}, "{broken"),
        ({"error": '{"no":"error"}'}, '{"no":"error"}'),
        ({"error": "7"}, "7"),
        ({}, ""),
        (["x"], "['x']"),
    ],
)
def test_errors_are_read_however_they_come(body: object, message: str) -> None:
    assert read_ollama_error(body).message == message


@pytest.mark.parametrize("chunk", [[], "x", None, 7])
def test_a_line_that_is_no_object_is_an_error(chunk: object) -> None:
    with pytest.raises(ChatError, match="no JSON object"):
        read_ollama_chunk(chunk)


@pytest.mark.parametrize(
    "chunk",
    [
        {},
        {"message": None, "done": True},
        {"message": {"content": 7}, "done": "yes"},
        {"done": True, "eval_count": -1, "eval_duration": "x", "prompt_eval_count": True},
        {"done": True, "eval_count": 5, "eval_duration": 0},
    ],
)
def test_odd_fields_are_not_reported(chunk: dict[str, object]) -> None:
    delta = read_ollama_chunk(chunk)
    assert delta.text == ""
    assert delta.tok_s is None
    assert delta.prompt_tokens is None


def test_the_body_refuses_to_lose_the_beginning_and_keeps_the_model() -> None:
    body = chat_body(
        [Message(Role.USER, "Hi")],
        model="m:latest",
        options={"num_ctx": 4096},
        temperature=0.0,
        max_tokens=5,
    )
    assert body["messages"] == [{"role": "user", "content": "Hi"}]
    assert (body["model"], body["truncate"], body["keep_alive"]) == ("m:latest", False, -1)
    assert body["options"] == {"num_ctx": 4096, "temperature": 0.0, "num_predict": 5}
    assert chat_body([], model=None, options={})["options"] == {}


def test_lines_come_whole_however_the_bytes_are_cut() -> None:
    data = '{"a":"grüß"}\r\n\n{"b":1}\n{"c"'.encode()
    for size in (1, 2, 3, 5, 100):
        parser = LineParser()
        found = [x for at in range(0, len(data), size) for x in parser.feed(data[at : at + size])]
        assert found == ['{"a":"grüß"}', '{"b":1}']
        assert parser.close() == ['{"c"']
        assert parser.close() == []


def test_a_line_without_end_is_given_up() -> None:
    parser = LineParser()
    for _ in range(MAX_LINE_CHARS // 2**20):
        assert parser.feed(b"x" * 2**20) == []
    with pytest.raises(ChatError, match="one line of more than 8 MiB"):
        parser.feed(b"x")
