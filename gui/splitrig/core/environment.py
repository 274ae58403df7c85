"""The environment of an engine: what of the inherited one stays, what is replaced, and why.

What changes which cards an engine sees, where its layers lie, how it is reached or what its log
says is set here, or left out, so that an engine does what the window shows. Other knobs stay, for
their owner meant something by them, but they are shown: they may explain a speed or a crash.

Left alone without a word: `NVIDIA_VISIBLE_DEVICES`, which only the maker of a container reads;
proxies and Hugging Face's variables, which downloads need; the paths of toolkits.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from splitrig.core.engine import EngineKind
from splitrig.core.gpu import Note, Severity
from splitrig.core.secret import shown_value
from splitrig.core.words import listed

STARTED = (
    EngineKind.LLAMA_CPP,
    EngineKind.LLAMA_CPP_PYTHON,
    EngineKind.OLLAMA,
    EngineKind.VLLM,
)
"""The engines that are started here, and so get an environment."""
_GGML = STARTED[:3]
_OLLAMA = (EngineKind.OLLAMA,)
_VLLM = (EngineKind.VLLM,)
_NAMES = {
    EngineKind.LLAMA_CPP: "llama.cpp",
    EngineKind.LLAMA_CPP_PYTHON: "llama-cpp-python",
    EngineKind.OLLAMA: "Ollama",
    EngineKind.VLLM: "vLLM",
}
ALWAYS = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
"""Set for every engine: only in this order is the number of a card the same for all programs."""

_CARDS = "which cards it sees is chosen in SplitRig"
_OPTIONS = "its options are set in SplitRig"
_KEY = "its key is made anew at every start"
_LOG = "SplitRig reads its log"
_NETWORK = "its address and who may reach it are set in SplitRig"
_TUNES = "it tunes the engine"
_SET = "SplitRig sets it"


@dataclass(frozen=True, slots=True)
class _Rule:
    """Names of variables, what becomes of them, and why."""

    names: re.Pattern[str]
    reason: str
    engines: tuple[EngineKind, ...]
    stays: bool


def _stays(names: str, reason: str, *engines: EngineKind) -> _Rule:
    """Names, separated by spaces, that are passed on and shown."""
    return _Rule(re.compile(names.replace(" ", "|")), reason, engines or STARTED, stays=True)


def _ours(names: str, reason: str, *engines: EngineKind) -> _Rule:
    """Names, separated by spaces, that are set here or not passed on."""
    return _Rule(re.compile(names.replace(" ", "|")), reason, engines or STARTED, stays=False)


_PYTHON_SETTINGS = (
    "model model_alias n_gpu_layers split_mode main_gpu tensor_split vocab_only use_mmap "
    "use_mlock kv_overrides rpc_servers seed n_ctx n_batch n_ubatch n_threads n_threads_batch "
    "rope_scaling_type rope_freq_base rope_freq_scale yarn_ext_factor yarn_attn_factor "
    "yarn_beta_fast yarn_beta_slow yarn_orig_ctx mul_mat_q logits_all embedding offload_kqv "
    "flash_attn last_n_tokens_size lora_base lora_path numa chat_format chat_template_kwargs "
    "clip_model_path cache cache_type cache_size hf_tokenizer_config_path "
    "hf_pretrained_model_name_or_path hf_model_repo_id draft_model draft_model_num_pred_tokens "
    "type_k type_v verbose host port ssl_keyfile ssl_certfile interrupt_requests "
    "disable_ping_events root_path config_file models"
)
"""Settings of llama_cpp.server, each also a variable (llama_cpp/server/settings.py, pydantic)."""


def _any_case(names: str) -> str:
    """Names as one, in capitals or not: pydantic does not tell them apart."""
    return f"(?i:{names.replace(' ', '|')})"


_RULES = (
    _stays("OLLAMA_MODELS", "it names the folder of your models", *_OLLAMA),
    _stays("OLLAMA_(LOAD_TIMEOUT|NOPRUNE|TMPDIR|REMOTES|NO_CLOUD)",
           "it changes no split", *_OLLAMA),
    _stays("OLLAMA_API_KEY", "it belongs to your account", *_OLLAMA),

    _ours("CUDA_DEVICE_ORDER", "cards are numbered by their place on the bus"),
    _ours("CUDA_VISIBLE_DEVICES HIP_VISIBLE_DEVICES ROCR_VISIBLE_DEVICES GPU_DEVICE_ORDINAL "
          "ZE_AFFINITY_MASK ZE_FLAT_DEVICE_HIERARCHY ONEAPI_DEVICE_SELECTOR SYCL_DEVICE_FILTER "
          "SYCL_DEVICE_ALLOWLIST MUSA_VISIBLE_DEVICES ASCEND_RT_VISIBLE_DEVICES", _CARDS),
    # also what makes Vulkan show one card only, or one maker's, as prime-run sets it
    _ours("GGML_VK_VISIBLE_DEVICES GGML_DISABLE_VULKAN GGML_OPENCL_(PLATFORM|DEVICE) DRI_PRIME "
          "MESA_VK_DEVICE_SELECT(_FORCE_DEFAULT_DEVICE)? VK_LOADER_DEVICE_SELECT "
          "__VK_LAYER_NV_optimus MTMD_BACKEND_DEVICE", _CARDS, *_GGML),
    _ours("GGML_CUDA_ENABLE_UNIFIED_MEMORY GGML_VK_PREFER_HOST_MEMORY "
          "GGML_VK_ALLOW_SYSMEM_FALLBACK", "layers would lie elsewhere than planned", *_GGML),
    _ours("LLAMA_API_KEY", _KEY, *_GGML),
    _ours(r"LLAMA_LOG_\w+", _LOG, *_GGML),
    _ours(r"LLAMA_ARG_\w+ LLAMA_SERVER_\w+", _OPTIONS, *_GGML),
    _ours(_any_case("api_key"), _KEY, EngineKind.LLAMA_CPP_PYTHON),
    _ours(_any_case(_PYTHON_SETTINGS), _OPTIONS, EngineKind.LLAMA_CPP_PYTHON),
    _ours("WEB_CONCURRENCY FORWARDED_ALLOW_IPS", _OPTIONS, EngineKind.LLAMA_CPP_PYTHON),
    _ours("GGML_NO_BACKTRACE", "a crash would start a debugger", *_GGML),
    _ours("OLLAMA_HOST OLLAMA_ORIGINS", _NETWORK, *_OLLAMA),
    _ours(r"OLLAMA_DEBUG\w*", _LOG, *_OLLAMA),
    _ours(r"OLLAMA_\w+", _OPTIONS, *_OLLAMA),
    _ours(r"VLLM_PP_LAYER_PARTITION VLLM_CPU_\w+ VLLM_DP_\w+ VLLM_RAY_\w+ VLLM_TARGET_DEVICE "
          "RAY_ADDRESS", _OPTIONS, *_VLLM),
    _ours("VLLM_API_KEY", _KEY, *_VLLM),
    _ours("VLLM_HOST_IP VLLM_PORT VLLM_SERVER_DEV_MODE", _NETWORK, *_VLLM),
    _ours(r"VLLM_LOGGING_\w+ VLLM_CONFIGURE_LOGGING", _LOG, *_VLLM),
    _ours("RANK LOCAL_RANK WORLD_SIZE MASTER_ADDR MASTER_PORT",
          "it numbers its processes itself", *_VLLM),
    _ours("PYTHONHOME", "it belongs to another Python", *_VLLM),

    _stays(r"VK_(DRIVER_FILES|ICD_FILENAMES|ADD_DRIVER_FILES|LOADER_DRIVERS_\w+) AMD_VULKAN_ICD",
           "it chooses the Vulkan drivers; cards of others are not seen", *_GGML),
    _stays("HSA_OVERRIDE_GFX_VERSION", "AMD cards without official support need it"),
    _stays("GGML_CUDA_P2P", "cards copy straight to each other; on some boards that corrupts text",
           *_GGML),
    _stays("LD_PRELOAD GGML_BACKEND_PATH LLAMA_CPP_LIB_PATH",
           "it loads other libraries into the engine"),
    _stays("LLAVA_CPP_LIB MTMD_CPP_LIB", "it loads another library into the engine",
           EngineKind.LLAMA_CPP_PYTHON),
    _stays("PYTHONPATH", "it adds packages to the engine's",
           EngineKind.LLAMA_CPP_PYTHON, EngineKind.VLLM),
    _stays(r"GGML_VK_(PERF|MEMORY|SYNC)_LOGGER\w* GGML_SCHED_DEBUG\w* "
           r"(GGML|LLAMA)_\w*(DEBUG|TRACE)\w*", "it fills the log", *_GGML),
    _stays("CUDA_LAUNCH_BLOCKING HIP_LAUNCH_BLOCKING AMD_SERIALIZE_(KERNEL|COPY)",
           "it is for finding errors and costs speed"),
    _stays(r"(GGML|LLAMA)_(?!CACHE)\w+", _TUNES, *_GGML),
    _stays(r"(VLLM|PYTORCH|TORCH|NCCL|RCCL)_(?!CACHE|HOME|CONFIG|NO_USAGE|DO_NOT)\w+",
           _TUNES, *_VLLM),
    _stays(r"CUDA_(MODULE_LOADING|SCALE_LAUNCH_QUEUES|MPS_\w+|CACHE_DISABLE|FORCE_\w+|"
           r"MANAGED_\w+|DEVICE_MAX_\w+) GPU_(MAX|SINGLE|ENABLE|FORCE)_\w+ "
           r"(HSA|RADV|AMD|HIP)_(?!PATH|PLATFORM|CLANG)\w+", "it tunes the cards' driver"),
    _stays(r"(OMP|GOMP|KMP)_\w+ GOMAXPROCS", "it tunes the use of the processor"),
)  # fmt: skip
"""The first one that fits a name, whole, tells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replaced:
    """An inherited variable that an engine does not get as it is.

    Attributes:
        name: Of the variable.
        inherited: Its value, secrets hidden.
        new: What the engine gets, secrets hidden; `None`: nothing.
        reason: Why, without a full stop.
        engines: For which engines.
    """

    name: str
    inherited: str
    new: str | None
    reason: str
    engines: tuple[EngineKind, ...]

    @property
    def sentence(self) -> str:
        """What was set, what becomes of it, and why."""
        whom = _whom(self.engines)
        does = f"does not pass it on to {whom}"
        if self.new is not None:
            does = f"replaces it by {self.new} for {whom}"
        return (
            f"{self.name}={self.inherited} was set in your environment; SplitRig {does}: "
            f"{self.reason}."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """An inherited variable that an engine gets and that may change what it does.

    Attributes:
        name: Of the variable.
        value: Its value, secrets hidden.
        reason: What it does, or why it stays, without a full stop.
        engines: For which engines.
    """

    name: str
    value: str
    reason: str
    engines: tuple[EngineKind, ...]

    @property
    def sentence(self) -> str:
        """What is set, for whom, and what it does."""
        return (
            f"{self.name}={self.value} is set in your environment and stays for "
            f"{_whom(self.engines)}: {self.reason}."
        )


_Note = TypeVar("_Note", bound=Replaced | Kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineEnvironment:
    """The whole environment of an engine, and what of the inherited one is worth a word."""

    variables: Mapping[str, str] = field(repr=False)
    replaced: tuple[Replaced, ...] = ()
    kept: tuple[Kept, ...] = ()


def environment_note(replaced: Iterable[Replaced], engine: EngineKind) -> Note | None:
    """What an engine does not get of the inherited environment, as one note; `None` for nothing."""
    told = [one for one in replaced if engine in one.engines]
    if not told:
        return None
    names = listed([one.name for one in told])
    return Note(
        id="environment-replaced",
        severity=Severity.INFO,
        message=f"{names} {'is' if len(told) == 1 else 'are'} set in your environment, and "
        "replaced for the engine.",
        detail=" ".join(one.sentence for one in told),
    )


def engine_environment(
    engine: EngineKind, inherited: Mapping[str, str], ours: Mapping[str, str] | None = None
) -> EngineEnvironment:
    """What an engine gets.

    Args:
        engine: Which engine.
        inherited: The environment of this program.
        ours: What is set for it, over everything else.
    """
    given = {**ALWAYS, **(ours or {})}
    variables = dict(inherited)
    replaced, kept = [], []
    for name, value in sorted(inherited.items()):
        rule = _rule_for(name, engine)
        if rule is None:
            continue
        if not rule.stays:
            del variables[name]
        new = given.get(name)
        if new is not None or not rule.stays:
            if new != value:
                replaced.append(_replaced(name, value, new, rule, engine))
        else:
            shown = shown_value(name, value)
            kept.append(Kept(name=name, value=shown, reason=rule.reason, engines=(engine,)))
    return EngineEnvironment(
        variables={**variables, **given}, replaced=tuple(replaced), kept=tuple(kept)
    )


def inherited_notes(
    inherited: Mapping[str, str],
) -> tuple[tuple[Replaced, ...], tuple[Kept, ...]]:
    """What of this environment is worth a word, whichever engine is started."""
    reports = [engine_environment(engine, inherited) for engine in STARTED]
    return (
        _merged(note for report in reports for note in report.replaced),
        _merged(note for report in reports for note in report.kept),
    )


def _merged(notes: Iterable[_Note]) -> tuple[_Note, ...]:
    """Notes that differ only in the engine become one."""
    engines: dict[_Note, tuple[EngineKind, ...]] = {}
    for note in notes:
        alike = replace(note, engines=())
        engines[alike] = (*engines.get(alike, ()), *note.engines)
    return tuple(replace(note, engines=whom) for note, whom in engines.items())


def _rule_for(name: str, engine: EngineKind) -> _Rule | None:
    fits = (r for r in _RULES if engine in r.engines and r.names.fullmatch(name))
    return next(fits, None)


def _replaced(name: str, value: str, new: str | None, rule: _Rule, engine: EngineKind) -> Replaced:
    return Replaced(
        name=name,
        inherited=shown_value(name, value),
        new=None if new is None else shown_value(name, new),
        reason=_SET if rule.stays else rule.reason,
        engines=(engine,),
    )


def _whom(engines: tuple[EngineKind, ...]) -> str:
    """The engines by name; 'the engine' where it is for all of them."""
    return "the engine" if engines == STARTED else listed([_NAMES[engine] for engine in engines])
