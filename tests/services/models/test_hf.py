"""Hugging Face folders: what is read of them, and that no folder can do harm."""

import json
import os
import struct
from collections.abc import Mapping
from pathlib import Path

import pytest

from splitrig.core.errors import ModelFileError
from splitrig.services.models.hf import INDEX, MOST_CONFIG_BYTES, is_hf_folder, read_hf_model

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 10,
    "torch_dtype": "bfloat16",
}
SHAPES = {
    "model.embed_tokens.weight": (10, 8),
    "model.layers.0.self_attn.q_proj.weight": (8, 8),
    "model.layers.1.self_attn.q_proj.weight": (8, 8),
    "model.norm.weight": (8,),
    "lm_head.weight": (10, 8),
}


def write_safetensors(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """A file with these tensors in 16 bits, all zero."""
    table: dict[str, object] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, shape in shapes.items():
        n_bytes = 2
        for size in shape:
            n_bytes *= size
        table[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, at + n_bytes]}
        at += n_bytes
    header = json.dumps(table).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(at))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model in one file."""
    path = tmp_path / "Tiny-Llama"
    path.mkdir()
    (path / "config.json").write_text(json.dumps(CONFIG))
    write_safetensors(path / "model.safetensors", SHAPES)
    return path


def sentence(path: Path) -> str:
    with pytest.raises(ModelFileError) as caught:
        read_hf_model(path)
    assert caught.value.hint.endswith(".")
    assert "\n" not in caught.value.message
    return caught.value.message


def test_one_file(folder: Path) -> None:
    model = read_hf_model(folder)
    assert model.name == "Tiny-Llama"
    assert model.config.n_layer == 2
    assert [layer.n_bytes for layer in model.layers] == [128, 128]
    assert (model.embedding.n_bytes, model.output.n_bytes, model.rest.n_bytes) == (160, 160, 16)
    assert model.file_bytes == (folder / "model.safetensors").stat().st_size
    assert model.exact
    assert is_hf_folder(folder)


def test_several_files_with_an_index(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    names = list(SHAPES)
    where = {}
    for number, part in enumerate((names[:2], names[2:]), start=1):
        file = f"model-0000{number}-of-00002.safetensors"
        write_safetensors(folder / file, {name: SHAPES[name] for name in part})
        where |= dict.fromkeys(part, file)
    (folder / INDEX).write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": where}))
    # a second copy of the weights is not counted
    write_safetensors(folder / "consolidated.safetensors", SHAPES)
    assert read_hf_model(folder).weight_bytes == 128 + 128 + 160 + 160 + 16
    (folder / "model-00002-of-00002.safetensors").unlink()
    assert sentence(folder) == (
        "Tiny-Llama is incomplete: 1 of 2 weight files are not there, "
        "model-00002-of-00002.safetensors first."
    )


def test_a_folder_of_the_hugging_face_cache_is_taken_at_its_main_revision(
    folder: Path, tmp_path: Path
) -> None:
    revision = "0" * 39 + "a"
    repository = tmp_path / "models--owner--Tiny-1B"
    (repository / "snapshots" / revision).mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text(revision)
    for file in folder.iterdir():
        (repository / "snapshots" / revision / file.name).symlink_to(file)
    assert is_hf_folder(repository)
    model = read_hf_model(repository)
    assert model.name == "Tiny-1B"
    assert model.path == repository / "snapshots" / revision
    (repository / "refs/main").write_text("../../../etc")
    assert not is_hf_folder(repository)
    assert "no config.json" in sentence(repository)


def test_weights_that_are_no_safetensors_are_estimated(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(bytes(10_000))
    (folder / "training_args.bin").write_bytes(bytes(99_999))
    model = read_hf_model(folder)
    assert not model.exact
    assert model.file_bytes == 10_000


def test_a_gguf_file_is_for_another_engine(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF")
    assert sentence(file) == "model.gguf is a file; vLLM takes the folder of a Hugging Face model."


def test_what_is_not_there(folder: Path, tmp_path: Path) -> None:
    assert "There is no folder" in sentence(tmp_path / "nowhere")
    (folder / "model.safetensors").unlink()
    assert sentence(folder) == "Tiny-Llama has a config.json but no weights."
    (folder / "config.json").unlink()
    assert "has no config.json" in sentence(folder)
    assert not is_hf_folder(folder)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"{", "config.json is damaged: it is no JSON"),
        (b"\xff\xfe", "config.json is damaged: it is no JSON"),
        (b"[]", "config.json is damaged: it holds no table"),
        (b"[" * 100_000, "config.json is damaged: it is no JSON"),
        (b"{}", "how many attention heads"),
        (b" " * (MOST_CONFIG_BYTES + 1), "config.json is larger than 4.0 MiB"),
    ],
)
def test_a_config_that_is_none(folder: Path, text: bytes, words: str) -> None:
    (folder / "config.json").write_bytes(text)
    assert words in sentence(folder)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "it is no safetensors file"),
        (b"\x01", "it is no safetensors file"),
        (struct.pack("<Q", 2**63), "it is no safetensors file"),
        (struct.pack("<Q", 50) + b"{}", "it is no safetensors file"),
        (struct.pack("<Q", 2) + b"[]", "it holds no table"),
        (struct.pack("<Q", 9) + b'{"a":"b"}', "a is of the unknown kind"),
        (struct.pack("<Q", 5) + b"{nope", "it is no JSON"),
    ],
)
def test_a_weight_file_that_is_none(folder: Path, data: bytes, words: str) -> None:
    (folder / "model.safetensors").write_bytes(data)
    assert words in sentence(folder)


def test_a_file_that_was_not_downloaded_to_its_end(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    assert sentence(folder) == ("model.safetensors is damaged: it is shorter than its header says.")


@pytest.mark.parametrize(
    ("index", "words"),
    [
        ({}, "it names no files"),
        ({"weight_map": []}, "it names no files"),
        ({"weight_map": {"a": "../../../etc/passwd"}}, "names a file outside the folder"),
        ({"weight_map": {"a": "/etc/passwd"}}, "names a file outside the folder"),
        ({"weight_map": {"a": ".."}}, "names a file outside the folder"),
        ({"weight_map": {str(n): f"{n}.safetensors" for n in range(2001)}}, "more than 2,000"),
    ],
)
def test_an_index_cannot_lead_out_of_the_folder(
    folder: Path, index: dict[str, object], words: str
) -> None:
    (folder / INDEX).write_text(json.dumps(index))
    assert words in sentence(folder)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_pipe_does_not_hold_the_reader_up(folder: Path, name: str) -> None:
    (folder / name).unlink()
    os.mkfifo(folder / name)
    assert sentence(folder)


def test_a_large_model_is_read_without_its_data(tmp_path: Path) -> None:
    """A file of 8 GB with nothing in it is read as fast as a small one."""
    folder = tmp_path / "big"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    n_bytes = 8 * 10**9
    entry = {"dtype": "U8", "shape": [n_bytes, 1], "data_offsets": [0, n_bytes]}
    header = json.dumps({"model.layers.0.mlp.up_proj.weight": entry}).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + n_bytes)
    assert read_hf_model(folder).layers[0].n_bytes == n_bytes
