"""Inline markdown as runs of text of one kind. No Qt in here.

Raw HTML stays text, images become links, and only web and mail addresses are links at all.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

from markdown_it.token import Token

FLAGS = frozenset({"strong", "em", "s"})
SAFE_SCHEMES = ("https://", "http://", "mailto:")
_URL = re.compile(r"https?://[^\s<>\"'`]*[^\s<>\"'`.,;:!?)\]}*_]")
_DEFINITION = re.compile(r"\[[^\]]+\]: ")
_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A run of text of one kind."""

    text: str
    bold: bool = False
    italic: bool = False
    strike: bool = False
    code: bool = False
    href: str | None = None


def inline_spans(tokens: Sequence[Token]) -> tuple[Span, ...]:
    """Text runs of one paragraph, neighbours of the same kind joined."""
    found: list[Span] = []
    state = Span(text="")
    for token, following in zip_longest(tokens, tokens[1:]):
        name, _, edge = token.type.rpartition("_")
        if name in FLAGS:
            state = _switched(state, name, on=edge == "open")
        elif token.type == "link_open":
            state = replace(state, href=_safe(str(token.attrGet("href") or "")))
        elif token.type == "link_close":
            state = replace(state, href=None)
        elif token.type == "image":
            words = token.content.strip() or "without a title"
            href = _safe(str(token.attrGet("src") or "")) or state.href
            found.append(replace(state, text=f"Image: {words}", href=href))
        elif token.type == "code_inline":
            found.append(replace(state, text=token.content, code=True))
        elif token.type == "softbreak":
            # Each definition of a reference keeps its line.
            definition = following is not None and _DEFINITION.match(following.content)
            found.append(replace(state, text="\u2028" if definition else " "))
        elif token.type == "hardbreak":
            found.append(replace(state, text="\u2028"))
        elif token.content:
            found += _with_addresses(replace(state, text=_BREAK.sub("\u2028", token.content)))
    return _joined(found)


def _switched(span: Span, tag: str, *, on: bool) -> Span:
    match tag:
        case "strong":
            return replace(span, bold=on)
        case "em":
            return replace(span, italic=on)
        case _:
            return replace(span, strike=on)


def _safe(href: str) -> str | None:
    return href if href.lower().startswith(SAFE_SCHEMES) else None


def _with_addresses(span: Span) -> list[Span]:
    """Bare web addresses become links."""
    if span.href is not None or "://" not in span.text:
        return [span]
    found: list[Span] = []
    at = 0
    for match in _URL.finditer(span.text):
        found.append(replace(span, text=span.text[at : match.start()]))
        found.append(replace(span, text=match[0], href=match[0]))
        at = match.end()
    found.append(replace(span, text=span.text[at:]))
    return [s for s in found if s.text]


def _joined(spans: list[Span]) -> tuple[Span, ...]:
    found: list[Span] = []
    texts: list[str] = []
    for span in spans:
        if found and replace(span, text="") == found[-1]:
            texts[-1] += span.text
        else:
            found.append(replace(span, text=""))
            texts.append(span.text)
    return tuple(replace(s, text=t) for s, t in zip(found, texts, strict=True) if t)
