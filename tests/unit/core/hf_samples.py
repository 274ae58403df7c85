"""Models and cards that the tests of vLLM's plan share."""

from pathlib import Path

from splitrig.core.hf_model import HfConfig, HfModel, Weights
from splitrig.core.units import GIB
from splitrig.core.vllm import VllmCard

LLAMA_8B = HfConfig(
    architecture="LlamaForCausalLM",
    model_type="llama",
    n_layer=32,
    n_head=32,
    n_head_kv=8,
    n_embd=4096,
    head_dim=128,
    n_vocab=128256,
    n_ff=14336,
    n_ctx=131072,
    dtype="bfloat16",
)
TINY = HfConfig(
    architecture="LlamaForCausalLM",
    model_type="llama",
    n_layer=6,
    n_head=4,
    n_head_kv=2,
    n_embd=128,
    head_dim=32,
    n_vocab=259,
    n_ff=256,
    n_ctx=512,
    dtype="bfloat16",
)


def model(config: HfConfig = LLAMA_8B) -> HfModel:
    """A dense Llama of these sizes in 16 bits."""
    wide = config.n_head * config.head_dim
    narrow = config.n_head_kv * config.head_dim
    layer = Weights(
        shared_bytes=2 * (2 * config.n_embd * wide + 3 * config.n_embd * config.n_ff),
        kv_bytes=2 * 2 * config.n_embd * narrow,
        whole_bytes=2 * 2 * config.n_embd,
    )
    table = Weights(shared_bytes=2 * config.n_vocab * config.n_embd)
    return HfModel(
        path=Path("/models/llama"),
        name="llama",
        config=config,
        file_bytes=0,
        layers=(layer,) * config.n_layer,
        embedding=table,
        output=Weights() if config.tied else table,
        rest=Weights(whole_bytes=2 * config.n_embd),
    )


def card(name: str, free_gib: float, total_gib: float) -> VllmCard:
    """A card."""
    return VllmCard(
        name=name, id=name, free_bytes=round(free_gib * GIB), total_bytes=round(total_gib * GIB)
    )
