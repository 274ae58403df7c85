"""Keeps keys and passwords out of what is shown, logged and written down."""

import re
from collections.abc import Sequence

HIDDEN = "***"
_FLAG = re.compile(r"^--?[\w-]*(keys?|token|secret|password)$", re.IGNORECASE)
_PAIR = re.compile(r"^(--?[\w-]*(?:keys?|token|secret|password)=).*", re.IGNORECASE | re.DOTALL)
_NAME = re.compile(
    r"(^|_)(API_?)?KEY(S|$|_)|TOKEN($|_)|SECRET|PASSW|CREDENTIAL|(^|_)AUTH($|_)", re.IGNORECASE
)
_IN_URL = re.compile(r"(://)[^/@\s]+@")


def without_secrets(command: Sequence[str]) -> tuple[str, ...]:
    """A command line with the values of options such as `--api-key` hidden."""
    shown = []
    hide = False
    for argument in command:
        shown.append(HIDDEN if hide else _PAIR.sub(rf"\g<1>{HIDDEN}", argument))
        hide = not hide and _FLAG.match(argument) is not None
    return tuple(shown)


def shown_value(name: str, value: str, most: int = 80) -> str:
    """The value of an environment variable for showing: no secret, one line, not too long."""
    if _NAME.search(name):
        return HIDDEN
    text = _IN_URL.sub(rf"\g<1>{HIDDEN}@", value)
    text = "".join(c if c.isprintable() else " " for c in text)
    return text if len(text) <= most else f"{text[: most - 1]}…"
