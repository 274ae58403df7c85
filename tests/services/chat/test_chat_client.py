"""The client against streams that are recorded, odd or broken."""

import json
import socket
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from tests.services.chat.chat_servers import Listener, OddServer, refuse, stream

from splitrig.core.chat import AnswerPhase, Message, Role
from splitrig.core.errors import ChatError
from splitrig.services.chat.client import ChatClient
from splitrig.services.mailbox import Mailbox

RECORDED = Path(__file__).parents[2] / "recorded" / "chat"
ASK = [Message(Role.USER, "Hello")]
DONE = b"data: [DONE]\n\n"


def said(text: str, finish: str | None = None) -> bytes:
    chunk = {"choices": [{"delta": {"content": text}, "finish_reason": finish}]}
    return b"data: %b\n\n" % json.dumps(chunk).encode()


def error_of(listener: Listener) -> ChatError:
    error = listener.end().error
    assert error is not None
    return error


def test_a_recorded_stream_arrives_whole_however_it_is_cut(
    listener: Listener, odd: OddServer
) -> None:
    whole = (RECORDED / "hello.sse").read_bytes()
    odd.script = stream(*(whole[at : at + 97] for at in range(0, len(whole), 97)))
    listener.client.ask(odd.url, None, ASK)
    answer = listener.end()
    assert answer.phase is AnswerPhase.FINISHED
    assert answer.text == "Serene, just a pleasure to meet you."
    assert (answer.stats.tokens, answer.stats.prompt_tokens) == (12, 36)


def test_the_request_says_what_was_asked(listener: Listener, odd: OddServer) -> None:
    odd.script = stream(said("x", "stop"), DONE)
    listener.client.ask(odd.url, "sk-1", ASK, temperature=0.0, max_tokens=7)
    listener.end()
    body = json.loads(odd.requests[0])
    assert body["messages"] == [{"role": "user", "content": "Hello"}]
    assert (body["temperature"], body["max_tokens"], body["stream"]) == (0.0, 7, True)
    assert body["timings_per_token"]
    assert body["return_progress"]
    assert body["stream_options"] == {"include_usage": True}
    assert odd.headers[0]["Authorization"] == "Bearer sk-1"


def test_what_is_not_chosen_is_left_to_the_engine(listener: Listener, odd: OddServer) -> None:
    odd.script = stream(said("x", "stop"), DONE)
    listener.client.ask(odd.url, None, ASK)
    listener.end()
    assert not {"temperature", "max_tokens", "model"} & json.loads(odd.requests[0]).keys()
    assert "Authorization" not in odd.headers[0]


def test_a_proxy_of_the_environment_is_not_asked(
    listener: Listener, odd: OddServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    odd.script = stream(said("x", "stop"), DONE)
    listener.client.ask(odd.url, None, ASK)
    assert listener.end().phase is AnswerPhase.FINISHED


def test_the_last_word_of_a_pause_is_not_held_back(listener: Listener, odd: OddServer) -> None:
    odd.script = stream(said("a"), said("b"), said("c"), hang_s=1)
    listener.client.ask(odd.url, None, ASK)
    begin = time.monotonic()
    listener.wait(lambda answer: answer.text == "abc")
    assert time.monotonic() - begin < 0.5
    listener.end()


def test_a_flood_costs_few_values_and_no_word(odd: OddServer) -> None:
    mailbox = Mailbox(capacity=3)
    client = ChatClient(mailbox)
    words = [f"w{n} " for n in range(5000)]
    odd.script = stream(*(said(word) for word in words), said("", "stop"), DONE)
    client.ask(odd.url, None, ASK)
    listener = Listener(client, mailbox, [])
    deadline = time.monotonic() + 30
    while client._running[1].alive and time.monotonic() < deadline:
        time.sleep(0.05)
    answer = listener.end()
    client.close()
    assert answer.text == "".join(words)
    assert answer.stats.tokens == 5000


def test_cancel_keeps_what_was_said(listener: Listener, odd: OddServer) -> None:
    odd.script = stream(said("kept"), hang_s=1)
    request = listener.client.ask(odd.url, None, ASK)
    listener.wait(lambda answer: answer.text == "kept")
    begin = time.monotonic()
    listener.client.cancel(request)
    answer = listener.end()
    assert time.monotonic() - begin < 0.5
    assert (answer.phase, answer.text) == (AnswerPhase.FINISHED, "kept")
    assert answer.stats.finish_reason == "cancelled"


def test_cancel_works_before_the_engine_answers(listener: Listener, odd: OddServer) -> None:
    odd.script = lambda _handler: time.sleep(1)
    request = listener.client.ask(odd.url, None, ASK)
    time.sleep(0.2)
    begin = time.monotonic()
    listener.client.cancel(request)
    assert listener.end().stats.finish_reason == "cancelled"
    assert time.monotonic() - begin < 0.5


def test_cancel_at_once_and_of_nothing_is_harmless(listener: Listener, odd: OddServer) -> None:
    odd.script = stream(said("x", "stop"), DONE)
    listener.client.cancel(99)
    request = listener.client.ask(odd.url, None, ASK)
    listener.client.cancel(request)
    listener.client.cancel(request)
    assert listener.end().phase is AnswerPhase.FINISHED


def test_close_ends_a_running_request(odd: OddServer) -> None:
    odd.script = stream(said("x"), hang_s=1)
    client = ChatClient(Mailbox())
    client.ask(odd.url, None, ASK)
    time.sleep(0.2)
    begin = time.monotonic()
    client.close()
    assert time.monotonic() - begin < 0.5


def test_nobody_at_the_port_is_a_sentence_with_the_port(listener: Listener) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    listener.client.ask(f"http://127.0.0.1:{port}", None, ASK)
    error = error_of(listener)
    assert str(port) in error.message
    assert error.hint


def test_a_connection_that_ends_in_mid_answer_keeps_the_text(
    listener: Listener, odd: OddServer
) -> None:
    def run(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        part = said("half an ")
        handler.wfile.write(b"%x\r\n%b\r\n" % (len(part), part))

    odd.script = run
    listener.client.ask(odd.url, None, ASK)
    answer = listener.end()
    assert (answer.phase, answer.text) == (AnswerPhase.FAILED, "half an ")
    assert answer.error is not None
    assert "1 token" in answer.error.message


def test_a_stream_without_an_end_mark_but_with_a_reason_is_complete(
    listener: Listener, odd: OddServer
) -> None:
    odd.script = stream(said("all", "stop"))
    listener.client.ask(odd.url, None, ASK)
    assert listener.end().phase is AnswerPhase.FINISHED


def test_a_stream_that_just_stops_is_broken(listener: Listener, odd: OddServer) -> None:
    odd.script = stream(said("part"))
    listener.client.ask(odd.url, None, ASK)
    answer = listener.end()
    assert (answer.phase, answer.text) == (AnswerPhase.FAILED, "part")


@pytest.mark.parametrize("junk", [b'{"choices":', b"[" * 100_000, b"\xff\xfe", b"[1]"])
def test_a_broken_chunk_keeps_the_text_before_it(
    listener: Listener, odd: OddServer, junk: bytes
) -> None:
    odd.script = stream(said("kept"), b"data: " + junk + b"\n\n")
    listener.client.ask(odd.url, None, ASK)
    answer = listener.end()
    assert (answer.phase, answer.text) == (AnswerPhase.FAILED, "kept")
    assert answer.error is not None
    assert answer.error.hint


def test_an_error_inside_the_stream_keeps_the_text(listener: Listener, odd: OddServer) -> None:
    broken = b'data: {"error":{"message":"compute failed","code":500}}\n\n'
    odd.script = stream(said("kept"), broken)
    listener.client.ask(odd.url, None, ASK)
    answer = listener.end()
    assert (answer.phase, answer.text) == (AnswerPhase.FAILED, "kept")
    assert answer.error is not None
    assert "compute failed" in answer.error.message


def test_silence_is_noticed(odd: OddServer) -> None:
    mailbox = Mailbox()
    client = ChatClient(mailbox, idle_timeout_s=0.3)
    odd.script = stream(said("kept"), hang_s=2)
    client.ask(odd.url, None, ASK)
    answer = Listener(client, mailbox, []).end()
    client.close()
    assert (answer.phase, answer.text) == (AnswerPhase.FAILED, "kept")
    assert answer.error is not None
    assert "0.3 s" in answer.error.message


@pytest.mark.parametrize(
    ("status", "file", "words"),
    [
        (400, "context_exceeded.json", ("4,031", "2,048")),
        (401, "wrong_key.json", ("key", "401")),
        (503, "loading.json", ("loading", "503")),
    ],
)
def test_refusals_are_sentences(
    listener: Listener, odd: OddServer, status: int, file: str, words: tuple[str, str]
) -> None:
    odd.script = refuse(status, (RECORDED / file).read_bytes())
    listener.client.ask(odd.url, None, ASK)
    error = error_of(listener)
    assert all(word in error.message for word in words)
    assert error.hint


@pytest.mark.parametrize("body", [b"", b"<html>no</html>", b'{"error":"bad"}', b"[" * 100_000])
def test_any_other_refusal_names_its_number(
    listener: Listener, odd: OddServer, body: bytes
) -> None:
    odd.script = refuse(418, body)
    listener.client.ask(odd.url, None, ASK)
    assert "418" in error_of(listener).message


def test_an_address_that_is_none_is_a_failure_not_a_crash(listener: Listener) -> None:
    listener.client.ask("http://127.0.0.1:notaport", None, ASK)
    assert error_of(listener).hint
