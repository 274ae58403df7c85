"""The client in Ollama's dialect: recorded, odd and broken streams keep the same promises."""

import json
import time
from pathlib import Path

import pytest
from tests.services.chat.chat_servers import Listener, OddServer, refuse, stream

from splitrig.core.chat import Answer, AnswerPhase, Message, Role
from splitrig.core.engine import Dialect
from splitrig.core.errors import ChatError

RECORDED = Path(__file__).parents[2] / "recorded" / "ollama"
ASK = [Message(Role.USER, "Hello")]
FULL = (
    b'{"error":"{\\"error\\":{\\"code\\":400,\\"message\\":\\"request (5030 tokens) exceeds\\",'
    b'\\"type\\":\\"exceed_context_size_error\\",\\"n_prompt_tokens\\":5030,\\"n_ctx\\":4096}}"}'
)


def said(text: str, **more: object) -> bytes:
    message = {"role": "assistant", "content": text}
    return json.dumps({"message": message, "done": False, **more}).encode() + b"\n"


def ask(listener: Listener, odd: OddServer) -> int:
    return listener.client.ask(
        odd.url, None, ASK, temperature=0.0, max_tokens=7, model="m:latest",
        dialect=Dialect.OLLAMA, load_options={"num_ctx": 512},
    )  # fmt: skip


def error_of(answer: Answer) -> ChatError:
    assert answer.phase is AnswerPhase.FAILED
    assert answer.error is not None
    return answer.error


@pytest.mark.parametrize("size", [1, 7, 97, 10_000])
def test_a_recorded_stream_arrives_whole_however_it_is_cut(
    listener: Listener, odd: OddServer, size: int
) -> None:
    whole = (RECORDED / "chat.ndjson").read_bytes()
    odd.script = stream(*(whole[at : at + size] for at in range(0, len(whole), size)))
    ask(listener, odd)
    answer = listener.end()
    last = json.loads(whole.splitlines()[-1])
    assert answer.phase is AnswerPhase.FINISHED
    assert answer.text.startswith("Hello! I'm")
    assert answer.stats.tokens == last["eval_count"]
    assert answer.stats.tok_s == pytest.approx(last["eval_count"] * 1e9 / last["eval_duration"])


def test_the_request_says_what_was_asked(listener: Listener, odd: OddServer) -> None:
    odd.script = stream(said("x"), said("", done=True, done_reason="stop"))
    ask(listener, odd)
    answer = listener.end()
    assert answer.stats.finish_reason == "stop"
    body = json.loads(odd.requests[0])
    assert body == {
        "model": "m:latest",
        "messages": [{"role": "user", "content": "Hello"}],
        "stream": True,
        "truncate": False,
        "keep_alive": -1,
        "options": {"num_ctx": 512, "temperature": 0.0, "num_predict": 7},
    }
    assert odd.headers[0]["Accept"] == "application/x-ndjson"


def test_the_last_line_needs_no_end(listener: Listener, odd: OddServer) -> None:
    odd.script = stream(said("a"), said("b", done=True, done_reason="length").rstrip())
    ask(listener, odd)
    answer = listener.end()
    assert (answer.text, answer.stats.finish_reason) == ("ab", "length")


def test_thinking_goes_into_the_reasoning(listener: Listener, odd: OddServer) -> None:
    thought = {"role": "assistant", "content": "", "thinking": "hm, "}
    odd.script = stream(
        json.dumps({"message": thought, "done": False}).encode() + b"\n",
        said("yes", done=True, done_reason="stop"),
    )
    ask(listener, odd)
    answer = listener.end()
    assert (answer.reasoning, answer.text) == ("hm, ", "yes")


def test_an_error_inside_the_stream_keeps_the_text(listener: Listener, odd: OddServer) -> None:
    odd.script = stream((RECORDED / "chat_engine_killed.ndjson").read_bytes())
    ask(listener, odd)
    answer = listener.end()
    assert answer.text == "Hello"
    assert "unexpected EOF" in error_of(answer).message


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (400, FULL, "The conversation has 5,030 tokens; the context holds 4,096."),
        (404, (RECORDED / "model_not_found.json").read_bytes(),
         "The engine has the model no more: model 'nope' not found."),
        (404, b"404 page not found", "broke off with HTTP 404"),
        (500, b'{"error":"llama runner gone"}', "broke off with HTTP 500: llama runner gone."),
        (503, b'{"error":"server busy"}', "still loading"),
    ],
)  # fmt: skip
def test_a_refusal_has_its_sentence(
    listener: Listener, odd: OddServer, status: int, body: bytes, message: str
) -> None:
    odd.script = refuse(status, body)
    ask(listener, odd)
    assert message in error_of(listener.end()).message


@pytest.mark.parametrize("line", [b"{broken\n", b"[]\n", b"\xff\xfe\n", b"7\n"])
def test_what_is_no_line_of_ollama_breaks_off_with_a_sentence(
    listener: Listener, odd: OddServer, line: bytes
) -> None:
    odd.script = stream(said("kept"), line)
    ask(listener, odd)
    answer = listener.end()
    assert answer.text == "kept"
    assert error_of(answer).hint


def test_a_stream_that_ends_without_its_last_line_broke_off(
    listener: Listener, odd: OddServer
) -> None:
    odd.script = stream(said("a"), said("b"))
    ask(listener, odd)
    answer = listener.end()
    assert answer.text == "ab"
    assert "ended after 2 tokens; what it said is kept" in error_of(answer).message


def test_stop_is_immediate(listener: Listener, odd: OddServer) -> None:
    odd.script = stream(said("a"), said("b"), hang_s=5)
    request = ask(listener, odd)
    listener.wait(lambda answer: answer.text == "ab")
    begun = time.monotonic()
    listener.client.cancel(request)
    answer = listener.end(1)
    assert time.monotonic() - begun < 0.5
    assert (answer.phase, answer.text) == (AnswerPhase.FINISHED, "ab")
    assert answer.stats.finish_reason == "cancelled"
