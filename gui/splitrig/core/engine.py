"""An engine as a value: what to start and what it did; `engine_machine` moves between them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from splitrig.core.engine_log import LoadLog
from splitrig.core.plan import Plan, PlanRequest
from splitrig.core.share import LOOPBACK
from splitrig.core.vllm import VllmOptions


class EngineKind(StrEnum):
    """The engines, by the names of `--engine`."""

    LLAMA_CPP = "llama.cpp"
    LLAMA_CPP_PYTHON = "llama-cpp-python"
    OLLAMA = "ollama"
    OLLAMA_ATTACHED = "ollama-attached"
    VLLM = "vllm"


class Dialect(StrEnum):
    """How an engine is spoken to in a chat."""

    OPENAI = "openai"
    """`/v1/chat/completions`, server-sent events."""
    OLLAMA = "ollama"
    """`/api/chat`, one JSON object a line, with figures in nanoseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineDevice:
    """A device as the engine's own `--list-devices` names it.

    Attributes:
        name: The engine's word, such as `CUDA0`, `Vulkan1`, `RPC0`.
        description: What it prints behind it, such as 'NVIDIA GeForce RTX 4090'.
        total_bytes: All memory, bytes.
        free_bytes: Free memory at the time of listing, bytes.
        pci: PCI address as `0000:01:00.0`; `None` where the engine says 'unknown id'.
    """

    name: str
    description: str
    total_bytes: int
    free_bytes: int
    pci: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchRequest:
    """Everything Start needs.

    Attributes:
        model: The GGUF file; for vLLM the model's folder.
        gpu_ids: Cards to use, by `GpuInfo.id`, in the order of the split.
        plan: The knobs; `split` has one share for each entry of `gpu_ids`.
        devices: Engine device names to use as they are instead of cards (headless use).
        rpc: RPC endpoints `host:port` that lend devices.
        port: TCP port; 0 picks a free one.
        host: Address to listen on; anything but loopback only after the user said so.
        n_threads: CPU threads; `None` leaves it to the engine.
        warmup: Let the engine run one empty token before it reports ready.
        log_layers: Let the engine say where each layer goes; costs some log lines per token.
        engine: Which engine.
        model_name: The engine's own name of the model, where it has a store of its own (Ollama);
            `model` is then the file behind it.
        extra_arguments: What the user adds to the command line by hand; checked before a start.
        vllm: What only vLLM knows; `None` takes context and split from `plan`.
    """

    model: Path
    gpu_ids: tuple[str, ...] = ()
    plan: PlanRequest
    devices: tuple[str, ...] = ()
    rpc: tuple[str, ...] = ()
    port: int = 0
    host: str = LOOPBACK
    n_threads: int | None = None
    warmup: bool = True
    log_layers: bool = False
    engine: EngineKind = EngineKind.LLAMA_CPP
    model_name: str = ""
    extra_arguments: tuple[str, ...] = ()
    vllm: VllmOptions | None = None


STEPS = ("process", "weights", "context", "warmup")
"""What an engine does one after the other until it is ready."""


class Phase(StrEnum):
    """Where an engine is in its life."""

    STOPPED = "stopped"
    STARTING = "starting"
    LOADING = "loading"
    READY = "ready"
    STOPPING = "stopping"
    FAILED = "failed"

    @property
    def active(self) -> bool:
        """A process exists, or is about to."""
        return self not in (Phase.STOPPED, Phase.FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Buffers:
    """Bytes the engine says it took on one device; `None` until it said so."""

    model_bytes: int | None = None
    kv_bytes: int | None = None
    compute_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fallback:
    """A change to a request after which a start that failed is likely to work.

    Attributes:
        label: The change in words, for a button.
        option: The same as an option of `splitrig serve`.
        split_mode: Divide the model in this way instead.
    """

    label: str
    option: str
    split_mode: str

    def applied(self, request: LaunchRequest) -> LaunchRequest:
        """The request with the change in it."""
        return replace(request, plan=replace(request.plan, split_mode=self.split_mode))


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why an engine is not running.

    Attributes:
        message: What happened, one sentence.
        hint: What to do next.
        log_tail: The engine's last lines.
        exit_code: Of the process; negative for a signal; `None` if it never ran.
        fallback: What is likely to work instead; `None` where nothing is known.
    """

    message: str
    hint: str = ""
    log_tail: tuple[str, ...] = ()
    exit_code: int | None = None
    fallback: Fallback | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStatus:
    """A snapshot of one engine.

    Attributes:
        slot: Which of several engines, from 1.
        phase: Where it is in its life.
        request: What was asked for; `None` before the first start.
        plan: What was planned for it, devices in the order of `device_names`.
        device_names: The engine's device for each card of the plan, in order.
        command: The command that was run, for showing (no key in it).
        pid: Of the engine process; `None` for one that was not started here.
        pids: That process and all below it, looked at every few seconds.
        url: Base address such as `http://127.0.0.1:8137`; `None` before a port is chosen.
        network_urls: Addresses for other machines; empty unless it was opened to them.
        api_key: Bearer token for `url`; `None` where the engine takes none.
        served_model: What a request has to name as its model; `None` where it need not.
        dialect: How to speak to it.
        progress: Share of the weights read, 0–1; `None` when unknown.
        step_seconds: Seconds each finished step took, in the order of `STEPS`.
        actual: Buffers by engine device name; the host's under `host`.
        layers: Layers per engine device (output counted), from the log; empty until known.
        failure: Set in phase FAILED.
        build: The engine's build, such as 'b10068'.
        mismatches: Sentences on where the cards carry something else than planned; only
            filled from phase READY on.
        unmetered: Why its own counts cannot be read, one sentence; empty where they can.
        restart: What ended the run before, when the engine is started again after a crash.
        step: The step in progress, a key of `step_seconds`; empty when none is.
        step_since_s: When that step began, `time.monotonic()`.
        log: What the engine's log has said since the last start.
    """

    slot: int = 1
    phase: Phase = Phase.STOPPED
    request: LaunchRequest | None = None
    plan: Plan | None = None
    device_names: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    pid: int | None = None
    pids: frozenset[int] = frozenset()
    url: str | None = None
    network_urls: tuple[str, ...] = ()
    api_key: str | None = None
    served_model: str | None = None
    dialect: Dialect = Dialect.OPENAI
    progress: float | None = None
    step_seconds: Mapping[str, float] = field(default_factory=dict)
    actual: Mapping[str, Buffers] = field(default_factory=dict)
    layers: Mapping[str, int] = field(default_factory=dict)
    failure: Failure | None = None
    build: str | None = None
    mismatches: tuple[str, ...] = ()
    unmetered: str = ""
    restart: str = ""
    step: str = ""
    step_since_s: float | None = None
    log: LoadLog = field(default_factory=LoadLog, repr=False)
