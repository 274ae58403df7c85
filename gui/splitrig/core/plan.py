"""Where every byte of a model goes before it is loaded (llama.cpp's layer split)."""

from dataclasses import dataclass


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
    """

    name: str
    id: str
    free_bytes: int
    total_bytes: int | None = None
    overhead_bytes: int = 0


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
    """

    devices: tuple[DevicePlan, ...]
    host: HostPlan
    split: tuple[float, ...]
    fits: bool
    notes: tuple[str, ...] = ()

    @property
    def tightest(self) -> DevicePlan | None:
        """The card with the least room left."""
        return min(self.devices, key=lambda d: d.free_bytes, default=None)
