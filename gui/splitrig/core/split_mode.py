"""How a model is divided over cards: the modes of llama.cpp, what each needs, and words for them.

Measured on builds b10434 and 0c1e570, on devices lent over RPC and on software Vulkan: tensor
split loads and answers on both, with every KV type; it ends at once without flash attention, with
more than 16 devices, for some architectures, and on the older one with the KV cache in RAM.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from splitrig.core.footprint import Backend
from splitrig.core.server_options import Options
from splitrig.core.words import listed

LAYER, NONE, TENSOR, ROW = "layer", "none", "tensor", "row"
MODES = (LAYER, TENSOR, ROW, NONE)
"""In the order they are offered."""
WITHIN = frozenset({TENSOR, ROW})
"""Modes that divide every layer, so that no card holds whole ones."""
MOST_TENSOR_CARDS = 16
"""GGML_BACKEND_META_MAX_DEVICES (ggml/src/ggml-backend-meta.cpp)."""
LABELS = {LAYER: "Layer", TENSOR: "Tensor", ROW: "Row", NONE: "None"}
SAYS = {
    LAYER: "whole layers on each card; fits any mix of cards",
    TENSOR: "a part of every layer on each card, all work at once; experimental",
    ROW: "the rows of every matrix over all cards; llama.cpp gives it up",
    NONE: "everything on the first card",
}
_ROW_BACKENDS = frozenset({Backend.CUDA, Backend.ROCM})
_BACKEND_WORDS = {Backend.VULKAN: "Vulkan", Backend.CPU: "the processor"}
UNDIVIDED = frozenset(
    {
        "grok", "mpt", "plamo2", "minicpm3", "gemma3n", "mamba", "mamba2", "jamba", "falcon-h1",
        "olmo2", "olmoe", "deepseek2", "deepseek32", "hy_v4", "dots3note", "glm-dsa", "bitnet",
        "t5", "nemotron_h", "nemotron_h_moe", "granitehybrid", "minimax-01", "minimax-m2",
        "minimax-m3", "mistral4", "kimi-linear", "bailingmoe3", "kimi-k3", "glm5-next",
        "qwen3tts", "qwen4exp",
    }
)  # fmt: skip
"""Architectures tensor split is not written for (`llm_arch_supports_sm_tensor`, 0c1e570)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitNeeds:
    """What the modes ask about.

    Attributes:
        backends: What drives each card, in the order of the split.
        flash_attention: Flash attention is on.
    """

    backends: Sequence[Backend]
    flash_attention: bool = True


def obstacle(mode: str, needs: SplitNeeds) -> str:
    """Why a mode cannot be used, one sentence; empty when it can."""
    n_cards = len(needs.backends)
    if mode in WITHIN and n_cards < 2:
        return f"{LABELS[mode]} split needs two cards or more."
    if mode == TENSOR:
        if not needs.flash_attention:
            return "Tensor split needs flash attention."
        if n_cards > MOST_TENSOR_CARDS:
            return f"Tensor split takes at most {MOST_TENSOR_CARDS} cards, not {n_cards}."
    if mode == ROW:
        others = {_BACKEND_WORDS.get(b, "RPC") for b in needs.backends if b not in _ROW_BACKENDS}
        if others:
            return f"Row split works on CUDA and ROCm only, not on {listed(sorted(others))}."
    return ""


def missing(mode: str, modes: Sequence[str]) -> str:
    """Why a mode is not in a binary, one sentence; empty when it is.

    Args:
        mode: Which.
        modes: Those its help lists; empty where it does not tell.
    """
    known = modes or (LAYER, NONE)
    if mode in known:
        return ""
    return f"This llama-server has no {LABELS[mode].lower()} split; it has {listed(known)}."


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitChoice:
    """A mode that is offered, with the reason where it cannot be chosen."""

    mode: str
    reason: str = ""


def split_choices(
    offered: Sequence[str], options: Options, needs: SplitNeeds
) -> tuple[SplitChoice, ...]:
    """The modes in the order they are shown.

    Args:
        offered: Modes the engine knows at all.
        options: Of the binary; row split is shown only where that very binary has it.
        needs: What the modes ask about.
    """
    known = bool(options.by_name)
    choices = []
    for mode in MODES:
        lacking = missing(mode, options.split_modes) if known else ""
        if mode not in offered or (mode == ROW and (lacking or not known)):
            continue
        choices.append(SplitChoice(mode=mode, reason=lacking or obstacle(mode, needs)))
    return tuple(choices)


def doubt(mode: str, architecture: str, *, cache_in_ram: bool = False) -> str:
    """Why a mode may fail although nothing stands against it; empty where nothing is known.

    Args:
        mode: Which.
        architecture: The model's.
        cache_in_ram: An extra argument keeps the KV cache off the cards.
    """
    if mode == TENSOR and cache_in_ram:
        return "Some builds of llama.cpp give up on a tensor split with the KV cache in RAM."
    if mode == TENSOR and architecture in UNDIVIDED:
        return (
            f"llama.cpp had no tensor split for models of the kind {architecture} when SplitRig "
            "was made; this engine may refuse it."
        )
    return ""
