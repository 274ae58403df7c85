"""The settings below the split, as they were chosen."""

from dataclasses import dataclass, field

from splitrig.core.companion import Projector
from splitrig.core.model import Model
from splitrig.core.split_mode import LAYER
from splitrig.views.launch.vllm_choice import VllmKnobs

DEFAULT_CTX = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Knobs:
    """The settings below the split.

    Attributes:
        n_ctx: Context, tokens.
        cache_type_k: ggml type of the keys.
        cache_type_v: ggml type of the values.
        n_parallel: Requests at the same time.
        n_gpu_layers: Layers on the cards, the output counted; negative means all.
        flash_attention: Flash attention is on.
        split_mode: How the model is divided, by the names of llama.cpp.
        n_cpu_moe: Layers whose experts stay with the processor; negative means all.
        draft: A small model that guesses ahead.
        projector: What lets the model see.
        extra_line: Arguments for the engine, as they were typed.
        vllm: What only vLLM takes; other engines leave it as it is.
    """

    n_ctx: int = DEFAULT_CTX
    cache_type_k: str = "f16"
    cache_type_v: str = "f16"
    n_parallel: int = 1
    n_gpu_layers: int = -1
    flash_attention: bool = True
    split_mode: str = LAYER
    n_cpu_moe: int = 0
    draft: Model | None = None
    projector: Projector | None = None
    extra_line: str = ""
    vllm: VllmKnobs = field(default_factory=VllmKnobs)
