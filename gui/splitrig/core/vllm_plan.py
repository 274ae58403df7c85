"""Where every byte of a model goes before vLLM loads it: weights, KV cache, what is stranded.

vLLM takes one share of the memory of every card (`--gpu-memory-utilization`), loads the weights,
measures what a full batch needs, and makes all that is left of the share its KV cache. Weights
and KV cache follow its own arithmetic; what a batch needs is an estimate.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from splitrig.core.errors import SplitError
from splitrig.core.hf_model import HfModel, Weights
from splitrig.core.units import GIB, MIB, gib_text, number_text
from splitrig.core.vllm import (
    BLOCK_TOKENS,
    KV_BYTES,
    VllmCard,
    VllmCardPlan,
    VllmOptions,
    VllmPlan,
)
from splitrig.core.vllm_layout import Layout, layouts, partition, refusal, stage_shares

MOST_FRACTION = 0.92
"""The default of vLLM 0.32; older versions take 0.9."""
CONTEXT_BYTES = 512 * MIB
"""What the driver takes for a process on a card before vLLM looks at its memory."""
GRAPH_BYTES = 640 * MIB
"""What captured CUDA graphs take; none with `--enforce-eager`."""
LARGE_CARD_BYTES = 70 * GIB
"""From here on vLLM takes larger batches (`get_batch_defaults` in engine/arg_utils.py)."""
FEW_STRANDED = 0.15
"""Share of the usable memory that may stay unused before a pipeline is preferred."""


@dataclass(frozen=True, slots=True)
class _Rank:
    """One worker on its card: what it has and what is taken before the KV cache."""

    card: VllmCard
    stage: int
    budget_bytes: int
    fixed_bytes: int
    weight_bytes: int
    compute_bytes: int


def make_vllm_plan(model: HfModel, cards: Sequence[VllmCard], options: VllmOptions) -> VllmPlan:
    """Plan one start; where the layout is left open, the best one.

    Best is the widest tensor parallel that fits and strands little, else the pipeline that fits
    with the largest KV cache.

    Raises:
        SplitError: No layout is possible, or the one asked for is not.
    """
    wanted = _wanted(model, cards, options)
    plans = [_plan(model, cards, options, layout) for layout in wanted]

    def merit(plan: VllmPlan) -> tuple[bool, bool, int, int]:
        usable = sum(card.total_bytes for card in cards) * plan.fraction
        few = plan.stranded_bytes <= FEW_STRANDED * usable
        return plan.fits, few, plan.layout.tp if few else 0, plan.kv_tokens

    return max(plans, key=merit)


def _wanted(model: HfModel, cards: Sequence[VllmCard], options: VllmOptions) -> list[Layout]:
    """The layouts to consider."""
    n_cards = len(cards)
    if not n_cards:
        raise SplitError("No card is chosen.", "Switch on at least one card.")
    if options.split is not None and len(options.split) != n_cards:
        raise SplitError(
            f"The split has {len(options.split)} shares for {n_cards} cards.",
            "Give one number for each card.",
        )
    if options.tp is None and options.pp is None:
        found = [layout for layout in layouts(model.config, n_cards) if layout.possible]
        if not found:
            raise SplitError(refusal(model.config, 1, n_cards), "Leave some cards out.")
        return found
    tp = options.tp or n_cards // max(options.pp or 1, 1)
    pp = options.pp or n_cards // max(tp, 1)
    if tp * pp != n_cards:
        raise SplitError(
            f"{tp} × {pp} cards are {tp * pp}, but {n_cards} are chosen.",
            "Tensor parallel times pipeline has to be the number of cards.",
        )
    reason = refusal(model.config, tp, pp)
    if reason:
        raise SplitError(reason, "Choose another layout, or leave a card out.")
    return [Layout(tp, pp)]


def _plan(
    model: HfModel, cards: Sequence[VllmCard], options: VllmOptions, layout: Layout
) -> VllmPlan:
    config = model.config
    fraction, reason = memory_fraction(cards, options.fraction)
    n_ctx = options.n_ctx or config.n_ctx or 2048
    budgets = [math.ceil(card.total_bytes * fraction) for card in cards]
    token_bytes = kv_token_bytes(model, layout.tp, options.kv_dtype)
    if options.layers is not None and len(options.layers) == layout.pp > 1:
        layers = partition(options.layers, config.n_layer)
    elif options.split is not None and layout.pp > 1:
        layers = partition(stage_shares(options.split, layout.tp), config.n_layer)
    else:
        layers = _balanced(model, cards, budgets, options, layout, token_bytes)
    ranks = _ranks(model, cards, budgets, options, layout, layers)
    tokens = _kv_tokens(ranks, layers, token_bytes)
    plans = tuple(
        _card_plan(rank, layers, tokens * layers[rank.stage] * token_bytes, cards, fraction)
        for rank in ranks
    )
    most_ctx = min(tokens, config.n_ctx or tokens)
    fits = tokens >= n_ctx and all(plan.free_bytes >= 0 for plan in plans)
    return VllmPlan(
        layout=layout,
        layouts=layouts(config, len(cards)),
        layers=layers,
        fraction=fraction,
        fraction_reason=reason,
        cards=plans,
        n_ctx=n_ctx,
        kv_tokens=tokens,
        most_ctx=most_ctx,
        fits=fits,
        notes=_notes(model, layout, layers, plans, n_ctx=n_ctx, tokens=tokens, ranks=ranks),
    )


def memory_fraction(cards: Sequence[VllmCard], chosen: float | None = None) -> tuple[float, str]:
    """The one share of every card's memory that vLLM may take, and where it comes from.

    Every worker applies it to its own card and refuses to start where less is free
    (`request_memory` in vllm/v1/worker/utils.py), so the fullest card decides.
    """
    if chosen is not None:
        return chosen, f"{chosen:g} of every card, as chosen."
    fullest = min(cards, key=_free_share)
    share = math.floor(max(_free_share(fullest), 0.01) * 1000) / 1000
    if share >= MOST_FRACTION:
        return MOST_FRACTION, f"{MOST_FRACTION:g} of every card, which is vLLM's own measure."
    return share, (
        f"{share:g} of every card: {fullest.name} has {gib_text(fullest.free_bytes)} of "
        f"{gib_text(fullest.total_bytes)} GiB free, and {gib_text(CONTEXT_BYTES)} GiB of that go "
        "to the driver."
    )


def _free_share(card: VllmCard) -> float:
    return (card.free_bytes - CONTEXT_BYTES) / card.total_bytes


def kv_token_bytes(model: HfModel, tp: int, kv_dtype: str = "auto") -> int:
    """Bytes one token takes in one layer's cache on one rank.

    Source: `AttentionSpec` (v1/kv_cache_interface.py) with `get_num_kv_heads`
    (vllm/config/model.py): no rank has less than one head, so beyond that heads are kept twice.
    """
    size = KV_BYTES.get(kv_dtype, 2)
    if kv_dtype == "auto" and model.config.dtype == "float32":
        size = 2  # loaded in 16 bits
    if model.config.latent_dim:
        return model.config.latent_dim * size
    return 2 * max(1, model.config.n_head_kv // tp) * model.config.head_dim * size


def _stage_weights(model: HfModel, layers: Sequence[int], stage: int) -> Weights:
    """What a stage holds: its blocks, the embedding on the first, norm and output on the last.

    A tied output layer needs the embedding on the last stage as well (models/llama.py).
    """
    first = sum(layers[:stage])
    total = Weights()
    for block in model.layers[first : first + layers[stage]]:
        total += block
    last = stage == len(layers) - 1
    if stage == 0:
        total += model.embedding
        total += model.rest
    if last:
        total += model.output
        if model.config.tied and stage > 0:
            total += model.embedding
    return total


def _compute_bytes(
    model: HfModel, card: VllmCard, options: VllmOptions, tp: int, *, last: bool
) -> int:
    """What a full batch needs beside weights and cache, bytes; an estimate.

    The hidden states of a batch, the widest layer's, and on the last stage the logits of every
    request in 32 bits, thrice (sampling sorts them).
    """
    config = model.config
    large = card.total_bytes >= LARGE_CARD_BYTES
    n_batch = 8192 if large else 2048
    n_seqs = options.max_num_seqs or (1024 if large else 256)
    width = config.n_ff or 4 * config.n_embd
    n_bytes = n_batch * (8 * config.n_embd + 4 * width // tp) * 2
    if last:
        n_bytes += n_seqs * config.n_vocab * 4 * 3
    return n_bytes + (0 if options.eager else GRAPH_BYTES)


def _ranks(
    model: HfModel,
    cards: Sequence[VllmCard],
    budgets: Sequence[int],
    options: VllmOptions,
    layout: Layout,
    layers: Sequence[int],
) -> list[_Rank]:
    """The workers in card order; rank = stage × tp + place in the stage (parallel_state.py)."""
    ranks = []
    weights = [
        _stage_weights(model, layers, stage).on_rank(layout.tp, model.config.n_head_kv)
        for stage in range(layout.pp)
    ]
    for number, (card, budget) in enumerate(zip(cards, budgets, strict=True)):
        stage = number // layout.tp
        last = stage == layout.pp - 1
        compute = _compute_bytes(model, card, options, layout.tp, last=last)
        ranks.append(_Rank(card, stage, budget, weights[stage] + compute, weights[stage], compute))
    return ranks


def _kv_tokens(ranks: Sequence[_Rank], layers: Sequence[int], token_bytes: int) -> int:
    """Tokens of the cache: every rank has as many blocks as the one with the fewest.

    Source: `get_kv_cache_configs` in v1/core/kv_cache_utils.py.
    """
    blocks = [
        (rank.budget_bytes - rank.fixed_bytes) // (layers[rank.stage] * token_bytes * BLOCK_TOKENS)
        for rank in ranks
    ]
    return max(min(blocks), 0) * BLOCK_TOKENS


def _balanced(
    model: HfModel,
    cards: Sequence[VllmCard],
    budgets: Sequence[int],
    options: VllmOptions,
    layout: Layout,
    token_bytes: int,
) -> tuple[int, ...]:
    """Layers per stage that leave the largest cache.

    Every stage begins with one layer; each further one goes where the most tokens remain.
    """
    n_layer = model.config.n_layer
    counts = [1] * layout.pp
    per_layer = max((w.on_rank(layout.tp, model.config.n_head_kv) for w in model.layers), default=1)
    fixed = [
        rank.fixed_bytes for rank in _ranks(model, cards, budgets, options, layout, [0] * layout.pp)
    ]
    spare = [
        min(
            budgets[number] - fixed[number]
            for number in range(stage * layout.tp, (stage + 1) * layout.tp)
        )
        for stage in range(layout.pp)
    ]

    def tokens_with_one_more(stage: int) -> float:
        n = counts[stage] + 1
        return (spare[stage] - n * per_layer) / (n * token_bytes)

    for _ in range(n_layer - layout.pp):
        counts[max(range(layout.pp), key=tokens_with_one_more)] += 1
    return tuple(counts)


def _card_plan(
    rank: _Rank, layers: Sequence[int], kv_bytes: int, cards: Sequence[VllmCard], fraction: float
) -> VllmCardPlan:
    card = rank.card
    used = rank.fixed_bytes + kv_bytes
    # what it could give alone: its own free share, but no more than vLLM takes by itself
    alone = max(min(_free_share(card), MOST_FRACTION), fraction) * card.total_bytes
    several = len(cards) > 1
    return VllmCardPlan(
        name=card.name,
        id=card.id,
        stage=rank.stage,
        first_layer=sum(layers[: rank.stage]),
        n_layer=layers[rank.stage],
        has_embedding=rank.stage == 0,
        has_output=rank.stage == len(layers) - 1,
        weight_bytes=rank.weight_bytes,
        kv_bytes=kv_bytes,
        compute_bytes=rank.compute_bytes,
        overhead_bytes=CONTEXT_BYTES,
        free_bytes=card.free_bytes - CONTEXT_BYTES - used,
        stranded_bytes=max(round(alone) - used, 0) if several else 0,
    )


def _notes(
    model: HfModel,
    layout: Layout,
    layers: Sequence[int],
    plans: Sequence[VllmCardPlan],
    *,
    n_ctx: int,
    tokens: int,
    ranks: Sequence[_Rank],
) -> tuple[str, ...]:
    config = model.config
    notes = []
    short = [rank for rank in ranks if rank.fixed_bytes > rank.budget_bytes]
    for rank in short:
        missing = rank.fixed_bytes - rank.budget_bytes
        notes.append(
            f"{gib_text(missing, 2)} GiB are missing on {rank.card.name} for the weights alone."
        )
    if not short and tokens < n_ctx:
        notes.append(
            f"The KV cache holds {number_text(tokens)} tokens, and {number_text(n_ctx)} were "
            f"asked for; {number_text(tokens)} fit."
        )
    if layout.tp > 1:
        stranded = [plan for plan in plans if plan.stranded_bytes >= GIB // 2]
        notes += [
            f"{gib_text(plan.stranded_bytes)} GiB of {plan.name} stay unused: with tensor "
            "parallel every card takes the same share, and the smallest decides."
            for plan in stranded
        ]
        if config.n_head_kv % layout.tp and not config.latent_dim:
            notes.append(
                f"The model has {config.n_head_kv} key/value heads, so {layout.tp} cards keep "
                "some of them twice."
            )
    if layout.pp > 1:
        if reason := refusal(config, len(plans), 1):
            notes.append(f"{reason} Here it is a {layout.words}.")
        unused = sum(plan.stranded_bytes for plan in plans)
        if layout.tp == 1 and unused >= GIB // 2:
            notes.append(
                f"{gib_text(unused)} GiB stay unused: vLLM takes the same share of the memory of "
                "every card, and the fullest decides."
            )
        parts = " and ".join(str(count) for count in layers)
        notes.append(
            f"The stages hold {parts} layers; the first also holds the input embedding "
            f"({gib_text(model.embedding.n_bytes, 2)} GiB), the last the output layer "
            f"({gib_text((model.embedding if config.tied else model.output).n_bytes, 2)} GiB)."
        )
    if not model.exact:
        notes.append("The weight files do not tell their layers: sizes are estimates.")
    if config.sliding_window:
        notes.append(
            f"Some layers only look back {number_text(config.sliding_window)} tokens: vLLM may "
            "need less KV cache than planned."
        )
    return tuple(notes)
