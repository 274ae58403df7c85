"""Cards as a plan sees them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from splitrig.core.footprint import Backend
from splitrig.core.gpu import Rig, Vendor
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
