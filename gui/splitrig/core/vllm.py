"""vLLM as values: what to start it with, and what was planned for it."""

from dataclasses import dataclass, replace

from splitrig.core.plan import DevicePlan, HostPlan, Plan, PlanRequest
from splitrig.core.vllm_layout import Layout

BLOCK_TOKENS = 16
"""Tokens a block of the KV cache holds on cards (128 on the processor)."""
KV_BYTES = {"auto": 2, "bfloat16": 2, "float16": 2, "fp8": 1, "fp8_e4m3": 1, "fp8_e5m2": 1}
"""Bytes of one element by `--kv-cache-dtype`."""
DTYPES = ("auto", "bfloat16", "float16")
"""What weights of 16 bits are computed in; others would take more room than is planned."""
TOLERANCE = 0.15
"""The KV cache is what is left after a batch was measured, which the plan only estimates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VllmCard:
    """A card as the plan sees it.

    Attributes:
        name: Shown name.
        id: Key of the card.
        free_bytes: Memory nobody uses now, bytes.
        total_bytes: All memory of the card, bytes.
    """

    name: str
    id: str
    free_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Several machines that share a model: a Ray cluster, of which this one is a part.

    Attributes:
        host_ip: Address of this machine as the others reach it.
        port: Of Ray's head; 0 for a free one.
        n_cards: Cards of all machines together.
    """

    host_ip: str
    port: int = 0
    n_cards: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class VllmOptions:
    """The knobs of vLLM.

    Attributes:
        tp: Cards that share every layer; `None` chooses.
        pp: Stages; `None` chooses.
        split: Share per card in card order, for the layers of a pipeline; `None` balances them.
        n_ctx: Longest context, tokens; 0 means what the model was made for.
        fraction: `--gpu-memory-utilization`; `None` derives it from what is free.
        dtype: `--dtype`, one of `DTYPES`.
        kv_dtype: `--kv-cache-dtype`, a key of `KV_BYTES`.
        eager: `--enforce-eager`: less memory and a faster start, slower answers.
        max_num_seqs: Requests computed at the same time; `None` leaves it to vLLM.
        layers: Blocks of each stage, once decided; before that they follow `split`.
        cluster: Other machines whose cards take part; `None` for this machine alone.
    """

    tp: int | None = None
    pp: int | None = None
    split: tuple[float, ...] | None = None
    n_ctx: int = 0
    fraction: float | None = None
    dtype: str = "auto"
    kv_dtype: str = "auto"
    eager: bool = False
    max_num_seqs: int | None = None
    layers: tuple[int, ...] | None = None
    cluster: Cluster | None = None


def options_from(request: PlanRequest, n_cards: int) -> VllmOptions:
    """What the knobs that all engines share mean for vLLM.

    Args:
        request: One request at a time is every engine's default and leaves the number to vLLM.
        n_cards: Cards chosen.
    """
    return VllmOptions(
        split=request.split if request.split is None or len(request.split) == n_cards else None,
        n_ctx=request.n_ctx,
        max_num_seqs=request.n_parallel if request.n_parallel > 1 else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class VllmCardPlan:
    """What one card will carry.

    Attributes:
        name: Shown name.
        id: Key of the card.
        stage: Number of its stage.
        first_layer: First block of its stage.
        n_layer: Blocks of its stage; with tensor parallel a part of each.
        has_embedding: Its stage holds the input embedding.
        has_output: Its stage holds the output layer.
        weight_bytes: Weights, bytes.
        kv_bytes: KV cache, bytes.
        compute_bytes: What a full batch and captured graphs need, bytes; an estimate.
        overhead_bytes: What the driver takes for the process, bytes; an estimate.
        free_bytes: Left afterwards, bytes; negative when it does not fit.
        stranded_bytes: Of what is left: usable if all cards were as the others need, bytes.
    """

    name: str
    id: str
    stage: int
    first_layer: int
    n_layer: int
    has_embedding: bool
    has_output: bool
    weight_bytes: int
    kv_bytes: int
    compute_bytes: int
    overhead_bytes: int
    free_bytes: int
    stranded_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VllmPlan:
    """The whole picture for one request.

    Attributes:
        layout: Tensor × pipeline parallel.
        layouts: Every way to use these cards, with the reason where one cannot be.
        layers: Blocks of each stage.
        fraction: `--gpu-memory-utilization`.
        fraction_reason: Where that number comes from, one sentence.
        cards: In card order: the cards of the first stage, then those of the second.
        n_ctx: Longest context, tokens.
        kv_tokens: Tokens the KV cache holds, all requests together; 0 if there is no room.
        most_ctx: Longest context that fits, tokens.
        fits: Weights and one request of `n_ctx` tokens have room.
        notes: Sentences on what the plan assumes or costs.
    """

    layout: Layout
    layouts: tuple[Layout, ...] = ()
    layers: tuple[int, ...]
    fraction: float
    fraction_reason: str
    cards: tuple[VllmCardPlan, ...]
    n_ctx: int
    kv_tokens: int
    most_ctx: int
    fits: bool
    notes: tuple[str, ...] = ()

    @property
    def stranded_bytes(self) -> int:
        """Memory that stays unused because the cards differ, bytes."""
        return sum(card.stranded_bytes for card in self.cards)

    def decided(self, options: VllmOptions) -> VllmOptions:
        """The options with everything spelled out that this plan decided."""
        return replace(
            options,
            tp=self.layout.tp,
            pp=self.layout.pp,
            layers=self.layers if self.layout.pp > 1 else None,
            fraction=self.fraction,
            n_ctx=self.n_ctx,
        )

    def as_plan(self) -> Plan:
        """As all engines' plans are shown and compared with what happens."""
        return Plan(
            devices=tuple(
                DevicePlan(
                    name=card.name,
                    id=card.id,
                    first_layer=card.first_layer,
                    n_blocks=card.n_layer,
                    has_output=card.has_output,
                    model_bytes=card.weight_bytes,
                    kv_bytes=card.kv_bytes,
                    compute_bytes=card.compute_bytes,
                    overhead_bytes=card.overhead_bytes,
                    free_bytes=card.free_bytes,
                )
                for card in self.cards
            ),
            host=HostPlan(model_bytes=0, kv_bytes=0, compute_bytes=None),
            split=tuple(float(self.layers[card.stage]) for card in self.cards),
            fits=self.fits,
            notes=self.notes,
            tolerance=TOLERANCE,
        )
