"""What vLLM's error lines mean: one sentence on what happened and one that helps.

The lines are those of vLLM 0.8 to 0.32; recorded ones lie in tests/recorded/vllm, the texts for
cards are in vllm/v1/worker/utils.py, vllm/v1/core/kv_cache_utils.py and vllm/config.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from splitrig.core.engine_log import Trouble, TroubleKind
from splitrig.core.units import GIB, number_text

LOOK = "Look at its log, or try another model."
LESS = "Shorten the context, take more cards, or choose a smaller or quantised model."
_EAGER = "switch captured graphs off"


@dataclass(frozen=True, slots=True)
class _Rule:
    """A line and its meaning; the holes of the texts are the groups of the pattern."""

    kind: TroubleKind
    pattern: re.Pattern[str]
    message: str
    hint: str


def _rule(kind: TroubleKind, pattern: str, message: str, hint: str) -> _Rule:
    return _Rule(kind, re.compile(pattern), message, hint)


_K = TroubleKind
_RULES: tuple[_Rule, ...] = (
    _rule(
        _K.OUT_OF_MEMORY,
        r"CUDA out of memory\. Tried to allocate (?P<size>[\d.]+ [KMG]iB)\. GPU (?P<gpu>\d+) has "
        r"a total capacity of [\d.]+ GiB of which (?P<free>[\d.]+ [KMG]iB|\d+ bytes) is free",
        "Out of memory: {size} more did not fit on {card}, which had {free} free.",
        f"Lower the share of memory, {_EAGER}, or: {LESS[0].lower()}{LESS[1:]}",
    ),
    _rule(
        _K.OUT_OF_MEMORY,
        r"(?:CUDA|HIP) out of memory|OutOfMemoryError|CUDA error: out of memory",
        "Out of memory on {card}.",
        f"Lower the share of memory, {_EAGER}, or: {LESS[0].lower()}{LESS[1:]}",
    ),
    _rule(
        _K.OUT_OF_MEMORY,
        r"Free memory on device(?: \w+:(?P<gpu>\d+))? \((?P<free>[\d.]+)/(?P<total>[\d.]+) GiB\) "
        r"on startup is less than desired GPU memory utilization "
        r"\((?P<share>[\d.]+), (?P<wanted>[\d.]+) GiB\)",
        "{free} of {total} GiB are free on {card}; a share of {share}, {wanted} GiB, was wanted.",
        "Close what else uses the card, or lower the share of memory.",
    ),
    _rule(
        _K.OUT_OF_MEMORY,
        r"No available memory for the cache blocks",
        "Weights and a full batch fill the share of memory; nothing is left for the KV cache.",
        f"Raise the share of memory, {_EAGER}, or take more cards or a smaller model.",
    ),
    _rule(
        _K.OUT_OF_MEMORY,
        r"max seq len \((?P<ctx>\d+)\),? \(?(?P<needed>[\d.]+) GiB KV cache is needed, which is "
        r"larger than the available KV cache memory \((?P<free>[\d.]+) GiB\)\."
        r"(?:.*?maximum model length is (?P<fits>\d+))?",
        "A context of {ctx} tokens needs {needed} GiB of KV cache; {free} GiB are left.",
        "{fits} tokens fit: shorten the context, or take more cards.",
    ),
    _rule(
        _K.HOST_OUT_OF_MEMORY,
        r"Available memory on node \d+ \((?P<free>[\d.]+)/(?P<total>[\d.]+) GiB\) on kv cache "
        r"allocation is less than requested memory for kv \((?P<wanted>[\d./]+) GiB\)",
        "The KV cache was to take {wanted} GiB of the computer's memory; {free} GiB are free.",
        "Close other programs, or ask for a smaller KV cache.",
    ),
    _rule(
        _K.PORT_TAKEN,
        r"\[Errno (?:48|98)\].*[Aa]ddress already in use",
        "Port {port} is in use by another program.",
        "Choose another port, or 0 for a free one.",
    ),
    _rule(
        _K.BAD_ARGUMENT,
        r"attention heads \((?P<heads>\d+)\) must be divisible by tensor parallel size "
        r"\((?P<tp>\d+)\)",
        "{heads} attention heads cannot be shared by {tp} cards.",
        "Choose another number of cards, or a pipeline.",
    ),
    _rule(
        _K.BAD_ARGUMENT,
        r"sum\(partitions\)=(?P<sum>\d+) does not match num_hidden_layers=(?P<n>\d+)",
        "The stages hold {sum} layers together; the model has {n}.",
        "Set the split again; a VLLM_PP_LAYER_PARTITION of your own has to add up.",
    ),
    _rule(
        _K.BAD_ARGUMENT,
        r"len\(partitions\)=(?P<n>\d+) does not match pp_size=(?P<pp>\d+)",
        "Layers are given for {n} stages; there are {pp}.",
        "Set the split again.",
    ),
    _rule(
        _K.BAD_ARGUMENT,
        r"User-specified max_model_len \((?P<ctx>\d+)\) is greater than the derived max_model_len "
        r"\(\w+=(?P<most>\d+)",
        "A context of {ctx} tokens is more than the model allows ({most}).",
        "Shorten the context.",
    ),
    _rule(
        _K.BAD_ARGUMENT,
        r"error: unrecognized arguments: (?P<what>.{1,120})",
        "This vLLM does not know the argument {what}.",
        "Take it out, or install a newer vLLM.",
    ),
    _rule(
        _K.BAD_ARGUMENT,
        r"error: argument (?P<what>\S+?)(?:/\S+)?: (?P<why>.{1,160}?)(?: \(choose from|$)",
        "vLLM does not take {what}: {why}.",
        "Choose another value.",
    ),
    _rule(
        _K.BAD_ARGUMENT,
        r"Pipeline parallelism is not supported for this model",
        "vLLM cannot run this model as a pipeline.",
        "Choose tensor parallel, or one card.",
    ),
    _rule(
        _K.BAD_DEVICE,
        r"World size \((?P<n>\d+)\) is larger than the number of available GPUs \((?P<there>\d+)\)",
        "{n} cards were asked for, and vLLM sees {there}.",
        "Look whether a card has gone, or whether another machine's cards need Ray.",
    ),
    _rule(
        _K.BAD_DEVICE,
        r"Failed to infer device type|No CUDA GPUs are available|no CUDA-capable device|"
        r"Found no NVIDIA driver",
        "vLLM sees no card it can use.",
        "Look whether this vLLM is built for your make of card, and whether the driver works.",
    ),
    _rule(
        _K.BAD_DEVICE,
        r"Bfloat16 is only supported on GPUs.*Your (?P<card>.+?) (?:GPU|device)",
        "{card} cannot compute in bfloat16.",
        "Choose float16 for the weights.",
    ),
    _rule(
        _K.DEVICE_LOST,
        r"CUDA error: (?P<why>.{1,80}?)(?:\.|$)|ncclUnhandledCudaError|NCCL error",
        "A card or the link between cards failed under vLLM.",
        "Look at temperature, power and link of the cards; without NVLink a pipeline needs less.",
    ),
    _rule(
        _K.MODEL_MISSING,
        r"Cannot find any model weights with `",
        "The model's folder has no weights.",
        "Download the model's .safetensors files into it.",
    ),
    _rule(
        _K.MODEL_MISSING,
        r"Invalid repository ID or local directory specified: '(?P<where>[^']*)'|"
        r"Can't load the configuration of '(?P<other>[^']*)'|"
        r"(?:Repo id must|HFValidationError)|is not a local folder and is not a valid model",
        "vLLM finds no model there.",
        "Choose a folder with config.json and .safetensors files; GGUF files are for llama.cpp.",
    ),
    _rule(
        _K.NOT_GGUF,
        r"config file at '[^']*\.gguf' is not a valid JSON|"
        r"(?i:gguf).{0,80}(?:not supported|plugin|no longer)|load_format.{0,20}gguf",
        "This vLLM does not take GGUF files.",
        "Choose the folder of a Hugging Face model, or llama.cpp for this file.",
    ),
    _rule(
        _K.UNKNOWN_ARCHITECTURE,
        r"Model architectures \['?(?P<what>[^'\]]+)'?.*?\] (?:are not supported|failed to be)",
        "This vLLM cannot run models of the kind '{what}'.",
        "A newer vLLM may.",
    ),
    _rule(
        _K.UNKNOWN_ARCHITECTURE,
        r"has model type `(?P<what>[^`]+)` but Transformers does not recognize",
        "This vLLM cannot run models of the kind '{what}'.",
        "A newer vLLM, with a newer transformers, may.",
    ),
    _rule(
        _K.MODEL_REFUSED,
        r"trust_remote_code=True",
        "The model brings Python code of its own, which is not run.",
        "Choose a model that vLLM knows; running a stranger's code is left to you.",
    ),
    _rule(
        _K.MODEL_BROKEN,
        r"SafetensorError: (?P<why>.{1,160})",
        "A weight file is incomplete or broken: {why}.",
        "Download the model again, or check the files' sizes against the source.",
    ),
    _rule(
        _K.MODEL_REFUSED,
        r"(?:quantization method|Quantization scheme) (?P<what>\S* ?)is not supported for the "
        r"current GPU",
        "These cards are too old for the quantisation of this model.",
        "Choose the model in another quantisation.",
    ),
    _rule(
        _K.MODEL_REFUSED,
        r"(?:input|output) size is not aligned with the quantized weight shape",
        "The quantised rows of this model cannot be shared by so many cards.",
        "Choose fewer cards for tensor parallel, or a pipeline.",
    ),
    _rule(
        _K.MISSING_LIBRARY,
        r"(?:ImportError: |OSError: )(?P<what>lib[\w.+-]+): cannot open shared object",
        "vLLM needs a library that is not installed: {what}.",
        "Install vLLM again into an environment of its own.",
    ),
    _rule(
        _K.MISSING_LIBRARY,
        r"Failed to import Ray",
        "Several machines need Ray, which is not installed beside vLLM.",
        "Install it into the same environment: pip install ray",
    ),
    _rule(
        _K.MISSING_LIBRARY,
        r"ModuleNotFoundError: No module named '(?P<what>[^']+)'",
        "vLLM's environment is incomplete: {what} is missing.",
        "Install vLLM again into an environment of its own.",
    ),
    _rule(
        _K.BAD_DEVICE,
        r"Cannot provide a placement group|exceeds the total number of available \w+ in the "
        r"placement group\. Required|Current node has no \w+ available",
        "The Ray cluster has fewer free cards than asked for.",
        "Start Ray on the other machines first; `ray status` shows what there is.",
    ),
    _rule(
        _K.BAD_DEVICE,
        r"current platform (?P<what>\w+) does not support ray",
        "This vLLM is built for '{what}', where it does not use Ray.",
        "Leave the other machines out, or install a vLLM for cards.",
    ),
    _rule(
        _K.OTHER,
        r"No space left on device",
        "A disk is full.",
        "vLLM writes to the user's cache folder and to /tmp: free some room there.",
    ),
    _rule(
        _K.PART_DIED,
        r"Worker proc \S+ died unexpectedly|EngineDeadError",
        "A part of vLLM ended under it, so it cannot answer any more.",
        "Launch it again; if the computer's memory ran out, choose a smaller model.",
    ),
)
_NOTHING_NEW = re.compile(
    r"WorkerProc initialization failed|Engine core initialization failed|stack trace|"
    r"Executor failed|EngineCore failed to start|validation error|KeyboardInterrupt|CancelledError"
)
"""Exceptions that only pass another one on."""
_EXCEPTION = re.compile(r"^(?:[\w.]+\.)?(?P<name>\w*(?:Error|Exception|Interrupt)): (?P<why>.+)$")
_VALUE = re.compile(r"^\s*(?:Value|Assertion) error, (?P<why>.+?)(?: \[type=|$)")
_SUSPICIOUS = re.compile(
    r"rror|xception|memory|died|valid JSON|[Cc]annot|no longer|not supported|placement|World size"
)

CardName = Callable[[str | None], str]
"""The shown name of a card by the number an error line gives it, `None` if it gives none."""


def read_trouble(text: str, card: CardName, port: str) -> Trouble | None:
    """What an error line says; `None` for other lines.

    Args:
        text: The line without the name of its process, the time and the place in the source.
        card: How to call the card it is about.
        port: The port vLLM was told to take.
    """
    if not _SUSPICIOUS.search(text) or text.lstrip().startswith(("File ", "raise ", "self.")):
        return None
    for rule in _RULES:
        if match := rule.pattern.search(text):
            return _trouble(rule, match.groupdict(), text, card, port)
    return _unknown(text)


def _trouble(
    rule: _Rule, groups: Mapping[str, str | None], text: str, card: CardName, port: str
) -> Trouble:
    words = {name: value.strip().rstrip(".") for name, value in groups.items() if value}
    for name in ("ctx", "most", "fits"):
        if name in words:
            words[name] = number_text(int(words[name]))
    words.setdefault("card", card(words.get("gpu")))
    words["port"] = port
    hint = rule.hint
    if "{fits}" in hint and "fits" not in words:
        hint = LESS
    return Trouble(
        rule.kind,
        n_bytes=_bytes(words.get("size")),
        text=text,
        message=rule.message.format_map(words),
        hint=hint.format_map(words),
    )


def _unknown(text: str) -> Trouble | None:
    """An exception nobody foresaw: its own words."""
    match = _EXCEPTION.match(text) or _VALUE.match(text)
    if match is None or _NOTHING_NEW.search(text):
        return None
    why = match["why"].strip().rstrip(".")
    short = why if len(why) <= 200 else why[:199] + "…"
    return Trouble(TroubleKind.OTHER, text=text, message=f"vLLM stopped: {short}.", hint=LOOK)


def _bytes(size: str | None) -> int | None:
    """`2.00 GiB` in bytes."""
    if size is None:
        return None
    number, unit = size.split()
    return round(float(number) * {"KiB": 2**10, "MiB": 2**20, "GiB": GIB}[unit])
