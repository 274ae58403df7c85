"""Wrong input and broken surroundings: one clear sentence, valid JSON, no traceback."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import psutil
import pytest
from tests.services.cli.run_cli import environment, splitrig
from tests.services.engines.processes import running, seconds_until_gone, wait_for

from splitrig.services.engines.llama_server import find_llama_server
from splitrig.services.engines.ports import accepts, free_port
from splitrig.services.models.demo import demo_model

MODEL = str(demo_model())
PLAN = ("plan", "--model", MODEL)
TWO = (*PLAN, "--free-mib", "24000,24000")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((*TWO, "--ctx", "-5"), "--ctx: -5 is not between 0"),
        ((*TWO, "--cache-type-k", "Q8_0"), "--cache-type-k: invalid choice"),
        ((*TWO, "--batch", "1"), "--batch: 1 is not between 2"),
        (("plan", "--free-mib", "1"), "required: --model"),
        (("serve", "--model", MODEL, "--port", "70000"), "--port: 70,000 is not between"),
        (("fly",), "invalid choice: 'fly'"),
    ],
)
def test_wrong_arguments_are_one_sentence_and_exit_code_2(
    arguments: tuple[str, ...], words: str
) -> None:
    run = splitrig(*arguments)
    assert run.returncode == 2
    assert run.stdout == ""
    assert run.stderr.count("\n") == 1
    assert words in run.stderr
    assert "--help" in run.stderr


def test_wrong_arguments_are_json_for_whoever_reads_that() -> None:
    run = splitrig(*TWO, "--ctx", "-5", "--json")
    assert run.returncode == 2
    assert "-5 is not between" in json.loads(run.stdout)["error"]["message"]
    run = splitrig("serve", "--model", MODEL, "--port", "x", "--json")
    assert json.loads(run.stdout)["event"] == "failed"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--free-mib", ",".join(["8000"] * 16)), "16 cards; llama.cpp splits over 1 to 15"),
        (("--free-mib", "9" * 320), "no list of free MiB"),
        (("--free-mib", "1,,2"), "no list of free MiB"),
        (("--free-mib", "9,9", "--tensor-split", "0,0"), "gives no card any layer"),
        (("--free-mib", "9,9", "--tensor-split", "1e-46,1e-46"), "gives no card any layer"),
        (("--free-mib", "9,9", "--cache-type-v", "q8_0", "--flash-attn", "off"), "flash attention"),
    ],
)
def test_a_plan_that_cannot_be_is_one_sentence(arguments: tuple[str, ...], words: str) -> None:
    run = splitrig(*PLAN, *arguments)
    assert run.returncode == 1
    assert run.stdout == ""
    assert run.stderr.count("\n") == 1
    assert words in run.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"gpus":[{"name":"RTX 4090","free_mib":1e400}]}', "no rig file"),
        ("[" * 100_000, "no rig file"),
        ('{"gpus":[]}', "has 0 cards"),
        ('{"gpus":[{"name":"RTX 4090","free_mib":-5}]}', "cannot have -5 MiB"),
        ('{"gpus":[{"name":"RTX 4090","free_mib":99999999}]}', "cannot have 99,999,999 MiB"),
    ],
)
def test_an_absurd_rig_file_is_one_sentence(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "rig.json"
    path.write_text(text)
    run = splitrig(*PLAN, "--rig", str(path))
    assert run.returncode == 1
    assert run.stderr.count("\n") == 1
    assert words in run.stderr


def test_a_rig_file_may_have_a_byte_order_mark_and_a_pipe_is_not_waited_for(
    tmp_path: Path,
) -> None:
    path = tmp_path / "rig.json"
    path.write_bytes(b'\xef\xbb\xbf{"gpus":[{"name":"RTX 4090"}]}')
    assert splitrig(*PLAN, "--rig", str(path)).returncode == 0
    os.mkfifo(tmp_path / "pipe")
    run = splitrig(*PLAN, "--rig", str(tmp_path / "pipe"))
    assert "is no file" in run.stderr


def test_a_console_that_lacks_characters_still_gets_the_text() -> None:
    run = splitrig(*PLAN, "--free-mib", "24,24", PYTHONIOENCODING="cp1252")
    assert run.returncode == 0
    assert "Does not fit" in run.stdout
    assert run.stderr == ""


@pytest.mark.parametrize("redirect", [">&-", ">&- 2>&-", "> /dev/full", "| true"])
@pytest.mark.parametrize("model", [MODEL, "/none.gguf"])
def test_output_that_cannot_be_written_is_no_traceback(redirect: str, model: str) -> None:
    command = f'"{sys.executable}" -m splitrig plan --model "{model}" --free-mib 9,9 --json'
    run = subprocess.run(
        ["sh", "-c", f"{command} {redirect}"], env=environment(), capture_output=True, text=True,
        check=False, timeout=60,
    )  # fmt: skip
    assert "Traceback" not in run.stderr
    assert "Exception" not in run.stderr
    if redirect == "> /dev/full":
        assert run.returncode == 1
        assert "could not be written: No space left" in run.stderr


def test_settings_that_cannot_be_used_are_told_of_and_the_defaults_used(tmp_path: Path) -> None:
    folder = tmp_path / "xdg-config" / "splitrig"
    folder.mkdir(parents=True)
    flawed = "[engine]\nstart_timeout_s = -5\n"
    (folder / "settings.toml").write_text(flawed)
    run = splitrig("serve", "--model", str(tmp_path / "none.gguf"), "--json")
    assert "start_timeout_s has a wrong value" in run.stderr
    assert json.loads(run.stdout) == {
        "event": "failed", "message": f"There is no file {tmp_path / 'none.gguf'}.",
        "hint": "Choose another file.", "exit_code": None, "log_tail": [],
    }  # fmt: skip
    assert (folder / "settings.toml").read_text() == flawed


def test_doctor_tells_of_flawed_settings_and_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "xdg-config" / "splitrig"
    folder.mkdir(parents=True)
    (folder / "settings.toml").write_text("= =")
    checks = {c["id"]: c for c in json.loads(splitrig("doctor", "--json").stdout)["checks"]}
    assert checks["settings"]["state"] == "problem"
    assert checks["demo-model"]["state"] == "ok"


@pytest.fixture
def answering() -> Iterator[Callable[[bytes], str]]:
    """Servers on loopback that answer every request with the same bytes."""
    servers = []

    def serve(body: bytes) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_arguments: object) -> None:
                return

        server = HTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        servers.append((server, thread))
        return f"127.0.0.1:{server.server_port}"

    yield serve
    for server, thread in servers:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize("body", [b"<html>", b"{}", b"[]", b'{"models":5}'])
def test_doctor_survives_what_answers_in_ollamas_place(
    answering: Callable[[bytes], str], body: bytes
) -> None:
    run = splitrig("doctor", "--json", OLLAMA_HOST=answering(body))
    assert "Traceback" not in run.stderr
    checks = {c["id"]: c for c in json.loads(run.stdout)["checks"]}
    assert checks["ollama"]["state"] == "note"
    assert "answers, but not as Ollama does" in checks["ollama"]["message"]
    assert "Another program may have that port" in checks["ollama"]["hint"]


def test_doctor_counts_ollamas_models(answering: Callable[[bytes], str]) -> None:
    body = b'{"version":"0.32.15","models":[{"name":"a"},{"name":"b"}]}'
    where = answering(body)
    run = splitrig("doctor", "--json", OLLAMA_HOST=where)
    checks = {c["id"]: c for c in json.loads(run.stdout)["checks"]}
    told = f"Ollama 0.32.15 is running at http://{where} with 2 models."
    assert (checks["ollama"]["state"], checks["ollama"]["message"]) == ("ok", told)


def test_doctor_looks_at_every_engine_that_the_settings_choose(
    answering: Callable[[bytes], str], tmp_path: Path
) -> None:
    where = answering(b'{"version":"0.30.1","models":[]}')
    old = script(tmp_path / "ollama", "echo client version is 0.24.0")
    folder = tmp_path / "xdg-config" / "splitrig"
    folder.mkdir(parents=True)
    (folder / "settings.toml").write_text(
        f'[engine]\nollama = "{old}"\nollama_url = "{where}"\npython = "/bin/true"\n'
        'vllm = "/nowhere/vllm"\n'
    )
    run = splitrig("doctor", "--json", OLLAMA_HOST="127.0.0.1:1")
    checks = {c["id"]: c for c in json.loads(run.stdout)["checks"]}
    assert checks["engine"]["message"].startswith("llama.cpp build ")
    assert "/bin/true has no llama-cpp-python" in checks["llama-cpp-python"]["message"]
    assert checks["llama-cpp-python"]["state"] == "problem"
    assert checks["ollama-program"]["state"] == "note"
    assert checks["ollama-program"]["message"].startswith("Ollama 0.24.0 divides a model by itself")
    assert (
        checks["ollama"]["message"] == f"Ollama 0.30.1 is running at http://{where} with 0 models."
    )
    assert "ollama pull" in checks["ollama"]["hint"]
    assert checks["vllm"]["state"] == "problem"
    assert "/nowhere/vllm" in checks["vllm"]["message"]
    assert checks["vllm"]["hint"]
    assert run.returncode == 1


def test_doctor_calls_an_engine_that_is_not_installed_no_problem() -> None:
    run = splitrig("doctor", "--json", OLLAMA_HOST="127.0.0.1:1")
    checks = {c["id"]: c for c in json.loads(run.stdout)["checks"]}
    assert checks["ollama"]["state"] == "note"
    assert "no Ollama is running there" in checks["ollama"]["message"]
    for name in ("llama-cpp-python", "ollama-program", "vllm"):
        assert checks[name]["state"] in ("ok", "note")
    words = " ".join(splitrig("doctor", "--help").stdout.split())
    assert "every engine (llama.cpp, llama-cpp-python, Ollama" in words


@pytest.mark.parametrize(
    "extra",
    [
        {"OLLAMA_HOST": "127.0.0.1:abc"},
        {"OLLAMA_HOST": "http://[bad"},
        {"OLLAMA_HOST": "127.0.0.1:1", "ALL_PROXY": "socks5://127.0.0.1:1"},
        {"OLLAMA_HOST": "127.0.0.1:1", "SSL_CERT_FILE": "/none"},
    ],
)
def test_doctor_survives_an_odd_environment(extra: dict[str, str]) -> None:
    run = splitrig("doctor", "--json", **extra)
    assert "Traceback" not in run.stderr
    assert any(c["id"] == "ollama" for c in json.loads(run.stdout)["checks"])


def script(path: Path, body: str) -> Path:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def begin(*arguments: str, **extra: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "splitrig", *arguments], env=environment(**extra), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_engine_that_hangs_while_it_is_asked_does_not_hold_the_program(
    tmp_path: Path, number: signal.Signals
) -> None:
    hang = script(tmp_path / "hang", "sleep 4321")
    with begin("serve", "--model", MODEL, "--json", "--llama-server", str(hang)) as program:
        me = psutil.Process(program.pid)
        wait_for(lambda: any("4321" in line(p) for p in me.children(recursive=True)), 10)
        below = [p.pid for p in me.children(recursive=True)]
        begun = time.monotonic()
        program.send_signal(number)
        out, err = program.communicate(timeout=10)
        assert time.monotonic() - begun < 3
    seconds_until_gone(below)
    assert "Traceback" not in err
    if number is not signal.SIGKILL:
        assert json.loads(out.splitlines()[-1])["event"] == "stopped"
        assert program.returncode == 0


def line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def test_a_mute_address_is_told_of_as_no_rpc_server() -> None:
    run = splitrig("serve", "--model", MODEL, "--json", "--rpc", "127.0.0.1:1")
    assert "Nothing answers at 127.0.0.1:1." in json.loads(run.stdout)["message"]


@pytest.mark.parametrize("text", ["foo", ":abc", "h:99999", "http://x:1", "", "a:1,,b:2"])
def test_an_rpc_address_that_is_none_is_one_sentence(text: str) -> None:
    run = splitrig("serve", "--model", MODEL, "--json", f"--rpc={text}")
    assert run.returncode == 1
    failed = json.loads(run.stdout)
    assert "is no address of an RPC server" in failed["message"]
    assert "HOST:PORT" in failed["hint"]


@pytest.mark.engine
def test_a_split_is_read_the_same_way_by_plan_and_serve(tmp_path: Path) -> None:
    for text in ("3:1", "3 1", "3/1", "3,1,"):
        assert splitrig(*TWO, "--tensor-split", text).returncode == 0
    with begin("serve", "--model", MODEL, "--json", "--tensor-split", "3:1") as program:
        assert program.stdout is not None
        ready = next(
            n for n in map(json.loads, program.stdout) if n["event"] in ("ready", "failed")
        )
        program.terminate()
        program.communicate(timeout=10)
    assert [d["planned"]["layers"] for d in ready["devices"]] == [24, 7]


@pytest.mark.engine
def test_a_model_named_like_an_option_and_an_engine_named_by_a_relative_path(
    tmp_path: Path,
) -> None:
    (tmp_path / "-x.gguf").symlink_to(MODEL)
    program = subprocess.run(
        [sys.executable, "-m", "splitrig", "check", "--model=-x.gguf", "--json"],
        env=environment(), cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert program.returncode == 0, program.stderr
    script(tmp_path / "mine", "echo no engine at all; exit 3")
    program = subprocess.run(
        [sys.executable, "-m", "splitrig", "serve", f"--model={MODEL}", "--llama-server", "mine"],
        env=environment(), cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "is no llama-server" in program.stdout + program.stderr


@pytest.mark.engine
def test_check_ends_at_once_when_stopped_during_the_question(tmp_path: Path) -> None:
    with begin("check") as program:
        me = psutil.Process(program.pid)
        engines: list[psutil.Process] = []

        def look() -> bool:
            below = me.children(recursive=True)
            engines[:] = [p for p in below if "--port" in line(p) and listening(p)]
            return bool(engines)

        # frozen soon after it listens, so that the question stays open
        wait_for(look, 30)
        time.sleep(0.4)
        engines[0].suspend()
        below = [p.pid for p in me.children(recursive=True)]
        begun = time.monotonic()
        program.send_signal(signal.SIGINT)
        _, err = program.communicate(timeout=20)
        assert time.monotonic() - begun < 4
    assert program.returncode == 1
    assert err == "The check was stopped.\n"
    wait_for(lambda: running(below) == [], 3)


def listening(process: psutil.Process) -> bool:
    try:
        return any(c.status == psutil.CONN_LISTEN for c in process.net_connections("tcp"))
    except psutil.Error:
        return False


@pytest.mark.engine
def test_two_programs_serve_at_the_same_time(tmp_path: Path) -> None:
    programs = [begin("serve", "--model", MODEL, "--json") for _ in range(2)]
    urls = []
    for program in programs:
        assert program.stdout is not None
        news = next(n for n in map(json.loads, program.stdout) if n["event"] in ("ready", "failed"))
        urls.append(news["url"])
    assert len(set(urls)) == 2
    for program in programs:
        program.terminate()
        program.communicate(timeout=10)
        assert program.returncode == 0


def test_a_port_in_use_names_the_port() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        run = splitrig("serve", "--model", MODEL, "--port", str(port), "--json")
    failed = json.loads(run.stdout.splitlines()[-1])
    assert failed["event"] == "failed"
    assert str(port) in failed["message"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("command", [("gpus",), ("doctor",), ("plan", "--model", MODEL)])
def test_a_hanging_tool_does_not_outlive_the_command_that_asked_it(
    tmp_path: Path, number: signal.Signals, command: tuple[str, ...]
) -> None:
    script(tmp_path / "rocm-smi", "sleep 4321")
    with begin(*command, PATH=f"{tmp_path}:/usr/bin:/bin") as program:
        me = psutil.Process(program.pid)
        wait_for(lambda: any("4321" in line(p) for p in me.children(recursive=True)), 10)
        below = [p.pid for p in me.children(recursive=True)]
        program.send_signal(number)
        _, err = program.communicate(timeout=5)
    seconds_until_gone(below)
    assert "Traceback" not in err
    assert program.returncode != 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_stops_at_once_while_a_tool_or_an_rpc_server_hangs(
    tmp_path: Path, number: signal.Signals
) -> None:
    def stop_after(
        there: Callable[[psutil.Process], bool], *arguments: str, **extra: str
    ) -> list[dict[str, object]]:
        with begin("serve", "--model", MODEL, "--json", *arguments, **extra) as program:
            me = psutil.Process(program.pid)
            wait_for(lambda: there(me), 10)
            begun = time.monotonic()
            program.send_signal(number)
            out, err = program.communicate(timeout=20)
            assert time.monotonic() - begun < 3
        assert err == ""
        assert program.returncode == 0
        return [json.loads(news) for news in out.splitlines()]

    script(tmp_path / "rocm-smi", "sleep 4321")
    told = stop_after(
        lambda me: any("4321" in line(p) for p in me.children(recursive=True)),
        PATH=f"{tmp_path}:/usr/bin:/bin",
    )
    assert [news["event"] for news in told] == ["stopped"]
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        port = mute.getsockname()[1]
        # nothing is run to ask it: a second client could end a server
        told = stop_after(
            lambda me: any(c.raddr and c.raddr.port == port for c in me.net_connections("tcp")),
            "--rpc",
            f"127.0.0.1:{port}",
        )
    assert [news["event"] for news in told] == ["stopped"]


@pytest.mark.engine
def test_serve_on_rpc_devices_carries_the_split(tmp_path: Path) -> None:
    server = find_llama_server()
    port = free_port()
    command = [str(server.rpc_server), "-H", "127.0.0.1", "-p", str(port), "-t", "1"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([*command, "-d", "CPU,CPU"], env=server.environment(), **quiet) as lender:
        wait_for(lambda: accepts(port))
        options = ("--rpc", f"127.0.0.1:{port}", "--tensor-split", "3,1")
        with begin("serve", "--model", MODEL, "--json", *options) as program:
            assert program.stdout is not None
            news = map(json.loads, program.stdout)
            ready = next(n for n in news if n["event"] in ("ready", "failed"))
            program.terminate()
            program.communicate(timeout=10)
        lender.terminate()
    assert [d["planned"]["layers"] for d in ready["devices"]] == [24, 7]
    assert ready["mismatches"] == []
