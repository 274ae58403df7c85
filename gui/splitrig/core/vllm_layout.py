"""How vLLM can lie on several cards: tensor × pipeline parallel, and why some of it cannot be.

Tensor parallel cuts every layer into equal parts, one a card; pipeline parallel gives each stage
whole layers. Both multiply: four cards are 4×1, 2×2 or 1×4.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from splitrig.core.errors import SplitError
from splitrig.core.hf_model import HfConfig

VOCABULARY_STEP = 64
"""The vocabulary is padded to a multiple of this (vocab_parallel_embedding.py)."""
_GROUPED = ("awq", "gptq", "auto-awq", "auto-gptq", "awq-marlin", "gptq-marlin")


@dataclass(frozen=True, slots=True)
class Layout:
    """One way to use the cards.

    Attributes:
        tp: Cards that share every layer.
        pp: Stages that follow each other.
        reason: Why vLLM refuses it, one sentence; empty when it can be.
    """

    tp: int
    pp: int
    reason: str = ""

    @property
    def possible(self) -> bool:
        """VLLM takes it."""
        return not self.reason

    @property
    def words(self) -> str:
        """How it is shown."""
        if self.tp * self.pp == 1:
            return "one card"
        if self.pp == 1:
            return f"tensor parallel over {self.tp} cards"
        if self.tp == 1:
            return f"pipeline of {self.pp} cards"
        return f"pipeline of {self.pp} stages, {self.tp} cards each"

    @property
    def label(self) -> str:
        """Such as 'TP 2 × PP 2 · pipeline of 2 stages, 2 cards each'."""
        sizes = (("TP", self.tp), ("PP", self.pp))
        return f"{' × '.join(f'{w} {n}' for w, n in sizes if n > 1)} · {self.words}"


def layouts(config: HfConfig, n_cards: int) -> tuple[Layout, ...]:
    """Every way to use exactly `n_cards` cards, widest tensor parallel first."""
    return tuple(
        Layout(tp, n_cards // tp, refusal(config, tp, n_cards // tp))
        for tp in range(n_cards, 0, -1)
        if n_cards % tp == 0
    )


def refusal(config: HfConfig, tp: int, pp: int) -> str:
    """Why vLLM would refuse a layout; empty when it would not.

    Sources: `ModelConfig.verify_with_parallel_config` (vllm/config/model.py) for the heads,
    the assertions of `LlamaAttention` (models/llama.py) for key/value heads,
    `VocabParallelEmbedding` and `divide` for vocabulary and feed-forward, the AWQ and GPTQ
    layers (layers/quantization) for groups.
    """
    if pp > config.n_layer:
        return f"{config.n_layer} layers cannot be shared by {pp} stages."
    if tp == 1:
        return ""
    if config.n_head % tp:
        return _cannot(f"{config.n_head} heads", tp, _sizes(config.n_head))
    kv = config.n_head_kv
    if not config.latent_dim and kv % tp and tp % kv:
        allowed = [n for n in _sizes(config.n_head) if not kv % n or not n % kv]
        return _cannot(f"{kv} key/value heads", tp, allowed)
    padded = -(-config.n_vocab // VOCABULARY_STEP) * VOCABULARY_STEP
    if padded % tp:
        return _cannot(f"A vocabulary of {padded:,} entries", tp, _sizes(config.n_head, padded))
    if config.n_ff % tp:
        allowed = _sizes(config.n_head, config.n_ff)
        return _cannot(f"A feed-forward layer of {config.n_ff:,} columns", tp, allowed)
    group = config.group_size if config.quantization in _GROUPED else 0
    if group and config.n_ff and config.n_ff // tp % group:
        rows = config.n_ff // group
        return _cannot(
            f"{config.n_ff:,} columns quantised in groups of {group}",
            tp,
            _sizes(config.n_head, rows),
        )
    return ""


def _cannot(what: str, tp: int, allowed: Sequence[int]) -> str:
    """Such as '32 heads cannot be shared by 3 cards; 2 or 4 can, or use pipeline.'."""
    others = [n for n in allowed if n != tp]
    near = sorted(sorted(others, key=lambda n: abs(n - tp))[:2])
    if not near:
        return f"{what} cannot be shared by {tp} cards; use pipeline."
    can = " or ".join(str(n) for n in near)
    return f"{what} cannot be shared by {tp} cards; {can} can, or use pipeline."


def _sizes(*counts: int, most: int = 16) -> list[int]:
    """Numbers of cards, from 2, that divide all of these."""
    return [n for n in range(2, most + 1) if all(count % n == 0 for count in counts)]


def stage_shares(shares: Sequence[float], tp: int) -> tuple[float, ...]:
    """Shares of the stages: what their cards have together."""
    return tuple(sum(shares[i : i + tp]) for i in range(0, len(shares), tp))


def partition(shares: Sequence[float], n_layer: int) -> tuple[int, ...]:
    """Layers per stage by these shares, for `VLLM_PP_LAYER_PARTITION`.

    They add up to `n_layer` (vllm/distributed/utils.py, `get_pp_indices`) and no stage is empty.

    Raises:
        SplitError: There are fewer layers than stages, or the shares give nothing.
    """
    n_stages = len(shares)
    total = sum(shares)
    if n_stages > n_layer:
        raise SplitError(
            f"{n_layer} layers cannot be shared by {n_stages} stages.", "Leave some cards out."
        )
    if total <= 0 or any(share < 0 for share in shares):
        raise SplitError(
            "The split gives no card any layer.", "Give at least one card a number above 0."
        )
    ideal = [share / total * n_layer for share in shares]
    counts = [max(int(value), 1) for value in ideal]
    while sum(counts) < n_layer:
        behind = max(range(n_stages), key=lambda i: ideal[i] - counts[i])
        counts[behind] += 1
    while sum(counts) > n_layer:
        ahead = max(
            (i for i in range(n_stages) if counts[i] > 1), key=lambda i: counts[i] - ideal[i]
        )
        counts[ahead] -= 1
    return tuple(counts)


def partition_text(counts: Sequence[int]) -> str:
    """As vLLM takes it: `24,40`."""
    return ",".join(str(count) for count in counts)
