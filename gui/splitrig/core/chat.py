"""Chat as values: messages, what a stream delivers, and the figures under an answer."""

from dataclasses import dataclass
from enum import StrEnum


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
class AnswerStats:
    """Figures of one answer; `None` until known.

    Attributes:
        prompt_tokens: Tokens of the prompt, those taken from the cache included.
        prompt_tok_s: Speed of reading the prompt, tokens per second, as the engine measured it.
        first_token_s: From sending the request to the first visible token, seconds, as seen here.
        tokens: Tokens generated so far.
        tok_s: Speed of generation, tokens per second, as the engine measured it.
        finish_reason: `stop`, `length`, or `cancelled`; `None` while it runs or when it broke.
    """

    prompt_tokens: int | None = None
    prompt_tok_s: float | None = None
    first_token_s: float | None = None
    tokens: int = 0
    tok_s: float | None = None
    finish_reason: str | None = None
