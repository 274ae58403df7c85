"""Nothing that a user would not post stays in a text; what helps does."""

import pytest

from splitrig.core.redact import GONE, redacted


@pytest.mark.parametrize(
    "text",
    [
        "llama-server -m x.gguf --api-key SECRETSECRET --port 8080",
        "llama-server --api-key=SECRETSECRET",
        "vllm serve x --api-key 'SECRETSECRET'",
        "llama-server -hft SECRETSECRET -hfr org/repo",
        'args: {"api_key": "SECRETSECRET", "port": 1}',
        "Namespace(host=None, api_key=['SECRETSECRET'], port=8000)",
        "srv init: api_keys: ****SECRETSECRET",
        "LLAMA_API_KEY=SECRETSECRET llama-server",
        'env="map[HF_TOKEN:SECRETSECRET OLLAMA_HOST:x]"',
        "VLLM_API_KEY='SECRETSECRET'",
        "> Authorization: Bearer SECRETSECRET",
        "'authorization': 'Bearer SECRETSECRET'",
        "> authorization: Basic SECRETSECRET=",
        "got Bearer SECRETSECRET from the client",
        "https://anna:SECRETSECRET@proxy.example:3128/",
        "GET /v1/models?api_key=SECRETSECRET&x=1",
        "https://cdn.example/f?X-Amz-Signature=SECRETSECRET",
        "token hf_SECRETSECRETSECRETSECRET",
        "sk-proj-SECRETSECRET_SECRETSECRET",
        "ghp_SECRETSECRETSECRETSECRET",
        "jwt eyJSECRETSECRET.SECRETSECRET.SECRETSECRET",
        "nvapi-SECRETSECRETSECRET",
    ],
)
def test_keys_and_tokens_go(text: str) -> None:
    result = redacted(text)
    assert "SECRET" not in result
    assert GONE in result


@pytest.mark.parametrize(
    "text",
    [
        "llama-server --max-tokens 300 -ctk q8_0 --port 8080",
        "print_info: BOS token        = 1 '<|im_start|>'",
        "slot update_slots: id 0 | prompt done, n_tokens = 34",
        "Namespace(api_key=None, port=8000)",
        "the authentication failed",
        "RPC0[127.0.0.1:50151] model buffer size =    50.73 MiB",
        "CUDA error: out of memory at /build/ggml/src/ggml-cuda.cu:97",
        "2 files in /usr/share/models/x.gguf",
        "http://127.0.0.1:8137/v1/chat/completions",
        "map[OLLAMA_KV_CACHE_TYPE:q8_0 OLLAMA_ORIGINS:[http://localhost:* app://*]]",
    ],
)
def test_what_helps_stays(text: str) -> None:
    assert redacted(text, home="/home/anna", user="anna", host="tower") == text


def test_a_known_key_goes_wherever_it_stands() -> None:
    assert redacted("x1234567y", secrets=["", "1234567"]) == f"x{GONE}y"
    assert redacted("ab abc", secrets=["ab", "abc"]) == f"{GONE} {GONE}"


@pytest.mark.parametrize(
    ("text", "home", "expected"),
    [
        ("-m /home/anna/m/x.gguf", "/home/anna", "-m ~/m/x.gguf"),
        ("-m /srv/people/anna/x.gguf", "/srv/people/anna", "-m ~/x.gguf"),
        ("/home/annabel/x", "/home/anna", "/home/USER/x"),
        ("/home/bert/x and /Users/carl/y", "", "/home/USER/x and /Users/USER/y"),
        ("File '/home/bert/env/lib'", "/home/anna", "File '/home/USER/env/lib'"),
        ("/run/media/anna/big disk/x", "/home/anna", "/run/media/USER/big disk/x"),
        (r"C:\Users\Anna Smith\m\x.gguf", r"C:\Users\Anna Smith", r"~\m\x.gguf"),
        (r"c:\users\anna smith\m", r"C:\Users\Anna Smith", r"~\m"),
        (r'"C:\\Users\\Anna Smith\\m"', r"C:\Users\Anna Smith", r'"~\\m"'),
        ("C:/Users/Anna Smith/m", r"C:\Users\Anna Smith", "~/m"),
        (r"D:\Users\Bert B\m", r"C:\Users\Anna", r"D:\Users\USER\m"),
        ("/mnt/c/Users/bert/m", "", "/mnt/c/Users/USER/m"),
    ],
)
def test_home_folders_lose_their_owner(text: str, home: str, expected: str) -> None:
    assert redacted(text, home=home) == expected


def test_the_names_of_user_and_machine_go() -> None:
    text = "/data/anna/x, anna@tower:22, tower, tower2, Annalen, annas, /opt/anna.d"
    expected = "/data/USER/x, USER@HOST:22, HOST, tower2, Annalen, annas, /opt/anna.d"
    assert redacted(text, user="anna", host="tower") == expected


def test_short_or_common_names_are_left_alone() -> None:
    assert redacted("/a/b, localhost", user="a", host="localhost") == "/a/b, localhost"


def test_it_can_be_done_twice() -> None:
    once = redacted('LLAMA_API_KEY=abc "api_key": "x" /home/anna/x', home="/home/anna")
    assert redacted(once, home="/home/anna") == once
