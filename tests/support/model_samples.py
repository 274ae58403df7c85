"""Models as values, for tests that need no file: a dense one and a mixture, all layers alike."""

from pathlib import Path

from splitrig.core.ggml_types import row_bytes
from splitrig.core.model import Model, Tensor

N_LAYER, N_EMBD, N_VOCAB = 4, 256, 1000


def tensor(name: str, *shape: int, kind: str = "f16") -> Tensor:
    """A tensor in ggml's order: the width of a row first."""
    n_rows = 1
    for extent in shape[1:]:
        n_rows *= extent
    return Tensor(name, shape, kind, row_bytes(kind, shape[0]) * n_rows)


def model(
    *, n_expert: int = 0, architecture: str = "llama", tied: bool = True, **changes: object
) -> Model:
    """Four layers of eight heads for two keys; with experts a mixture of `qwen3moe`."""
    head = N_EMBD // 8
    tensors = [tensor("token_embd.weight", N_EMBD, N_VOCAB)]
    tensors.append(tensor("output_norm.weight", N_EMBD, kind="f32"))
    if not tied:
        tensors.append(tensor("output.weight", N_EMBD, N_VOCAB))
    for layer in range(N_LAYER):
        block = f"blk.{layer}."
        tensors += [
            tensor(block + "attn_norm.weight", N_EMBD, kind="f32"),
            tensor(block + "attn_q.weight", N_EMBD, N_EMBD),
            tensor(block + "attn_k.weight", N_EMBD, 2 * head),
            tensor(block + "attn_v.weight", N_EMBD, 2 * head),
            tensor(block + "attn_output.weight", N_EMBD, N_EMBD),
        ]
        experts, ending = ((n_expert,), "_exps") if n_expert else ((), "")
        tensors += [
            tensor(f"{block}ffn_up{ending}.weight", N_EMBD, 512, *experts),
            tensor(f"{block}ffn_gate{ending}.weight", N_EMBD, 512, *experts),
            tensor(f"{block}ffn_down{ending}.weight", 512, N_EMBD, *experts),
        ]
    fields: dict[str, object] = {
        "path": Path("/models/sample.gguf"),
        "name": "Sample",
        "architecture": "qwen3moe" if n_expert else architecture,
        "quantization": "F16",
        "file_bytes": sum(t.n_bytes for t in tensors),
        "n_layer": N_LAYER,
        "n_ctx_train": 4096,
        "n_embd": N_EMBD,
        "n_vocab": N_VOCAB,
        "n_ff": 512,
        "n_head": (8,) * N_LAYER,
        "n_head_kv": (2,) * N_LAYER,
        "head_k": head,
        "head_v": head,
        "n_expert": n_expert,
        "n_expert_used": min(2, n_expert),
        "n_ff_expert": 512 if n_expert else 0,
        "tensors": tuple(tensors),
        **changes,
    }
    return Model(**fields)  # type: ignore[arg-type]
