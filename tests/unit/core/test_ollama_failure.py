"""One sentence for every way Ollama can fail, from its own recorded words."""

from pathlib import Path

import pytest

from splitrig.core import ollama_failure as failures
from splitrig.core.engine_log import LoadLog, add_event
from splitrig.core.errors import EngineError
from splitrig.core.ollama_log import read_ollama_line

RECORDED = Path(__file__).parents[2] / "recorded" / "ollama"
URL = "http://127.0.0.1:11434"


def text_of(name: str) -> str:
    return (RECORDED / name).read_text(encoding="utf-8")


def log_of(name: str) -> LoadLog:
    log = LoadLog()
    for line in text_of(name).splitlines():
        event = read_ollama_line(line)
        if event is not None:
            log = add_event(log, event)
    return log


def test_out_of_memory_is_read_from_the_log_below_the_answer() -> None:
    log = log_of("out_of_memory_limited.log")
    words = "llama-server process has terminated: signal: segmentation fault"
    failure = failures.load_failure(words, log, ("last line",), {"Vulkan0": "RTX 4090"})
    assert failure.message == (
        "Out of memory: 768.0 MiB more did not fit on RTX 4090, which had 2,048 MiB free."
    )
    assert "Shorten the context" in failure.hint
    assert failure.log_tail == ("last line",)
    assert failure.exit_code == -11


def test_an_end_without_a_reason_is_told_as_it_was() -> None:
    words = failures.words_of(text_of("load_out_of_memory.json"))
    failure = failures.load_failure(words, LoadLog(), ("last line",))
    assert "(it aborted, signal 6). Last line: last line" in failure.message


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("model requires more system memory (8.1 GiB) than is available (3.2 GiB)",
         "The model needs 8.1 GiB of the computer's memory; 3.2 GiB are free."),
        ('"nomic-embed-text" does not support generate', "This model cannot answer"),
        ("llama-server process has terminated: signal: killed", "was killed (signal 9)"),
        ("llama-server process has terminated: signal: illegal instruction",
         "needs processor features"),
        ("llama-server process has terminated: exit status 1: error: x", "with exit code 1"),
        ("llama-server process has terminated: exit status 0xc0000135", "library (DLL)"),
        ("timed out waiting for llama-server to start - ", "did not become ready in time"),
        ("llama-server process has terminated: exit status 1: error: invalid argument: --load-mode",
         "The engine does not take the argument --load-mode."),
        ("llama-server process has terminated: failed to allocate CUDA0 buffer of size 1048576",
         "1.0 MiB more did not fit on CUDA0."),
        ("llama-server process has terminated: exit status 7: error: new words",
         "with exit code 7. Last line: llama-server process has terminated"),
        ("", "could not load the model: it gave no reason."),
        ("something new", "Ollama could not load the model: something new."),
    ],
)  # fmt: skip
def test_loads_fail_in_their_own_sentences(words: str, message: str) -> None:
    failure = failures.load_failure(words, LoadLog())
    assert message in failure.message
    assert failure.hint


def test_a_file_cut_short_is_told_as_such() -> None:
    words = failures.words_of(text_of("load_truncated.json"))
    failure = failures.load_failure(words, LoadLog())
    assert failure.message.startswith("The model file is incomplete: tensor")


def test_a_newer_architecture_sends_to_a_newer_ollama() -> None:
    line = "llama_model_load: error loading model: unknown model architecture: 'llamx'"
    event = read_ollama_line(line)
    assert event is not None
    failure = failures.load_failure("exit status 1", add_event(LoadLog(), event))
    assert "models of the kind 'llamx'" in failure.message
    assert failure.hint == "A newer Ollama may: update it."


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('{"error":"model \'nope\' not found"}', "model 'nope' not found"),
        ('{"error":"{\\"error\\":{\\"code\\":400,\\"message\\":\\"too long\\"}}"}', "too long"),
        ('{"error":{"message":"inner"}}', "inner"),
        ("404 page not found", "404 page not found"),
        ("", ""),
        ('["odd"]', '["odd"]'),
        ('{"error":7}', '{"error":7}'),
    ],
)
def test_words_are_found_however_they_are_wrapped(body: str, words: str) -> None:
    assert failures.words_of(body) == words


def test_what_is_not_ollama_is_recognised() -> None:
    assert failures.is_ollama_error(text_of("model_not_found.json"))
    for body in ("404 page not found", "[]", "{}", '{"error":{"message":"x"}}', "<html>", "7"):
        assert not failures.is_ollama_error(body)


def test_a_missing_model_is_told_with_those_there_are() -> None:
    assert failures.says_not_found("model 'nope' not found")
    assert failures.says_not_found("pull model manifest: file does not exist")
    assert not failures.says_not_found("llama-server binary not found")
    error = failures.no_model("nope", ["a:latest", "b:latest"])
    assert str(error).startswith("Ollama has no model 'nope'; it has a:latest, b:latest.")
    many = failures.no_model("nope", [f"m{n}" for n in range(20)])
    assert "m5 and 14 more" in many.message
    assert "none yet" in failures.no_model("nope", []).message


@pytest.mark.parametrize(
    "error",
    [
        failures.refused(URL),
        failures.unreachable(URL, "no route to host"),
        failures.silent(URL, 5),
        failures.broke_off(URL, "reset"),
        failures.foreign(URL, 404, "<html>x"),
        failures.foreign(URL, 405, ""),
        failures.unreadable(URL, "x"),
        failures.told("pull the model", "dial tcp: lookup registry.ollama.ai: no such host"),
        failures.told("pull the model", "write: no space left on device"),
        failures.told("delete the model", "x", 500),
    ],
)
def test_every_failure_is_one_sentence_with_a_way_out(error: EngineError) -> None:
    assert error.message.endswith(".")
    assert error.hint.endswith(".")
    assert "\n" not in error.message


def test_a_web_page_is_not_quoted() -> None:
    assert "HTTP 404: a web page" in failures.foreign(URL, 404, "<!doctype html>…").message
