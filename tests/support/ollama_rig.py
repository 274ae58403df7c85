"""Cards for the tests' Ollama, two of Mesa's in software, and an Ollama that runs already."""

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.ollama_store import add_model
from tests.support.provisioned import OllamaInstall
from tests.support.real_process import ask, clean_environment, running

from splitrig.services.engines.ports import free_port


def software_cards(install: OllamaInstall) -> dict[str, str]:
    """Variables that make two software Vulkan cards; what Mesa compiled is kept between runs."""
    return {
        "GGML_VK_VISIBLE_DEVICES": "0,0",
        "OLLAMA_VULKAN": "1",
        "OLLAMA_IGPU_ENABLE": "1",
        "MESA_SHADER_CACHE_DIR": str(install.program.parents[2] / "mesa-shaders"),
    }


@dataclass(frozen=True, slots=True)
class RunningOllama:
    """A server that nobody but the test has started."""

    url: str
    model: str
    pid: int
    log: Path

    def loaded(self) -> list[str]:
        """Names of the models it holds."""
        return [model["name"] for model in ask(f"{self.url}/api/ps")["models"]]

    def load(self, **more: object) -> None:
        """Load its model, as any other client would."""
        ask(f"{self.url}/api/generate", {"model": self.model, **more})

    def starts(self) -> int:
        """How often it has started its engine."""
        return len(re.findall("starting llama-server", self.log.read_text()))


@contextlib.contextmanager
def running_ollama(
    install: OllamaInstall, folder: Path, gguf: Path, env: Mapping[str, str] | None = None
) -> Iterator[RunningOllama]:
    """Run an Ollama on the processor, with one model."""
    store, port, log = folder / "models", free_port(), folder / "ollama-of-the-user.log"
    name = add_model(store, gguf, "smollm2")
    # Ollama asks for a way of loading else that the llama-server of the engine wheel does not know.
    set_parameters(store, name, {"use_mmap": True})
    settings = {
        "OLLAMA_HOST": f"127.0.0.1:{port}",
        "OLLAMA_MODELS": str(store),
        "OLLAMA_NO_CLOUD": "1",
        "OLLAMA_CONTEXT_LENGTH": "2048",
        "LLAMA_ARG_THREADS": "1",
        **(env or {}),
    }
    url = f"http://127.0.0.1:{port}"
    environment = clean_environment(folder, settings)
    command = [install.program, "serve"]
    with running(command, log, env=environment, ready_at=f"{url}/api/version") as process:
        yield RunningOllama(url, name, process.pid, log)


def set_parameters(store: Path, model: str, parameters: Mapping[str, object]) -> None:
    """Give a model of a store parameters of its own, as a Modelfile would."""
    name, _, tag = model.partition(":")
    manifest = store / "manifests" / "registry.ollama.ai" / "library" / name / tag
    content = json.loads(manifest.read_text())
    digest = "ab" * 32
    (store / "blobs" / f"sha256-{digest}").write_text(json.dumps(dict(parameters)))
    content["layers"].append(
        {"mediaType": "application/vnd.ollama.image.params", "digest": f"sha256:{digest}",
         "size": 1}
    )  # fmt: skip
    manifest.write_text(json.dumps(content))
