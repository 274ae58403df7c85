"""Addresses and lines to copy."""

import json
import shlex

import pytest

from splitrig.core.share import Way, is_open, lines_for, network_urls, own_address

URL = "http://127.0.0.1:8137"
MODEL = 'Bob\'s "model"'


@pytest.mark.parametrize(
    ("host", "open_"),
    [
        ("127.0.0.1", False),
        ("127.0.0.5", False),
        ("localhost", False),
        ("::1", False),
        ("0.0.0.0", True),
        ("192.168.1.5", True),
    ],
)
def test_what_is_open_to_others(host: str, open_: bool) -> None:
    assert is_open(host) is open_


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("localhost", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),
        ("127.0.0.2", "127.0.0.2"),
        ("192.168.1.5", "192.168.1.5"),
    ],
)
def test_where_this_machine_reaches_it(host: str, own: str) -> None:
    assert own_address(host) == own


def test_others_get_the_addresses_of_the_network() -> None:
    both = ("192.168.1.5", "10.0.0.2")
    assert network_urls("127.0.0.1", 8137, both) == ()
    assert network_urls("0.0.0.0", 8137, both) == (
        "http://192.168.1.5:8137",
        "http://10.0.0.2:8137",
    )
    assert network_urls("10.0.0.2", 8137, both) == ("http://10.0.0.2:8137",)


def test_curl_survives_a_shell_whatever_the_model_is_called() -> None:
    words = shlex.split(lines_for(Way.CURL, URL, "sk-1", MODEL).replace("\\\n", ""))
    assert words[:2] == ["curl", f"{URL}/v1/chat/completions"]
    assert words[2:6] == [
        "-H",
        "Content-Type: application/json",
        "-H",
        "Authorization: Bearer sk-1",
    ]
    assert json.loads(words[-1])["model"] == MODEL


def test_curl_for_windows_has_double_quotes_only() -> None:
    text = lines_for(Way.CURL, URL, None, "m", windows=True)
    assert "'" not in text
    assert " ^\n" in text
    assert "Authorization" not in text
    body = text[text.index('-d "') + 4 : text.rindex('"')].replace('\\"', '"')
    assert json.loads(body)["model"] == "m"


def test_python_is_valid_and_names_all_three() -> None:
    text = lines_for(Way.PYTHON, URL + "/", None, MODEL)
    compile(text, "lines", "exec")
    assert f'base_url="{URL}/v1", api_key="none"' in text
    assert json.dumps(MODEL) in text
    assert 'model="Büro 🦙"' in lines_for(Way.PYTHON, URL, None, "Büro 🦙"), "it stays readable"


def test_variables_for_both_shells() -> None:
    assert lines_for(Way.ENVIRONMENT, URL, "sk-1", "m") == (
        f"export OPENAI_BASE_URL={URL}/v1\nexport OPENAI_API_KEY=sk-1\n"
    )
    assert lines_for(Way.ENVIRONMENT, URL, "sk-1", "m", windows=True) == (
        f"$env:OPENAI_BASE_URL = '{URL}/v1'\n$env:OPENAI_API_KEY = 'sk-1'\n"
    )


def test_a_name_with_other_letters_stays_readable() -> None:
    for way in (Way.CURL, Way.PYTHON):
        assert "Llama Ünï" in lines_for(way, URL, None, "Llama Ünï")
    assert "Ünï" not in lines_for(Way.CURL, URL, None, "Llama Ünï", windows=True)
