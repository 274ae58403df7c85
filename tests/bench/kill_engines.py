"""The program itself with every engine, for `kill_storm`: what to run, and questions to it."""

import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.fakes.nvml import fake_nvml
from tests.support.fake_vllm import make_environment, make_model

ROOT = Path(__file__).resolve().parent.parent.parent
FOUND = Path(sys.prefix) / "splitrig-test-engines.json"
TOKENS = 400
QUESTION = [{"role": "user", "content": "Tell a long story about the sea."}]


@dataclass(frozen=True, slots=True)
class Program:
    """`splitrig serve` with one engine.

    Attributes:
        options: Behind `splitrig serve`.
        env: Its whole environment.
    """

    options: tuple[str, ...]
    env: Mapping[str, str]


def programs(model: Path, folder: Path) -> dict[str, Program]:
    """llama.cpp, the engines that `./test` has built, and the fake vLLM; by what they are."""
    found = json.loads(FOUND.read_text(encoding="utf-8")) if FOUND.exists() else {}
    lent = ("--model", str(model), "--demo", "--tensor-split", "3,1", "--ctx", "1024")
    known = {"llama.cpp": Program(lent, _env(folder / "llama.cpp"))}
    python, ollama = found.get("llama_cpp_python", {}), found.get("ollama", {})
    if "python" in python:
        env = _env(folder / "python", f'[engine]\npython = "{python["python"]}"\n')
        env["LLAMA_CPP_LIB_PATH"] = python["library_dir"]
        known["llama-cpp-python"] = Program((*lent, "--engine", "llama-cpp-python"), env)
    if "program" in ollama:
        options = (*lent, "--engine", "ollama", "--ollama", ollama["program"])
        known["Ollama"] = Program(options, _env(folder / "ollama"))
    vllm, small = make_environment(folder / "vllm-env"), make_model(folder / "vllm-model")
    cards = fake_nvml.environment(folder / "nvml", fake_nvml.MIXED)
    known["vLLM (its fake)"] = Program(
        ("--model", str(small), "--tensor-split", "3,1", "--engine", "vllm", "--vllm", str(vllm)),
        {**_env(folder / "vllm"), **cards, "FAKE_CARDS": "23.2/23.99,9.56/10"},
    )
    return known


def _env(home: Path, settings: str = "") -> dict[str, str]:
    """Our environment with folders of its own and these settings."""
    env = {**os.environ, "PYTHONPATH": str(ROOT / "gui"), "HOME": str(home)}
    for name in ("CONFIG", "DATA", "STATE", "CACHE"):
        env[f"XDG_{name}_HOME"] = str(home / name.lower())
    file = home / "config" / "splitrig" / "settings.toml"
    file.parent.mkdir(parents=True)
    file.write_text(settings, encoding="utf-8")
    return env


NOTES = ("before", "verified")
"""Events that are no phase of an engine."""


@dataclass(slots=True)
class Running:
    """A program that was started; it is asked for answers as soon as it is ready.

    Attributes:
        process: The program.
        phase: What it was at last: 'starting', 'loading', 'ready', 'answering', or 'failed'.
        told: The last event it printed.
        since_s: Seconds from its start to the first of these phases, by name.
    """

    process: subprocess.Popen[str]
    phase: str = "starting"
    told: dict[str, object] = field(default_factory=dict)
    since_s: dict[str, float] = field(default_factory=dict)
    started_s: float = field(default_factory=time.monotonic)

    def follow(self) -> None:
        """Read what it prints until it ends; blocks."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            news = json.loads(line)
            if news["event"] in NOTES:
                continue
            self.told = news
            self._reach(str(self.told["event"]))
            if self.phase == "ready":
                threading.Thread(target=self._ask, daemon=True).start()

    def _reach(self, phase: str) -> None:
        self.phase = phase
        self.since_s.setdefault(phase, time.monotonic() - self.started_s)

    def _ask(self) -> None:
        """One answer after the other, until the engine is gone."""
        headers = {"Content-Type": "application/json"}
        if self.told["api_key"]:
            headers["Authorization"] = f"Bearer {self.told['api_key']}"
        base = f"{self.told['url']}/v1"
        with suppress(OSError, ValueError):  # the end of the engine, which is what this waits for
            listed = urllib.request.Request(f"{base}/models", headers=headers)
            with urllib.request.urlopen(listed, timeout=30) as answer:
                model = json.loads(answer.read())["data"][0]["id"]
            body = {"model": model, "messages": QUESTION, "stream": True, "max_tokens": TOKENS}
            data = json.dumps(body).encode()
            while True:
                request = urllib.request.Request(
                    f"{base}/chat/completions", data=data, headers=headers
                )
                with urllib.request.urlopen(request, timeout=30) as answer:
                    for _ in answer:
                        self._reach("answering")


def start(program: Program, mark: Mapping[str, str]) -> Running:
    """Start the program with these variables besides, and follow it in a thread."""
    process = subprocess.Popen(
        [sys.executable, "-m", "splitrig", "serve", *program.options, "--json"],
        env={**program.env, **mark},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    running = Running(process)
    threading.Thread(target=running.follow, daemon=True).start()
    return running
