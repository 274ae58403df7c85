"""Where every byte of a model goes before it is loaded (llama.cpp's layer and tensor split).

Weights and KV cache follow llama.cpp's own arithmetic and are exact; the compute buffer follows
the shape of its graph and is an estimate; the overhead is what the caller says.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from splitrig.core.companion import Projector
from splitrig.core.experts import expert_layers, without_experts
from splitrig.core.footprint import Footprint, footprint
from splitrig.core.layer_map import HOST, layer_devices
from splitrig.core.model import Model
from splitrig.core.plan_device import OVERHEAD_BYTES, PlanDevice, card_devices
from splitrig.core.scratch import Graph, Placed, device_scratch, host_scratch, host_weights
from splitrig.core.split import shares_of
from splitrig.core.split_mode import LAYER, NONE, WITHIN
from splitrig.core.units import size_text
from splitrig.core.within import carried

__all__ = [
    "OVERHEAD_BYTES",
    "DevicePlan",
    "HostPlan",
    "Plan",
    "PlanDevice",
    "PlanRequest",
    "card_devices",
    "make_plan",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRequest:
    """The knobs that decide where the bytes go; defaults are llama-server's.

    Attributes:
        split: Share per device in device order, any positive scale; `None` follows free memory.
        n_ctx: Context, tokens; 0 means what the model was trained for.
        n_gpu_layers: Layers to offload, the output layer counted; negative means all.
        cache_type_k: ggml type of the key cache.
        cache_type_v: ggml type of the value cache.
        flash_attention: Flash attention is on.
        n_batch: Logical batch, tokens.
        n_ubatch: Physical batch, tokens.
        n_parallel: Requests served at the same time.
        kv_unified: One cache shared by all requests.
        split_mode: `layer`, `tensor`, `row`, or `none` (everything on the first device).
        n_outputs: Tokens whose logits are kept; `None` means one a request, as in llama-server
            (the C API keeps `n_batch`).
        n_cpu_moe: Layers, from the first, whose experts stay with the processor; negative: all.
        draft: A small model that guesses ahead; it is split like the model, its cache is f16.
        draft_layers: Layers of it to offload, the output counted; negative means all.
        projector: What turns pictures into tokens; lies on the first device.
    """

    split: tuple[float, ...] | None = None
    n_ctx: int = 4096
    n_gpu_layers: int = -1
    cache_type_k: str = "f16"
    cache_type_v: str = "f16"
    flash_attention: bool = True
    n_batch: int = 2048
    n_ubatch: int = 512
    n_parallel: int = 1
    kv_unified: bool = False
    split_mode: str = LAYER
    n_outputs: int | None = None
    n_cpu_moe: int = 0
    draft: Model | None = None
    draft_layers: int = -1
    projector: Projector | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DevicePlan:
    """What one card will carry.

    Attributes:
        name: Shown name.
        id: Key of the card.
        first_layer: First block on it; `None` when it holds none.
        n_blocks: Blocks on it, without the output layer.
        has_output: It holds the output layer.
        model_bytes: Weights, bytes; exact.
        kv_bytes: KV cache, bytes; exact.
        compute_bytes: Scratch buffer, bytes; an estimate. `None` where it is not modelled.
        overhead_bytes: Taken besides the buffers, bytes; an estimate.
        free_bytes: Left afterwards, bytes; negative when it does not fit.
        share: Its share of every layer it holds, 0–1; `None` where it holds whole layers.
    """

    name: str
    id: str
    first_layer: int | None
    n_blocks: int
    has_output: bool
    model_bytes: int
    kv_bytes: int
    compute_bytes: int | None
    overhead_bytes: int
    free_bytes: int
    share: float | None = None

    @property
    def n_layers(self) -> int:
        """Layers as llama.cpp counts them: blocks, and one for the output."""
        return self.n_blocks + int(self.has_output)

    @property
    def used_bytes(self) -> int:
        """Everything the engine will take on this card, bytes."""
        return self.model_bytes + self.kv_bytes + (self.compute_bytes or 0) + self.overhead_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPlan:
    """What stays in the computer's memory, bytes.

    Attributes:
        expert_layers: Layers on cards whose experts stay here.
    """

    model_bytes: int
    kv_bytes: int
    compute_bytes: int | None
    expert_layers: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The whole picture for one request.

    Attributes:
        devices: In device order.
        host: What stays off the cards.
        split: The shares used, as given or derived from free memory.
        fits: Every card has room for its share.
        notes: Sentences on what the plan assumes or cannot know.
        split_mode: How the layers are divided.
        has_draft: A draft model is counted in.
        tolerance: Share of the planned bytes by which an engine may differ without being told
            of: 0 where weights and KV cache are exact.
    """

    devices: tuple[DevicePlan, ...]
    host: HostPlan
    split: tuple[float, ...]
    fits: bool
    notes: tuple[str, ...] = ()
    split_mode: str = LAYER
    has_draft: bool = False
    tolerance: float = 0.0

    @property
    def tightest(self) -> DevicePlan | None:
        """The card with the least room left."""
        return min(self.devices, key=lambda d: d.free_bytes, default=None)


def make_plan(model: Model, devices: Sequence[PlanDevice], request: PlanRequest) -> Plan:
    """Place `model` on `devices`, and what is loaded beside it.

    Raises:
        SplitError: The split gives no card any layer, or has more shares than there are devices.
    """
    plan = _place(model, devices, request)
    if request.draft is not None:
        alike = replace(
            request,
            split=plan.split or None,
            n_gpu_layers=request.draft_layers,
            cache_type_k="f16",
            cache_type_v="f16",
            n_cpu_moe=0,
        )
        plan = _together(plan, _place(request.draft, devices, alike))
    if request.projector is not None:
        plan = _with_projector(plan, request.projector)
    return replace(plan, fits=all(device.free_bytes >= 0 for device in plan.devices))


def _place(model: Model, devices: Sequence[PlanDevice], request: PlanRequest) -> Plan:
    """Place every layer of `model` (src/llama-model.cpp, src/llama-kv-cache.cpp)."""
    shares = _shares(devices, request)
    n_gpu_layers = request.n_gpu_layers if devices else 0
    layers = layer_devices(shares, model.n_layer, n_gpu_layers) if devices else (
        (HOST,) * (model.n_layer + 1)
    )  # fmt: skip
    graph = _graph(model, devices, request, everything=HOST not in layers)
    sizes = footprint(
        model,
        n_ctx=graph.n_ctx,
        n_ubatch=graph.n_ubatch,
        cache_type_k=request.cache_type_k,
        cache_type_v=request.cache_type_v,
        n_parallel=request.n_parallel,
        kv_unified=request.kv_unified,
    )
    on_cards = [il for il in range(model.n_layer) if layers[il] != HOST]
    n_experts = expert_layers(model, request.n_cpu_moe)
    sizes, moved = without_experts(model, sizes, n_experts, on_cards)
    used = [number for number in range(len(devices)) if number in layers]
    # the first card also computes the host's tensors when batches are large; RPC does not
    helper = used[0] if used and devices[used[0]].backend.pipelined else None
    placed = Placed(layers=layers, used=used, helper=helper, on_host=moved)
    within = request.split_mode in WITHIN and len(devices) > 1
    place = _place_within if within else _place_layers
    plans, notes = place(model, devices, request, sizes, graph, placed)
    host_layers = [il for il, where in enumerate(layers) if where == HOST]
    return Plan(
        devices=plans,
        host=HostPlan(
            model_bytes=host_weights(model, sizes, host_layers),
            kv_bytes=sum(sizes.kv[il].plain for il in host_layers),
            compute_bytes=host_scratch(model, sizes, graph, placed),
            expert_layers=sum(il < n_experts for il in on_cards),
        ),
        split=shares,
        fits=all(plan.free_bytes >= 0 for plan in plans),
        notes=(*sizes.notes, *notes),
        split_mode=request.split_mode if within or request.split_mode == NONE else LAYER,
    )


def _graph(
    model: Model, devices: Sequence[PlanDevice], request: PlanRequest, *, everything: bool
) -> Graph:
    """The shape of the graph; batches overlap only where whole layers lie on several cards."""
    # a card without a layer still counts as one that batches could overlap with
    several = len(devices) > 1 and request.split_mode == LAYER
    return Graph(
        n_ctx=request.n_ctx or model.n_ctx_train,
        # as llama_context does (src/llama-context.cpp)
        n_ubatch=min(request.n_ubatch, request.n_batch),
        cache_types=(request.cache_type_k, request.cache_type_v),
        flash_attention=request.flash_attention,
        n_outputs=request.n_outputs or request.n_parallel,
        # an engine that keeps any tensor elsewhere does not overlap batches
        pipelined=everything
        and several
        and not expert_layers(model, request.n_cpu_moe)
        and all(d.backend.pipelined for d in devices),
    )


def _place_layers(
    model: Model,
    devices: Sequence[PlanDevice],
    _request: PlanRequest,
    sizes: Footprint,
    graph: Graph,
    placed: Placed,
) -> tuple[tuple[DevicePlan, ...], tuple[str, ...]]:
    """Whole layers on each card."""
    plans = []
    for number, device in enumerate(devices):
        layers = [il for il, where in enumerate(placed.layers) if where == number]
        blocks = [il for il in layers if il < model.n_layer]
        model_bytes = sum(sizes.weights[il].on(device.backend) for il in layers)
        model_bytes += sizes.per_device.on(device.backend) if blocks else 0
        kv_bytes = sum(sizes.kv[il].on(device.backend) for il in blocks)
        scratch = device_scratch(model, sizes, graph, placed, number)
        plans.append(_device_plan(device, layers, model, (model_bytes, kv_bytes, scratch)))
    return tuple(plans), ()


def _place_within(
    model: Model,
    devices: Sequence[PlanDevice],
    request: PlanRequest,
    sizes: Footprint,
    graph: Graph,
    placed: Placed,
) -> tuple[tuple[DevicePlan, ...], tuple[str, ...]]:
    """A part of every layer on each card."""
    shares = _shares(devices, request)
    bytes_of = carried(
        model,
        sizes,
        [device.backend for device in devices],
        shares,
        placed.layers,
        mode=request.split_mode,
        expert_layers=expert_layers(model, request.n_cpu_moe),
    )
    layers = [il for il, where in enumerate(placed.layers) if where != HOST]
    # each card computes its part of the whole graph, and needs the room of the whole
    whole = replace(
        placed,
        layers=[min(device, 0) for device in placed.layers],
        used=[0] if layers else [],
        helper=None if placed.helper is None else 0,
    )
    scratch = device_scratch(model, sizes, graph, whole, 0)
    plans = [
        replace(
            _device_plan(device, layers, model, (model_bytes, kv_bytes, scratch)),
            share=share / sum(shares),
        )
        for device, model_bytes, kv_bytes, share in zip(
            devices, bytes_of.model_bytes, bytes_of.kv_bytes, shares, strict=True
        )
    ]
    return tuple(plans), (bytes_of.note,)


def _together(plan: Plan, draft: Plan) -> Plan:
    """The plan with a draft model's own buffers on top; its process is the same."""
    devices = []
    for device, more in zip(plan.devices, draft.devices, strict=True):
        compute = (device.compute_bytes or 0) + (more.compute_bytes or 0)
        added = more.model_bytes + more.kv_bytes + (more.compute_bytes or 0)
        devices.append(
            replace(
                device,
                model_bytes=device.model_bytes + more.model_bytes,
                kv_bytes=device.kv_bytes + more.kv_bytes,
                compute_bytes=compute,
                overhead_bytes=max(device.overhead_bytes, more.overhead_bytes),
                free_bytes=device.free_bytes
                - added
                - max(more.overhead_bytes - device.overhead_bytes, 0),
            )
        )
    host = replace(
        plan.host,
        model_bytes=plan.host.model_bytes + draft.host.model_bytes,
        kv_bytes=plan.host.kv_bytes + draft.host.kv_bytes,
        compute_bytes=(plan.host.compute_bytes or 0) + (draft.host.compute_bytes or 0),
    )
    notes = dict.fromkeys((*plan.notes, *draft.notes))
    return replace(plan, devices=tuple(devices), host=host, notes=tuple(notes), has_draft=True)


def _with_projector(plan: Plan, projector: Projector) -> Plan:
    """The plan with a projector on its first card; counted as overhead, for no log tells of it."""
    size = size_text(projector.n_bytes)
    if not plan.devices:
        note = f"The projector takes {size} of the computer's memory, not counted here."
        return replace(plan, notes=(*plan.notes, note))
    first, *others = plan.devices
    first = replace(
        first,
        overhead_bytes=first.overhead_bytes + projector.n_bytes,
        free_bytes=first.free_bytes - projector.n_bytes,
    )
    note = (
        f"The projector lies on {first.name}: its {size} are counted as overhead, the memory it "
        "computes in is not."
    )
    return replace(plan, devices=(first, *others), notes=(*plan.notes, note))


def _shares(devices: Sequence[PlanDevice], request: PlanRequest) -> tuple[float, ...]:
    free_bytes = [device.free_bytes for device in devices]
    return shares_of(free_bytes, request.split, alone=request.split_mode == NONE)


def _device_plan(
    device: PlanDevice, layers: Sequence[int], model: Model, n_bytes: tuple[int, int, int]
) -> DevicePlan:
    """One card that carries these layers: bytes of weights, KV cache and compute buffer."""
    blocks = [il for il in layers if il < model.n_layer]
    overhead = device.overhead_bytes if layers else 0
    return DevicePlan(
        name=device.name,
        id=device.id,
        first_layer=blocks[0] if blocks else None,
        n_blocks=len(blocks),
        has_output=model.n_layer in layers,
        model_bytes=n_bytes[0],
        kv_bytes=n_bytes[1],
        compute_bytes=n_bytes[2],
        overhead_bytes=overhead,
        free_bytes=device.free_bytes - sum(n_bytes) - overhead,
    )
