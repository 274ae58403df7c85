"""The command line and the environment of `vllm serve`, and what may be added to them."""

import json
import re
from collections.abc import Collection, Sequence
from pathlib import Path

from splitrig.core.errors import ArgumentError, EngineError
from splitrig.core.extra_arguments import CheckedArguments, Remark, split_line
from splitrig.core.share import LOOPBACK
from splitrig.core.vllm import VllmOptions
from splitrig.core.vllm_layout import partition_text

CONTROLLED = {
    "--host": "its key does not guard all of its paths",
    "--port": "the port is chosen beside it",
    "--uds": "SplitRig speaks to it over a port",
    "--api-key": "SplitRig makes a new key for every start",
    "--allowed-origins": "only this machine may call it",
    "--kv-events-config": "it would open a port that asks for no key",
    "--kv-transfer-config": "it would open a port that asks for no key",
    "--ec-transfer-config": "it would open a port that asks for no key",
    "--weight-transfer-config": "it would open a port that asks for no key",
    "--root-path": "SplitRig calls it at its root",
    "--ssl-keyfile": "SplitRig speaks plain HTTP on this machine",
    "--ssl-certfile": "SplitRig speaks plain HTTP on this machine",
    "--config": "a file could change all that is set here",
    "--middleware": "it would run a stranger's code in the server",
    "--grpc": "SplitRig speaks HTTP",
    "--headless": "SplitRig asks it for its health",
    "--model": "the model is chosen above",
    "--served-model-name": "SplitRig asks for the model by the name of its folder",
    "--tensor-parallel-size": "the layout is set with the cards",
    "--pipeline-parallel-size": "the layout is set with the cards",
    "--data-parallel-size": "every copy is an engine of its own here",
    "--prefill-context-parallel-size": "the layout is set with the cards",
    "--data-parallel-address": "every copy is an engine of its own here",
    "--nnodes": "machines are set with the cards",
    "--node-rank": "machines are set with the cards",
    "--master-addr": "machines are set with the cards",
    "--master-port": "machines are set with the cards",
    "--distributed-executor-backend": "machines are set with the cards",
    "--device-ids": "the cards are chosen above",
    "--gpu-memory-utilization": "the share of memory is set beside it",
    "--device-memory-utilization": "the share of memory is set beside it",
    "--max-model-len": "the context is set beside it",
    "--kv-cache-dtype": "the type of the KV cache is set beside it",
    "--dtype": "the type of the weights is set beside it",
    "--quantization": "the weights are planned as they lie in the folder",
    "--quantization-config": "the weights are planned as they lie in the folder",
    "--hf-overrides": "the model is planned as its folder says",
    "--enforce-eager": "captured graphs are set beside it",
    "--max-num-seqs": "the number of requests is set beside it",
    "--disable-log-stats": "the graphs need its figures",
    "--log-config-file": "SplitRig reads its log",
    "--logging-config": "SplitRig reads its log",
}
"""Options that extra arguments may not set, and why."""
WARNED = {
    "--kv-cache-memory-bytes": "the KV cache has another size than planned",
    "--num-gpu-blocks-override": "the KV cache has another size than planned",
    "--cpu-offload-gb": "a part of the weights lies in RAM, and the plan counts it on the cards",
    "--speculative-config": "what guesses ahead takes memory that is not planned",
    "--spec-model": "what guesses ahead takes memory that is not planned",
    "--max-num-batched-tokens": "a batch takes other memory than planned",
    "--enable-lora": "adapters take memory that is not planned",
}
"""Options that change the figures of the plan, and how."""
_OPTION = re.compile(r"--[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
QUIET = "/health,/metrics"
"""Asked again and again: they would fill the log."""


def check_vllm_line(text: str, flags: Collection[str]) -> CheckedArguments:
    """What is to be said of a line of extra arguments; one that cannot be read is refused."""
    try:
        return checked_extra(split_line(text), flags)
    except ArgumentError as error:
        return CheckedArguments(refused=(Remark(message=error.message, hint=error.hint),))


def checked_extra(extra: Sequence[str], flags: Collection[str]) -> CheckedArguments:
    """What is to be said of these: why they are refused, or what they change about the plan.

    Args:
        extra: As typed.
        flags: Options this vLLM has; empty where that could not be read.
    """
    try:
        check_extra(extra, flags)
    except EngineError as error:
        return CheckedArguments(refused=(Remark(message=error.message, hint=error.hint),))
    given = dict.fromkeys(_option_of(word) for word in extra if word.startswith("--"))
    warnings = [f"With {name} {WARNED[name]}." for name in given if name in WARNED]
    return CheckedArguments(
        arguments=tuple(extra), warnings=tuple(Remark(message=words) for words in warnings)
    )


def check_extra(extra: Sequence[str], flags: Collection[str]) -> None:
    """Refuse extra arguments that this vLLM lacks, or that set what is set elsewhere.

    vLLM takes any unique beginning of an option for the option (argparse), and an underscore for
    a dash, so only whole names pass.

    Args:
        extra: As typed.
        flags: Options this vLLM has; empty where that could not be read.

    Raises:
        EngineError: One of them is refused.
    """
    for number, word in enumerate(extra):
        if not word.startswith("-") or _is_number(word):
            if number == 0:
                raise EngineError(
                    f"'{word}' is no option of vLLM.", "Extra arguments begin with an option."
                )
            continue
        option = _option_of(word)
        if not _OPTION.fullmatch(option):
            raise EngineError(
                f"'{word}' is not taken as an extra argument.",
                "Write options in their long form, such as --seed 1.",
            )
        _check_option(option, flags)


def _option_of(word: str) -> str:
    """The option that a word names, without its value and the parts of it."""
    return word.split("=", 1)[0].split(".", 1)[0].replace("_", "-")


def _is_number(word: str) -> bool:
    return re.fullmatch(r"-\d+(\.\d+)?", word) is not None


def _check_option(option: str, flags: Collection[str]) -> None:
    positive = option if option in flags else option.replace("--no-", "--", 1)
    if positive in CONTROLLED:
        raise EngineError(
            f"{option} cannot be set here: {CONTROLLED[positive]}.", "Take it out again."
        )
    if flags and positive not in flags:
        raise EngineError(
            f"This vLLM does not know {option}.", "Take it out, or install a newer vLLM."
        )
    if not flags:
        for controlled, why in CONTROLLED.items():
            if controlled.startswith(option):
                raise EngineError(
                    f"{option} cannot be set here: it could stand for {controlled}, and {why}.",
                    "Write the whole name of the option.",
                )


def serve_arguments(
    model: Path,
    options: VllmOptions,
    *,
    extra: Sequence[str] = (),
    port: int,
    served_name: str,
    flags: Collection[str],
    host: str = LOOPBACK,
) -> list[str]:
    """Everything behind `vllm`, without a key.

    Args:
        model: The model's folder.
        options: What is wanted.
        extra: Further arguments, as typed.
        port: TCP port.
        served_name: What requests name the model.
        flags: Options this vLLM has; empty where that could not be read.
        host: Address to listen on.

    Raises:
        EngineError: An extra argument is refused.
    """
    check_extra(extra, flags)
    # absolute: a name that begins with a dash would be taken for an option
    arguments = ["serve", str(model.absolute()), "--host", host, "--port", str(port)]
    arguments += ["--served-model-name", served_name]
    arguments += ["--allowed-origins", json.dumps([f"http://127.0.0.1:{port}"])]
    if options.n_ctx:
        arguments += ["--max-model-len", str(options.n_ctx)]
    tp, pp = options.tp or 1, options.pp or 1
    arguments += ["--tensor-parallel-size", str(tp), "--pipeline-parallel-size", str(pp)]
    if options.fraction is not None:
        arguments += ["--gpu-memory-utilization", f"{options.fraction:g}"]
    arguments += ["--dtype", options.dtype]
    if options.kv_dtype != "auto":
        arguments += ["--kv-cache-dtype", options.kv_dtype]
    if options.eager:
        arguments += ["--enforce-eager"]
    if options.max_num_seqs is not None:
        arguments += ["--max-num-seqs", str(options.max_num_seqs)]
    if "--disable-access-log-for-endpoints" in flags:
        arguments += ["--disable-access-log-for-endpoints", QUIET]
    if options.cluster is not None:
        arguments += ["--distributed-executor-backend", "ray"]
    elif tp * pp > 1:
        arguments += ["--distributed-executor-backend", "mp"]
    return [*arguments, *extra]


def serve_environment(
    options: VllmOptions, *, devices: Sequence[str], key: str | None
) -> dict[str, str]:
    """What is set for vLLM, over everything inherited (`core.environment`).

    Cards are named by number in PCI order: versions up to 0.20 fail on UUIDs.

    Args:
        options: What is wanted.
        devices: The engine's words for the cards, such as `CUDA0`, in the order of the ranks.
        key: For `Authorization`; not an argument, which every user of the machine could read.
    """
    env = {
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_LOGGING_LEVEL": "INFO",
        "NO_COLOR": "1",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "PYTHONUNBUFFERED": "1",
    }
    numbers = ",".join(number_of(name) for name in devices)
    cluster = options.cluster
    if devices and cluster is None:
        # a Ray cluster hands out its cards itself
        env["HIP_VISIBLE_DEVICES" if is_amd(devices) else "CUDA_VISIBLE_DEVICES"] = numbers
    if options.layers is not None and (options.pp or 1) > 1:
        env["VLLM_PP_LAYER_PARTITION"] = partition_text(options.layers)
    env["VLLM_HOST_IP"] = "127.0.0.1" if cluster is None else cluster.host_ip
    if cluster is not None:
        env["RAY_ADDRESS"] = f"{cluster.host_ip}:{cluster.port}"
    if key is not None:
        env["VLLM_API_KEY"] = key
    return env


def shown_environment(options: VllmOptions, *, devices: Sequence[str]) -> tuple[str, ...]:
    """What has to stand before a command for copying: the variables that place the model."""
    env = serve_environment(options, devices=devices, key=None)
    names = ("CUDA_DEVICE_ORDER", "CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES",
             "VLLM_PP_LAYER_PARTITION", "RAY_ADDRESS")  # fmt: skip
    return ("env", *(f"{name}={env[name]}" for name in names if name in env))


def number_of(device: str) -> str:
    """The number in `CUDA1`."""
    return re.sub(r"^\D+", "", device)


def is_amd(devices: Sequence[str]) -> bool:
    """Whether these are cards of AMD."""
    return bool(devices) and devices[0].startswith("ROCm")
