"""The figures under an answer, as text."""

from html import escape

from splitrig.core.chat import AnswerStats
from splitrig.core.units import number_text
from splitrig.views.theme import Theme

NOTABLE_LOAD_S = 0.5
"""An engine that had to load the model first says so; what it always spends is not told."""


def figures(stats: AnswerStats, *, running: bool) -> list[tuple[str, str, str]]:
    """Words before, number, words behind; what is not known is left out."""
    found: list[tuple[str, str, str]] = []
    if stats.tok_s is not None:
        found.append(("", number_text(stats.tok_s, 1), "tok/s"))
    if stats.first_token_s is not None:
        unit = "s"
        if stats.load_s is not None and stats.load_s >= NOTABLE_LOAD_S:
            unit = f"s ({number_text(stats.load_s, 1)} s of it loading)"
        found.append(("first token", number_text(stats.first_token_s, 2), unit))
    if stats.tokens:
        unit = "token" if stats.tokens == 1 else "tokens"
        found.append(("", number_text(stats.tokens), f"{unit} so far" if running else unit))
    if stats.prompt_tok_s is not None:
        decimals = 0 if stats.prompt_tok_s >= 100 else 1
        found.append(("prompt", number_text(stats.prompt_tok_s, decimals), "tok/s"))
    return found


def figures_html(theme: Theme, stats: AnswerStats, *, running: bool) -> str:
    """The same for a label: numbers in the text colour, words muted."""
    ink = theme.colour("text").name()
    parts = [
        f'{escape(before)} <span style="color:{ink};font-weight:600">{escape(number)}</span>'
        f" {escape(behind)}".strip()
        for before, number, behind in figures(stats, running=running)
    ]
    return "&nbsp;&nbsp;&nbsp; ".join(parts)


def figures_tip(stats: AnswerStats) -> str:
    """The prompt in words, for the tooltip."""
    if stats.prompt_tokens is None:
        return ""
    prompt = f"{number_text(stats.prompt_tokens)} tokens in the prompt"
    if stats.cached_tokens:
        prompt += f", {number_text(stats.cached_tokens)} of them still in the cache"
    return prompt


def ending(stats: AnswerStats) -> str:
    """Why the answer is not whole, if it is not."""
    if stats.finish_reason == "cancelled":
        return "stopped"
    if stats.finish_reason == "length":
        return "cut off at the longest answer or the end of the context"
    return ""


def prompt_progress(stats: AnswerStats) -> float | None:
    """Share of the prompt that is read, 0–1; `None` when unknown."""
    if not stats.prompt_tokens or stats.prompt_read_tokens is None:
        return None
    return min(stats.prompt_read_tokens / stats.prompt_tokens, 1.0)


def waiting_text(stats: AnswerStats) -> str:
    """What happens before the first token."""
    if not stats.prompt_tokens or stats.prompt_read_tokens is None:
        return "Waiting for the engine"
    read, total = number_text(stats.prompt_read_tokens), number_text(stats.prompt_tokens)
    return f"Reading the prompt: {read} of {total} tokens"
