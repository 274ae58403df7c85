"""Stands for an Ollama on cards this machine lacks: prints what it was recorded to print.

`FAKE_CARDS` names the file with its lines about cards, `FAKE_SEEN` the one that gets its
environment, `FAKE_LOAD` the one with its lines while it loads. The lines are those of real ones
(see tests/unit/core/test_ollama_log.py and tests/recorded/ollama).
"""

import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

VERSION = os.environ.get("FAKE_VERSION", "0.32.15")


class Api(BaseHTTPRequestHandler):
    """Its version, and a load."""

    def do_GET(self) -> None:
        self._answer({"version": VERSION})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        print(Path(os.environ["FAKE_LOAD"]).read_text(), flush=True)
        self._answer({"model": asked["model"], "done": True, "done_reason": "load"})

    def _answer(self, said: dict[str, object]) -> None:
        body = json.dumps(said).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


if "--version" in sys.argv:
    print("Warning: could not connect to a running Ollama instance")
    print(f"Warning: client version is {VERSION}")
else:
    Path(os.environ["FAKE_SEEN"]).write_text(json.dumps(dict(os.environ)))
    print(f'time=x level=INFO msg="Listening on 127.0.0.1:1 (version {VERSION})"', flush=True)
    print(Path(os.environ["FAKE_CARDS"]).read_text(), flush=True)
    if "FAKE_LOAD" in os.environ:
        host, _, port = os.environ["OLLAMA_HOST"].rpartition(":")
        HTTPServer((host, int(port)), Api).serve_forever()
    time.sleep(60)
