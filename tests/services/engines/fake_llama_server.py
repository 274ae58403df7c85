"""Stands in for llama-server where the real one cannot be made to misbehave.

`FAKE_MODE` says how: `ready`, `dies` (exit code 9 after its first answer), `crashes` (the same
some time later), `silent` (never healthy),
`stubborn` (silent, and deaf to SIGTERM), `port-once` (its first port is taken), `flood`,
`recovers` (its first process tells of an error and crashes, the second one is well),
`bare` (it counts nothing),
`frozen` (it has its port and stands still),
`gives-up` (the second one ends before it is ready, with a word of its own).
`FAKE_SLOW` names an option, such as `--help`, that it takes a minute to answer.
"""

import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

HELP = """
-m,    --model FNAME
-c,    --ctx-size N
-ngl,  --gpu-layers, --n-gpu-layers N
-sm,   --split-mode {none,layer,row}
-ts,   --tensor-split N0,N1,N2,...
-dev,  --device <dev1,dev2,..>
-fa,   --flash-attn [on|off|auto]
-np,   --parallel N
-lv,   --verbosity N
--no-webui                disable the Web UI
--no-warmup
--host HOST
--port PORT
"""
MODE = os.environ.get("FAKE_MODE", "ready")


class Health(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(501 if MODE == "bare" and self.path == "/metrics" else 200)
        self.end_headers()
        if MODE == "dies":
            self.wfile.flush()
            os._exit(9)
        if MODE in ("recovers", "gives-up") and number_of_start() == 1:
            threading.Timer(0.3, complain).start()
        if MODE == "crashes":
            threading.Timer(0.3, os._exit, (9,)).start()

    def log_message(self, *_arguments: object) -> None:
        return


def number_of_start() -> int:
    return len(Path(os.environ["FAKE_SEEN"]).read_text().split())


def complain() -> None:
    print("CUDA error: an illegal memory access was encountered", flush=True)
    os._exit(9)


def main() -> None:
    if os.environ.get("FAKE_SLOW", "none") in sys.argv:
        time.sleep(60)
    if "--help" in sys.argv:
        print(HELP)
        return
    if "--version" in sys.argv:
        print("version: 9876 (abcdef1)", file=sys.stderr)
        return
    if "--list-devices" in sys.argv:
        print("Available devices:")
        print(os.environ.get("FAKE_DEVICES", ""))
        return
    serve(int(sys.argv[sys.argv.index("--port") + 1]))


def serve(port: int) -> None:
    seen = Path(os.environ["FAKE_SEEN"])
    with seen.open("a") as file:
        file.write(f"{port}\n")
    if MODE == "gives-up" and number_of_start() == 2:
        print("no more", flush=True)
        sys.exit(3)
    if MODE == "port-once" and number_of_start() == 1:
        print(f"E srv start: couldn't bind HTTP server socket, hostname: 127.0.0.1, port: {port}")
        sys.exit(1)
    if MODE == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("load_tensors: loading model tensors, this can take a while...", flush=True)
    if MODE in ("crashes", "recovers", "gives-up"):
        print("llama_server: model loaded", flush=True)
    for _ in range(200_000 if MODE == "flood" else 0):
        print("a line of the engine's log that says nothing at all, again and again")
    if MODE in ("silent", "stubborn"):
        while True:
            time.sleep(1)
    server = HTTPServer(("127.0.0.1", port), Health)
    if MODE == "frozen":
        os.kill(os.getpid(), signal.SIGSTOP)
    server.serve_forever()


if __name__ == "__main__":
    main()
