"""Cards, models and statuses for the tests of the Launch page."""

from pathlib import Path

from splitrig.core.gpu import GpuInfo, GpuSample, Rig, Vendor
from splitrig.core.model import Model, Tensor
from splitrig.core.units import GIB

CARDS = (
    ("RTX 4090", 24, 1008.0),
    ("RTX 3080", 10, 760.0),
    ("RTX 3090", 24, 936.0),
    ("RTX 3090 Ti", 24, 1008.0),
)


def make_rig(n: int = 2, *, demo: bool = False, used_gib: float = 0.5) -> Rig:
    """The first `n` of four cards."""
    gpus = tuple(
        GpuInfo(
            id=f"{'demo' if demo else 'GPU'}-{i}",
            name=f"NVIDIA GeForce {name}",
            vendor=Vendor.NVIDIA,
            vram_total_bytes=total * GIB,
            bandwidth_gbps=bandwidth,
            source="demo" if demo else "nvml",
        )
        for i, (name, total, bandwidth) in enumerate(CARDS[:n])
    )
    samples = {
        gpu.id: GpuSample(
            id=gpu.id,
            vram_total_bytes=gpu.vram_total_bytes,
            vram_used_bytes=round(used_gib * GIB),
        )
        for gpu in gpus
    }
    return Rig(time_s=1.0, gpus=gpus, samples=samples, demo=demo)


def make_model(n_layer: int = 64, layer_gib: float = 0.27) -> Model:
    """A dense model whose layers are all alike; 64 of them are some 18 GiB."""
    n_bytes = round(layer_gib * GIB) // 256 * 256
    tensors = [Tensor(f"blk.{i}.ffn_up.weight", (5120, 1), "f16", n_bytes) for i in range(n_layer)]
    tensors.append(Tensor("token_embd.weight", (5120, 151936), "f16", 400 * 1024**2))
    tensors.append(Tensor("output.weight", (5120, 151936), "f16", 600 * 1024**2))
    return Model(
        path=Path("/models/Qwen3-32B-Q4_K_M.gguf"),
        name="Qwen3 32B",
        architecture="qwen3",
        quantization="Q4_K_M",
        file_bytes=sum(t.n_bytes for t in tensors),
        n_layer=n_layer,
        n_ctx_train=40960,
        n_embd=5120,
        n_vocab=151936,
        n_ff=25600,
        n_head=(64,) * n_layer,
        n_head_kv=(8,) * n_layer,
        head_k=128,
        head_v=128,
        tensors=tuple(tensors),
    )
