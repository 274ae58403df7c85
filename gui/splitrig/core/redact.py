"""Takes out of a text what its owner would not want in a public bug report."""

import re
from collections.abc import Collection

GONE = "[removed]"
USER = "USER"
HOST = "HOST"
SHORTEST_NAME = 3
"""A user or machine called 'a' is not looked for: every path would suffer."""

_VALUE = r"""(?:"[^"\n]*"|'[^'\n]*'|\[[^\]\n]*\]|[^\s,)\]}"']+)"""
_KEYS = r"(?:api[-_]?key|access[-_]token|auth[-_]token|hf[-_]token|password|secret)s?"
_SHAPES = (
    r"\b(?:hf_[A-Za-z0-9]{16,}|sk-[\w-]{16,}|gh[opsur]_\w{20,}|github_pat_\w{20,}"
    r"|nvapi-[\w-]{16,}|xox[abp]-[\w-]{10,}|AKIA[0-9A-Z]{16}"
    r"|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*)"
)
"""Tokens of Hugging Face, OpenAI, GitHub, NVIDIA, Slack and AWS, and JSON web tokens."""
_RULES = tuple(
    (re.compile(pattern), instead)
    for pattern, instead in (
        # as an argument: `--api-key KEY`, `--hf-token=TOKEN`, `-hft TOKEN`
        (
            rf"(?i)(?<!\S)(--?[\w-]*(?:api-?key|token|password|secret)|-hft)([ =]){_VALUE}",
            rf"\1\2{GONE}",
        ),
        # in JSON and Python: `"api_key": "KEY"`, and llama.cpp's `api_keys: ****efgh`
        (
            rf"""(?i)({_KEYS}["']?\s*[:=]\s*)(?!none\b|null\b|\[removed){_VALUE}""",
            rf"\1{GONE}",
        ),
        # in an environment: `LLAMA_API_KEY=KEY`, and Go's `map[HF_TOKEN:TOKEN]`
        (
            rf"\b((?:[A-Z0-9]+_)*(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD)[=:])(?!\[removed){_VALUE}",
            rf"\1{GONE}",
        ),
        (
            r"""(?i)(authorization["']?\s*[:=]\s*["']?)(?:(?:basic|bearer|token)\s+)?[^\s"',}]+""",
            rf"\1{GONE}",
        ),
        (r"(?i)\b(bearer)\s+[\w.~+/=-]{8,}", rf"\1 {GONE}"),
        # in an address: `https://name:password@host`, `?token=TOKEN`
        (r"(\w+://)[^/\s:@]+(?::[^/\s@]*)?@", rf"\1{GONE}@"),
        (
            r"""(?i)([?&](?:api[-_]?key|key|token|sig|signature|x-amz-[\w-]+)=)[^&\s"']+""",
            rf"\1{GONE}",
        ),
        (_SHAPES, GONE),
    )
)
_HOMES = (
    (
        re.compile(r"""(?i)([a-z]:[\\/]+users[\\/]+)[^\\/:*?"'<>|\n]+(?=[\\/"'\n]|$)"""),
        rf"\1{USER}",
    ),
    (re.compile(r"""(/home/|/Users/)[^/\s:"',)\]]+"""), rf"\1{USER}"),
    (re.compile(r"""(/media/)[^/\s:"',)\]]+(?=/)"""), rf"\1{USER}"),
)


def redacted(
    text: str, *, secrets: Collection[str] = (), home: str = "", user: str = "", host: str = ""
) -> str:
    """The text without keys, tokens, passwords, the user's and the machine's name.

    Args:
        text: Any text, such as a log with the command that wrote it.
        secrets: Keys that are known; taken out wherever they stand.
        home: The user's folder; becomes `~`.
        user: The user's name; becomes USER where it is part of a path or of an address.
        host: The machine's name; becomes HOST.
    """
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, GONE)
    for pattern, instead in _RULES:
        text = pattern.sub(instead, text)
    if len(home) > SHORTEST_NAME:
        text = _without_home(text, home)
    for pattern, instead in _HOMES:
        text = pattern.sub(instead, text)
    if len(user) >= SHORTEST_NAME:
        name = re.escape(user)
        text = re.sub(rf"(?<=[\\/]){name}(?![\w.-])|(?<![\w.-]){name}(?=@)", USER, text)
    if len(host) >= SHORTEST_NAME and host != "localhost":
        text = re.sub(rf"(?<![\w.-]){re.escape(host)}(?![\w-])", HOST, text)
    return text


def _without_home(text: str, home: str) -> str:
    r"""With `~` for the user's folder, also where `\` is written `\\` or `/`."""
    spellings = {home, home.replace("\\", "\\\\"), home.replace("\\", "/")}
    windows = "\\" in home
    for spelling in sorted(spellings, key=len, reverse=True):
        pattern = rf"{re.escape(spelling)}(?![\w.-])"
        text = re.sub(pattern, "~", text, flags=re.IGNORECASE if windows else re.NOFLAG)
    return text
