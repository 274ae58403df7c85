"""What the fake vLLM answers: the recorded answers, with this run's words and numbers."""

import copy
import http.server
import json
import os
import re
import threading
import time
from pathlib import Path
from typing import Any

TEXT = "The fake engine answers with these words and counts every one of them. "
TOKEN_S = float(os.environ.get("FAKE_TOKEN_S", "0.002"))
KEY = os.environ.get("VLLM_API_KEY", "")
DEAD = "EngineCore encountered an issue. See stack trace (above) for the root cause."


class Answers:
    """Recorded answers and the counters of one run.

    Attributes:
        dies: The first question ends the EngineCore.
        died: It has ended.
    """

    def __init__(self, recorded: Path, model: Path, name: str, length: int) -> None:
        self._recorded = json.loads((recorded / "answers.json").read_text(encoding="utf-8"))
        self._metrics = (recorded / "metrics_before.txt").read_text(encoding="utf-8")
        self.model, self.name, self.length = model, name, length
        self.dies = self.died = False
        self.lock = threading.Lock()
        self.counts: dict[str, float] = {}

    def recorded(self, name: str) -> tuple[int, str]:
        """Status and body of a recorded answer."""
        answer = self._recorded[name]
        return answer["status"], answer["body"]

    def json(self, name: str) -> Any:
        """The body of a recorded answer, to be changed."""
        return copy.deepcopy(json.loads(self.recorded(name)[1]))

    def chunks(self) -> list[Any]:
        """The chunks of the recorded stream."""
        events = self.recorded("chat_stream")[1].split("\n\n")
        return [json.loads(e.removeprefix("data: ")) for e in events if e.startswith("data: {")]

    def count(self, name: str, value: float) -> None:
        """Add to a counter."""
        with self.lock:
            self.counts[name] = self.counts.get(name, 0.0) + value

    def metrics(self) -> str:
        """The recorded figures, with the counters of this run."""
        text = self._metrics.replace('model_name="tiny"', f'model_name="{self.name}"')
        with self.lock:
            for name, value in self.counts.items():
                pattern = rf"(?m)^({re.escape(name)}(?:\{{[^}}]*\}})?) \S+$"
                text = re.sub(pattern, rf"\g<1> {value}", text)
        return text

    def models(self) -> Any:
        """`/v1/models`."""
        body = self.json("models")
        entry = body["data"][0]
        entry |= {"id": self.name, "root": str(self.model), "max_model_len": self.length}
        entry["created"] = int(time.time())
        return body


class Server(http.server.ThreadingHTTPServer):
    """Takes its port at once and listens when it is told to, as the real one does."""

    answers: Answers
    daemon_threads = True

    def __init__(self, address: tuple[str, int]) -> None:
        super().__init__(address, Handler, bind_and_activate=False)
        try:
            self.server_bind()
        except OSError:
            self.server_close()
            raise

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no news."""


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "uvicorn", ""
    server: Server

    def log_message(self, *_arguments: object) -> None:
        """The access log is switched off for what is asked again and again."""

    def send(self, status: int, body: str, kind: str = "application/json") -> None:
        """A whole answer."""
        data = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def recorded(self, name: str, **changed: str) -> None:
        """A recorded answer, with words of it changed."""
        status, body = self.server.answers.recorded(name)
        for old, new in changed.items():
            body = body.replace(old, new)
        self.send(status, body)

    def allowed(self) -> bool:
        """Whether the key is right; says so if not."""
        if not KEY or self.headers.get("Authorization") == f"Bearer {KEY}":
            return True
        self.recorded("models_wrong_key")
        return False

    def do_GET(self) -> None:
        """Questions without a body."""
        answers = self.server.answers
        path = self.path.split("?")[0]
        if path in ("/health", "/ping"):
            self.send(503 if answers.died else 200, "")
        elif path == "/metrics":
            self.send(200, answers.metrics(), "text/plain; version=1.0.0; charset=utf-8")
        elif path == "/version":
            self.recorded("version")
        elif path == "/v1/models":
            if self.allowed():
                self.send(200, json.dumps(answers.models()))
        elif path.startswith("/v1/"):
            if self.allowed():
                self.recorded("wrong_method")
        else:
            self.recorded("not_found")

    def do_POST(self) -> None:
        """Questions with a body."""
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path != "/v1/chat/completions":
            self.recorded("not_found")
            return
        if not self.allowed():
            return
        try:
            asked = json.loads(raw)
        except ValueError:
            self.recorded("chat_bad_json")
            return
        refusal = self.refusal(asked)
        if refusal:
            self.recorded(refusal[0], **refusal[1])
        elif asked.get("stream"):
            self.stream(asked)
        else:
            self.whole(asked)

    def refusal(self, asked: dict[str, Any]) -> tuple[str, dict[str, str]] | None:
        """The recorded answer to a question that is not taken, and what to change in it."""
        answers = self.server.answers
        if not isinstance(asked.get("messages"), list):
            return "chat_no_messages", {}
        if not isinstance(asked.get("temperature", 1), int | float):
            return "chat_bad_field", {"hot": str(asked["temperature"])}
        if asked.get("model") not in (None, answers.name):
            return "chat_wrong_model", {"nope": asked["model"], "tiny": answers.name}
        length = str(answers.length)
        most = asked.get("max_tokens") or asked.get("max_completion_tokens") or 1
        if most > answers.length:
            return "chat_too_many_tokens", {"5000": str(most), "256": length}
        if prompt_tokens(asked) > answers.length:
            too_many = str(answers.length + 1)
            return "chat_too_long", {"256": length, "257": too_many}
        return None

    def words(self, asked: dict[str, Any]) -> list[str]:
        """The tokens of the answer."""
        most = asked.get("max_tokens") or asked.get("max_completion_tokens") or 40
        tokens = re.findall(r"\S+ ", TEXT)
        return [tokens[n % len(tokens)] for n in range(most)]

    def whole(self, asked: dict[str, Any]) -> None:
        """An answer in one piece."""
        answers = self.server.answers
        body = answers.json("chat")
        words = self.words(asked)
        body |= {"created": int(time.time()), "model": answers.name}
        body["choices"][0]["message"]["content"] = "".join(words)
        body["usage"] |= usage(asked, len(words))
        self.began(asked)
        answers.count("vllm:generation_tokens_total", len(words))
        self.send(200, json.dumps(body))

    def began(self, asked: dict[str, Any]) -> None:
        """Count a question."""
        answers = self.server.answers
        answers.count("vllm:prompt_tokens_total", prompt_tokens(asked))
        answers.count("vllm:time_to_first_token_seconds_sum", 0.02)
        answers.count("vllm:time_to_first_token_seconds_count", 1)

    def stream(self, asked: dict[str, Any]) -> None:
        """An answer word by word."""
        answers = self.server.answers
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if answers.dies or answers.died:
            answers.died = True
            error = {"message": DEAD, "type": "InternalServerError", "param": None, "code": 500}
            self.event({"error": error})
            self.end_stream()
            return
        first, *rest = answers.chunks()
        middle, last, end = rest[0], rest[-2], rest[-1]
        self.began(asked)
        answers.count("vllm:num_requests_running", 1)
        try:
            self.event(self.named(first))
            words = self.words(asked)
            for number, word in enumerate(words, start=1):
                time.sleep(TOKEN_S)
                chunk = self.named(last if number == len(words) else middle)
                chunk["choices"][0]["delta"]["content"] = word
                answers.count("vllm:generation_tokens_total", 1)
                self.event(chunk)
            if (asked.get("stream_options") or {}).get("include_usage"):
                final = self.named(end)
                final["usage"] |= usage(asked, len(words))
                self.event(final)
            self.end_stream()
        finally:
            answers.count("vllm:num_requests_running", -1)

    def named(self, chunk: Any) -> Any:
        """A recorded chunk with the name of this run's model."""
        changed = copy.deepcopy(chunk)
        changed |= {"created": int(time.time()), "model": self.server.answers.name}
        return changed

    def event(self, body: Any) -> None:
        """One event of the stream."""
        self.chunk(f"data: {json.dumps(body)}\n\n")

    def end_stream(self) -> None:
        """The last event."""
        self.chunk("data: [DONE]\n\n")
        self.chunk("")

    def chunk(self, text: str) -> None:
        """A piece of a chunked body."""
        data = text.encode()
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()


def prompt_tokens(asked: dict[str, Any]) -> int:
    """Tokens of the question: the tiny model has one a character."""
    rendered = "".join(f"{m.get('role')}: {m.get('content')}\n" for m in asked["messages"])
    return len(rendered) + len("assistant: ")


def usage(asked: dict[str, Any], n_tokens: int) -> dict[str, int]:
    """The figures behind an answer."""
    n_prompt = prompt_tokens(asked)
    return {
        "prompt_tokens": n_prompt,
        "completion_tokens": n_tokens,
        "total_tokens": n_prompt + n_tokens,
    }
