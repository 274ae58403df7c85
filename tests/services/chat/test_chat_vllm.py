"""The client against the fake vLLM, which answers in the shapes recorded of the real one."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.services.chat.chat_servers import Listener
from tests.support.fake_vllm import make_environment, make_model
from tests.support.vllm_server import KEY, RealServer

from splitrig.core.chat import Answer, AnswerPhase, Message, Role

TINY = {
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "hidden_size": 128,
    "intermediate_size": 256,
    "head_dim": 32,
    "vocab_size": 259,
    "max_position_embeddings": 512,
}
HELLO = [Message(Role.USER, "Hello")]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    base = tmp_path_factory.mktemp("vllm")
    return make_environment(base / "env"), make_model(base / "tiny", TINY)


def started(folders: tuple[Path, Path], mode: str) -> RealServer:
    environment, model = folders
    words = [str(model), "--served-model-name", "tiny", "--max-model-len", "256"]
    server = RealServer(environment / "bin/vllm", words, {"FAKE_SPEED": "0.002", "FAKE_VLLM": mode})
    assert server.wait_ready(20)[-1][1] == "200"
    return server


@pytest.fixture
def vllm(folders: tuple[Path, Path]) -> Iterator[RealServer]:
    server = started(folders, "")
    yield server
    server.close()


def ask(
    listener: Listener,
    server: RealServer,
    messages: list[Message] = HELLO,
    key: str = KEY,
    model: str = "tiny",
    max_tokens: int = 12,
) -> Answer:
    url = f"http://127.0.0.1:{server.port}"
    listener.client.ask(url, key, messages, model=model, max_tokens=max_tokens)
    return listener.end(20)


def test_an_answer_streams_with_its_figures(listener: Listener, vllm: RealServer) -> None:
    answer = ask(listener, vllm)
    assert answer.phase is AnswerPhase.FINISHED
    assert answer.text.startswith("The fake engine answers with these words")
    assert answer.stats.tokens == 12
    assert answer.stats.prompt_tokens == 23
    assert answer.stats.finish_reason == "length"
    assert answer.stats.tok_s is not None
    assert answer.stats.first_token_s is not None


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"key": "no"}, "The engine refused the key of this window (HTTP 401)."),
        ({"model": "nope"}, "The model `nope` does not exist. Valid aliases: tiny."),
        (
            {"messages": [Message(Role.USER, "word " * 100)]},
            "The conversation is longer than the context.",
        ),
        ({"max_tokens": 5000}, "max_tokens=5000 cannot be greater than max_model_len=256."),
    ],
)
def test_a_refusal_is_one_sentence(
    listener: Listener, vllm: RealServer, changed: dict[str, object], words: str
) -> None:
    answer = ask(listener, vllm, **changed)  # type: ignore[arg-type]
    assert answer.phase is AnswerPhase.FAILED
    assert answer.error is not None
    assert words in answer.error.message
    assert answer.error.hint


def test_an_engine_that_died_says_so_inside_a_good_answer(
    listener: Listener, folders: tuple[Path, Path]
) -> None:
    server = started(folders, "engine_died")
    try:
        answer = ask(listener, server)
    finally:
        server.close()
    assert answer.phase is AnswerPhase.FAILED
    assert answer.error is not None
    assert "EngineCore encountered an issue" in answer.error.message
