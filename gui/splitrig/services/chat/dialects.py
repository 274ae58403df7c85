"""The two ways engines are asked and answer, behind one interface for the client."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from splitrig.core.chat import ChatDelta, Message, StreamError, read_chunk, read_error
from splitrig.core.engine import Dialect
from splitrig.core.ollama_chat import LineParser, chat_body, read_ollama_chunk, read_ollama_error
from splitrig.core.sse import EventParser

OPENAI_END = "[DONE]"


class Stream(Protocol):
    """Takes one answer apart."""

    def feed(self, chunk: bytes) -> list[str]:
        """The pieces of JSON that `chunk` completes."""

    def close(self) -> list[str]:
        """Those the stream held when it ended."""


class OpenAiStream:
    """Server-sent events."""

    def __init__(self) -> None:
        self._parser = EventParser()

    def feed(self, chunk: bytes) -> list[str]:
        """The data of the events that `chunk` completes."""
        return [event.data for event in self._parser.feed(chunk)]

    def close(self) -> list[str]:
        """The data of what the stream held when it ended."""
        return [event.data for event in self._parser.close()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Speech:
    """How to speak one dialect.

    Attributes:
        path: Below the base address.
        accepts: Content type of the stream.
        stream: Makes what takes an answer apart.
        read: What a piece of JSON brings.
        read_error: An error object, or the body of a refusal.
        end: The piece that ends an answer; `None` where the connection's end does.
    """

    path: str
    accepts: str
    stream: Callable[[], Stream]
    read: Callable[[object], ChatDelta]
    read_error: Callable[[object], StreamError]
    end: str | None


SPEECHES = {
    Dialect.OPENAI: Speech(
        path="/v1/chat/completions",
        accepts="text/event-stream",
        stream=OpenAiStream,
        read=read_chunk,
        read_error=read_error,
        end=OPENAI_END,
    ),
    Dialect.OLLAMA: Speech(
        path="/api/chat",
        accepts="application/x-ndjson",
        stream=LineParser,
        read=read_ollama_chunk,
        read_error=read_ollama_error,
        end=None,
    ),
}


def body_of(
    dialect: Dialect,
    messages: Sequence[Message],
    *,
    model: str | None,
    temperature: float | None,
    max_tokens: int | None,
    load_options: Mapping[str, Any],
) -> bytes:
    """The body of a request."""
    if dialect is Dialect.OLLAMA:
        body = chat_body(
            messages,
            model=model,
            options=load_options,
            temperature=temperature,
            max_tokens=max_tokens,
        )
        return json.dumps(body).encode()
    body = {
        "messages": [{"role": m.role.value, "content": m.content} for m in messages],
        "stream": True,
        "stream_options": {"include_usage": True},
        "timings_per_token": True,
        "return_progress": True,
    }
    chosen = {"temperature": temperature, "max_tokens": max_tokens, "model": model}
    body |= {key: value for key, value in chosen.items() if value is not None}
    return json.dumps(body).encode()
