"""Ollama as values: its version and address, the cards it sees, and how it is told what to do.

Since 0.30 Ollama starts llama-server for a model. Its interface knows no split, but the
environment of `ollama serve` reaches llama-server, which reads most of its options from there.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from splitrig.core.engine import EngineKind, LaunchRequest
from splitrig.core.errors import EngineError
from splitrig.core.plan import HostPlan, Plan, PlanRequest
from splitrig.core.share import is_open
from splitrig.core.split import split_argument, split_text
from splitrig.core.units import number_text

RATIO_SINCE = (0, 30)
DEFAULT_URL = "http://127.0.0.1:11434"
FOREVER = -1
"""`keep_alive`: a model stays loaded until it is unloaded."""
ALL_LAYERS = 999
_OLD_CACHE_TYPES = ("f16", "q8_0", "q4_0")
_NAME = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class OllamaDevice:
    """A card as a line `inference compute` of Ollama's log describes it.

    Attributes:
        name: As llama-server called it while Ollama looked, such as `CUDA1`.
        library: What drives it: `CUDA`, `ROCm`, `Vulkan`, or the address of an RPC server.
        description: The driver's name of it.
        id: Its number, or UUID in old versions, among those Ollama takes.
        filter_id: What names it in the variable that makes cards visible.
        pci: PCI address; `None` where Ollama does not say.
        total_bytes: All memory, bytes, rounded to one decimal of its unit.
        free_bytes: Free memory, bytes, rounded likewise.
        folder: Folder of the libraries that drive it, such as `cuda_v13`; empty for the only one.
        uuid: The driver's UUID where it is known, such as `GPU-…`.
    """

    name: str
    library: str
    description: str
    id: str = ""
    filter_id: str = ""
    pci: str | None = None
    total_bytes: int = 0
    free_bytes: int = 0
    folder: str = ""
    uuid: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """How Ollama is told which cards to use.

    Attributes:
        env: Variables for `ollama serve`.
        names: What its llama-server will call the cards, in the order of the split.
    """

    env: Mapping[str, str]
    names: tuple[str, ...]


def follows_ratio(version: str) -> bool:
    """Whether this version gives a ratio on to llama-server; 0.0.0 is a build of today's source."""
    found = re.match(r"v?(\d+)\.(\d+)", version.strip())
    numbers = (int(found[1]), int(found[2])) if found else (0, 0)
    return numbers == (0, 0) or numbers >= RATIO_SINCE


def address_url(text: str) -> str:
    """An address as `OLLAMA_HOST` takes it, as the URL to ask (envconfig/config.go).

    `0.0.0.0` and `::` are what a server listens on; it is asked on loopback.

    Raises:
        EngineError: It is no address.
    """
    text = text.strip().strip("\"'")
    if not text:
        return DEFAULT_URL
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "http", text
    if rest.count(":") > 1 and "[" not in rest:
        rest = f"[{rest}]"  # a bare IPv6 address
    default = {"http": 80 if separator else 11434, "https": 443}.get(scheme)
    try:
        parts = urlsplit(f"//{rest}")
        host, port, path = parts.hostname or "127.0.0.1", parts.port, parts.path.rstrip("/")
    except ValueError:
        default = None
        host, port, path = "", None, ""
    if default is None or not host or re.search(r"[\s,]", host):
        raise EngineError(
            f"'{text[:80]}' is no address of an Ollama.",
            "Write it as http://127.0.0.1:11434, or 127.0.0.1:11434.",
        )
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - nothing binds here
    shown = f"[{host}]" if ":" in host else host
    return f"{scheme}://{shown}:{port or default}{path}"


def private_name(stem: str) -> str:
    """The name under which Ollama serves a model file that is in no store of it."""
    plain = _NAME.sub("-", stem).strip("-.")[:60]
    return f"splitrig/{plain or 'model'}"


def full_name(name: str) -> str:
    """A model's name with its tag: `smollm2` is `smollm2:latest`."""
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def adapted(plan: PlanRequest, n_ctx_train: int) -> PlanRequest:
    """The knobs as Ollama will run them.

    It has one size for both kinds of batch, and gives each request an equal part of the context.

    Raises:
        EngineError: It cannot run a context that long.
    """
    n_parallel = max(plan.n_parallel, 1)
    each = plan.n_ctx // n_parallel if plan.n_ctx else n_ctx_train
    if n_ctx_train and each > n_ctx_train:
        raise EngineError(
            f"Ollama goes no further than the {number_text(n_ctx_train)} tokens the model was "
            f"trained for; {number_text(each)} were asked for.",
            "Shorten the context, or choose llama.cpp.",
        )
    n_ubatch = min(plan.n_ubatch, plan.n_batch)
    return replace(plan, n_ctx=each * n_parallel, n_batch=n_ubatch, n_ubatch=n_ubatch)


def check_request(request: LaunchRequest, n_cards: int, version: str) -> None:
    """Refuse what this version cannot do.

    Raises:
        EngineError: It cannot; the hint says what it can.
    """
    plan = request.plan
    if follows_ratio(version):
        return
    if not request.model_name:
        raise EngineError(
            f"Ollama {version} does not read the chat template in a file, which it would need for "
            f"{request.model.name}.",
            "Update Ollama to 0.30 or newer, or add the file with 'ollama create'.",
        )
    if plan.split is not None and n_cards > 1 and plan.split_mode == "layer":
        raise EngineError(
            f"Ollama {version} divides a model by itself; it does not take {split_text(plan.split)}"
            " as a ratio.",
            "Update Ollama to 0.30 or newer, or leave the ratio out: the choice of cards holds.",
        )
    if plan.cache_type_k != plan.cache_type_v:
        raise EngineError(
            f"Ollama {version} has one type for keys and values, not {plan.cache_type_k} and "
            f"{plan.cache_type_v}.",
            "Choose the same type for both.",
        )
    if plan.cache_type_k not in _OLD_CACHE_TYPES:
        raise EngineError(
            f"Ollama {version} knows no KV cache of {plan.cache_type_k}.",
            f"Choose {', '.join(_OLD_CACHE_TYPES)}, or update Ollama.",
        )


def stay_home(request: LaunchRequest) -> None:
    """Refuse to open it to other machines.

    Raises:
        EngineError: That is what was asked.
    """
    if not is_open(request.host):
        return
    if request.engine is EngineKind.OLLAMA_ATTACHED:
        message = "Whoever started this Ollama chose its address; it cannot be opened from here."
        raise EngineError(message, "Set OLLAMA_HOST where it is started.")
    raise EngineError(
        "Ollama knows no key: everybody on the network could use it and delete its models.",
        "Leave it on this machine, or choose llama.cpp, which takes a key.",
    )


def choose_cards(
    cards: Sequence[OllamaDevice], seen: Sequence[OllamaDevice], version: str, platform: str
) -> Choice:
    """Tell Ollama to use these cards, in this order.

    CUDA and ROCm cards are named by their UUIDs, so that no other counting of them matters. A
    number in `GGML_VK_VISIBLE_DEVICES` counts devices that llama.cpp never shows (software ones),
    so Vulkan cards are named to llama-server instead; CUDA and ROCm cards cannot be, because
    Ollama tries each of those alone first.

    Args:
        cards: The cards, in the order of the split.
        seen: All that Ollama sees.
        version: Ollama's.
        platform: `sys.platform`.

    Raises:
        EngineError: Different libraries drive them.
    """
    libraries = list(dict.fromkeys(card.library for card in cards))
    if len(libraries) > 1:
        first = {card.library: card.description or card.name for card in reversed(cards)}
        raise EngineError(
            "Ollama divides a model only among cards with one kind of driver; "
            + ", ".join(f"{first[library]} has {library}" for library in libraries)
            + ".",
            "Choose cards of one make, or llama.cpp, which takes both through Vulkan.",
        )
    library = libraries[0] if libraries else ""
    env: dict[str, str] = {}
    folders = {card.folder for card in cards}
    if len(folders) == 1 and (folder := folders.pop()):
        env["OLLAMA_LLM_LIBRARY"] = folder
    numbered = tuple(f"{library}{number}" for number in range(len(cards)))
    match library.upper():
        case "CUDA":
            return Choice(env=env | {"CUDA_VISIBLE_DEVICES": _ids(cards)}, names=numbered)
        case "ROCM":
            variable = "ROCR_VISIBLE_DEVICES"
            if platform == "win32":
                variable, cards = "HIP_VISIBLE_DEVICES", [replace(c, uuid=None) for c in cards]
            return Choice(env=env | {variable: _ids(cards)}, names=numbered)
        case "VULKAN" if not follows_ratio(version):
            cards = [replace(card, uuid=None) for card in cards]
            return Choice(env=env | {"GGML_VK_VISIBLE_DEVICES": _ids(cards)}, names=numbered)
    if len(seen) == 1:
        # Ollama makes the only one visible to llama-server, which then counts from 0.
        return Choice(env=env, names=numbered)
    names = tuple(card.name for card in cards)
    return Choice(env=env | ({"LLAMA_ARG_DEVICE": ",".join(names)} if names else {}), names=names)


def lent_cards(names: Sequence[str]) -> Choice:
    """Use devices of RPC servers; where all are, the cards of this machine are left alone."""
    env = {"LLAMA_ARG_DEVICE": ",".join(names)}
    if all(name.startswith("RPC") for name in names):
        # Ollama would try each of them, and an RPC server has time for one client only.
        env |= dict.fromkeys(
            ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"), "-1"
        )
    return Choice(env=env, names=tuple(names))


def _ids(cards: Sequence[OllamaDevice]) -> str:
    """UUIDs where all have one, for they do not go together with numbers."""
    uuids = [card.uuid for card in cards]
    if all(uuid is not None and uuid.startswith("GPU-") for uuid in uuids):
        return ",".join(filter(None, uuids))
    return ",".join(card.filter_id or card.id or _digits(card.name) for card in cards)


def _digits(name: str) -> str:
    return name[len(name.rstrip("0123456789")) :]


def named_device(name: str) -> OllamaDevice:
    """A device of which only the name is known, as given on the command line."""
    digits = _digits(name)
    library = name[: len(name) - len(digits)]
    return OllamaDevice(name=name, library=library, description=name, id=digits)


def serve_environment(
    request: LaunchRequest, *, port: int, store: Path, version: str, cards: Choice
) -> dict[str, str]:
    """What makes `ollama serve` run a request as planned (envconfig/config.go, common/arg.cpp).

    Args:
        request: With `adapted` knobs.
        port: On loopback.
        store: `OLLAMA_MODELS`.
        version: Ollama's.
        cards: Which cards.
    """
    plan = request.plan
    n_parallel = max(plan.n_parallel, 1)
    env = {
        "OLLAMA_HOST": f"127.0.0.1:{port}",
        "OLLAMA_MODELS": str(store),
        # Web pages of this machine only; Ollama adds those itself and would add more.
        "OLLAMA_ORIGINS": f"http://127.0.0.1:{port}",
        "OLLAMA_NO_CLOUD": "1",
        "OLLAMA_NOPRUNE": "1",
        "OLLAMA_KEEP_ALIVE": str(FOREVER),
        "OLLAMA_LOAD_TIMEOUT": "0",
        "OLLAMA_MAX_LOADED_MODELS": "1",
        "OLLAMA_NUM_PARALLEL": str(n_parallel),
        "OLLAMA_FLASH_ATTENTION": "1" if plan.flash_attention else "0",
        # Otherwise one card gets all of a model that fits on it.
        "OLLAMA_SCHED_SPREAD": "1",
        "GIN_MODE": "release",
    }
    if plan.n_ctx:
        env["OLLAMA_CONTEXT_LENGTH"] = str(plan.n_ctx // n_parallel)
    if plan.cache_type_k == plan.cache_type_v and plan.cache_type_k != "f16":
        env["OLLAMA_KV_CACHE_TYPE"] = plan.cache_type_k
    if follows_ratio(version):
        env |= _llama_environment(request, port)
    return env | dict(cards.env)


def _llama_environment(request: LaunchRequest, port: int) -> dict[str, str]:
    """What llama-server reads from the environment because Ollama's command line is silent."""
    plan = request.plan
    env = {
        "LLAMA_ARG_FIT": "off",
        "LLAMA_ARG_N_GPU_LAYERS": str(ALL_LAYERS if plan.n_gpu_layers < 0 else plan.n_gpu_layers),
        # Its llama-server has no key, and would answer every web page.
        "LLAMA_ARG_CORS_ORIGINS": f"http://127.0.0.1:{port}",
        "GGML_NO_BACKTRACE": "1",
    }
    if plan.split_mode == "none":
        env |= {"LLAMA_ARG_SPLIT_MODE": "none", "LLAMA_ARG_MAIN_GPU": "0"}
    elif plan.split is not None:
        env["LLAMA_ARG_TENSOR_SPLIT"] = split_argument(plan.split)
    if plan.cache_type_k != plan.cache_type_v:
        env |= {
            "LLAMA_ARG_CACHE_TYPE_K": plan.cache_type_k,
            "LLAMA_ARG_CACHE_TYPE_V": plan.cache_type_v,
        }
    if plan.kv_unified:
        env["LLAMA_ARG_KV_UNIFIED"] = "1"
    if request.n_threads is not None:
        env["LLAMA_ARG_THREADS"] = str(request.n_threads)
    if request.rpc:
        env["LLAMA_ARG_RPC"] = ",".join(request.rpc)
    return env


def model_parameters(request: LaunchRequest, version: str) -> dict[str, int]:
    """What the model itself says of how it is run, so that no client has to say it.

    A request with other values would make Ollama load the model anew.

    Args:
        request: With `adapted` knobs.
        version: Ollama's.
    """
    plan = request.plan
    parameters = {"num_ctx": plan.n_ctx // max(plan.n_parallel, 1), "num_batch": plan.n_ubatch}
    if not follows_ratio(version):
        parameters |= _layers_and_threads(request)
    return parameters


def attached_options(request: LaunchRequest | None) -> dict[str, int]:
    """`options` of the load and of every chat with an Ollama that ran before; empty for others."""
    if request is None or request.engine is not EngineKind.OLLAMA_ATTACHED:
        return {}
    n_ctx = request.plan.n_ctx
    return ({"num_ctx": n_ctx} if n_ctx else {}) | _layers_and_threads(request)


def _layers_and_threads(request: LaunchRequest) -> dict[str, int]:
    options = {}
    if request.plan.n_gpu_layers >= 0:
        options["num_gpu"] = request.plan.n_gpu_layers
    if request.n_threads is not None:
        options["num_thread"] = request.n_threads
    return options


def shown_command(env: Mapping[str, str], program: Path, platform: str) -> tuple[str, ...]:
    """The command line with its variables, as it can be pasted into a shell."""
    head = () if platform == "win32" else ("env",)
    return (*head, *(f"{name}={value}" for name, value in env.items()), str(program), "serve")


def unplanned() -> Plan:
    """The plan for an Ollama that runs already: it places the model by itself."""
    nothing = HostPlan(model_bytes=0, kv_bytes=0, compute_bytes=None)
    note = "This Ollama runs already: it chooses the cards and their shares by itself."
    return Plan(devices=(), host=nothing, split=(), fits=True, notes=(note,))


def not_honoured(split: Sequence[float]) -> str:
    """Ollama loaded, but not as it was told."""
    return f"Ollama did not honour the ratio {split_text(split)}."


def divided_by_itself(version: str) -> str:
    """A version that takes no ratio has loaded."""
    return f"Ollama {version} has divided the model by itself; 0.30 and newer take a ratio."
