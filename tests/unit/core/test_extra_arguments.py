"""Arguments added by hand: what is refused, what is told, and that no name is a way around."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitrig.core.argument_rules import REFUSED, WARNED
from splitrig.core.errors import ArgumentError
from splitrig.core.extra_arguments import check_arguments, check_line, split_line
from splitrig.core.server_options import Options, parse_help

HELP = Path(__file__).parents[2] / "recorded" / "llama_server_help"
OPTIONS = parse_help((HELP / "571d0d5.txt").read_text(encoding="utf-8"))
NEWER = parse_help((HELP / "0c1e570.txt").read_text(encoding="utf-8"))
BOTH = pytest.mark.parametrize("options", [OPTIONS, NEWER], ids=["571d0d5", "0c1e570"])


def refusal(line: str, options: Options = OPTIONS) -> str:
    checked = check_line(line, options)
    return str(checked.refused[0]) if checked.refused else ""


def warning(line: str, options: Options = OPTIONS) -> str:
    checked = check_line(line, options)
    assert checked.refused == ()
    return str(checked.warnings[0]) if checked.warnings else ""


# Reading a line


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ()),
        ("  --alias   mine ", ("--alias", "mine")),
        ("--alias 'two words'", ("--alias", "two words")),
        ('--alias "a \\" b"', ("--alias", 'a " b')),
        ("--alias a#b", ("--alias", "a#b")),
        ("-p (x);|&", ("-p", "(x);|&")),
        ("--alias ''", ("--alias", "")),
    ],
)
def test_a_line_is_read_as_a_shell_would(text: str, words: tuple[str, ...]) -> None:
    assert split_line(text) == words


def test_on_windows_a_backslash_is_part_of_a_path() -> None:
    assert split_line(r"--lora C:\x\y.gguf", windows=True) == ("--lora", r"C:\x\y.gguf")
    assert split_line(r"--lora C:\x", windows=False) == ("--lora", "C:x")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("--alias 'x", "quotation mark"),
        ('--alias "x', "quotation mark"),
        ("--alias x\\", "backslash"),
        ("--alias x\0y", "control character"),
        ("--alias x\x1by", "control character"),
    ],
)
def test_a_line_that_cannot_be_read_is_one_sentence(text: str, words: str) -> None:
    with pytest.raises(ArgumentError, match=words) as raised:
        split_line(text)
    assert raised.value.hint
    assert words in refusal(text)


@given(st.text(max_size=60))
def test_any_line_is_judged_without_an_accident(text: str) -> None:
    checked = check_line(text, OPTIONS)
    assert all(str(remark) for remark in (*checked.refused, *checked.warnings))


# Refused


@BOTH
def test_every_name_of_a_refused_option_is_refused(options: Options) -> None:
    """The help lists all names of an option; one rule for one of them holds for all."""
    for option in {id(o): o for o in options.by_name.values()}.values():
        values = ["x"] * option.n_values
        verdicts = {
            name: bool(check_arguments([name, *values], options).refused) for name in option.names
        }
        assert len(set(verdicts.values())) == 1, verdicts


def test_a_new_name_of_a_refused_option_is_no_way_around() -> None:
    renamed = parse_help(
        "--host, --listen-to, -H HOST   where\n"
        "-m,    --model, --weights FNAME\n"
        "--tools, --skills LIST   what\n"
    )
    for line in ("--listen-to 0.0.0.0", "-H 0.0.0.0", "--weights x.gguf", "--skills all"):
        assert "is not taken" in refusal(line, renamed), line


@BOTH
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--host 0.0.0.0", "who can reach"),
        ("--host ::1", "who can reach"),
        ("--host=0.0.0.0", "who can reach"),
        ("--port 80", "port is free"),
        ("--reuse-port", "port is free"),
        ("--api-key x", "new key at every start"),
        ("--api_key x", "new key at every start"),
        ("--api-key-file x", "new key at every start"),
        ("--ssl-key-file x", "could not speak"),
        ("--ssl-cert-file x", "could not speak"),
        ("--cors-origins *", "web pages"),
        ("--no-cors-credentials", "web pages"),
        ("--api-prefix /x", "no longer find"),
        ("--path /", "files of this computer"),
        ("--media-path /", "read files"),
        ("--slot-save-path /", "write files"),
        ("--tools all", "run programs"),
        ("--agent", "run programs"),
        ("-ag", "run programs"),
        ("--ui-mcp-proxy", "run programs"),
        ("--rpc 10.0.0.1:50052", "other machines"),
        ("--models-dir /", "load other models"),
        ("--models-autoload", "load other models"),
        ("-hf ggml-org/x", "internet"),
        ("--hf-token x", "internet"),
        ("-hfd x/y", "internet"),
        ("-mu http://x", "internet"),
        ("-dr x", "internet"),
        ("--mmproj-url http://x", "internet"),
        ("--fim-qwen-7b-default", "internet"),
        ("-m x.gguf", "model is chosen"),
        ("-md x.gguf", "draft model"),
        ("-ngld 3", "draft model"),
        ("--mmproj x.gguf", "projector"),
        ("--no-mmproj", "projector"),
        ("-dev CUDA0", "cards and their order"),
        ("-mg 1", "cards and their order"),
        ("-ts 1,2", "split bar"),
        ("-sm row", "under 'More'"),
        ("-ngl 3", "Layers on the cards"),
        ("-cmoe", "under 'More'"),
        ("--n-cpu-moe 3", "under 'More'"),
        ("-c 100000", "under 'Context'"),
        ("-ctk q8_0", "KV cache"),
        ("--cache-type-v q8_0", "KV cache"),
        ("-fa off", "flash-attn"),
        ("-np 4", "under 'Requests'"),
        ("-kvu", "kv-unified"),
        ("--no-kv-unified", "kv-unified"),
        ("-fit on", "move layers"),
        ("-fitt 100", "move layers"),
        ("--log-disable", "reads the log"),
        ("--log-file x", "reads the log"),
        ("--log-colors on", "reads the log"),
        ("-lv 2", "4 and 5 are taken"),
        ("-lv x", "4 and 5 are taken"),
        ("-h", "and end"),
        ("--version", "and end"),
        ("--list-devices", "and end"),
        ("--completion-bash", "and end"),
        ("--draft-max 3", "is gone from this engine"),
        ("--draft 3", "is gone from this engine"),
    ],
)
def test_what_opens_the_engine_or_takes_it_from_the_panel_is_refused(
    options: Options, line: str, words: str
) -> None:
    assert words in refusal(line, options)
    name = re.split(r"[ =]", line)[0]
    assert name in refusal(line, options)


@pytest.mark.parametrize(
    "line", ["--mcp-servers-config x", "--mcp-servers-json {}", "--tools-runtime ssh:x",
             "--log-jsonl", "--no-log-jsonl", "-mmdev CUDA1", "--kv-unified-per-slot 100"]
)  # fmt: skip
def test_what_newer_builds_brought_is_refused_too(line: str) -> None:
    assert "is not taken" in refusal(line, NEWER)


def test_an_option_that_only_other_builds_have_is_refused_for_what_it_does() -> None:
    assert "run programs" in refusal("--mcp-servers-config x", OPTIONS)
    assert "Take it out." in refusal("--mcp-servers-config x", OPTIONS)


def test_an_unknown_option_that_is_about_reach_is_refused_by_its_name_or_text() -> None:
    future = parse_help(
        "--listen-backlog N                      how many wait\n"
        "--enable-thing                          do not enable in untrusted environments\n"
        "--nice-default                          a preset (note: can download weights from the\n"
        "                                        internet)\n"
        "--grammar-cache N                       how many grammars are kept\n"
    )
    assert "who reaches the engine" in refusal("--listen-backlog 3", future)
    assert "run programs" in refusal("--enable-thing", future)
    assert "internet" in refusal("--nice-default", future)
    assert refusal("--grammar-cache 3", future) == ""


def test_a_refusal_says_where_the_same_can_be_set() -> None:
    assert "'On the network'" in refusal("--host 0.0.0.0")
    assert "--ctx of splitrig serve" in refusal("-c 5")


# What does not parse as the engine parses


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("mine", "'mine' belongs to no option"),
        ("--alias a b", "'b' belongs to no option"),
        ("-", "'-' belongs to no option"),
        ("-5", "'-5' belongs to no option"),
        ("--mlock 1", "'1' belongs to no option"),
        ("--alais x", "Did you mean --alias?"),
        ("--qqqqqqqqq", "--help"),
        ("--alias", "--alias needs a value (STRING)"),
        ("--alias --mlock", "'--mlock' is another option"),
        ("--override-tensor", "--override-tensor needs a value."),
        ("--control-vector-layer-range 1", "needs a value"),
        ("--alias=mine", "as a word of its own: --alias STRING"),
        ("--mlock=1", "--mlock takes no value"),
    ],
)
def test_what_the_engine_would_not_understand_is_told(line: str, words: str) -> None:
    assert words in refusal(line)


def test_a_value_cannot_hide_an_option() -> None:
    """The engine would take `--host` as the alias, and refuse what follows."""
    checked = check_line("--alias --host 0.0.0.0", OPTIONS)
    assert len(checked.refused) == 2
    assert checked.arguments == ("--alias", "--host", "0.0.0.0")


# Taken


@BOTH
@pytest.mark.parametrize(
    "line",
    [
        "",
        "--alias mine",
        "-a mine --threads 4 --temp -0.5 --seed -1",
        "--host 127.0.0.1",
        "-lv 5",
        "-lv 4",
        "-v",
        "--no-ui",
        "--no-mmproj-offload --jinja",
        "--kv-offload",
        "--chat-template-kwargs '{\"a\": 1}'",
        "--control-vector-layer-range 1 3",
        "--spec-type ngram-simple",
        "--offline --no-host",
        "--metrics --slots --no-warmup",
    ],
)
def test_what_does_no_harm_is_taken(options: Options, line: str) -> None:
    checked = check_line(line, options)
    assert checked.refused == ()
    assert checked.demand() == split_line(line)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--mlock", "With --mlock it changes how much of the model the computer's RAM holds."),
        ("--no-mmap", "passes through the computer's RAM"),
        ("-dio", "RAM holds"),
        ("--override-tensor x=CPU", "elsewhere than the plan says"),
        ("-ot x=CPU", "elsewhere than the plan says"),
        ("--swa-full", "needs more room"),
        ("-cram 100", "does not count"),
        ("--ctx-checkpoints 3", "does not count"),
        ("-b 512", "counts the compute buffer"),
        ("--ubatch-size 512", "counts the compute buffer"),
        ("-nkvo", "lies in RAM"),
        ("--no-op-offload", "compute buffers differ"),
        ("--lora x", "does not count it"),
        ("--control-vector x", "does not count it"),
        ("-mv x", "vocoder"),
        ("--override-kv a=int:1", "own figures"),
        ("-devd CUDA1", "draft model"),
        ("-ncmoed 3", "draft model"),
        ("--spec-draft-n-cpu-moe 3", "draft model"),
        ("--no-mmproj-offload", "first card"),
        ("--embeddings", "chat does not work"),
        ("--rerank", "chat does not work"),
        ("--sleep-idle-seconds 60", "emptied"),
        ("--props", "change the engine's settings"),
        ("--ui", "its own page"),
        ("--log-prompts-dir x", "into that folder"),
        ("-lcd x", "kept in that file"),
    ],
)
def test_what_changes_the_figures_is_taken_with_a_word(line: str, words: str) -> None:
    assert words in warning(line)


@pytest.mark.parametrize("line", ["--mmap", "-kvo", "-ndio", "--mmproj-offload", "--no-webui"])
def test_the_harmless_name_of_such_an_option_needs_no_word(line: str) -> None:
    assert warning(line) == ""


def test_the_same_is_not_said_twice() -> None:
    assert len(check_line("--mlock --mlock", OPTIONS).warnings) == 1
    assert len(check_line("-x -x", OPTIONS).refused) == 1


def test_which_options_are_given_is_known_by_all_their_names() -> None:
    checked = check_line("-a mine -nkvo", OPTIONS)
    assert {"-a", "--alias", "--kv-offload"} <= checked.names
    assert checked.keeps_cache_in_ram
    assert not check_line("--kv-offload", OPTIONS).keeps_cache_in_ram


def test_demanding_refused_arguments_raises_the_first_reason() -> None:
    with pytest.raises(ArgumentError, match="--host is not taken") as raised:
        check_line("--host 0.0.0.0 --port 1", OPTIONS).demand()
    assert raised.value.hint


# A binary whose help is not known


@pytest.mark.parametrize(
    "line", ["--host 0.0.0.0", "-m x", "-c 5", "-hf x", "--tools all", "-fa on"]
)
def test_without_a_help_the_known_names_are_refused_all_the_same(line: str) -> None:
    assert "is not taken" in refusal(line, Options())


def test_without_a_help_nothing_is_called_unknown() -> None:
    checked = check_line("--alias mine --brand-new -3 --mlock", Options())
    assert checked.refused == ()
    assert len(checked.warnings) == 1


def test_every_rule_is_about_an_option_that_one_of_these_builds_has_or_had() -> None:
    names = {*OPTIONS.by_name, *NEWER.by_name}
    for rule in (*REFUSED, *WARNED):
        assert any(rule.names.fullmatch(name) for name in names), rule.names.pattern
        assert not rule.why.endswith(".")
        assert not rule.instead or rule.instead.endswith(".")
