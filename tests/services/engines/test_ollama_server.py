"""The real Ollama on two software Vulkan cards: a ratio given to it arrives on them."""

import re
import sys
from pathlib import Path

import pytest
from tests.services.engines.conftest import model_file
from tests.support.ollama_store import add_model
from tests.support.provisioned import OllamaInstall
from tests.support.real_process import ask, clean_environment, running

from splitrig.services.engines.ports import free_port

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(sys.platform == "win32", reason="the engine is built on Linux only"),
]


def test_a_ratio_arrives_on_two_vulkan_cards(ollama_install: OllamaInstall, tmp_path: Path) -> None:
    name = add_model(tmp_path / "models", model_file(), "smollm2")
    port = free_port()
    env = clean_environment(
        tmp_path,
        {
            "OLLAMA_HOST": f"127.0.0.1:{port}",
            "OLLAMA_MODELS": str(tmp_path / "models"),
            "OLLAMA_NO_CLOUD": "1",
            "OLLAMA_CONTEXT_LENGTH": "4096",
            "OLLAMA_SCHED_SPREAD": "1",
            "OLLAMA_VULKAN": "1",
            "OLLAMA_IGPU_ENABLE": "1",
            "GGML_VK_VISIBLE_DEVICES": "0,0",
            "LLAMA_ARG_TENSOR_SPLIT": "3,1",
            "LLAMA_ARG_THREADS": "1",
        },
    )
    url, log = f"http://127.0.0.1:{port}/api", tmp_path / "log"
    command = [ollama_install.program, "serve"]
    with running(command, log, env=env, ready_at=f"{url}/version"):
        assert ask(f"{url}/version") == {"version": ollama_install.version}
        assert [model["name"] for model in ask(f"{url}/tags")["models"]] == [name]
        assert ask(f"{url}/generate", {"model": name})["done_reason"] == "load"
        loaded = ask(f"{url}/ps")["models"]
        unloaded = ask(f"{url}/generate", {"model": name, "keep_alive": 0})
    assert [model["name"] for model in loaded] == [name]
    assert loaded[0]["size_vram"] == loaded[0]["size"]
    assert unloaded["done_reason"] == "unload"
    text = log.read_text()
    found = re.findall(r"(Vulkan\d) (model|KV) buffer size = +([\d.]+) MiB", text)
    sizes = {(device, what): float(size) for device, what, size in found}
    assert sizes == {
        ("Vulkan0", "model"): 50.73,
        ("Vulkan1", "model"): 41.37,
        ("Vulkan0", "KV"): 72.0,
        ("Vulkan1", "KV"): 18.0,
    }
