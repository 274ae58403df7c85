"""llama.cpp through the server of llama-cpp-python, as one of the engines.

The server has no `/health`, no devices to choose from, and no key but the one in its environment;
it reads every one of its settings from variables of that name as well, so none may be inherited.
"""

import importlib.util
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from splitrig.core.engine import Dialect, EngineDevice, EngineKind, Failure, LaunchRequest
from splitrig.core.engine_log import DeviceUsed, LogEvent, Mark, Passed, Trouble, TroubleKind
from splitrig.core.engine_log import read_line as read_llama_line
from splitrig.core.errors import EngineError
from splitrig.core.ggml_types import BY_NAME
from splitrig.core.gpu import GpuInfo
from splitrig.core.share import own_address
from splitrig.core.split import check_split, split_words
from splitrig.core.visible_devices import visible_devices
from splitrig.services.engines import llama_cpp_launcher
from splitrig.services.engines.engine import OnLines, Order, Starter
from splitrig.services.engines.environment import environment_for
from splitrig.services.engines.llama_cpp import healthy
from splitrig.services.engines.llama_server import parse_devices
from splitrig.services.engines.probe import Cancelled, never, probe
from splitrig.services.engines.process import EngineProcess
from splitrig.services.engines.rpc_server import RpcServer, check_lendable, lender_failure

LAUNCHER = Path(llama_cpp_launcher.__file__)
WAY_OUT = (
    "Install it with pip install 'llama-cpp-python[server]', or choose another Python in Settings."
)
_ASK = """
import importlib.metadata as packages
for name in ("llama-cpp-python", "fastapi", "uvicorn", "pydantic-settings", "sse-starlette"):
    try:
        print(name, packages.version(name))
    except packages.PackageNotFoundError:
        print(name, "missing")
"""
_MODES = {"none": 0, "layer": 1}
_TROUBLES = tuple(
    (kind, re.compile(pattern))
    for kind, pattern in (
        (
            TroubleKind.PORT_TAKEN,
            r"error while attempting to bind on address \('[^']*', (\d+)\)",
        ),
        (TroubleKind.BAD_ARGUMENT, r"error: unrecognized arguments: (\S+)"),
        (TroubleKind.MODEL_MISSING, r"ValueError: Model path does not exist: (.*)"),
    )
)


class LlamaCppPython:
    """A Python that has `llama_cpp.server`."""

    kind = EngineKind.LLAMA_CPP_PYTHON

    def __init__(self, python: Path, *, extra_env: Mapping[str, str] | None = None) -> None:
        self._python = python
        self._extra_env = dict(extra_env or {})
        self._build: str | None = None

    @property
    def build(self) -> str | None:
        """Version of the package, if it was asked before; never blocks."""
        return self._build

    def check(self, cancelled: Cancelled = never) -> str:
        """Version of the package; blocks for some 100 ms the first time.

        Raises:
            EngineError: This Python has no llama_cpp.server.
        """
        if self._build is None:
            command = [str(self._python), "-c", _ASK]
            _, text = probe(command, self.environment(), way_out=WAY_OUT, cancelled=cancelled)
            found = dict(line.split(" ", 1) for line in text.splitlines() if " " in line)
            version = found.get("llama-cpp-python", "missing")
            if version == "missing":
                raise EngineError(f"{self._python} has no llama-cpp-python.", WAY_OUT)
            lacking = [name for name, has in found.items() if has == "missing"]
            if lacking:
                raise EngineError(
                    f"The server of llama-cpp-python {version} lacks {', '.join(lacking)}.",
                    WAY_OUT,
                )
            self._build = version
        return self._build

    def list_devices(
        self, gpus: Sequence[GpuInfo], model: Path | None, cancelled: Cancelled = never
    ) -> tuple[EngineDevice, ...]:
        """What its llama.cpp sees, with PCI addresses if a model is given; blocks for 1 to 5 s.

        Raises:
            EngineError: It does not start.
        """
        if not gpus:
            return ()
        code, text = self._launcher("--list-devices", cancelled=cancelled)
        if code:
            raise EngineError(f"llama-cpp-python does not start: {_last(text)}.", WAY_OUT)
        listed = parse_devices(text)
        if not listed or model is None:
            return listed
        _, text = self._launcher("--identify", str(model.absolute()), cancelled=cancelled)
        events = [read_llama_line(line) for line in text.splitlines()]
        addresses = {e.name: e.pci for e in events if isinstance(e, DeviceUsed)}
        return tuple(replace(device, pci=addresses.get(device.name)) for device in listed)

    def preview(
        self, request: LaunchRequest, names: Sequence[str] | None, port: int
    ) -> tuple[str, ...]:
        """The command that a start would run; empty until it was checked."""
        if self._build is None:
            return ()
        if names is None:
            names = tuple(f"RPC{n}" for n in range(max(len(request.gpu_ids), 1)))
            request = replace(request, rpc=("127.0.0.1:PORT",))
        return self.command(request, visible_devices(names)[1], port)

    def open(
        self, order: Order, on_lines: OnLines, cancelled: Cancelled = never
    ) -> "LlamaCppPythonRun":
        """Start the server that lends the processor, if one is needed; blocks for some 1 s.

        Raises:
            EngineError: This build has none, or the computer lacks the memory.
        """
        request, names, lender = order.request, order.names, None
        if names is None:
            check_lendable(order.plan)
            lender = self._lend(max(len(request.gpu_ids), 1), on_lines, cancelled)
            names = lender.device_names
            request = replace(request, rpc=(lender.endpoint,), n_threads=request.n_threads or 1)
        if order.plan is not None and order.plan.split and request.plan.split is None:
            request = replace(request, plan=replace(request.plan, split=order.plan.split))
        return LlamaCppPythonRun(self, request, names, lender)

    def _lend(self, count: int, on_lines: OnLines, cancelled: Cancelled) -> RpcServer:
        said: list[str] = []

        def listen(lines: list[str]) -> None:
            said.extend(lines[-20:])
            on_lines(lines)

        def command(port: int) -> list[str]:
            lend = ["--lend", f"127.0.0.1:{port}", str(count)]
            return [str(self._python), str(LAUNCHER), *lend]

        try:
            return RpcServer(command, self.environment(), count, listen, cancelled)
        except EngineError as error:
            if any("built without RPC" in line for line in said):
                raise EngineError(
                    "This llama-cpp-python is built without RPC, which the demo rig needs.",
                    "Install it with CMAKE_ARGS=-DGGML_RPC=ON, or choose llama.cpp.",
                ) from error
            if not said:
                raise
            why = _last("\n".join(said))
            raise EngineError(f"llama-cpp-python does not start: {why}.", WAY_OUT) from error

    def command(self, request: LaunchRequest, names: Sequence[str], port: int) -> tuple[str, ...]:
        """The command line for a request, with the devices in the order of the split.

        Raises:
            EngineError: It cannot split in the way that is asked for.
        """
        plan = request.plan
        if plan.split_mode not in _MODES:
            raise EngineError(
                f"llama-cpp-python knows no split mode '{plan.split_mode}'.",
                "Choose 'layer' or 'none', or llama.cpp's own server.",
            )
        n_ubatch = min(plan.n_ubatch, plan.n_batch)
        ours = ["--rpc", ",".join(request.rpc)] if request.rpc else []
        ours += ["--devices", ",".join(names)] if names else []
        arguments: dict[str, object] = {
            "model": request.model.absolute(),
            "n_gpu_layers": plan.n_gpu_layers if names else 0,
            "split_mode": _MODES[plan.split_mode],
            "main_gpu": 0,
            "n_ctx": plan.n_ctx,
            "n_batch": plan.n_batch,
            "n_ubatch": n_ubatch,
            "flash_attn": plan.flash_attention,
            "type_k": BY_NAME[plan.cache_type_k].number,
            "type_v": BY_NAME[plan.cache_type_v].number,
            # or it keeps the logits of a whole batch
            "logits_all": False,
            # the default pins the host's share in memory
            "use_mlock": False,
            "host": request.host,
            "port": port,
        }
        if request.n_threads is not None:
            arguments |= {"n_threads": request.n_threads, "n_threads_batch": request.n_threads}
        words = [word for name, value in arguments.items() for word in (f"--{name}", str(value))]
        if plan.split is not None and len(names) > 1 and plan.split_mode == "layer":
            check_split(plan.split)
            words += ["--tensor_split", *split_words(plan.split)]
        return (str(self._python), str(LAUNCHER), *ours, *words)

    def environment(
        self, devices: Sequence[str] | None = None, api_key: str | None = None
    ) -> dict[str, str]:
        """The child's environment, without any setting of the server that was inherited.

        Args:
            devices: The devices it is to see; `None` for all.
            api_key: What requests have to bring.
        """
        ours = {"GGML_NO_BACKTRACE": "1"}
        if devices is not None:
            ours |= visible_devices(devices)[0]
        ours |= self._extra_env
        if api_key is not None:
            ours["API_KEY"] = api_key  # not an argument, which every user could read
        return dict(environment_for(self.kind, ours).variables)

    def _launcher(self, *arguments: str, cancelled: Cancelled) -> tuple[int, str]:
        command = [str(self._python), str(LAUNCHER), *arguments]
        return probe(command, self.environment(), way_out=WAY_OUT, cancelled=cancelled)


class LlamaCppPythonRun:
    """One start of the server."""

    log_name = "llama-cpp-python"
    says_when_bound = False
    says_when_loaded = True
    takes_key = True
    has_metrics = False
    dialect = Dialect.OPENAI
    served_model: str | None = None

    def __init__(
        self,
        engine: LlamaCppPython,
        request: LaunchRequest,
        names: tuple[str, ...],
        lender: RpcServer | None,
    ) -> None:
        self._engine = engine
        self._lender = lender
        self._wanted = names
        self.request = request
        self.device_names = visible_devices(names)[1]

    def command(self, port: int) -> tuple[str, ...]:
        """The command line; there is no key in it."""
        return self._engine.command(self.request, self.device_names, port)

    def url(self, port: int) -> str:
        """Base address."""
        return f"http://{own_address(self.request.host)}:{port}"

    def start(self, port: int, key: str, starter: Starter) -> EngineProcess:
        """Start the process."""
        env = self._engine.environment(self._wanted, key)
        return starter.launch(self.command(port), env)

    def answers(self, port: int, key: str) -> bool:
        """Whether the list of models answers 200, which it does as soon as its model is loaded."""
        return healthy(
            port,
            "/v1/models",
            headers={"Authorization": f"Bearer {key}"},
            host=own_address(self.request.host),
        )

    def read_line(self, line: str) -> LogEvent | None:
        """What a line of its log says: llama.cpp's own, and those of the server around it."""
        if "Uvicorn running on" in line:
            return Passed(Mark.LOADED)
        if "rror: " in line or "error while" in line:
            for kind, pattern in _TROUBLES:
                if match := pattern.search(line):
                    return Trouble(kind, match[1], None, line)
        return read_llama_line(line)

    def helper_failure(self, tail: Sequence[str]) -> Failure | None:
        """The server that lends the processor ended."""
        return lender_failure(self._lender, tail)

    def close(self) -> None:
        """End the server that lends the processor."""
        if self._lender is not None:
            self._lender.stop()


def find_llama_cpp_python(
    chosen: Path | None = None, *, extra_env: Mapping[str, str] | None = None
) -> LlamaCppPython:
    """The Python chosen, else the one this program runs in if it has the package.

    Raises:
        EngineError: There is none.
    """
    if chosen is not None:
        if not chosen.is_file():
            raise EngineError(f"There is no Python at {chosen}.", "Choose another in Settings.")
        return LlamaCppPython(chosen.absolute(), extra_env=extra_env)
    if importlib.util.find_spec("llama_cpp") is None or getattr(sys, "frozen", False):
        raise EngineError(
            "llama-cpp-python is not installed beside SplitRig.",
            "Install it with pip install 'splitrig[llama-cpp-python]', "
            "or choose a Python that has it in Settings.",
        )
    return LlamaCppPython(Path(sys.executable), extra_env=extra_env)


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else "no output"
