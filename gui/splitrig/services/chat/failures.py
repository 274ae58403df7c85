"""Sentences for what can go wrong between sending a question and the last token."""

import json
from collections.abc import Callable

from splitrig.core.chat import AnswerStats, StreamError, read_error
from splitrig.core.errors import ChatError
from splitrig.core.units import number_text

AGAIN = "Launch it again, then regenerate the answer."


def refused(port: int) -> ChatError:
    """Nobody listens on the port."""
    return ChatError(
        f"Nothing answers on port {port}: the engine is not running.",
        "Launch it again, then send the question once more.",
    )


def unreachable(port: int, reason: str) -> ChatError:
    """The connection could not be made for another reason than a closed port."""
    return ChatError(
        f"The engine on port {port} cannot be reached.",
        "Look at its log, or launch it again.",
        details=reason,
    )


def broke_off(stats: AnswerStats, reason: str) -> ChatError:
    """The connection ended before the answer did."""
    if stats.tokens:
        said = f"The engine ended after {_tokens(stats.tokens)}; what it said is kept."
    else:
        said = "The engine ended before its first token."
    return ChatError(said, AGAIN, details=reason)


def silent(seconds: float) -> ChatError:
    """The connection stands, but nothing comes."""
    return ChatError(
        f"The engine sent nothing for {seconds:g} s.",
        "It may have hung: stop it, launch it again and regenerate the answer.",
    )


def unreadable(stats: AnswerStats, reason: str) -> ChatError:
    """A chunk of the stream is no JSON."""
    return ChatError(
        f"The engine sent a broken chunk after {_tokens(stats.tokens)}; what it said is kept.",
        "Regenerate the answer; if it happens again, look at the engine's log.",
        details=reason,
    )


def http_error(
    status: int, body: bytes, read: Callable[[object], StreamError] = read_error
) -> ChatError:
    """An answer other than 200; `read` takes its body apart."""
    text = body.decode("utf-8", errors="replace")
    try:
        error = read(json.loads(text))
    except (ValueError, RecursionError):
        error = StreamError(message="")
    return engine_error(error, status, details=text[:2000])


def engine_error(error: StreamError, status: int | None, *, details: str = "") -> ChatError:
    """What the engine itself reports, as a refusal or inside a stream."""
    code = status if status is not None else error.code
    if error.kind == "exceed_context_size_error" or _is_context(error):
        return _context_exceeded(error, details)
    if code == 401:
        return ChatError(
            "The engine refused the key of this window (HTTP 401).",
            "Another program's engine may hold the port: stop it, or launch again on another.",
            details=details,
        )
    if code == 503:
        return ChatError(
            "The engine is still loading the model (HTTP 503).",
            "Send the question again when it is ready.",
            details=details,
        )
    words = error.message.rstrip(".") or "it gave no reason"
    if code == 404 and "model" in words and "not found" in words:
        return ChatError(
            f"The engine has the model no more: {words}.", "Launch it again.", details=details
        )
    where = f" with HTTP {code}" if code else ""
    return ChatError(
        f"The engine broke off{where}: {words}.",
        "Look at its log, or regenerate the answer.",
        details=details,
    )


def _is_context(error: StreamError) -> bool:
    words = error.message.lower()
    return "context" in words and "exceed" in words


def _context_exceeded(error: StreamError, details: str) -> ChatError:
    if error.n_prompt_tokens is not None and error.n_ctx is not None:
        asked, holds = number_text(error.n_prompt_tokens), number_text(error.n_ctx)
        said = f"The conversation has {asked} tokens; the context holds {holds}."
    else:
        said = "The conversation is longer than the context."
    return ChatError(said, "Clear it, or launch with a longer context.", details=details)


def _tokens(n: int) -> str:
    return "1 token" if n == 1 else f"{number_text(n)} tokens"
