"""What is read out of a config.json and a table of tensors."""

from pathlib import Path

import pytest

from splitrig.core.errors import ModelFileError
from splitrig.core.hf_model import (
    HfConfig,
    Weights,
    layer_of,
    model_from_size,
    model_from_tensors,
    read_config,
)
from splitrig.core.safetensors import HfTensor, tensor_from_header

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "vocab_size": 259,
    "torch_dtype": "bfloat16",
}


def config(**changes: object) -> HfConfig:
    return read_config({**LLAMA, **changes})


def test_a_plain_config() -> None:
    read = config()
    assert (read.n_layer, read.n_head, read.n_head_kv, read.head_dim) == (6, 4, 2, 32)
    assert (read.n_ctx, read.dtype, read.quantization) == (512, "bfloat16", None)
    assert not read.multimodal
    assert not read.tied


def test_a_model_for_images_keeps_its_language_model_in_a_part_of_its_own() -> None:
    text = {key: value for key, value in LLAMA.items() if key != "architectures"}
    read = read_config(
        {
            "architectures": ["LlavaForConditionalGeneration"],
            "model_type": "llava",
            "text_config": text,
            "vision_config": {"hidden_size": 1024},
        }
    )
    assert read.architecture == "LlavaForConditionalGeneration"
    assert read.n_embd == 128
    assert read.multimodal


@pytest.mark.parametrize(
    ("changes", "n_head_kv"),
    [
        ({"num_key_value_heads": None}, 4),
        ({"num_key_value_heads": None, "multi_query": True}, 1),
        ({"num_kv_heads": 1}, 1),
        ({"multi_query_group_num": 2, "num_key_value_heads": None}, 2),
    ],
)
def test_key_value_heads_go_by_several_names(changes: dict[str, object], n_head_kv: int) -> None:
    assert config(**changes).n_head_kv == n_head_kv


@pytest.mark.parametrize(
    ("changes", "n_ctx"),
    [
        ({"max_position_embeddings": None}, None),
        ({"rope_scaling": {"rope_type": "linear", "factor": 4.0}}, 2048),
        ({"rope_scaling": {"type": "dynamic", "factor": 2}}, 1024),
        # these are in max_position_embeddings already
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, 512),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 8.0}}, 512),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}}, 512),
        ({"rope_scaling": {"rope_type": "linear", "factor": "big"}}, 512),
        ({"n_positions": 128}, 128),
    ],
)
def test_the_longest_context(changes: dict[str, object], n_ctx: int | None) -> None:
    assert config(**changes).n_ctx == n_ctx


def test_quantisation_and_its_groups() -> None:
    read = config(quantization_config={"quant_method": "awq", "group_size": 128})
    assert (read.quantization, read.group_size) == ("awq", 128)
    read = config(quantization_config={"quant_method": "fp8", "group_size": -1})
    assert (read.quantization, read.group_size) == ("fp8", 0)
    assert config(compression_config={"quant_method": "compressed_tensors"}).quantization == (
        "compressed-tensors"
    )


def test_compressed_keys_and_values() -> None:
    assert config(kv_lora_rank=512, qk_rope_head_dim=64).latent_dim == 576
    assert config(qk_rope_head_dim=64).latent_dim == 0


def test_a_window_that_is_switched_off_is_none() -> None:
    assert config(sliding_window=4096).sliding_window == 4096
    assert config(sliding_window=4096, use_sliding_window=False).sliding_window == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_attention_heads": None}, "how many attention heads"),
        ({"hidden_size": 0}, "how many dimensions"),
        ({"num_hidden_layers": None}, "how many layers"),
        ({"num_hidden_layers": 10**6}, "announces 1,000,000 layers"),
        ({"num_attention_heads": -4}, "gives num_attention_heads as -4"),
        ({"num_attention_heads": True}, "gives num_attention_heads as True"),
        ({"vocab_size": "many"}, "gives vocab_size as many"),
        ({"hidden_size": 1e9}, "gives hidden_size as"),
        ({"num_key_value_heads": [1, 2]}, "gives num_key_value_heads as"),
        ({"vocab_size": 2**40}, "gives vocab_size as"),
    ],
)
def test_what_cannot_be_is_one_sentence(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ModelFileError) as caught:
        config(**changes)
    assert words in caught.value.message
    assert caught.value.hint


def test_a_count_said_for_every_layer() -> None:
    assert config(num_key_value_heads=[2] * 6).n_head_kv == 2


def tensor(name: str, *shape: int, dtype: str = "BF16") -> HfTensor:
    n_elements = 1
    for size in shape:
        n_elements *= size
    return HfTensor(name, dtype, shape, n_elements * {"BF16": 2, "F32": 4, "I32": 4}[dtype])


def test_tensors_are_summed_up_by_layer_and_by_how_they_are_shared() -> None:
    tensors = [
        tensor("model.embed_tokens.weight", 100, 8),
        tensor("model.layers.0.self_attn.q_proj.weight", 8, 8),
        tensor("model.layers.0.self_attn.k_proj.weight", 4, 8),
        tensor("model.layers.0.input_layernorm.weight", 8),
        tensor("model.layers.5.mlp.gate.weight", 16, 8),
        tensor("model.layers.6.mlp.up_proj.weight", 16, 8),
        tensor("model.norm.weight", 8),
        tensor("lm_head.weight", 100, 8),
    ]
    read = model_from_tensors(Path("m"), "m", config(), tensors, 12345)
    assert read.layers[0] == Weights(shared_bytes=128, kv_bytes=64, whole_bytes=16)
    assert read.layers[5] == Weights(whole_bytes=256), "every rank needs the whole router"
    assert read.embedding.n_bytes == read.output.n_bytes == 1600
    assert read.rest == Weights(whole_bytes=16)
    # the layer behind the last only guesses tokens ahead and is not loaded
    assert read.weight_bytes == 128 + 64 + 16 + 256 + 1600 + 1600 + 16


def test_a_tied_output_layer_is_not_counted_twice() -> None:
    tensors = [tensor("model.embed_tokens.weight", 100, 8), tensor("lm_head.weight", 100, 8)]
    tied = model_from_tensors(Path("m"), "m", config(tie_word_embeddings=True), tensors, 1)
    assert tied.weight_bytes == 1600


def test_32_bit_weights_are_loaded_in_16_bits_unless_they_are_quantised() -> None:
    tensors = [tensor("model.layers.0.mlp.up_proj.weight", 16, 8, dtype="F32")]
    assert model_from_tensors(Path("m"), "m", config(), tensors, 1).layers[0].n_bytes == 256
    packed = config(quantization_config={"quant_method": "gptq"})
    assert model_from_tensors(Path("m"), "m", packed, tensors, 1).layers[0].n_bytes == 512


def test_layers_of_other_parts_are_not_layers_of_the_language_model() -> None:
    assert layer_of("model.layers.12.mlp.up_proj.weight") == 12
    assert layer_of("transformer.h.3.attn.c_attn.weight") == 3
    assert layer_of("language_model.model.layers.7.mlp.up_proj.weight") == 7
    assert layer_of("vision_tower.encoder.layers.7.mlp.fc1.weight") is None
    assert layer_of("visual.blocks.7.mlp.fc1.weight") is None
    assert layer_of("model.norm.weight") is None


def test_a_model_whose_files_do_not_tell_is_estimated_and_says_so() -> None:
    read = model_from_size(Path("m"), "m", config(), 10_000_000)
    assert not read.exact
    assert len(read.layers) == 6
    assert read.embedding.n_bytes == 259 * 128 * 2
    assert 0 <= 10_000_000 - read.weight_bytes < 6
    wide = model_from_size(Path("m"), "m", config(torch_dtype="float32"), 10_000_000)
    assert wide.weight_bytes <= 5_000_000


def test_a_rank_takes_its_part_but_never_less_than_a_key_value_head() -> None:
    weights = Weights(shared_bytes=800, kv_bytes=80, whole_bytes=8)
    assert weights.on_rank(1, n_head_kv=2) == 888
    assert weights.on_rank(2, n_head_kv=2) == 400 + 40 + 8
    assert weights.on_rank(8, n_head_kv=2) == 100 + 40 + 8


GOOD = {"dtype": "BF16", "shape": [4, 8], "data_offsets": [0, 64]}


def test_an_entry_of_a_safetensors_header() -> None:
    assert tensor_from_header("a", GOOD, 64) == HfTensor("a", "BF16", (4, 8), 64)
    scalar = {"dtype": "F32", "shape": [], "data_offsets": [0, 4]}
    assert tensor_from_header("a", scalar, 4).n_bytes == 4
    halves = {"dtype": "F4", "shape": [3], "data_offsets": [0, 2]}
    assert tensor_from_header("a", halves, 2).n_bytes == 2


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ([], "unknown kind"),
        (None, "unknown kind"),
        ({**GOOD, "dtype": "Q4_K"}, "unknown kind"),
        ({**GOOD, "shape": "4,8"}, "no possible shape"),
        ({**GOOD, "shape": [4, -8]}, "no possible shape"),
        ({**GOOD, "shape": [True, 8]}, "no possible shape"),
        ({**GOOD, "shape": [1] * 99}, "no possible shape"),
        ({**GOOD, "data_offsets": [64, 0]}, "lies nowhere"),
        ({**GOOD, "data_offsets": [0]}, "lies nowhere"),
        ({**GOOD, "data_offsets": [64, 128]}, "shorter than its header says"),
        ({**GOOD, "shape": [4, 9]}, "which its shape does not need"),
        ({**GOOD, "shape": [2**49, 2**49]}, "which its shape does not need"),
    ],
)
def test_an_entry_that_cannot_be(raw: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        tensor_from_header("a", raw, 64)
