"""Ollama's chat: what to send to `/api/chat`, and what its lines of JSON bring."""

import codecs
import json
from collections.abc import Iterable, Mapping
from typing import Any

from splitrig.core.chat import ChatDelta, Message, StreamError, read_error
from splitrig.core.errors import ChatError

MAX_LINE_CHARS = 8 * 1024 * 1024
_NS = 1e9


def chat_body(
    messages: Iterable[Message],
    *,
    model: str | None,
    options: Mapping[str, Any],
    temperature: float | None = None,
    max_tokens: int | None = None,
) -> dict[str, Any]:
    """The body of a request.

    A conversation that is longer than the context is refused instead of losing its beginning
    without a word, and the model stays loaded as it is.

    Args:
        messages: The conversation, the question last.
        model: Name of the model.
        options: Those the model was loaded with; others would make Ollama load it anew.
        temperature: `None` leaves it to the engine.
        max_tokens: `None` leaves it to the engine.
    """
    chosen = {"temperature": temperature, "num_predict": max_tokens}
    return {
        "model": model or "",
        "messages": [{"role": m.role.value, "content": m.content} for m in messages],
        "stream": True,
        "truncate": False,
        "keep_alive": -1,
        "options": {**options, **{k: v for k, v in chosen.items() if v is not None}},
    }


class LineParser:
    """Turns chunks of bytes into lines; a chunk may end anywhere, even inside a character."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._rest: list[str] = []
        self._rest_chars = 0

    def feed(self, chunk: bytes) -> list[str]:
        """Lines completed by `chunk`, without empty ones.

        Raises:
            ChatError: A line is longer than `MAX_LINE_CHARS`.
        """
        return self._take(self._decoder.decode(chunk))

    def close(self) -> list[str]:
        """What the stream held when it ended."""
        return self._take(self._decoder.decode(b"", final=True) + "\n")

    def _take(self, text: str) -> list[str]:
        *lines, rest = text.split("\n")
        found = []
        for line in lines:
            whole = "".join([*self._rest, line]).strip()
            self._rest, self._rest_chars = [], 0
            if whole:
                found.append(whole)
        if rest:
            self._rest.append(rest)
            self._rest_chars += len(rest)
        if self._rest_chars > MAX_LINE_CHARS:
            raise ChatError(
                f"The engine sent one line of more than {MAX_LINE_CHARS // 1024**2} MiB.",
                "Look at its log; it may not speak the chat protocol.",
            )
        return found


def read_ollama_chunk(chunk: object) -> ChatDelta:
    """Read one line of `/api/chat`; the last one has the figures.

    The time for reading the prompt leaves out what the cache held, the number of its tokens does
    not (`promptEvalCount` in llm/llama_server.go): see `chat.nothing_cached`.

    Raises:
        ChatError: The chunk is no JSON object.
    """
    if not isinstance(chunk, dict):
        raise ChatError("The engine sent a line that is no JSON object.", "Look at its log.")
    if chunk.get("error"):
        return ChatDelta(error=read_ollama_error(chunk))
    message = chunk.get("message")
    text = _text(message, "content")
    reasoning = _text(message, "thinking")
    if chunk.get("done") is not True:
        return ChatDelta(text=text, reasoning=reasoning)
    tokens, seconds = _count(chunk, "eval_count"), _seconds(chunk, "eval_duration")
    return ChatDelta(
        text=text,
        reasoning=reasoning,
        finish_reason=_text(chunk, "done_reason") or "stop",
        prompt_tokens=_count(chunk, "prompt_eval_count"),
        prompt_s=_seconds(chunk, "prompt_eval_duration"),
        tokens=tokens,
        tok_s=tokens / seconds if tokens and seconds else None,
        load_s=_seconds(chunk, "load_duration"),
    )


def read_ollama_error(body: object) -> StreamError:
    """Read `{"error": "…"}`; the text may be an error of llama-server's as JSON."""
    error = read_error(body)
    try:
        inner = json.loads(error.message)
    except (ValueError, RecursionError):
        return error
    return read_error(inner) if isinstance(inner, dict) and "error" in inner else error


def _text(of: object, key: str) -> str:
    value = of.get(key) if isinstance(of, dict) else None
    return value if isinstance(value, str) else ""


def _count(of: Mapping[str, Any], key: str) -> int | None:
    value = of.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _seconds(of: Mapping[str, Any], key: str) -> float | None:
    """A duration in nanoseconds as seconds."""
    value = _count(of, key)
    return None if value is None else value / _NS
