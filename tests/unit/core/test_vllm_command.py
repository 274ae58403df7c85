"""The command line and environment of vLLM, and what may not be added to them."""

from pathlib import Path

import pytest

from splitrig.core.errors import EngineError
from splitrig.core.vllm import Cluster, VllmOptions
from splitrig.core.vllm_command import (
    CONTROLLED,
    WARNED,
    check_extra,
    check_vllm_line,
    checked_extra,
    serve_arguments,
    serve_environment,
    shown_environment,
)

FLAGS = frozenset(
    (Path(__file__).parents[2] / "recorded/vllm/flags.txt").read_text(encoding="utf-8").split()
)
RAY = Cluster(host_ip="10.0.0.1", port=6379, n_cards=4)


def arguments(
    options: VllmOptions, flags: frozenset[str] = FLAGS, extra: tuple[str, ...] = ()
) -> list[str]:
    return serve_arguments(
        Path("/models/llama"), options, extra=extra, port=8123, served_name="llama", flags=flags
    )


def value(words: list[str], option: str) -> str:
    return words[words.index(option) + 1]


def test_every_option_we_write_is_one_of_the_real_vllm() -> None:
    everything = VllmOptions(
        tp=2,
        pp=2,
        n_ctx=4096,
        fraction=0.85,
        dtype="float16",
        kv_dtype="fp8",
        eager=True,
        max_num_seqs=8,
        cluster=RAY,
    )
    written = [word for word in arguments(everything) if word.startswith("--")]
    assert set(written) <= FLAGS
    assert set(CONTROLLED) - FLAGS <= {"--device-memory-utilization"}
    assert arguments(everything)[:2] == ["serve", "/models/llama"]


def test_it_listens_on_this_machine_only_and_there_is_no_key_in_it() -> None:
    words = arguments(VllmOptions(tp=1, pp=1))
    assert value(words, "--host") == "127.0.0.1"
    assert value(words, "--port") == "8123"
    assert value(words, "--allowed-origins") == '["http://127.0.0.1:8123"]'
    assert "--api-key" not in words
    assert "--distributed-executor-backend" not in words


def test_the_knobs() -> None:
    words = arguments(VllmOptions(tp=2, pp=1, n_ctx=4096, fraction=0.85, max_num_seqs=8))
    assert value(words, "--tensor-parallel-size") == "2"
    assert value(words, "--pipeline-parallel-size") == "1"
    assert value(words, "--gpu-memory-utilization") == "0.85"
    assert value(words, "--max-model-len") == "4096"
    assert value(words, "--max-num-seqs") == "8"
    assert value(words, "--distributed-executor-backend") == "mp"
    assert "--enforce-eager" not in words
    assert "--kv-cache-dtype" not in words


def test_an_older_vllm_logs_every_question_after_its_health() -> None:
    old = FLAGS - {"--disable-access-log-for-endpoints"}
    assert "--disable-access-log-for-endpoints" not in arguments(VllmOptions(), old)
    assert value(arguments(VllmOptions()), "--disable-access-log-for-endpoints") == (
        "/health,/metrics"
    )


def test_extra_arguments_come_last() -> None:
    words = arguments(VllmOptions(), extra=("--seed", "7"))
    assert words[-2:] == ["--seed", "7"]


@pytest.mark.parametrize(
    "extra",
    [
        ("--seed", "7"),
        ("--seed=7",),
        ("--no-enable-prefix-caching",),
        ("--enable_prefix_caching",),
        ("--limit-mm-per-prompt", '{"image":1}'),
        ("--compilation-config.mode=0",),
        ("--block-size", "-1"),
        (),
    ],
)
def test_extra_arguments_that_pass(extra: tuple[str, ...]) -> None:
    check_extra(extra, FLAGS)


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (("--host", "0.0.0.0"), "--host cannot be set here"),
        (("--host=0.0.0.0",), "--host cannot be set here"),
        (("--hos", "0.0.0.0"), "does not know --hos"),
        (("--uds", "/tmp/x"), "--uds cannot be set here"),
        (("--config", "x.yaml"), "a file could change all that is set here"),
        (("--api_key", "x"), "--api-key cannot be set here"),
        (("--no-enforce-eager",), "--no-enforce-eager cannot be set here"),
        (("-tp", "2"), "'-tp' is not taken"),
        (("--Host", "x"), "'--Host' is not taken"),
        (("--", "x"), "'--' is not taken"),
        (("seven",), "'seven' is no option"),
        (("--seed", "7", "--nope"), "does not know --nope"),
        (("--model.x", "y"), "--model cannot be set here"),
    ],
)
def test_extra_arguments_that_do_not(extra: tuple[str, ...], words: str) -> None:
    with pytest.raises(EngineError, match=words.replace("(", r"\(")):
        check_extra(extra, FLAGS)


@pytest.mark.parametrize(
    "extra", [("--hos", "x"), ("--h", "x"), ("--host", "x"), ("--tensor", "2")]
)
def test_where_the_options_are_unknown_no_beginning_of_ours_passes(extra: tuple[str, ...]) -> None:
    with pytest.raises(EngineError, match="cannot be set here"):
        check_extra(extra, ())
    check_extra(("--seed", "1"), ())


def test_the_environment_is_ours() -> None:
    options = VllmOptions(tp=1, pp=2, layers=(24, 8))
    env = serve_environment(options, devices=("CUDA2", "CUDA0"), key="secret")
    assert env["CUDA_VISIBLE_DEVICES"] == "2,0"
    assert env["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert env["VLLM_PP_LAYER_PARTITION"] == "24,8"
    assert env["VLLM_API_KEY"] == "secret"
    assert env["VLLM_HOST_IP"] == "127.0.0.1"
    assert env["VLLM_NO_USAGE_STATS"] == env["HF_HUB_OFFLINE"] == "1"


def test_what_does_not_apply_is_not_set() -> None:
    env = serve_environment(VllmOptions(), devices=(), key=None)
    names = ("VLLM_PP_LAYER_PARTITION", "CUDA_VISIBLE_DEVICES", "VLLM_API_KEY", "RAY_ADDRESS")
    assert not [name for name in names if name in env]


def test_cards_of_amd_have_a_variable_of_their_own() -> None:
    env = serve_environment(VllmOptions(), devices=("ROCm1",), key=None)
    assert env["HIP_VISIBLE_DEVICES"] == "1"
    assert "CUDA_VISIBLE_DEVICES" not in env


def test_the_shown_command_places_the_model_as_the_run_does_and_tells_no_key() -> None:
    options = VllmOptions(pp=2, layers=(24, 8))
    shown = shown_environment(options, devices=("CUDA0", "CUDA1"))
    assert shown == (
        "env",
        "CUDA_DEVICE_ORDER=PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES=0,1",
        "VLLM_PP_LAYER_PARTITION=24,8",
    )


def test_a_ray_cluster_hands_out_its_cards_itself() -> None:
    options = VllmOptions(tp=2, pp=2, cluster=RAY)
    env = serve_environment(options, devices=("CUDA0", "CUDA1"), key=None)
    assert "CUDA_VISIBLE_DEVICES" not in env
    assert env["RAY_ADDRESS"] == "10.0.0.1:6379"
    assert env["VLLM_HOST_IP"] == "10.0.0.1"
    assert value(arguments(options), "--distributed-executor-backend") == "ray"


def test_what_changes_the_figures_of_the_plan_is_said() -> None:
    found = checked_extra(("--cpu_offload_gb", "4", "--seed", "1"), FLAGS)
    assert found.demand() == ("--cpu_offload_gb", "4", "--seed", "1")
    (warning,) = found.warnings
    assert str(warning) == (
        "With --cpu-offload-gb a part of the weights lies in RAM, and the plan counts it on the "
        "cards."
    )
    assert set(WARNED) <= FLAGS
    assert not set(WARNED) & set(CONTROLLED)


def test_a_line_is_read_as_a_shell_would() -> None:
    assert check_vllm_line("--seed 7 --limit-mm-per-prompt '{\"image\": 1}'", FLAGS).arguments == (
        "--seed", "7", "--limit-mm-per-prompt", '{"image": 1}',
    )  # fmt: skip
    (refused,) = check_vllm_line("--host 0.0.0.0", FLAGS).refused
    assert refused.message.startswith("--host cannot be set here")
    (refused,) = check_vllm_line("--seed '7", FLAGS).refused
    assert "quotation mark" in refused.message
    assert check_vllm_line("  ", FLAGS).arguments == ()
