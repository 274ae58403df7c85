"""Engines in words: what the window, the command line and reports call them."""

from splitrig.core.engine import EngineKind, EngineStatus

NAMES = {
    EngineKind.LLAMA_CPP: "llama.cpp",
    EngineKind.LLAMA_CPP_PYTHON: "llama-cpp-python",
    EngineKind.OLLAMA: "Ollama",
    EngineKind.OLLAMA_ATTACHED: "Ollama (running)",
    EngineKind.VLLM: "vLLM",
}
PROGRAMS = {
    EngineKind.LLAMA_CPP: "llama-server",
    EngineKind.LLAMA_CPP_PYTHON: "python -m llama_cpp.server",
    EngineKind.OLLAMA: "ollama serve",
    EngineKind.OLLAMA_ATTACHED: "ollama serve",
    EngineKind.VLLM: "vllm serve",
}
"""What an engine's process is known as."""


def kind_of(status: EngineStatus) -> EngineKind:
    """Which engine it is."""
    return status.request.engine if status.request is not None else EngineKind.LLAMA_CPP


def engine_name(status: EngineStatus) -> str:
    """'llama.cpp'; an Ollama is an Ollama, whoever started it."""
    kind = kind_of(status)
    return NAMES[EngineKind.OLLAMA if kind is EngineKind.OLLAMA_ATTACHED else kind]


def log_name(status: EngineStatus) -> str:
    """'llama.cpp 1', where lines of several engines stand together."""
    return f"{engine_name(status)} {status.slot}"


def model_stem(status: EngineStatus) -> str:
    """The model without folder and ending, by the engine's own name where it has one."""
    if status.request is None:
        return ""
    return status.request.model_name or status.request.model.stem


def named(status: EngineStatus) -> str:
    """'Engine 2 (gemma-3-4b)', where a sentence about one of several follows."""
    return f"Engine {status.slot} ({model_stem(status)})"


def numbered(status: EngineStatus) -> str:
    """'engine 2', for sentences that speak of one of several."""
    return f"engine {status.slot}"
