"""Where every byte of a model goes before it is loaded (llama.cpp's layer split).

Weights and KV cache follow llama.cpp's own arithmetic and are exact; the compute buffer follows
the shape of its graph and is an estimate; the overhead is what the caller says.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from splitrig.core.errors import SplitError
from splitrig.core.footprint import Backend, Footprint, compute_bytes, footprint, host_compute_bytes
from splitrig.core.ggml_types import padded
from splitrig.core.gpu import Rig, Vendor
from splitrig.core.layer_map import HOST, layer_devices
from splitrig.core.model import Model
from splitrig.core.split import auto_split, check_split
from splitrig.core.units import MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanDevice:
    """A card as the plan sees it.

    Attributes:
        name: Shown name.
        id: Key of the card, or of the engine's device.
        free_bytes: Memory the engine may use now, bytes.
        total_bytes: All memory of the card, bytes; `None` if unknown.
        overhead_bytes: What the engine's runtime takes besides its buffers (about 475 MiB on
            CUDA: context and kernels; 0 on RPC and CPU devices).
        backend: Which part of the engine drives it; CUDA pads quantised rows, and all but RPC
            and CPU can copy while they compute, so the engine keeps four copies of its inputs.
    """

    name: str
    id: str
    free_bytes: int
    total_bytes: int | None = None
    overhead_bytes: int = 0
    backend: Backend = Backend.CUDA


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
        split_mode: `layer` or `none` (everything on the first device).
        n_outputs: Tokens whose logits are kept; `None` means one a request, as in llama-server
            (the C API keeps `n_batch`).
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
    split_mode: str = "layer"
    n_outputs: int | None = None


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
    """What stays in the computer's memory, bytes."""

    model_bytes: int
    kv_bytes: int
    compute_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The whole picture for one request.

    Attributes:
        devices: In device order.
        host: What stays off the cards.
        split: The shares used, as given or derived from free memory.
        fits: Every card has room for its share.
        notes: Sentences on what the plan assumes or cannot know.
        tolerance: Share of the planned bytes by which an engine may differ without being told
            of: 0 where weights and KV cache are exact.
    """

    devices: tuple[DevicePlan, ...]
    host: HostPlan
    split: tuple[float, ...]
    fits: bool
    notes: tuple[str, ...] = ()
    tolerance: float = 0.0

    @property
    def tightest(self) -> DevicePlan | None:
        """The card with the least room left."""
        return min(self.devices, key=lambda d: d.free_bytes, default=None)


def make_plan(model: Model, devices: Sequence[PlanDevice], request: PlanRequest) -> Plan:
    """Place every layer of `model` on `devices` (src/llama-model.cpp, src/llama-kv-cache.cpp).

    Raises:
        SplitError: The split gives no card any layer, or has more shares than there are devices.
    """
    # as llama_context does (src/llama-context.cpp)
    request = replace(request, n_ubatch=min(request.n_ubatch, request.n_batch))
    shares = _shares(devices, request)
    n_gpu_layers = request.n_gpu_layers if devices else 0
    placed = layer_devices(shares, model.n_layer, n_gpu_layers) if devices else (
        (HOST,) * (model.n_layer + 1)
    )  # fmt: skip
    sizes = footprint(
        model,
        n_ctx=request.n_ctx or model.n_ctx_train,
        n_ubatch=request.n_ubatch,
        cache_type_k=request.cache_type_k,
        cache_type_v=request.cache_type_v,
        n_parallel=request.n_parallel,
        kv_unified=request.kv_unified,
    )
    everything = HOST not in placed
    used = [number for number in range(len(devices)) if number in placed]
    # a card without a layer still counts as one that batches could overlap with
    several = len(devices) > 1 and request.split_mode != "none"
    pipelined = everything and several and all(d.backend.pipelined for d in devices)
    # the first card also computes the host's layers when batches are large; RPC does not
    helper = used[0] if used and devices[used[0]].backend.pipelined else None
    plans = []
    for number, device in enumerate(devices):
        layers = [il for il, where in enumerate(placed) if where == number]
        scratch = _scratch(
            model, sizes, request, number, used, placed, pipelined=pipelined, helper=helper
        )
        plans.append(_device_plan(device, layers, model, sizes, scratch))
    host_layers = [il for il, where in enumerate(placed) if where == HOST]
    alone = not everything and helper is None
    host = HostPlan(
        model_bytes=_host_weights(model, sizes, host_layers),
        kv_bytes=sum(sizes.kv[il].plain for il in host_layers),
        compute_bytes=_host_scratch(
            model,
            sizes,
            request,
            used,
            pipelined=pipelined,
            alone=alone,
        ),
    )
    return Plan(
        devices=tuple(plans),
        host=host,
        split=shares,
        fits=all(plan.free_bytes >= 0 for plan in plans),
        notes=sizes.notes,
    )


def _host_weights(model: Model, sizes: Footprint, host_layers: Sequence[int]) -> int:
    """Weights in the computer's memory: the input embedding and what is not offloaded."""
    n_bytes = sizes.host_model_bytes + sum(sizes.weights[il].plain for il in host_layers)
    if model.n_layer in host_layers and all(t.name != "output.weight" for t in model.tensors):
        # a tied embedding is not kept twice on the host
        n_bytes -= next((t.n_bytes for t in model.tensors if t.name == "token_embd.weight"), 0)
    if any(il < model.n_layer for il in host_layers):
        n_bytes += sizes.per_device.plain
    return n_bytes


def _shares(devices: Sequence[PlanDevice], request: PlanRequest) -> tuple[float, ...]:
    """The shares to use: everything on the first card, those given, or by free memory."""
    if not devices:
        return ()
    if request.split_mode == "none":
        return (1.0, *(0.0 for _ in devices[1:]))
    if request.split is None:
        return auto_split([device.free_bytes for device in devices])
    check_split(request.split)
    if len(request.split) > len(devices):
        raise SplitError(
            f"The split has {len(request.split)} shares for {len(devices)} cards.",
            "Give one number for each card.",
        )
    return (*request.split, *(0.0 for _ in devices[len(request.split) :]))


def _scratch(
    model: Model,
    sizes: Footprint,
    request: PlanRequest,
    number: int,
    used: Sequence[int],
    placed: Sequence[int],
    *,
    pipelined: bool,
    helper: int | None,
) -> int | None:
    """Compute buffer of device `number`; 0 for a card that holds no layer."""
    if number not in used:
        return 0
    return compute_bytes(
        model,
        sizes,
        n_ctx=request.n_ctx or model.n_ctx_train,
        n_ubatch=request.n_ubatch,
        cache_types=(request.cache_type_k, request.cache_type_v),
        flash_attention=request.flash_attention,
        n_outputs=request.n_outputs or request.n_parallel,
        pipelined=pipelined,
        first=number == (used[0] if HOST not in placed else helper),
        has_output=placed[model.n_layer] == number,
        partial=HOST in placed,
        stages=max(
            (sizes.largest_tensor[il] for il, d in enumerate(placed) if d == HOST), default=0
        )
        if number == helper
        else 0,
    )


def _host_scratch(
    model: Model,
    sizes: Footprint,
    request: PlanRequest,
    used: Sequence[int],
    *,
    pipelined: bool,
    alone: bool,
) -> int:
    """Compute buffer in the computer's memory: inputs, and room to compute if it works `alone`."""
    n_ctx = request.n_ctx or model.n_ctx_train
    cache_types = (request.cache_type_k, request.cache_type_v)
    n_outputs = request.n_outputs or request.n_parallel
    beside = host_compute_bytes(
        model,
        sizes,
        n_ctx=n_ctx,
        n_ubatch=request.n_ubatch,
        cache_types=cache_types,
        flash_attention=request.flash_attention,
        n_outputs=n_outputs,
        pipelined=pipelined,
    )
    if not alone:
        return beside
    work = compute_bytes(
        model,
        sizes,
        n_ctx=n_ctx,
        n_ubatch=request.n_ubatch,
        cache_types=cache_types,
        flash_attention=request.flash_attention,
        n_outputs=n_outputs,
        pipelined=False,
        first=True,
        has_output=not used,
        partial=False,
        stages=0,
    )
    tokens = min(n_ctx, request.n_ubatch)
    return max(beside, work + 4 * tokens * (model.n_embd + 1) + padded(4 * n_outputs, 64))


def _device_plan(
    device: PlanDevice, layers: Sequence[int], model: Model, sizes: Footprint, scratch: int | None
) -> DevicePlan:
    """Sum up what one card carries."""
    blocks = [il for il in layers if il < model.n_layer]
    model_bytes = sum(sizes.weights[il].on(device.backend) for il in layers)
    if blocks:
        model_bytes += sizes.per_device.on(device.backend)
    kv_bytes = sum(sizes.kv[il].on(device.backend) for il in blocks)
    overhead = device.overhead_bytes if layers else 0
    used = model_bytes + kv_bytes + (scratch or 0) + overhead
    return DevicePlan(
        name=device.name,
        id=device.id,
        first_layer=blocks[0] if blocks else None,
        n_blocks=len(blocks),
        has_output=model.n_layer in layers,
        model_bytes=model_bytes,
        kv_bytes=kv_bytes,
        compute_bytes=scratch,
        overhead_bytes=overhead,
        free_bytes=device.free_bytes - used,
    )


OVERHEAD_BYTES = {Backend.CUDA: 475 * MIB, Backend.ROCM: 475 * MIB, Backend.VULKAN: 200 * MIB}
"""Context and kernels of one process on one card, until a load on that card was measured."""
_OWN_BACKEND = {Vendor.NVIDIA: Backend.CUDA, Vendor.AMD: Backend.ROCM}


def card_devices(
    rig: Rig, gpu_ids: Sequence[str], backends: Mapping[str, Backend]
) -> tuple[PlanDevice, ...]:
    """The cards of a rig as devices of a plan, in the order given.

    Args:
        rig: The last reading.
        gpu_ids: Cards to use; those the rig does not know are left out.
        backends: What drives each card; the maker's own where nothing is said, RPC on the demo
            rig, whose memory the processor lends.
    """
    devices = []
    for gpu_id in gpu_ids:
        gpu, sample = rig.gpu(gpu_id), rig.samples.get(gpu_id)
        if gpu is None:
            continue
        own = _OWN_BACKEND.get(gpu.vendor, Backend.VULKAN)
        backend = Backend.RPC if rig.demo else backends.get(gpu_id, own)
        free = sample.vram_free_bytes if sample is not None else None
        total = sample.vram_total_bytes if sample is not None else None
        devices.append(
            PlanDevice(
                name=gpu.short_name,
                id=gpu.id,
                free_bytes=free if free is not None else gpu.vram_total_bytes or 0,
                total_bytes=total if total is not None else gpu.vram_total_bytes,
                overhead_bytes=OVERHEAD_BYTES.get(backend, 0),
                backend=backend,
            )
        )
    return tuple(devices)
