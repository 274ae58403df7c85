"""Chat as values: messages, what a stream delivers, and the figures under an answer."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, TypeVar

from splitrig.core.errors import ChatError

T = TypeVar("T")


class Role(StrEnum):
    """Who speaks."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatOptions:
    """How to answer; `None` leaves the choice to the engine.

    Attributes:
        temperature: 0 always takes the likeliest token.
        max_tokens: Longest answer, tokens.
    """

    temperature: float | None = None
    max_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerStats:
    """Figures of one answer; `None` until known.

    Attributes:
        prompt_tokens: Tokens of the prompt, those taken from the cache included.
        cached_tokens: Tokens of the prompt the engine had read before.
        prompt_read_tokens: Tokens of the prompt read so far, the cached ones included.
        prompt_tok_s: Speed of reading the prompt, tokens per second, as the engine measured it.
        first_token_s: From sending the request to the first visible token, seconds, as seen here.
        tokens: Tokens generated so far.
        tok_s: Speed of generation, tokens per second, as the engine measured it; counted here
            for engines that send no timings.
        finish_reason: `stop`, `length`, or `cancelled`; `None` while it runs or when it broke.
        load_s: Of the time to the first token, what loading the model took, seconds; only told
            by engines that load on demand.
        counted_by_engine: The engine tells `tokens`; otherwise each chunk with text is one.
    """

    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    prompt_read_tokens: int | None = None
    prompt_tok_s: float | None = None
    first_token_s: float | None = None
    tokens: int = 0
    tok_s: float | None = None
    finish_reason: str | None = None
    load_s: float | None = None
    counted_by_engine: bool = False

    @property
    def context_tokens(self) -> int | None:
        """Tokens of the context this answer and its prompt fill; `None` before it is known."""
        return None if self.prompt_tokens is None else self.prompt_tokens + self.tokens


class AnswerPhase(StrEnum):
    """Where an answer is in its life."""

    STREAMING = "streaming"
    FINISHED = "finished"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Everything said so far, so that a snapshot that gets lost loses no text.

    Attributes:
        request_id: Which request this answers.
        phase: Streaming, finished (stopped by the user included) or failed.
        text: The answer, markdown.
        reasoning: What a reasoning model thought before it.
        stats: Figures so far.
        error: Why it failed; the text up to there is kept.
    """

    request_id: int
    phase: AnswerPhase = AnswerPhase.STREAMING
    text: str = ""
    reasoning: str = ""
    stats: AnswerStats = AnswerStats()
    error: ChatError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamError:
    """An error object inside a stream, or the body of a refused request.

    Attributes:
        message: The engine's words.
        kind: Its `type`, such as `exceed_context_size_error`.
        code: HTTP-like code.
        n_prompt_tokens: Tokens asked for, where the context is too small.
        n_ctx: Tokens the context holds, there.
    """

    message: str
    kind: str | None = None
    code: int | None = None
    n_prompt_tokens: int | None = None
    n_ctx: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatDelta:
    """What one chunk of a stream brings; `None` for what it does not speak of.

    Attributes:
        text: New text of the answer.
        reasoning: New text of the thinking before it.
        finish_reason: `stop` or `length` in the chunk that ends the answer.
        prompt_tokens: Tokens of the prompt, cached ones included.
        cached_tokens: Those taken from the cache.
        prompt_read_tokens: Those read so far, cached ones included.
        prompt_tok_s: Speed of reading, tokens per second.
        prompt_s: Time it took to read what the cache did not hold, seconds.
        tokens: Tokens generated so far.
        tok_s: Speed of generation, tokens per second.
        load_s: What loading the model took before, seconds.
        error: The engine broke off.
    """

    text: str = ""
    reasoning: str = ""
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    prompt_read_tokens: int | None = None
    prompt_tok_s: float | None = None
    prompt_s: float | None = None
    tokens: int | None = None
    tok_s: float | None = None
    load_s: float | None = None
    error: StreamError | None = None


def read_chunk(chunk: object) -> ChatDelta:
    """Read one `chat.completion.chunk` of llama-server or another OpenAI-style engine.

    Fields that are absent, null or of another type are 'not reported': engines differ.

    Raises:
        ChatError: The chunk is no JSON object.
    """
    if not isinstance(chunk, dict):
        raise ChatError("The engine sent a chunk that is no JSON object.", "Look at its log.")
    if chunk.get("error"):
        return ChatDelta(error=read_error(chunk))
    choices = chunk.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    delta = _table(choice, "delta")
    prompt, cached, read, prompt_tok_s = _prompt(chunk)
    tokens, tok_s = _generated(chunk)
    return ChatDelta(
        text=_text(delta, "content"),
        reasoning=_text(delta, "reasoning_content") or _text(delta, "reasoning"),
        finish_reason=_text(choice, "finish_reason") or None,
        prompt_tokens=prompt,
        cached_tokens=cached,
        prompt_read_tokens=read,
        prompt_tok_s=prompt_tok_s,
        tokens=tokens,
        tok_s=tok_s,
    )


def read_error(body: object) -> StreamError:
    """Read `{"error": {"message", "type", "code", …}}`, or what else stands in its place."""
    error = body.get("error") if isinstance(body, dict) else body
    if not isinstance(error, dict):
        return StreamError(message=str(error or "").strip())
    return StreamError(
        message=_text(error, "message").strip(),
        kind=_text(error, "type") or None,
        code=_count(error, "code"),
        n_prompt_tokens=_count(error, "n_prompt_tokens"),
        n_ctx=_count(error, "n_ctx"),
    )


def _prompt(chunk: Mapping[str, Any]) -> tuple[int | None, int | None, int | None, float | None]:
    """Tokens of the prompt, cached, read so far, and the speed of reading."""
    progress = _table(chunk, "prompt_progress")
    if progress:
        cached, read = _count(progress, "cache"), _count(progress, "processed")
        ms = _number(progress, "time_ms")
        fresh = (read or 0) - (cached or 0)
        # The `timings` of these chunks count the whole prompt against no time at all.
        speed = fresh / ms * 1000 if ms and ms > 0 and fresh > 0 else None
        return _count(progress, "total"), cached, read, speed
    timings, usage = _table(chunk, "timings"), _table(chunk, "usage")
    cached, fresh_n = _count(timings, "cache_n"), _count(timings, "prompt_n")
    if fresh_n is not None and _count(timings, "predicted_n"):
        total = fresh_n + (cached or 0)
        speed = _number(timings, "prompt_per_second") if fresh_n else None
        return total, cached, total, speed
    if usage:
        cached = _count(_table(usage, "prompt_tokens_details"), "cached_tokens")
        total_n = _count(usage, "prompt_tokens")
        return total_n, cached, total_n, None
    return None, None, None, None


def _generated(chunk: Mapping[str, Any]) -> tuple[int | None, float | None]:
    """Tokens generated so far and their speed."""
    if _table(chunk, "prompt_progress"):
        # The `timings` of these chunks still hold the figures of the answer before.
        return None, None
    timings = _table(chunk, "timings")
    tokens = _count(timings, "predicted_n")
    if tokens is None:
        return _count(_table(chunk, "usage"), "completion_tokens"), None
    # The first token's time is about 1 µs in llama-server, a million tok/s.
    return tokens, _number(timings, "predicted_per_second") if tokens > 1 else None


def nothing_cached(delta: ChatDelta) -> ChatDelta:
    """With the speed of reading where the cache held nothing of the prompt, as right after a load.

    Otherwise the number of tokens has cached ones, the time has not, and no speed is in the two.
    """
    if delta.prompt_tok_s is not None or not delta.prompt_tokens or not delta.prompt_s:
        return delta
    return replace(delta, prompt_tok_s=delta.prompt_tokens / delta.prompt_s)


def count_delta(stats: AnswerStats, delta: ChatDelta, elapsed_s: float) -> AnswerStats:
    """Add one chunk to the figures.

    Args:
        stats: The figures before.
        delta: The chunk.
        elapsed_s: Since the request was sent, seconds, by our own clock.
    """
    visible = bool(delta.text or delta.reasoning)
    first = stats.first_token_s
    if first is None and visible:
        first = elapsed_s
    tokens, tok_s = delta.tokens, delta.tok_s
    by_engine = stats.counted_by_engine or tokens is not None
    if tokens is None and by_engine:
        # One token may come in several chunks, and only one of them has the timings.
        tokens = stats.tokens
    elif tokens is None:
        tokens = stats.tokens + int(visible)
        if visible and tokens > 1 and first is not None and elapsed_s > first:
            tok_s = (tokens - 1) / (elapsed_s - first)
    return replace(
        stats,
        prompt_tokens=_newer(delta.prompt_tokens, stats.prompt_tokens),
        cached_tokens=_newer(delta.cached_tokens, stats.cached_tokens),
        prompt_read_tokens=_newer(delta.prompt_read_tokens, stats.prompt_read_tokens),
        prompt_tok_s=_newer(delta.prompt_tok_s, stats.prompt_tok_s),
        first_token_s=first,
        tokens=max(tokens, stats.tokens),
        tok_s=_newer(tok_s, stats.tok_s),
        finish_reason=_newer(delta.finish_reason, stats.finish_reason),
        load_s=_newer(delta.load_s, stats.load_s),
        counted_by_engine=by_engine,
    )


def conversation(messages: Iterable[Message], system: str = "") -> list[Message]:
    """Messages as chat templates want them: an optional system prompt, then strict turns.

    Empty messages fall out and neighbours of the same role become one: many templates refuse
    two questions in a row, which a failed answer leaves behind.
    """
    turns = [Message(Role.SYSTEM, system.strip())] if system.strip() else []
    for message in messages:
        if not message.content.strip():
            continue
        if turns and turns[-1].role is message.role:
            turns[-1] = Message(message.role, f"{turns[-1].content}\n\n{message.content}")
        else:
            turns.append(message)
    return turns


def _newer(value: T | None, before: T | None) -> T | None:
    return before if value is None else value


def _table(of: object, key: str) -> Mapping[str, Any]:
    value = of.get(key) if isinstance(of, dict) else None
    return value if isinstance(value, dict) else {}


def _text(of: object, key: str) -> str:
    value = of.get(key) if isinstance(of, dict) else None
    return value if isinstance(value, str) else ""


def _number(of: Mapping[str, Any], key: str) -> float | None:
    value = of.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) and value >= 0 else None


def _count(of: Mapping[str, Any], key: str) -> int | None:
    value = of.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
