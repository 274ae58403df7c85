"""The client against a real llama-server."""

import signal
import time
from itertools import pairwise

import pytest
from tests.services.chat.chat_servers import Engine, Listener

from splitrig.core.chat import AnswerPhase, Message, Role

pytestmark = pytest.mark.engine
LONG = [Message(Role.USER, "Tell me a very long story about the sea, with many chapters.")]


def test_an_answer_streams_with_its_figures(listener: Listener, engine: Engine) -> None:
    listener.client.ask(engine.url, engine.key, LONG, temperature=0.0, max_tokens=24)
    answer = listener.end()
    stats = answer.stats
    assert answer.phase is AnswerPhase.FINISHED
    assert len(answer.text) > 40
    assert stats.tokens == 24
    assert stats.finish_reason == "length"
    assert stats.prompt_tokens is not None
    assert stats.prompt_tokens > 20
    assert stats.first_token_s is not None
    assert stats.first_token_s > 0
    assert stats.tok_s is not None
    assert 1 < stats.tok_s < 5000
    assert len(listener.answers) > 3, "it streams"
    texts = [a.text for a in listener.answers]
    assert all(b.startswith(a) for a, b in pairwise(texts))


def test_stop_in_mid_answer_sets_the_engine_idle(listener: Listener, engine: Engine) -> None:
    request = listener.client.ask(engine.url, engine.key, LONG, temperature=0.0, max_tokens=1500)
    listener.wait(lambda answer: answer.stats.tokens >= 5)
    listener.client.cancel(request)
    answer = listener.end(1)
    assert answer.stats.finish_reason == "cancelled"
    assert answer.text
    time.sleep(0.5)
    assert engine.busy_share(0.5) < 0.2
    listener.client.ask(engine.url, engine.key, LONG, temperature=0.0, max_tokens=3)
    assert listener.end().stats.tokens == 3


def test_a_killed_engine_leaves_what_was_said_and_a_sentence(
    listener: Listener, engine: Engine
) -> None:
    listener.client.ask(engine.url, engine.key, LONG, temperature=0.0, max_tokens=1500)
    before = listener.wait(lambda answer: answer.stats.tokens >= 8)
    engine.process.send_signal(signal.SIGKILL)
    answer = listener.end(2)
    assert answer.phase is AnswerPhase.FAILED
    assert answer.text.startswith(before.text)
    assert answer.error is not None
    assert "what it said is kept" in answer.error.message
    assert "Launch it again" in answer.error.hint


def test_a_wrong_key_and_a_full_context_are_sentences(listener: Listener, engine: Engine) -> None:
    listener.client.ask(engine.url, "sk-wrong", LONG)
    refused = listener.end().error
    assert refused is not None
    assert "key" in refused.message
    listener.client.ask(engine.url, engine.key, [Message(Role.USER, "word " * 4000)])
    full = listener.end().error
    assert full is not None
    assert "4,031 tokens" in full.message
    assert "2,048" in full.message
