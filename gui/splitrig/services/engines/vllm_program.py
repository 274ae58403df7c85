"""A vLLM installation: where it is, what it can do, how its short runs are made."""

import json
import os
import shutil
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from splitrig.core.engine import EngineKind
from splitrig.core.errors import EngineError
from splitrig.core.vllm import VllmOptions
from splitrig.core.vllm_command import serve_environment
from splitrig.services.engines.environment import environment_for
from splitrig.services.engines.probe import Cancelled, never, probe

PROBE_TIMEOUT_S = 60
"""The first look into an environment of 10,000 files on a slow disk."""
INSTALL = (
    "Install it into an environment of its own (pip install vllm), then choose it in Settings."
)
ON_WINDOWS = "vLLM does not run on Windows itself."
WSL = "Install it in WSL2, start it there, and use llama.cpp or Ollama here."
_SAID = "splitrig-vllm:"
_FLAG = "splitrig-flag:"

_SCRIPT = """
import ast, json, pathlib, re, sys
sys.path[:] = [p for p in sys.path if p]
from importlib import metadata, util
def version(name):
    try:
        return metadata.version(name)
    except Exception:
        return None
spec = util.find_spec("vllm")
flags = set()
if spec is not None and spec.origin:
    root = pathlib.Path(spec.origin).parent
    files = [root / "engine/arg_utils.py", *(root / "entrypoints").glob("**/cli_args.py"),
             *(root / "entrypoints/cli").glob("*.py")]
    for path in files:
        try:
            text = path.read_text(encoding="utf-8")
            tree = ast.parse(text)
        except (OSError, ValueError, SyntaxError):
            continue
        flags.update(re.findall("[\\"'](--[a-z][a-z0-9-]*)[\\"']", text))
        if path.name != "arg_utils.py":
            for node in ast.walk(tree):
                if isinstance(node, ast.ClassDef) and node.name.endswith("Args"):
                    flags.update("--" + part.target.id.replace("_", "-") for part in node.body
                                 if isinstance(part, ast.AnnAssign)
                                 and isinstance(part.target, ast.Name))
print("splitrig-vllm:" + json.dumps({
    "found": spec is not None, "vllm": version("vllm"), "torch": version("torch"),
    "ray": version("ray")}))
for flag in sorted(flags):
    print("splitrig-flag:" + flag)
"""
"""Asks an environment about its vLLM without importing it, which would take 15 s and more.

Options are read from its source: literal ones, and the fields of the classes that vLLM makes
options of.
"""


@dataclass(frozen=True, slots=True)
class VllmCapabilities:
    """What an installation says of itself.

    Attributes:
        version: Such as '0.11.2' or '0.32.0+cpu'.
        torch: Version of torch; its ending tells what it computes on.
        ray: Version of Ray; `None` if it is not installed.
        flags: Every option of `vllm serve`; empty where its source could not be read.
    """

    version: str
    torch: str | None
    ray: str | None
    flags: frozenset[str] = field(repr=False)

    @property
    def on_cpu(self) -> bool:
        """It is built for the processor and uses no card."""
        return "cpu" in self.version.partition("+")[2]


class VllmProgram:
    """One installation; what it says of itself is read once.

    Attributes:
        command: What starts it: the script, or a Python and the module.
    """

    def __init__(
        self, command: tuple[str, ...], python: Path, *, extra_env: Mapping[str, str] | None = None
    ) -> None:
        self.command = command
        self.python = python
        self._extra_env = dict(extra_env or {})
        self._lock = threading.Lock()
        self._capabilities: VllmCapabilities | None = None

    @property
    def known_capabilities(self) -> VllmCapabilities | None:
        """What it can do if it was asked before; never blocks."""
        return self._capabilities

    def environment(
        self, options: VllmOptions, devices: tuple[str, ...] = (), key: str | None = None
    ) -> dict[str, str]:
        """The whole environment of a child."""
        ours = serve_environment(options, devices=devices, key=key) | self._extra_env
        return dict(environment_for(EngineKind.VLLM, ours).variables)

    def capabilities(self, cancelled: Cancelled = never) -> VllmCapabilities:
        """What it can do; blocks for some 0.2 s the first time.

        Raises:
            EngineError: It does not start, or there is no vLLM in it.
        """
        with self._lock:
            if self._capabilities is None:
                self._capabilities = self._ask(cancelled)
            return self._capabilities

    def _ask(self, cancelled: Cancelled) -> VllmCapabilities:
        command = [str(self.python), "-c", _SCRIPT]
        _, text = probe(
            command,
            self.environment(VllmOptions()),
            way_out="Choose another environment in Settings.",
            cancelled=cancelled,
            timeout_s=PROBE_TIMEOUT_S,
        )
        lines = text.splitlines()
        line = next((line for line in lines if line.startswith(_SAID)), "")
        try:
            said = json.loads(line.removeprefix(_SAID))
        except ValueError:
            last = [line for line in lines if line.strip()][-1:] or ["no output"]
            raise EngineError(
                f"{self.python} could not be asked about vLLM: {last[0][:160]}.",
                "Choose another environment in Settings.",
            ) from None
        if not said["found"]:
            raise EngineError(f"There is no vLLM in the environment of {self.python}.", INSTALL)
        flags = frozenset(line.removeprefix(_FLAG) for line in lines if line.startswith(_FLAG))
        return VllmCapabilities(
            version=said["vllm"] or "unknown",
            torch=said["torch"],
            ray=said["ray"],
            # a source that is laid out in another way tells nothing rather than half of it
            flags=flags if "--tensor-parallel-size" in flags else frozenset(),
        )


def find_vllm(
    chosen: Path | None = None, *, extra_env: Mapping[str, str] | None = None
) -> VllmProgram:
    """The chosen environment or program, else `vllm` on PATH.

    Args:
        chosen: A folder with `bin/vllm` or `bin/python`, a `vllm` script, or a Python.
        extra_env: Variables for it besides the inherited ones.

    Raises:
        EngineError: There is none, or this is Windows.
    """
    if _on_windows():
        raise EngineError(ON_WINDOWS, WSL)
    if chosen is not None:
        return _chosen(chosen.expanduser().absolute(), extra_env)
    on_path = shutil.which("vllm")
    if on_path is None:
        raise EngineError("No vLLM was found.", INSTALL)
    return _from_script(Path(on_path), extra_env)


def _on_windows() -> bool:
    return os.name == "nt"


def _chosen(path: Path, extra_env: Mapping[str, str] | None) -> VllmProgram:
    if path.is_dir():
        for folder in (path, path / "bin", path / ".venv/bin", path / "venv/bin"):
            if (folder / "vllm").is_file():
                return _from_script(folder / "vllm", extra_env)
            if (folder / "python").is_file():
                return _from_python(folder / "python", extra_env)
        raise EngineError(f"{path} is no Python environment: it has no bin/python.", INSTALL)
    if not path.is_file():
        raise EngineError(f"There is no vLLM at {path}.", "Choose another one in Settings.")
    if path.name.startswith("python"):
        return _from_python(path, extra_env)
    return _from_script(path, extra_env)


def _from_python(python: Path, extra_env: Mapping[str, str] | None) -> VllmProgram:
    command = (str(python), "-m", "vllm.entrypoints.cli.main")
    return VllmProgram(command, python, extra_env=extra_env)


def _from_script(script: Path, extra_env: Mapping[str, str] | None) -> VllmProgram:
    """A `vllm` script: its first line names its Python, else one lies beside it."""
    python: Path | None = None
    with script.open("rb") as file:
        first = file.readline(1024).decode("utf-8", errors="replace").strip()
    if first.startswith("#!"):
        named = Path(first[2:].strip().split(" ")[0])
        if named.name.startswith("python") and named.is_file():
            python = named
    for name in ("python", "python3"):
        beside = script.resolve().parent / name
        if python is None and beside.is_file():
            python = beside
    if python is None:
        raise EngineError(
            f"{script} does not say which Python runs it.",
            "Choose the folder of its environment in Settings.",
        )
    return VllmProgram((str(script),), python, extra_env=extra_env)
