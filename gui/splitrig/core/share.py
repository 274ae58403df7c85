"""How others use a running engine: its addresses, and lines to copy into another program."""

import json
from collections.abc import Sequence
from enum import StrEnum

LOOPBACK = "127.0.0.1"
EVERYWHERE = "0.0.0.0"  # noqa: S104 - bound to only after an explicit choice
NO_KEY = "none"
"""What clients that insist on a key may send to an engine that takes none."""


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
                f"client = OpenAI(base_url={json.dumps(base)}, api_key={json.dumps(token)})\n"
                "answer = client.chat.completions.create(\n"
                f"    model={json.dumps(model, ensure_ascii=False)},\n"
                '    messages=[{"role": "user", "content": "Hello"}],\n'
                ")\n"
                "print(answer.choices[0].message.content)\n"
            )
        case Way.ENVIRONMENT:
            pairs = (("OPENAI_BASE_URL", base), ("OPENAI_API_KEY", token))
            line = '$env:{} = "{}"' if windows else "export {}={}"
            return "".join(line.format(name, value) + "\n" for name, value in pairs)


def _curl(base: str, key: str | None, model: str, *, windows: bool) -> str:
    asked = {"model": model, "messages": [{"role": "user", "content": "Hello"}]}
    # the console of Windows may know no other characters
    body = json.dumps(asked, ensure_ascii=windows)
    headers = ["Content-Type: application/json"]
    if key is not None:
        headers.append(f"Authorization: Bearer {key}")
    # JSON holds double quotes only, so that single ones need no care but within the name
    quoted = (
        '"' + body.replace('"', '\\"') + '"'
        if windows
        else ("'" + body.replace("'", "'\\''") + "'")
    )
    parts = [f"curl {base}/chat/completions", *(f'-H "{header}"' for header in headers)]
    return (" ^\n  " if windows else " \\\n  ").join([*parts, f"-d {quoted}"]) + "\n"
