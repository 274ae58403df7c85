"""Process trees as engines have them, for `kill_storm`; run as a script it becomes one of them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__)
DEAF = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def trees(llama_server: Path, model: Path) -> dict[str, list[str]]:
    """Commands by what they stand for."""
    loading = [str(llama_server), "-m", str(model), "-t", "1", "-ngl", "0", "-c", "4096"]
    loading += ["--host", "127.0.0.1", "--port", "0"]

    def me(kind: str, *arguments: str) -> list[str]:
        return [sys.executable, "-S", str(HERE), kind, *arguments]

    return {
        "llama-server, loading": loading,
        "server with a runner (Ollama)": me("runner", *loading),
        "API server, core, workers (vLLM)": me("api"),
        "deaf to SIGTERM": me("deaf"),
        "daemon of its own session": me("daemon"),
        "stopped": me("stopped"),
    }


def runner(*command: str) -> None:
    """One process that starts the real one and waits, as `ollama serve` does."""
    subprocess.run(command, check=False)


def api() -> None:
    """Three generations: the API server, the core, and a worker for each card."""
    with subprocess.Popen([sys.executable, "-S", str(HERE), "core"]):
        time.sleep(60)


def core() -> None:
    """Starts the workers one after the other."""
    for _ in range(2):
        subprocess.Popen([sys.executable, "-S", str(HERE), "worker"])
        time.sleep(0.1)
    time.sleep(60)


def worker() -> None:
    """Holds memory and works."""
    held = bytearray(20_000_000)
    time.sleep(60)
    held.clear()


def deaf() -> None:
    """Neither it nor its child hears a request to end."""
    for number in DEAF:
        signal.signal(number, signal.SIG_IGN)
    os.fork()
    while True:
        time.sleep(60)


def daemon() -> None:
    """Forks twice, leads a session, closes every descriptor; then once more from there."""
    for _ in range(2):
        if os.fork() == 0:
            os.setsid()
            if os.fork():
                os._exit(0)
            os.closerange(0, 64)
        time.sleep(0.05)
    time.sleep(60)


def stopped() -> None:
    """Stands still, its child too."""
    os.fork()
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(60)


if __name__ == "__main__":
    kinds = {kind.__name__: kind for kind in (runner, api, core, worker, deaf, daemon, stopped)}
    kinds[sys.argv[1]](*sys.argv[2:])
