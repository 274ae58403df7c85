"""Records anew what the real engines print and answer, into tests/recorded.

Run as `python -m tests.support.record_engines` in the root of the checkout, with `gui` in
PYTHONPATH, after `./test` has built the engines. Paths of this machine are replaced.
"""

import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
from tests.support.ollama_store import add_model
from tests.support.provisioned import FOUND, llama_cpp_python_install, ollama_built
from tests.support.real_process import ask, clean_environment, running

from splitrig.services.engines import llama_cpp_launcher
from splitrig.services.engines.llama_server import LlamaServer
from splitrig.services.engines.ports import free_port
from splitrig.services.engines.rpc_server import lend_with
from splitrig.services.models.demo import demo_model

RECORDED = Path(__file__).parents[1] / "recorded"
GRAPH = re.compile(r"^(create_tensor|llama_graph_n_input_tensors): .*\n", re.MULTILINE)
"""Some 1,500 lines of the bindings' log that say nothing of devices; left out."""
LAUNCHER = Path(llama_cpp_launcher.__file__)


class Recorder:
    """Writes what was seen into one folder, with the folders of this machine replaced."""

    def __init__(self, folder: Path, replaced: dict[str, str]) -> None:
        self.folder = folder
        # the longest first: one may lie in another
        self.replaced = sorted(replaced.items(), key=lambda item: -len(item[0]))
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, name: str, text: str) -> None:
        """Keep a text under this name."""
        for path, shown in self.replaced:
            text = text.replace(path, shown)
        text = re.sub(r"\S*/(?=vendor/llama\.cpp/)", "SOURCE/", text)
        text = re.sub(r"ssh-ed25519 \S+", "ssh-ed25519 AAAA", text)
        (self.folder / name).write_text(text, encoding="utf-8")

    def fetch(
        self, name: str, url: str, body: str | None = None, method: str | None = None
    ) -> None:
        """Keep the body of an answer, whatever its status is; the status is printed."""
        data = None if body is None else body.encode()
        request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
        request.method = method or request.get_method()
        try:
            with urllib.request.urlopen(request, timeout=120) as reply:
                status, kind, text = reply.status, reply.headers["Content-Type"], reply.read()
        except urllib.error.HTTPError as error:
            status, kind, text = error.code, error.headers["Content-Type"], error.read()
        print(f"{name}: {request.method} {url.partition('/api')[2]} {status} {kind}")
        self.write(name, text.decode())


def record_llama_cpp_python(model: Path, scratch: Path) -> None:
    """Start with two devices of an RPC server, one chat, stop."""
    env = llama_cpp_python_install()
    rpc = lend_with(LlamaServer(env.llama_server), 2, lambda lines: None)
    port = free_port()
    command = [env.python, LAUNCHER, "--rpc", rpc.endpoint, "--model", model, "--n_ctx", "4096"]
    command += ["--tensor_split", "3", "1", "--split_mode", "1", "--n_gpu_layers", "-1"]
    command += ["--n_threads", "1", "--n_threads_batch", "1"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    environment = clean_environment(scratch, env.environment)
    url, log = f"http://127.0.0.1:{port}/v1", scratch / "llama_cpp_python.log"
    recorder = Recorder(
        RECORDED / "llama_cpp_python",
        {str(model): model.name, str(env.python.parents[1]): "ENVIRONMENT"},
    )
    try:
        with running(command, log, env=environment, ready_at=f"{url}/models"):
            recorder.fetch("models.json", f"{url}/models")
            question = '{"messages":[{"role":"user","content":"Say hello."}],"max_tokens":8,'
            question += '"temperature":0,"stream":%s}'
            recorder.fetch("chat.json", f"{url}/chat/completions", question % "false")
            recorder.fetch("chat.sse", f"{url}/chat/completions", question % "true")
            recorder.fetch("unknown_path.json", f"{url}/nope")
            recorder.fetch("bad_request.json", f"{url}/chat/completions", '{"messages":1}')
    finally:
        rpc.stop()
    recorder.write("rpc_3_1.log", GRAPH.sub("", log.read_text()))
    text = scratch / "text.gguf"
    text.write_text("not a model")
    recorder.replaced.append((str(scratch), "HOME"))
    with ThreadingHTTPServer(("127.0.0.1", 0), EmptyRegistry) as taken:
        own = ["-m", "llama_cpp.server", "--model"]
        for name, arguments in {
            "dead_rpc.log": [LAUNCHER, "--rpc", f"127.0.0.1:{free_port()}", "--model", model],
            "missing_file.log": [*own, scratch / "none.gguf"],
            "text_file.log": [*own, text],
            "port_taken.log": [*own, model, "--port", str(taken.server_port)],
            "out_of_memory.log": [*own, model, "--n_ctx", "400000"],
        }.items():
            done = subprocess.run(
                ["prlimit", f"--as={6 << 30}", env.python, *arguments],
                env={**environment, "GGML_NO_BACKTRACE": "1"},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                check=False,
            )
            print(f"{name}: exit code {done.returncode}")
            recorder.write(name, GRAPH.sub("", done.stdout.decode()))


class EmptyRegistry(BaseHTTPRequestHandler):
    """A registry without models."""

    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, *arguments: object) -> None:
        """Quiet."""


@contextmanager
def empty_registry() -> Iterator[int]:
    """Its port on loopback."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), EmptyRegistry)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def record_ollama(model: Path, scratch: Path) -> None:
    """Start on two software Vulkan cards, load, chat, unload, errors, stop."""
    install = ollama_built()
    store = scratch / "models"
    name = add_model(store, model, "smollm2")
    port = free_port()
    settings = {
        "OLLAMA_HOST": f"127.0.0.1:{port}",
        "OLLAMA_MODELS": str(store),
        "OLLAMA_NO_CLOUD": "1",
        "OLLAMA_CONTEXT_LENGTH": "4096",
        "OLLAMA_SCHED_SPREAD": "1",
        "OLLAMA_VULKAN": "1",
        "OLLAMA_IGPU_ENABLE": "1",
        "GGML_VK_VISIBLE_DEVICES": "0,0",
        "LLAMA_ARG_TENSOR_SPLIT": "3,1",
        "LLAMA_ARG_THREADS": "1",
    }
    replaced = {str(install.program.parents[1]): "INSTALL", str(scratch): "HOME"}
    recorder = Recorder(RECORDED / "ollama", replaced)
    url, log = f"http://127.0.0.1:{port}/api", scratch / "ollama.log"
    environment = clean_environment(scratch, settings)
    command = [install.program, "serve"]
    named = f'{{"model":"{name}"'
    with running(command, log, env=environment, ready_at=f"{url}/version"):
        recorder.fetch("version.json", f"{url}/version")
        recorder.fetch("tags.json", f"{url}/tags")
        recorder.fetch("ps_nothing_loaded.json", f"{url}/ps")
        recorder.fetch("show.json", f"{url}/show", named + "}")
        recorder.fetch("load.json", f"{url}/generate", named + "}")
        recorder.fetch("ps.json", f"{url}/ps")
        chat = named + ',"messages":[{"role":"user","content":"Say hello."}],'
        chat += '"options":{"num_predict":8,"temperature":0}}'
        recorder.fetch("chat.ndjson", f"{url}/chat", chat)
        recorder.fetch("unload.json", f"{url}/generate", named + ',"keep_alive":0}')
        while ask(f"{url}/ps")["models"]:
            time.sleep(0.1)
        recorder.fetch("model_not_found.json", f"{url}/chat", '{"model":"nope","messages":[]}')
        recorder.fetch("unknown_path.txt", f"{url}/nope")
        recorder.fetch("wrong_method.txt", f"{url}/chat", method="GET")
        with empty_registry() as registry:
            pull = f'{{"model":"http://127.0.0.1:{registry}/library/tiny","insecure":true}}'
            recorder.fetch("pull_not_found.ndjson", f"{url}/pull", pull)
    recorder.write("vulkan_3_1.log", log.read_text())
    cut = scratch / "cut.gguf"
    with model.open("rb") as whole:
        cut.write_bytes(whole.read(40_000_000))
    broken = add_model(store, cut, "broken")
    with running(command, log, env=environment, ready_at=f"{url}/version"):
        recorder.fetch("load_truncated.json", f"{url}/generate", f'{{"model":"{broken}"}}')
        request = urllib.request.Request(f"{url}/chat", chat.encode())
        with urllib.request.urlopen(request, timeout=120) as reply:
            first = reply.readline()
            engines = psutil.Process().children(recursive=True)
            next(p for p in engines if p.name() == "llama-server").kill()
            recorder.write("chat_engine_killed.ndjson", (first + reply.read()).decode())
    recorder.write("failures.log", log.read_text())
    # 524,288 cells need 11 GiB, and the two cards have 2 GiB each
    huge = {"OLLAMA_NUM_PARALLEL": "64", "OLLAMA_CONTEXT_LENGTH": "8192"}
    environment |= {**huge, "GGML_NO_BACKTRACE": "1"}
    with running(command, log, env=environment, ready_at=f"{url}/version"):
        recorder.fetch("load_out_of_memory.json", f"{url}/generate", named + "}")
    recorder.write("out_of_memory.log", log.read_text())


def main() -> int:
    """Record both."""
    model = demo_model()
    if model is None or not FOUND.exists():
        print("The engines of the tests are not built: run ./test first", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as scratch:
        record_llama_cpp_python(model, Path(scratch))
    with tempfile.TemporaryDirectory() as scratch:
        record_ollama(model, Path(scratch))
    return 0


if __name__ == "__main__":
    sys.exit(main())
