"""vLLM as one of the engines."""

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from splitrig.core.devices import normal_pci
from splitrig.core.engine import Dialect, EngineDevice, EngineKind, Failure, LaunchRequest
from splitrig.core.engine_log import LogEvent
from splitrig.core.errors import EngineError
from splitrig.core.gpu import GpuInfo, Vendor
from splitrig.core.hf_model import HfModel
from splitrig.core.ray import settled
from splitrig.core.share import own_address
from splitrig.core.vllm import VllmOptions, options_from
from splitrig.core.vllm_command import check_extra, is_amd, serve_arguments, shown_environment
from splitrig.core.vllm_layout import partition, refusal, stage_shares
from splitrig.core.vllm_log import VllmLog, VllmWorker
from splitrig.core.vllm_plan import kv_token_bytes
from splitrig.services.engines.engine import OnLines, Order, Starter
from splitrig.services.engines.llama_cpp import healthy
from splitrig.services.engines.probe import Cancelled, never
from splitrig.services.engines.process import EngineProcess
from splitrig.services.engines.ray_cluster import check_cluster
from splitrig.services.engines.vllm_program import VllmProgram
from splitrig.services.models.hf import folder_name, read_hf_model

_PREFIXES = {Vendor.NVIDIA: "CUDA", Vendor.AMD: "ROCm"}


class Vllm:
    """A vLLM installation."""

    kind = EngineKind.VLLM

    def __init__(self, program: VllmProgram) -> None:
        self.program = program

    @property
    def build(self) -> str | None:
        """Its version, if it was asked before; never blocks."""
        known = self.program.known_capabilities
        return known.version if known is not None else None

    def check(self, cancelled: Cancelled = never) -> str:
        """Its version; blocks for some 0.2 s the first time.

        Raises:
            EngineError: It does not start, or there is no vLLM in its environment.
        """
        return self.program.capabilities(cancelled).version

    def list_devices(
        self, gpus: Sequence[GpuInfo], model: Path | None, cancelled: Cancelled = never
    ) -> tuple[EngineDevice, ...]:
        """The cards vLLM can be told to use, named by their number in PCI order; does not block.

        That is how CUDA numbers them with `CUDA_DEVICE_ORDER=PCI_BUS_ID`.
        """
        del model, cancelled
        devices = []
        for vendor, prefix in _PREFIXES.items():
            known = [(normal_pci(gpu.pci), gpu) for gpu in gpus if gpu.vendor is vendor]
            placed = [(pci, gpu) for pci, gpu in known if pci is not None]
            placed.sort(key=lambda pair: pair[0])
            devices += [
                EngineDevice(
                    name=f"{prefix}{number}",
                    description=gpu.name,
                    total_bytes=gpu.vram_total_bytes or 0,
                    free_bytes=gpu.vram_total_bytes or 0,
                    pci=pci,
                )
                for number, (pci, gpu) in enumerate(placed)
            ]
        return tuple(devices)

    def preview(
        self, request: LaunchRequest, names: Sequence[str] | None, port: int
    ) -> tuple[str, ...]:
        """The command that a start would run; empty until it was checked. Never blocks.

        Raises:
            EngineError: An extra argument is refused.
        """
        known = self.program.known_capabilities
        if known is None:
            return ()
        options = _options(request, len(names or ()))
        arguments = serve_arguments(
            request.model,
            options,
            extra=request.extra_arguments,
            port=port,
            served_name=folder_name(request.model),
            flags=known.flags,
            host=request.host,
        )
        shown = shown_environment(options, devices=names or ())
        return (*shown, *self.program.command, *arguments)

    def open(self, order: Order, on_lines: OnLines, cancelled: Cancelled = never) -> "VllmRun":
        """Look at the model and the cards; blocks for some ms, with a Ray cluster for some s.

        Raises:
            ModelFileError: The model is no Hugging Face folder, or it is damaged.
            EngineError: It cannot run on these cards, or an extra argument is refused.
        """
        del on_lines
        names = order.names
        if names is None:
            raise EngineError(
                "vLLM needs a real card; the demo rig has none.", "Choose llama.cpp to try it out."
            )
        if len({is_amd([name]) for name in names}) > 1:
            raise EngineError(
                "vLLM cannot use cards of NVIDIA and AMD together.", "Leave one make out."
            )
        capabilities = self.program.capabilities(cancelled)
        check_extra(order.request.extra_arguments, capabilities.flags)
        model = read_hf_model(order.request.model)
        options = _options(order.request, len(names))
        tp, pp = options.tp or 1, options.pp or 1
        if reason := refusal(model.config, tp, pp):
            raise EngineError(reason, "Choose another layout, or leave a card out.")
        cluster = options.cluster
        if cluster is not None:
            state = check_cluster(self.program, capabilities, cluster, tp * pp, cancelled)
            options = replace(options, cluster=settled(cluster, state))
        if pp > 1 and options.layers is None:
            shares = options.split or [1.0] * (tp * pp)
            layers = partition(stage_shares(shares, tp), model.config.n_layer)
            options = replace(options, layers=layers)
        request = replace(order.request, vllm=options)
        shown = [device.name for device in order.plan.devices] if order.plan is not None else []
        return VllmRun(self.program, request, model, names, shown)


class VllmRun:
    """One start of vLLM."""

    log_name = "vllm.log"
    says_when_bound = True
    says_when_loaded = True
    takes_key = True
    has_metrics = True
    dialect = Dialect.OPENAI

    def __init__(
        self,
        program: VllmProgram,
        request: LaunchRequest,
        model: HfModel,
        names: tuple[str, ...],
        shown: Sequence[str],
    ) -> None:
        self._program = program
        self._options = request.vllm or VllmOptions()
        self.request = request
        self.device_names = names
        self.served_model: str | None = model.name
        shown = shown if len(shown) == len(names) else names
        self._log = VllmLog(_workers(model, self._options, names, shown), self._options.tp or 1)
        self._lock = threading.Lock()

    def command(self, port: int) -> tuple[str, ...]:
        """The command line as it would be typed, with the variables that decide where it lies."""
        shown = shown_environment(self._options, devices=self.device_names)
        return (*shown, *self._command(port))

    def _command(self, port: int) -> tuple[str, ...]:
        known = self._program.known_capabilities
        arguments = serve_arguments(
            self.request.model,
            self._options,
            extra=self.request.extra_arguments,
            port=port,
            served_name=self.served_model or "",
            flags=known.flags if known is not None else (),
            host=self.request.host,
        )
        return (*self._program.command, *arguments)

    def url(self, port: int) -> str:
        """Base address."""
        return f"http://{own_address(self.request.host)}:{port}"

    def start(self, port: int, key: str, starter: Starter) -> EngineProcess:
        """Start the process.

        Raises:
            EngineError: It could not be started.
        """
        env = self._program.environment(self._options, self.device_names, key)
        return starter.launch(self._command(port), env)

    def answers(self, port: int, key: str) -> bool:
        """Whether `/health` answers 200."""
        del key  # health is free of it
        return healthy(port, host=own_address(self.request.host))

    def read_line(self, line: str) -> LogEvent | None:
        """What a line of its log says."""
        with self._lock:
            return self._log.read_line(line)

    def helper_failure(self, tail: Sequence[str]) -> Failure | None:
        """There is no helper."""
        del tail
        return None

    def close(self) -> None:
        """There is no helper to end."""


def _options(request: LaunchRequest, n_cards: int) -> VllmOptions:
    """The options of a request, with a layout: one stage for each card where none is said."""
    options = request.vllm or options_from(request.plan, n_cards)
    total = options.cluster.n_cards if options.cluster is not None else max(n_cards, 1)
    tp = options.tp or max(total // max(options.pp or total, 1), 1)
    pp = options.pp or max(total // tp, 1)
    if options.cluster is None and n_cards and tp * pp != n_cards:
        raise EngineError(
            f"{tp} × {pp} cards are {tp * pp}, but {n_cards} are chosen.",
            "Tensor parallel times pipeline has to be the number of cards.",
        )
    return replace(options, tp=tp, pp=pp)


def _workers(
    model: HfModel, options: VllmOptions, names: Sequence[str], shown: Sequence[str]
) -> list[VllmWorker]:
    """What the reader of the log has to know of the workers of this machine."""
    tp, pp = options.tp or 1, options.pp or 1
    layers = options.layers or partition([1.0] * pp, model.config.n_layer)
    per_layer = kv_token_bytes(model, tp, options.kv_dtype)
    return [
        VllmWorker(
            device=name,
            shown=shown[rank],
            kv_token_bytes=per_layer * layers[min(rank // tp, pp - 1)],
        )
        for rank, name in enumerate(names)
    ]
