"""Lines to copy, run by the programs they are for, with names that no shell likes."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from splitrig.core.share import Way, lines_for

URL = "http://127.0.0.1:8137"
KEY = "sk-1"
NAMES = [
    "qwen3:8b",
    "Büro 🦙 𝒜",
    "it's \"quoted\" 'twice'",
    "back\\slash\\",
    '\\"',
    "two\nlines\r\n\ttab",
    "$HOME `id` $(id) !! %PATH% ^ & | < > ; * ? [a] {b} ~ #",
    "\u2028\u00a0\x7f\x01",
    "",
]
SAYS_ARGUMENTS = f"""#!{sys.executable}
import json, sys
print(json.dumps(sys.argv[1:]))
"""
SAYS_CALLS = """
from types import SimpleNamespace as Some


def create(**asked):
    print(ascii(asked))
    return Some(choices=[Some(message=Some(content="answered"))])


def OpenAI(**given):
    print(ascii(given))
    return Some(chat=Some(completions=Some(create=create)))
"""


def output(*command: str, **env: str) -> list[str]:
    done = subprocess.run(
        command, env={**os.environ, **env}, capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.mark.parametrize("name", NAMES)
def test_python_runs_and_asks_for_the_very_name(name: str, tmp_path: Path) -> None:
    (tmp_path / "openai.py").write_text(SAYS_CALLS)
    text = lines_for(Way.PYTHON, URL, KEY, name)
    client, asked, answer = output(sys.executable, "-c", text, PYTHONPATH=str(tmp_path))
    # JSON would join what is two characters in Python
    assert ast.literal_eval(client) == {"base_url": f"{URL}/v1", "api_key": KEY}
    assert ast.literal_eval(asked)["model"] == name
    assert answer == "answered"


@pytest.mark.skipif(sys.platform == "win32", reason="it has no sh")
@pytest.mark.parametrize("shell", ["sh", "bash", "zsh", "fish"])
@pytest.mark.parametrize("name", NAMES)
def test_curl_gets_the_very_name_from_every_shell(name: str, shell: str, tmp_path: Path) -> None:
    if shell in ("zsh", "fish") and shutil.which(shell) is None:
        return  # not everybody has these two
    curl = tmp_path / "curl"
    curl.write_text(SAYS_ARGUMENTS)
    curl.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    (line,) = output(shell, "-c", lines_for(Way.CURL, URL, KEY, name), PATH=path)
    address, *rest = json.loads(line)
    assert address == f"{URL}/v1/chat/completions"
    assert rest[:4] == [
        "-H",
        "Content-Type: application/json",
        "-H",
        f"Authorization: Bearer {KEY}",
    ]
    assert rest[4] == "-d"
    assert json.loads(rest[5])["model"] == name


@pytest.mark.skipif(sys.platform == "win32", reason="it has no sh")
def test_variables_arrive_whatever_is_in_them() -> None:
    text = lines_for(Way.ENVIRONMENT, "http://[::1]:8137", "a $b 'c' \"d\" `e`", "m")
    show = '\nprintf "%s\\n" "$OPENAI_BASE_URL" "$OPENAI_API_KEY"'
    assert output("sh", "-c", text + show) == ["http://[::1]:8137/v1", "a $b 'c' \"d\" `e`"]


def as_windows_splits(line: str) -> list[str]:
    """Arguments by the rules of the C runtime of Windows, where backslashes may precede a quote."""
    words: list[str] = []
    word, inside, begun = "", False, False
    for match in re.finditer(r'(\\*)"|(\\+)|(\s)|([^\\"\s])', line):
        slashes, others, space, plain = match.groups()
        if slashes is not None:
            word += "\\" * (len(slashes) // 2)
            if len(slashes) % 2:
                word += '"'
            else:
                inside = not inside
            begun = True
        elif space is not None and not inside:
            if begun:
                words.append(word)
            word, begun = "", False
        else:
            word += others or space or plain
            begun = True
    return [*words, word] if begun else words


@pytest.mark.parametrize("name", NAMES)
def test_nothing_in_a_name_means_anything_to_cmd(name: str) -> None:
    text = lines_for(Way.CURL, URL, KEY, name, windows=True)
    line = text.replace(" ^\n  ", " ").rstrip("\n")
    assert not set(line) & set("\n\r%&|<>^!`'"), "cmd counts quotes in its own way"
    words = as_windows_splits(line)
    assert words[:2] == ["curl", f"{URL}/v1/chat/completions"]
    assert words[5] == f"Authorization: Bearer {KEY}"
    assert json.loads(words[7])["model"] == name
