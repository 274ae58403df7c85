"""Small models with random weights for what the demo model is not: mixtures of experts, projectors.

They say nothing sensible, but real engines load them and say where their tensors lie.
"""

from pathlib import Path

import gguf
import numpy as np

N_LAYER = 4
N_EMBD = 128
N_HEAD = 4
N_HEAD_KV = 2
N_FF_EXPERT = 128
N_EXPERT = 16
EXPERT_TENSOR_BYTES = 2 * N_EMBD * N_FF_EXPERT * N_EXPERT
"""Each of the three expert tensors of a layer (f16): 0.5 MiB."""


def write_mixture(
    path: Path,
    tokenizer_of: Path,
    architecture: str = "qwen3moe",
    *,
    most_tokens: int | None = None,
) -> Path:
    """Write a mixture of experts of some 20 MiB; takes some 3 s.

    Args:
        path: Where to.
        tokenizer_of: A GGUF file whose tokenizer it gets.
        architecture: `qwen3moe`, or `olmoe`, which llama.cpp does not split within layers.
        most_tokens: Cut the vocabulary to so many.
    """
    random = np.random.default_rng(1)
    head = N_EMBD // N_HEAD
    writer = gguf.GGUFWriter(path, architecture)
    n_vocab = _copy_tokenizer(gguf.GGUFReader(tokenizer_of), writer, most_tokens)
    writer.add_block_count(N_LAYER)
    writer.add_context_length(4096)
    writer.add_embedding_length(N_EMBD)
    writer.add_feed_forward_length(N_FF_EXPERT)
    writer.add_expert_feed_forward_length(N_FF_EXPERT)
    writer.add_head_count(N_HEAD)
    writer.add_head_count_kv(N_HEAD_KV if architecture == "qwen3moe" else N_HEAD)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10_000.0)
    writer.add_expert_count(N_EXPERT)
    writer.add_expert_used_count(2)
    kv = head * (N_HEAD_KV if architecture == "qwen3moe" else N_HEAD)
    norms = (head, head) if architecture == "qwen3moe" else (N_EMBD, N_EMBD)

    def add(name: str, *shape: int) -> None:
        """One tensor, in numpy's order of dimensions; vectors stay f32, as llama.cpp wants."""
        values = random.normal(0, 0.05, shape)
        writer.add_tensor(name, values.astype(np.float32 if len(shape) == 1 else np.float16))

    add("token_embd.weight", n_vocab, N_EMBD)
    add("output_norm.weight", N_EMBD)
    if architecture == "olmoe":  # which has no tied embedding
        add("output.weight", n_vocab, N_EMBD)
    for il in range(N_LAYER):
        block = f"blk.{il}"
        for name in ("attn_norm", "ffn_norm"):
            add(f"{block}.{name}.weight", N_EMBD)
        add(f"{block}.attn_q.weight", N_EMBD, N_EMBD)
        add(f"{block}.attn_k.weight", kv, N_EMBD)
        add(f"{block}.attn_v.weight", kv, N_EMBD)
        add(f"{block}.attn_output.weight", N_EMBD, N_EMBD)
        add(f"{block}.attn_q_norm.weight", norms[0])
        add(f"{block}.attn_k_norm.weight", norms[1])
        writer.add_tensor(
            f"{block}.ffn_gate_inp.weight",
            random.normal(0, 0.05, (N_EXPERT, N_EMBD)).astype(np.float32),
        )
        add(f"{block}.ffn_gate_exps.weight", N_EXPERT, N_FF_EXPERT, N_EMBD)
        add(f"{block}.ffn_up_exps.weight", N_EXPERT, N_FF_EXPERT, N_EMBD)
        add(f"{block}.ffn_down_exps.weight", N_EXPERT, N_EMBD, N_FF_EXPERT)
    return _finish(writer, path)


def write_projector(path: Path, n_embd_out: int) -> Path:
    """Write a projector of the LLaVA kind, 1 MiB, for a model of this width."""
    random = np.random.default_rng(2)
    n_embd, n_ff, n_layer = 64, 128, 2
    writer = gguf.GGUFWriter(path, "clip")
    writer.add_bool("clip.has_vision_encoder", True)
    writer.add_string("clip.projector_type", "mlp")
    writer.add_bool("clip.use_gelu", True)
    numbers = {
        "image_size": 64, "patch_size": 16, "embedding_length": n_embd,
        "feed_forward_length": n_ff, "block_count": n_layer, "projection_dim": n_embd_out,
        "attention.head_count": 2,
    }  # fmt: skip
    for key, number in numbers.items():
        writer.add_uint32(f"clip.vision.{key}", number)
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", 1e-5)
    writer.add_array("clip.vision.image_mean", [0.5, 0.5, 0.5])
    writer.add_array("clip.vision.image_std", [0.5, 0.5, 0.5])

    def add(name: str, *shape: int, kind: type[np.floating] = np.float16) -> None:
        values = random.normal(0, 0.05, shape)
        writer.add_tensor(name, values.astype(np.float32 if len(shape) == 1 else kind))

    def linear(name: str, n_out: int, n_in: int) -> None:
        add(f"{name}.weight", n_out, n_in)
        add(f"{name}.bias", n_out)

    def norm(name: str) -> None:
        add(f"{name}.weight", n_embd)
        add(f"{name}.bias", n_embd)

    add("v.patch_embd.weight", n_embd, 3, 16, 16)
    add("v.position_embd.weight", 17, n_embd, kind=np.float32)
    add("v.class_embd", n_embd)
    norm("v.pre_ln")
    norm("v.post_ln")
    for il in range(n_layer):
        for part in ("attn_q", "attn_k", "attn_v", "attn_out"):
            linear(f"v.blk.{il}.{part}", n_embd, n_embd)
        norm(f"v.blk.{il}.ln1")
        norm(f"v.blk.{il}.ln2")
        # named the wrong way round in such files
        linear(f"v.blk.{il}.ffn_down", n_ff, n_embd)
        linear(f"v.blk.{il}.ffn_up", n_embd, n_ff)
    linear("mm.0", n_embd_out, n_embd)
    linear("mm.2", n_embd_out, n_embd_out)
    return _finish(writer, path)


def _copy_tokenizer(
    reader: gguf.GGUFReader, writer: gguf.GGUFWriter, most_tokens: int | None
) -> int:
    """Take over everything that begins with `tokenizer.`; returns the size of the vocabulary."""
    n_vocab = 0
    for name, field in reader.fields.items():
        if not name.startswith("tokenizer."):
            continue
        value = field.contents()
        if name in {f"tokenizer.ggml.{part}" for part in ("tokens", "token_type", "scores")}:
            value = value[:most_tokens]
            n_vocab = len(value)
        kind, *inner = field.types
        writer.add_key_value(name, value, kind, sub_type=inner[-1] if inner else None)
    return n_vocab


def _finish(writer: gguf.GGUFWriter, path: Path) -> Path:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
