"""The engines that `./bench` measures: those `./test` builds, and vLLM where it is installed."""

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from tests.fakes.nvml import fake_nvml
from tests.support.vllm_server import installed_vllm

from splitrig.core.engine import EngineKind

FOUND = Path(sys.prefix) / "splitrig-test-engines.json"
NOT_BUILT = "./test builds it"


@dataclass(frozen=True, slots=True)
class Asked:
    """One engine.

    Attributes:
        kind: Which.
        model: What it loads.
        turns: How often the window and its peer are asked in turn.
        tokens: Length of one answer.
        program: Its setting in `[engine]` of the settings file, by name; none for llama.cpp.
        env: Variables it takes besides.
        scenario: The cards of the fake NVML; `None` for the demo rig.
        missing: Why it cannot be measured; empty where it can.
    """

    kind: EngineKind
    model: Path
    turns: int = 11
    tokens: int = 300
    program: dict[str, str] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    scenario: str | None = None
    missing: str = ""

    @property
    def settings(self) -> str:
        """The settings file with its program."""
        lines = [f"{name} = {json.dumps(path)}\n" for name, path in self.program.items()]
        return "".join(["[engine]\n", *lines])


def asked_engines(demo: Path, folder: Path) -> list[Asked]:
    """All four; one that is not here says why.

    Args:
        demo: The model for those that read GGUF files.
        folder: An empty one, for the model that vLLM loads.
    """
    found = json.loads(FOUND.read_text(encoding="utf-8")) if FOUND.exists() else {}
    python, ollama = found.get("llama_cpp_python", {}), found.get("ollama", {})
    return [
        Asked(EngineKind.LLAMA_CPP, demo, turns=21),
        Asked(
            EngineKind.LLAMA_CPP_PYTHON,
            demo,
            program={"python": python.get("python", "")},
            env={"LLAMA_CPP_LIB_PATH": python.get("library_dir", "")},
            missing="" if "python" in python else python.get("missing", NOT_BUILT),
        ),
        Asked(
            EngineKind.OLLAMA,
            demo,
            program={"ollama": ollama.get("program", "")},
            missing="" if "program" in ollama else ollama.get("missing", NOT_BUILT),
        ),
        _vllm(demo, folder),
    ]


def _vllm(demo: Path, folder: Path) -> Asked:
    installed = installed_vllm()
    if installed is None:
        return Asked(EngineKind.VLLM, demo, missing="packaging/build_vllm_cpu.py makes it")
    return Asked(
        EngineKind.VLLM,
        _larger(installed / "env" / "bin" / "python", folder / "larger"),
        program={"vllm": str(installed / "env")},
        # one core computes, as with the others; on a card none would
        env={"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "0"},
        # it takes the share of the memory that is free on the card from the computer's own
        scenario=fake_nvml.HALF_FULL,
    )


def _larger(python: Path, folder: Path) -> Path:
    """A model of 300 MB: the tests' own answers faster than its words can be sent one by one."""
    script = Path(__file__).resolve().parent.parent / "support" / "vllm_tiny_model.py"
    subprocess.run([python, script, folder, "32", "16"], check=True)
    return folder
