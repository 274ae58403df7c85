"""A Hugging Face model folder as planning and the window need it: its config and its tensors.

Names of keys follow vllm/transformers_utils/model_arch_config_convertor.py, which knows what the
families of models call the same thing. Nothing here reads a file.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from splitrig.core.errors import ModelFileError
from splitrig.core.safetensors import DTYPE_BITS, HfTensor

MOST = 2**31
"""No count in a config is larger."""
MOST_LAYERS = 4096
_FLOATS = ("F16", "BF16", "F32", "F64")
_ANOTHER = "Choose another folder, or download the model again."
_LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks|layer)\.(\d{1,5})\.")
_BESIDE = re.compile(r"vision|visual|audio|image|multi_modal|mm_|speech|encoder\.")
_KEY_VALUE = re.compile(r"\.(?:k_proj|v_proj|key|value)\.")
_NOT_SHARED = re.compile(
    r"norm|rotary|\.mlp\.gate\.|router|\.q_a_proj|kv_a_proj|\.gate\.(?:weight|e_score)"
)
_ROPE_IN_LENGTH = {"default", "su", "longrope", "llama3", "yarn", "mrope", "proportional"}
"""Kinds of position scaling that `max_position_embeddings` includes already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HfConfig:
    """What config.json says.

    Attributes:
        architecture: The class that runs it, such as 'LlamaForCausalLM'.
        model_type: The family, such as 'llama'.
        n_layer: Blocks.
        n_head: Query heads.
        n_head_kv: Key/value heads.
        n_embd: Width of the residual stream, elements.
        head_dim: Width of a head, elements.
        n_ff: Width of the feed-forward layer, elements; 0 where it is not said.
        n_vocab: Entries of the vocabulary.
        n_ctx: Longest context vLLM takes without being forced, tokens; `None` if not said.
        dtype: 'bfloat16', 'float16' or 'float32'; `None` if not said.
        quantization: How the weights are stored, such as 'awq' or 'fp8'; `None` if they are not
            quantised.
        group_size: Weights that share a scale; 0 where it is not said or does not apply.
        latent_dim: Elements a token takes in the cache of one layer where keys and values are
            kept as one compressed row (multi-head latent attention); 0 for other models.
        n_expert: Experts of a mixture; 0 for dense models.
        sliding_window: Window of local attention, tokens; 0 if none.
        tied: The output layer is the input embedding.
        multimodal: It has parts for images or sound.
    """

    architecture: str
    model_type: str
    n_layer: int
    n_head: int
    n_head_kv: int
    n_embd: int
    head_dim: int
    n_vocab: int
    n_ff: int = 0
    n_ctx: int | None = None
    dtype: str | None = None
    quantization: str | None = None
    group_size: int = 0
    latent_dim: int = 0
    n_expert: int = 0
    sliding_window: int = 0
    tied: bool = False
    multimodal: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Bytes that one part of a model takes on the cards, by how tensor parallelism shares them.

    Attributes:
        shared_bytes: Every rank takes its part.
        kv_bytes: Key and value projections: shared, but a rank never takes less than one head.
        whole_bytes: Every rank keeps all of it (norms, routers).
    """

    shared_bytes: int = 0
    kv_bytes: int = 0
    whole_bytes: int = 0

    @property
    def n_bytes(self) -> int:
        """Everything, once."""
        return self.shared_bytes + self.kv_bytes + self.whole_bytes

    def on_rank(self, tp: int, n_head_kv: int) -> int:
        """Bytes of one rank of `tp`."""
        shared_kv = -(-self.kv_bytes // max(min(tp, n_head_kv), 1))
        return -(-self.shared_bytes // tp) + shared_kv + self.whole_bytes

    def __add__(self, other: "Weights") -> "Weights":
        return Weights(
            shared_bytes=self.shared_bytes + other.shared_bytes,
            kv_bytes=self.kv_bytes + other.kv_bytes,
            whole_bytes=self.whole_bytes + other.whole_bytes,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class HfModel:
    """A model folder.

    Attributes:
        path: The folder.
        name: What to call it.
        config: Its config.json.
        file_bytes: Size of the weight files, bytes.
        layers: Weights of each block, one entry a block.
        embedding: The input embedding.
        output: The output layer; empty where it is the input embedding.
        rest: Everything else: the last norm, parts for images or sound.
        exact: The sizes come from the headers of safetensors files, else they are estimated from
            the size of the files.
    """

    path: Path
    name: str
    config: HfConfig
    file_bytes: int
    layers: tuple[Weights, ...]
    embedding: Weights = Weights()
    output: Weights = Weights()
    rest: Weights = Weights()
    exact: bool = True

    @property
    def weight_bytes(self) -> int:
        """All weights as the engine keeps them, once, bytes."""
        parts = (*self.layers, self.embedding, self.output, self.rest)
        return sum(part.n_bytes for part in parts)


def read_config(raw: Mapping[str, object]) -> HfConfig:
    """Understand a config.json.

    Raises:
        ModelFileError: It lacks what a language model has, or says something impossible.
    """
    text = _text_config(raw)
    n_head = _count(text, "num_attention_heads", "n_head", "n_heads", "num_heads")
    n_embd = _count(text, "hidden_size", "n_embd", "d_model", "dim")
    n_layer = _count(text, "num_hidden_layers", "n_layer", "n_layers", "num_layers")
    n_vocab = _count(text, "vocab_size", "padded_vocab_size")
    for what, value in (("attention heads", n_head), ("dimensions", n_embd), ("layers", n_layer)):
        if not value:
            raise ModelFileError(
                f"config.json does not say how many {what} the model has.",
                "vLLM needs the folder of a language model: choose another one.",
            )
    if n_layer > MOST_LAYERS:
        raise ModelFileError(f"config.json announces {n_layer:,} layers.", _ANOTHER)
    kv = _count(text, "n_head_kv", "num_kv_heads", "num_key_value_heads", "multi_query_group_num",
                "num_attention_groups")  # fmt: skip
    if not kv:
        kv = 1 if text.get("multi_query") is True else n_head
    method, group_size = _quantization(raw, text)
    return HfConfig(
        architecture=_architecture(raw),
        model_type=_word(raw.get("model_type")) or "unknown",
        n_layer=n_layer,
        n_head=n_head,
        n_head_kv=kv,
        n_embd=n_embd,
        head_dim=_count(text, "head_dim", "hidden_size_per_head") or n_embd // n_head,
        n_vocab=n_vocab,
        n_ff=_count(text, "intermediate_size", "ffn_hidden_size", "n_inner", "ffn_dim"),
        n_ctx=_context(text),
        dtype=_dtype(raw, text),
        quantization=method,
        group_size=group_size,
        latent_dim=_count(text, "kv_lora_rank") and _latent(text),
        n_expert=_count(text, "num_experts", "moe_num_experts", "n_routed_experts",
                        "num_local_experts"),
        sliding_window=_window(text),
        tied=_tied(raw, text),
        multimodal=text is not raw or any(
            key in raw for key in ("vision_config", "audio_config", "visual")
        ),
    )  # fmt: skip


def _text_config(raw: Mapping[str, object]) -> Mapping[str, object]:
    """The part on the language model; models for images or sound nest it."""
    for key in ("text_config", "llm_config", "language_config", "thinker_config"):
        nested = raw.get(key)
        if isinstance(nested, dict):
            return _text_config(nested) if "text_config" in nested else nested
    return raw


def _count(config: Mapping[str, object], *names: str) -> int:
    """The first of these keys that is there, 0 if none is."""
    for name in names:
        value = config.get(name)
        if value is None:
            continue
        if isinstance(value, list) and value and value.count(value[0]) == len(value):
            value = value[0]  # said for every layer, always the same
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < MOST:
            shown = str(value)[:40]
            raise ModelFileError(f"config.json gives {name} as {shown}.", _ANOTHER)
        return value
    return 0


def _word(value: object) -> str:
    return value[:80] if isinstance(value, str) and value.isprintable() else ""


def _architecture(raw: Mapping[str, object]) -> str:
    listed = raw.get("architectures")
    first = listed[0] if isinstance(listed, list) and listed else None
    return _word(first) or "unknown"


def _latent(text: Mapping[str, object]) -> int:
    return _count(text, "kv_lora_rank") + _count(text, "qk_rope_head_dim")


def _window(text: Mapping[str, object]) -> int:
    return 0 if text.get("use_sliding_window") is False else _count(text, "sliding_window")


def _tied(raw: Mapping[str, object], text: Mapping[str, object]) -> bool:
    value = text.get("tie_word_embeddings", raw.get("tie_word_embeddings"))
    return value is True


def _dtype(raw: Mapping[str, object], text: Mapping[str, object]) -> str | None:
    for config in (raw, text):
        for key in ("dtype", "torch_dtype"):
            word = _word(config.get(key)).removeprefix("torch.")
            if word in ("bfloat16", "float16", "float32"):
                return word
    return None


def _quantization(raw: Mapping[str, object], text: Mapping[str, object]) -> tuple[str | None, int]:
    """The method and the group size."""
    for config in (raw, text):
        for key in ("quantization_config", "compression_config"):
            found = config.get(key)
            if isinstance(found, dict):
                method = _word(found.get("quant_method")).lower().replace("_", "-")
                size = found.get("group_size", found.get("q_group_size"))
                known = isinstance(size, int) and not isinstance(size, bool) and 0 < size < MOST
                return method or "unknown", size if known and isinstance(size, int) else 0
    return None, 0


def _context(text: Mapping[str, object]) -> int | None:
    """The longest context: the smallest of the keys, times a scaling it does not include.

    Source: `_get_and_verify_max_len` in vllm/config/model.py.
    """
    keys = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length",
            "model_max_length", "max_sequence_length", "max_seq_length", "seq_len")  # fmt: skip
    found = [length for key in keys if (length := _count(text, key))]
    if not found:
        return None
    scaling = text.get("rope_scaling") or text.get("rope_parameters")
    if not isinstance(scaling, dict):
        return min(found)
    kind = _word(scaling.get("rope_type") or scaling.get("type")) or "default"
    factor = scaling.get("factor")
    if kind in _ROPE_IN_LENGTH or isinstance(factor, bool) or not isinstance(factor, int | float):
        return min(found)
    return int(min(found) * factor) if 1 <= factor <= 1024 else min(found)


def model_from_tensors(
    path: Path, name: str, config: HfConfig, tensors: Iterable[HfTensor], file_bytes: int
) -> HfModel:
    """Sum up a table of tensors by block, as vLLM keeps them.

    Floating-point weights of a model that is not quantised are converted to 16 bits when they
    are loaded (vllm/config/model.py, `_resolve_auto_dtype`); all others are kept as they are.
    Layers beyond the last are for guessing tokens ahead; vLLM does not load them by itself.
    """
    layers = [Weights()] * config.n_layer
    embedding = output = rest = Weights()
    for tensor in tensors:
        weights = _weights(tensor, config)
        layer = layer_of(tensor.name)
        if layer is not None:
            if layer < config.n_layer:
                layers[layer] += weights
        elif re.search(r"embed_tokens|\bwte\b|word_embeddings\.|tok_embeddings", tensor.name):
            embedding += weights
        elif re.search(r"lm_head|embed_out|^output\.", tensor.name):
            # a tied output layer that is in the file all the same is not loaded twice
            output += Weights() if config.tied else weights
        else:
            rest += weights
    return HfModel(
        path=path,
        name=name,
        config=config,
        file_bytes=file_bytes,
        layers=tuple(layers),
        embedding=embedding,
        output=output,
        rest=rest,
    )


def model_from_size(path: Path, name: str, config: HfConfig, file_bytes: int) -> HfModel:
    """A model whose files cannot be looked into: embeddings by shape, layers in equal parts."""
    table = config.n_vocab * config.n_embd * 2
    embedding = Weights(shared_bytes=min(table, file_bytes // 2))
    output = Weights() if config.tied else embedding
    halved = config.dtype == "float32" and config.quantization is None
    loaded = file_bytes // 2 if halved else file_bytes
    left = max(loaded - embedding.n_bytes - output.n_bytes, 0)
    layer = Weights(shared_bytes=left // config.n_layer)
    return HfModel(
        path=path,
        name=name,
        config=config,
        file_bytes=file_bytes,
        layers=(layer,) * config.n_layer,
        embedding=embedding,
        output=output,
        exact=False,
    )


def layer_of(name: str) -> int | None:
    """The block of the language model a tensor belongs to."""
    match = _LAYER.search(name)
    if match is None or _BESIDE.search(name[: match.start()]):
        return None
    return int(match[1])


def _weights(tensor: HfTensor, config: HfConfig) -> Weights:
    n_bytes = tensor.n_bytes
    if config.quantization is None and tensor.dtype in _FLOATS:
        n_bytes = n_bytes * 16 // DTYPE_BITS[tensor.dtype]
    if len(tensor.shape) < 2 or _NOT_SHARED.search(tensor.name):
        return Weights(whole_bytes=n_bytes)
    if _KEY_VALUE.search(tensor.name) and not config.latent_dim:
        return Weights(kv_bytes=n_bytes)
    return Weights(shared_bytes=n_bytes)
