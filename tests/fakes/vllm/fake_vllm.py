"""Stands in for `vllm serve` where there is no card: recorded from the real one.

It prints the lines of tests/recorded/vllm in their recorded order and pace (times `FAKE_SPEED`,
0.01 unless set), with this run's numbers in them, answers in the recorded shapes, and has the
real one's processes: API server, EngineCore, workers. With `CUDA_VISIBLE_DEVICES` it speaks as on
cards (see fake_memory.py), whose sizes come from `FAKE_CARDS`.

`FAKE_VLLM` makes it fail: the name of a recorded failure (`truncated`, `no_weights`, …), or
`cuda_oom`, `engine_died` (at the first question), `silent` (never ready), `stubborn` (silent, and
deaf to SIGTERM). Some failures come by themselves, as with the real one: heads that cannot be
shared, a partition that does not add up, a port that is taken, no model, an unknown argument.
"""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from fake_answers import Answers, Server
from fake_memory import RefusalError, on_cards

HERE = Path(__file__).resolve()
RECORDED = HERE.parents[2] / "recorded/vllm"
MODE = os.environ.get("FAKE_VLLM", "")
SPEED = float(os.environ.get("FAKE_SPEED", "0.01"))
SWITCHES = ("--enforce-eager", "--headless", "--trust-remote-code")
SHORT = {"-tp": "--tensor-parallel-size", "-pp": "--pipeline-parallel-size"}
READY = "Application startup complete."
PROCESS = re.compile(
    r"\((?P<name>APIServer|EngineCore|VllmWorker-\d|Worker(?:_\w+)?) pid=(?P<pid>\d+)\)"
)


def read_lines(name: str) -> list[tuple[float, str]]:
    """Seconds and text of every line of a recording."""
    lines = (RECORDED / f"{name}.log").read_bytes().decode().split("\n")[:-1]
    return [(float(at), text) for at, text in (line.split("\t", 1) for line in lines)]


def arguments(words: list[str]) -> dict[str, str]:
    """What was asked for; ends the program as argparse would where it is wrong."""
    known = set((RECORDED / "flags.txt").read_text(encoding="utf-8").split())
    asked = {"model": words[0]} if words and not words[0].startswith("-") else {}
    rest = words[1:] if asked else words
    while rest:
        word = SHORT.get(rest[0], rest[0])
        option, _, value = word.partition("=")
        if option.split(".")[0] not in known | {"--no-enforce-eager"}:
            unknown = " ".join(rest[:2])
            for _, line in read_lines("bad_argument"):
                print(line.replace("--no-such-thing 1", unknown), flush=True)
            raise SystemExit(2)
        if value or option in SWITCHES or option.startswith("--no-"):
            asked[option], rest = value or "1", rest[1:]
        else:
            asked[option], rest = rest[1], rest[2:]
    return asked


def out_of_memory(line: str) -> str:
    """The recorded failure of a worker, with torch's words for a card that is full."""
    told = (
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a "
        "total capacity of 9.65 GiB of which 1.11 GiB is free."
    )
    return re.sub(r"safetensors\S*SafetensorError.*", told, line)


class Fake:
    """One run."""

    def __init__(self, asked: dict[str, str]) -> None:
        self.asked = asked
        self.model = Path(asked.get("model", "Qwen/Qwen3-0.6B"))
        self.port = int(asked.get("--port", "8000"))
        self.tp = int(asked.get("--tensor-parallel-size", "1"))
        self.pp = int(asked.get("--pipeline-parallel-size", "1"))
        self.engine: subprocess.Popen[str] | None = None
        self.pids: dict[str, int] = {"APIServer": os.getpid()}
        self.stopping = threading.Event()

    def say(self, line: str) -> None:
        """Print a line with the numbers of this run."""
        match = PROCESS.match(line)
        if match:
            name = match["name"]
            if name != "APIServer" and self.engine is None:
                self.start_engine()
            pid = self.pids.get(name) or self.pids.get("Worker0", os.getpid())
            line = f"({name} pid={pid})" + line[match.end() :]
        line = line.replace("/models/tiny", str(self.model))
        line = re.sub(r"'port': \d+", f"'port': {self.port}", line)
        line = re.sub(r"http://127.0.0.1:\d+", f"http://127.0.0.1:{self.port}", line)
        print(line, flush=True)

    def replay(self, lines: list[tuple[float, str]]) -> None:
        """Print lines at their pace."""
        before = lines[0][0] if lines else 0.0
        for at, line in lines:
            if self.stopping.wait((at - before) * SPEED):
                return
            before = at
            self.say(line)

    def fail(self, name: str, changed: Callable[[str], str] = str, code: int = 1) -> None:
        """Say a recorded failure, with a line of it changed, and end as it ended."""
        self.replay([(at, changed(line)) for at, line in read_lines(name)])
        self.end_engine()
        raise SystemExit(code)

    def start_engine(self) -> None:
        """EngineCore, which starts the workers and says which they are."""
        self.engine = subprocess.Popen(
            [sys.executable, str(HERE), "EngineCore", str(self.tp * self.pp)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.engine.stdout is not None
        pids = json.loads(self.engine.stdout.readline())
        self.pids["EngineCore"] = self.engine.pid
        for rank, pid in enumerate(pids):
            place = f"_PP{rank // self.tp}" if self.pp > 1 else ""
            place += f"_TP{rank % self.tp}" if self.tp > 1 else ""
            self.pids[f"Worker{rank}"] = self.pids[f"VllmWorker-{rank}"] = pid
            self.pids[f"Worker{place}"] = pid

    def end_engine(self) -> None:
        """Ask the EngineCore to end, and wait for it."""
        if self.engine is not None:
            self.engine.terminate()
            self.engine.wait()

    def check(self) -> None:
        """What the real one refuses by itself before it loads anything."""
        if not (self.model / "config.json").is_file():
            name = "gguf" if self.model.suffix == ".gguf" else "missing_model"
            self.fail(name, lambda line: line.replace("/models/model.gguf", str(self.model)))
        config = json.loads((self.model / "config.json").read_text())
        heads = config["num_attention_heads"]
        if heads % self.tp:
            told = f"heads ({heads}) must be divisible by tensor parallel size ({self.tp})"
            self.fail("heads", lambda line: re.sub(r"heads \(4\) must .* \(3\)", told, line))
        layers, parts = config["num_hidden_layers"], os.environ.get("VLLM_PP_LAYER_PARTITION")
        total = sum(int(part) for part in parts.split(",")) if parts else layers
        if self.pp > 1 and total != layers:
            told = f"sum(partitions)={total} does not match num_hidden_layers={layers}"
            self.fail("partition", lambda line: re.sub(r"sum\(part.*layers=\d+", told, line))

    def load(self) -> list[tuple[float, str]]:
        """The lines up to ready, as on the processor or as on cards."""
        name = "pp2" if self.pp > 1 else "tp2" if self.tp > 1 else "tp1"
        lines = read_lines(name)
        end = next(n for n, (_, line) in enumerate(lines) if READY in line)
        lines = lines[: end + 1]
        if os.environ.get("CUDA_VISIBLE_DEVICES"):
            lines = on_cards(lines, self.model, self.asked, self.tp, self.pp)
        return lines

    def serve(self) -> None:
        """From the first line to the last process."""
        try:
            server = Server(("127.0.0.1", self.port))
        except OSError:
            self.fail("port_taken")
            return
        with server:
            self.check()
            if MODE == "cuda_oom":
                self.fail("truncated", out_of_memory)
            if (RECORDED / f"{MODE}.log").exists() and MODE != "engine_died":
                code = json.loads((RECORDED / f"{MODE}.json").read_text())["exit_code"]
                self.fail(MODE, code=code)
            try:
                lines = self.load()
            except RefusalError as refused:
                self.fail(*refused.recording)
                return
            self.replay(lines)
            if MODE in ("silent", "stubborn"):
                self.wait_for_end(None)
                return
            names = self.asked.get("--served-model-name", str(self.model))
            length = int(self.asked.get("--max-model-len", "512"))
            server.answers = Answers(RECORDED, self.model, names, length)
            server.answers.dies = MODE == "engine_died"
            server.server_activate()
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}).start()
            try:
                self.wait_for_end(server)
            finally:
                server.shutdown()

    def wait_for_end(self, server: Server | None) -> None:
        """Until it is asked to end, or the EngineCore has died."""
        while not self.stopping.wait(0.01):
            answers = server.answers if server is not None else None
            if answers is not None and answers.died and self.engine is not None:
                self.engine.kill()
            if self.engine is not None and self.engine.poll() is not None:
                if answers is not None:
                    answers.died = True
                lines = read_lines("killed_engine_core")
                begin = next(n for n, (_, line) in enumerate(lines) if "unexpectedly" in line)
                self.replay([pair for pair in lines[begin:] if "GET /health" not in pair[1]])
                return
        lines = read_lines("tp2")
        begin = next(n for n, (_, line) in enumerate(lines) if "shutdown triggered" in line)
        self.end_engine()
        for _, line in lines[begin:]:
            self.say(line)


def engine_core(n_workers: int) -> None:
    """The process between server and workers: it ends with them, not with the server."""
    workers = [subprocess.Popen([sys.executable, str(HERE), "Worker"]) for _ in range(n_workers)]
    asked = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: asked.set())
    print(json.dumps([worker.pid for worker in workers]), flush=True)
    died = None
    while not asked.wait(0.01) and died is None:
        died = next((n for n, w in enumerate(workers) if w.poll() is not None), None)
    if died is not None:
        line = next(text for _, text in read_lines("killed_worker") if "died unexpectedly" in text)
        line = re.sub(r"pid=\d+", f"pid={os.getpid()}", line, count=1)
        # to the log: standard output tells the server which the workers are
        sys.stderr.write(line.replace("VllmWorker-0", f"VllmWorker-{died}") + "\n")
        time.sleep(4.6 * SPEED)
    for worker in workers:
        worker.terminate()
    for worker in workers:
        worker.wait()


def main() -> None:
    """Entry point: one of the processes."""
    words = sys.argv[1:]
    if words[:1] == ["EngineCore"]:
        engine_core(int(words[1]))
    elif words[:1] == ["Worker"]:
        signal.pause()
    elif words[:1] in (["--version"], ["-v"]):
        print("0.32.0")
    else:
        fake = Fake(arguments(words[1:]))
        stop = signal.SIG_IGN if MODE == "stubborn" else lambda *_: fake.stopping.set()
        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        fake.serve()


if __name__ == "__main__":
    main()
