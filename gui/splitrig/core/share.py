"""How others use a running engine: its addresses, and lines to copy into another program."""

import json
import shlex
import string
from collections.abc import Sequence
from enum import StrEnum

LOOPBACK = "127.0.0.1"
EVERYWHERE = "0.0.0.0"  # noqa: S104 - bound to only after an explicit choice
NO_KEY = "none"
"""What clients that insist on a key may send to an engine that takes none."""
_PLAIN = frozenset(string.ascii_letters + string.digits + " -_.:/@+")


class Way(StrEnum):
    """A program the engine is used from."""

    CURL = "curl"
    PYTHON = "Python"
    ENVIRONMENT = "Environment"


def is_open(host: str) -> bool:
    """Whether other machines can reach an engine that listens there."""
    return not (host.startswith("127.") or host in ("localhost", "::1"))


def own_address(host: str) -> str:
    """Where this machine itself reaches an engine that listens on `host`."""
    return LOOPBACK if host in (EVERYWHERE, "localhost") else host


def network_urls(host: str, port: int, addresses: Sequence[str]) -> tuple[str, ...]:
    """Addresses under which other machines find the engine.

    Args:
        host: What it listens on.
        port: Its TCP port.
        addresses: IPv4 addresses of this machine on its networks.
    """
    if not is_open(host):
        return ()
    found = addresses if host == EVERYWHERE else (host,)
    return tuple(f"http://{address}:{port}" for address in found)


def lines_for(way: Way, url: str, key: str | None, model: str, *, windows: bool = False) -> str:
    """Lines to copy.

    Args:
        way: What they are for.
        url: Base address of the engine, without `/v1`.
        key: Bearer token; `None` where it takes none.
        model: Name of the model for engines that serve several.
        windows: For the command line of Windows (curl) and PowerShell (variables).
    """
    base = f"{url.rstrip('/')}/v1"
    token = key or NO_KEY
    match way:
        case Way.CURL:
            return _curl(base, key, model, windows=windows)
        case Way.PYTHON:
            return (
                "from openai import OpenAI\n\n"
                f"client = OpenAI(base_url={_python(base)}, api_key={_python(token)})\n"
                "answer = client.chat.completions.create(\n"
                f"    model={_python(model)},\n"
                '    messages=[{"role": "user", "content": "Hello"}],\n'
                ")\n"
                "print(answer.choices[0].message.content)\n"
            )
        case Way.ENVIRONMENT:
            pairs = (("OPENAI_BASE_URL", base), ("OPENAI_API_KEY", token))
            if windows:
                return "".join(f"$env:{name} = {_powershell(value)}\n" for name, value in pairs)
            return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in pairs)


def _curl(base: str, key: str | None, model: str, *, windows: bool) -> str:
    messages = json.dumps([{"role": "user", "content": "Hello"}])
    body = f'{{"model": {_json(model, windows=windows)}, "messages": {messages}}}'
    headers = ["Content-Type: application/json"]
    if key is not None:
        headers.append(f"Authorization: Bearer {key}")
    quote = _cmd if windows else shlex.quote
    address = f"{base}/chat/completions"
    parts = [f"curl {address if windows else quote(address)}"]
    parts += [f"-H {quote(header)}" for header in headers]
    return (" ^\n  " if windows else " \\\n  ").join([*parts, f"-d {quote(body)}"]) + "\n"


def _json(text: str, *, windows: bool) -> str:
    r"""A string of JSON without anything that a shell could take for its own.

    Within cmd's own count of quotes a name stands outside of them, and fish reads `\\` in single
    ones, so that letters, digits and a few harmless marks stay and the rest becomes `\uXXXX`. The
    console of Windows may know no other letters than the English ones.
    """

    def shown(c: str) -> str:
        if c in _PLAIN or (not windows and c.isalpha()):
            return c
        units = c.encode("utf-16-be", "surrogatepass")
        return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))

    return f'"{"".join(map(shown, text))}"'


def _python(text: str) -> str:
    """A string of Python; JSON's differ beyond U+FFFF, where they are two."""
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in quoted)


def _cmd(text: str) -> str:
    """An argument on the command line of Windows; no backslash stands before a quote in it."""
    return '"' + text.replace('"', '\\"') + '"'


def _powershell(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
