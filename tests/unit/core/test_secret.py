from splitrig.core.secret import shown_value, without_secrets


def test_secrets_in_a_command_line_are_hidden() -> None:
    command = ["vllm", "serve", "m", "--api-key", "s1", "--hf-token=s2", "-c", "4", "--key", "s3"]
    assert without_secrets(command) == (
        "vllm", "serve", "m", "--api-key", "***", "--hf-token=***", "-c", "4", "--key", "***",
    )  # fmt: skip


def test_what_only_sounds_like_a_secret_stays() -> None:
    command = ("--max-tokens", "5", "--api-key-file", "f", "--tokenizer", "t", "--api-key")
    assert without_secrets(command) == command


def test_secret_variables_are_hidden_by_name() -> None:
    for name in (
        "LLAMA_API_KEY",
        "HF_TOKEN",
        "OLLAMA_AUTH",
        "AWS_SECRET_ACCESS_KEY",
        "DB_PASSWORD",
    ):
        assert shown_value(name, "sesame") == "***"
    for name in ("CUDA_VISIBLE_DEVICES", "VLLM_MAX_TOKENS", "MONKEYS", "GGML_AUTHOR"):
        assert shown_value(name, "1") == "1"


def test_a_value_is_one_short_line_without_a_password() -> None:
    assert shown_value("OLLAMA_HOST", "http://me:sesame@host:1") == "http://***@host:1"
    assert shown_value("LD_PRELOAD", "a\nb\x1b[0m") == "a b [0m"
    assert len(shown_value("LD_PRELOAD", "x" * 500)) == 80
