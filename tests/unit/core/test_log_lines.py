"""Lines as the engines write them: level, time and text."""

from pathlib import Path

import pytest

from splitrig.core.log_lines import (
    OWN,
    TIME_CHARS,
    Level,
    LineReader,
    LogLine,
    clean,
    guessed_level,
    not_shown,
)

RECORDED = Path(__file__).parents[2] / "recorded" / "engine"


def read(*raw: str) -> list[LogLine]:
    return LineReader().read_all(raw)


def levels(*raw: str) -> list[Level]:
    return [line.level for line in read(*raw)]


@pytest.mark.parametrize(
    ("raw", "level", "time", "text"),
    [
        # llama.cpp
        ("0.00.518.546 I srv    load_model: loading", Level.INFO, "0:00.518",
         "srv    load_model: loading"),
        ("0.00.036.432 W srv  llama_server: ---", Level.WARNING, "0:00.036",
         "srv  llama_server: ---"),
        ("12.34.567.890 E x", Level.ERROR, "12:34.56", "x"),
        ("123.04.567.890 D ", Level.DEBUG, "123:04.5", ""),
        ("4321.04.567.890 D y", Level.DEBUG, "4321:04", "y"),
        ("E srv start: couldn't bind", Level.ERROR, None, "srv start: couldn't bind"),
        ("I am a line of a chat", Level.PLAIN, None, "I am a line of a chat"),
        ("load_tensors: offloaded 31/31 layers to GPU", Level.PLAIN, None,
         "load_tensors: offloaded 31/31 layers to GPU"),
        # Ollama
        ('time=2025-02-10T11:19:54.425+08:00 level=INFO source=server.go:594 msg="0.76 seconds"',
         Level.INFO, "11:19:54", "0.76 seconds  (server.go:594)"),
        ('time=2025-03-08T03:20:41.451Z level=ERROR source=server.go:421 msg="no" error="exit 2"',
         Level.ERROR, "03:20:41", 'no  error="exit 2"  (server.go:421)'),
        ('time=2025-03-08T03:20:41.451Z level=WARN msg="a \\"b\\" c"',
         Level.WARNING, "03:20:41", 'a "b" c'),
        ("time=2025-03-08T03:20:41.451Z level=DEBUG-4 source=x.go:1 msg=one a=b",
         Level.DEBUG, "03:20:41", "one  a=b  (x.go:1)"),
        ('[GIN] 2025/02/10 - 11:20:29 | 200 | 35.68ms |       127.0.0.1 | POST     "/api/chat"',
         Level.INFO, "11:20:29", '200  35.68ms |       127.0.0.1 | POST     "/api/chat"'),
        ('[GIN] 2025/02/10 - 11:20:29 | 404 | 35.68µs | 127.0.0.1 | POST "/api/chat"',
         Level.WARNING, "11:20:29", '404  35.68µs | 127.0.0.1 | POST "/api/chat"'),
        ('[GIN] 2025/02/10 - 11:20:45 | 500 | 51.7s | 127.0.0.1 | POST "/api/chat"',
         Level.ERROR, "11:20:45", '500  51.7s | 127.0.0.1 | POST "/api/chat"'),
        ("[GIN-debug] [WARNING] Running in debug", Level.WARNING, None, "Running in debug"),
        ("[GIN-debug] POST   /api/pull  --> x", Level.DEBUG, None, "POST   /api/pull  --> x"),
        ('2024/08/07 13:55:22 routes.go:1028: INFO server config env="map[]"',
         Level.INFO, "13:55:22", 'routes.go:1028: server config env="map[]"'),
        # vLLM, uvicorn, Python
        ("INFO 11-25 00:12:34 [api_server.py:1043] vLLM API server version 0.32.0",
         Level.INFO, "00:12:34", "[api_server.py:1043] vLLM API server version 0.32.0"),
        ("(EngineCore_DP0 pid=104) ERROR 05-01 14:39:06 [core.py:1131] torch.OutOfMemoryError: x",
         Level.ERROR, "14:39:06",
         "(EngineCore_DP0 pid=104) [core.py:1131] torch.OutOfMemoryError: x"),
        ("(VllmWorker rank=1 pid=3024) WARNING 03-20 03:14:59 [cuda.py:186] Using Triton",
         Level.WARNING, "03:14:59", "(VllmWorker rank=1 pid=3024) [cuda.py:186] Using Triton"),
        ("(RayWorkerWrapper pid=12, ip=10.0.0.2) INFO 03-20 03:14:59 [x.py:1] y",
         Level.INFO, "03:14:59", "(RayWorkerWrapper pid=12, ip=10.0.0.2) [x.py:1] y"),
        ('INFO:     127.0.0.1:5321 - "GET /health HTTP/1.1" 200 OK',
         Level.INFO, None, '127.0.0.1:5321 - "GET /health HTTP/1.1" 200 OK'),
        ("(APIServer pid=1) INFO:     Started server process [1]",
         Level.INFO, None, "(APIServer pid=1) Started server process [1]"),
        ("ERROR:    [Errno 98] address already in use", Level.ERROR, None,
         "[Errno 98] address already in use"),
        ("CRITICAL:root:no", Level.ERROR, None, "root:no"),
        ("[rank0]:[W1125 00:12:34.123456789 ProcessGroupNCCL.cpp:1250] Warning: x",
         Level.WARNING, "00:12:34", "[rank0]:[ProcessGroupNCCL.cpp:1250] Warning: x"),
        ("[F1125 00:12:34.1 a.cpp:1] gone", Level.ERROR, "00:12:34", "[a.cpp:1] gone"),
        ("[1/3] compiling", Level.PLAIN, None, "[1/3] compiling"),
        ("(not a process) INFO", Level.PLAIN, None, "(not a process) INFO"),
        ("INFORMATION", Level.PLAIN, None, "INFORMATION"),
        ("time=now level", Level.PLAIN, None, "time=now level"),
        ("", Level.PLAIN, None, ""),
        # this program
        (f"{OWN}the disk is full.", Level.NOTE, None, "The disk is full."),
    ],
)  # fmt: skip
def test_one_line(raw: str, level: Level, time: str | None, text: str) -> None:
    assert LineReader("a").read(raw) == LogLine(level, text, "a", time)


def test_times_fit_their_column() -> None:
    files = [file.read_text(errors="replace").splitlines() for file in RECORDED.glob("*.log")]
    times = [line.time for file in files for line in read(*file) if line.time]
    assert len(times) > 1000
    assert {len(time) for time in times} == {TIME_CHARS}


def test_the_lines_of_a_traceback_are_errors() -> None:
    raw = """INFO:     Started server process [1]
Traceback (most recent call last):
  File "/usr/lib/python3.12/x.py", line 314, in _bootstrap
    self.run()
    ~~~~~~~~^^

  + nested
ValueError: no model

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "x"
KeyboardInterrupt
and on it goes
INFO:     done""".splitlines()
    found = levels(*raw)
    assert found[0] is Level.INFO
    assert found[1:8] == [Level.ERROR] * 7
    assert found[8] is Level.PLAIN
    assert found[9] is Level.ERROR
    assert found[11:14] == [Level.ERROR] * 3
    assert found[14:] == [Level.PLAIN, Level.INFO]


def test_tracebacks_of_two_processes_are_kept_apart() -> None:
    found = levels(
        "(EngineCore pid=104) Traceback (most recent call last):",
        '(EngineCore pid=104)   File "/usr/lib/x.py", line 314',
        "(APIServer pid=1) Loading weights took 3 s",
        "(EngineCore pid=104)     self.run()",
        "(EngineCore pid=104) RuntimeError: Engine core initialization failed.",
        "(EngineCore pid=104) bye",
    )
    assert found == [
        Level.ERROR, Level.ERROR, Level.PLAIN, Level.ERROR, Level.ERROR, Level.PLAIN,
    ]  # fmt: skip


def test_a_marked_line_ends_a_traceback() -> None:
    found = levels("Traceback (most recent call last):", "INFO:     on", "  indented")
    assert found == [Level.ERROR, Level.INFO, Level.PLAIN]


def test_unmarked_lines_of_llama_cpp_continue_the_one_before() -> None:
    found = levels(
        "before anything",
        "0.00.437.438 D template:",
        "<|im_start|>user",
        "ggml_vulkan: Device memory allocation of size 921894912 failed.",
        "0.00.437.438 I template:",
        "Hello",
    )
    assert found == [
        Level.PLAIN, Level.DEBUG, Level.DEBUG, Level.ERROR, Level.INFO, Level.INFO,
    ]  # fmt: skip


def test_unmarked_lines_between_those_of_ollama_do_not() -> None:
    found = levels(
        'time=2025-03-08T03:20:41.451Z level=WARN source=x.go:1 msg="a"',
        "llama_model_loader: - kv   0: general.architecture str = llama",
    )
    assert found == [Level.WARNING, Level.PLAIN]


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("CUDA error: out of memory", Level.ERROR),
        ('error while handling argument "-dev": invalid device: CUDA0', Level.ERROR),
        ("GGML_ASSERT(tensor->op == GGML_OP_UNARY) failed", Level.ERROR),
        ("terminate called after throwing an instance of 'std::bad_alloc': aborted", Level.ERROR),
        ("torch.OutOfMemoryError: CUDA out of memory", Level.ERROR),
        ("Segmentation fault (core dumped)", Level.ERROR),
        ("panic: runtime error: index out of range", Level.ERROR),
        ("/x/y.py:12: UserWarning: Setuptools is replacing distutils", Level.WARNING),
        ("argument --webui is deprecated", Level.WARNING),
        ("{{- raise_exception('no') }}", Level.PLAIN),
        ("n_failed = 0, error_rate = 0", Level.PLAIN),
        ("warming up the model", Level.PLAIN),
    ],
)
def test_the_words_of_an_unmarked_line_tell_its_level(text: str, level: Level) -> None:
    assert guessed_level(text) is level


@pytest.mark.parametrize("name", ["invalid_device", "missing_file", "oom_vulkan", "text_file"])
def test_recorded_failures_show_an_error(name: str) -> None:
    lines = (RECORDED / f"{name}.log").read_text(errors="replace").splitlines()
    assert Level.ERROR in levels(*lines)


def test_recorded_success_shows_none() -> None:
    lines = (RECORDED / "rpc_3_1.log").read_text(errors="replace").splitlines()
    found = levels(*lines)
    assert Level.ERROR not in found
    assert found.count(Level.INFO) > 100


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("\x1b[1m\x1b[38;5;126m=== x\x1b[0m", "=== x"),
        ("\x1b]0;title\x07x", "x"),
        ("a\tb", "a    b"),
        ("Loading:   0%\rLoading:  50%\rLoading: 100%\r", "Loading: 100%"),
        ("\rLoading", "Loading"),
        ("\r", ""),
        ("bell\x07 and null\x00", "bell\ufffd and null\ufffd"),
        ("two\u2029paragraphs \u202eturned", "two\ufffdparagraphs \ufffdturned"),
        ("größe 大 😀", "größe 大 😀"),
        ("\x1b", ""),
    ],
)
def test_a_line_is_printable(raw: str, text: str) -> None:
    assert clean(raw) == text
    assert LineReader().read(raw).text == text


def test_dots_of_progress_are_no_lines() -> None:
    assert [line.text for line in read("a", "..", ".", "...done", "")] == ["a", "...done", ""]


def test_letters_go_with_the_levels() -> None:
    assert [level.letter for level in Level] == ["D", " ", "I", "W", "E", "–"]


def test_what_is_not_shown_is_counted() -> None:
    assert not_shown(12345, in_file=True) == "12,345 lines not shown; they are in the file"
    assert not_shown(1, in_file=True) == "1 line not shown; it is in the file"
    assert not_shown(2, in_file=False) == "2 lines not shown"
