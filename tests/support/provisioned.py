"""The real engines that `./test` has built, and a fixture for each (see conftest.py files).

`packaging/provision_engines.py` writes what it found into the environment that runs the tests.
"""

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

FOUND = Path(sys.prefix) / "splitrig-test-engines.json"
NOT_PROVISIONED = "the engines of the tests are not there: run ./test once without --quick"


@dataclass(frozen=True, slots=True, kw_only=True)
class LlamaCppPythonEnv:
    """An environment with llama-cpp-python[server], which needs libraries from elsewhere.

    Attributes:
        python: Run as `python -m llama_cpp.server`, with the `environment` below.
        library_dir: llama.cpp from the package's own source, built with RPC.
        llama_server: Of the same source, like the `ggml-rpc-server` beside it.
    """

    version: str
    python: Path
    library_dir: Path
    llama_server: Path
    rpc_server: Path

    @property
    def environment(self) -> dict[str, str]:
        """What the bindings need in their environment."""
        return {"LLAMA_CPP_LIB_PATH": str(self.library_dir)}


@dataclass(frozen=True, slots=True, kw_only=True)
class OllamaInstall:
    """An Ollama laid out as its packages do.

    Attributes:
        program: `bin/ollama`.
        llama_server: `lib/ollama/llama-server`, with the Vulkan backend beside it.
    """

    version: str
    program: Path
    llama_server: Path


def entry(name: str, found: Path = FOUND) -> dict[str, str]:
    """What the record says of an engine.

    Without it the calling test is skipped with the recorded reason, or fails on CI, where
    everything can be had.
    """
    recorded = json.loads(found.read_text()) if found.exists() else {}
    values: dict[str, str] = recorded.get(name, {"missing": NOT_PROVISIONED})
    gone = [
        key for key, path in values.items() if Path(path).is_absolute() and not Path(path).exists()
    ]
    reason = NOT_PROVISIONED if gone else values.get("missing")
    if reason is None:
        return values
    if os.environ.get("CI"):
        pytest.fail(f"{name}: {reason}", pytrace=False)
    pytest.skip(reason)


def llama_cpp_python_install() -> LlamaCppPythonEnv:
    """llama-cpp-python, or the calling test is skipped."""
    values = entry("llama_cpp_python")
    paths = {name: Path(path) for name, path in values.items() if name != "version"}
    return LlamaCppPythonEnv(version=values["version"], **paths)


def ollama_built() -> OllamaInstall:
    """Ollama, or the calling test is skipped."""
    values = entry("ollama")
    paths = {name: Path(path) for name, path in values.items() if name != "version"}
    return OllamaInstall(version=values["version"], **paths)
