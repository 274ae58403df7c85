import os
import re
import struct
import sys
import time
import tracemalloc
from contextlib import suppress
from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from splitrig.core.errors import ModelFileError
from splitrig.services.models.demo import demo_model
from splitrig.services.models.gguf import read_model


def demo() -> Path:
    path = demo_model()
    assert path is not None, "the demo model is installed by ./run --setup and ./test"
    return path


def small(path: Path, *, n_layer: int = 2, split_count: int = 0, split_no: int = 0) -> Path:
    """A tiny llama written by the reference package."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_block_count(n_layer)
    writer.add_context_length(512)
    writer.add_embedding_length(64)
    writer.add_feed_forward_length(128)
    writer.add_head_count([4] * n_layer)
    writer.add_head_count_kv(2)
    writer.add_file_type(0)
    writer.add_token_list([f"<{i}>" for i in range(300)])
    if split_count:
        writer.add_uint16("split.count", split_count)
        writer.add_uint16("split.no", split_no)
        writer.add_int32("split.tensors.count", split_count * (n_layer + 1))
    writer.add_tensor("token_embd.weight" if not split_no else f"extra{split_no}.weight",
                      np.zeros((300, 64), np.float32))  # fmt: skip
    for layer in range(n_layer):
        block = layer + split_no * n_layer
        writer.add_tensor(f"blk.{block}.attn_q.weight", np.zeros((64, 64), np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_the_demo_model_reads_as_the_reference_package_reads_it() -> None:
    reference = gguf.GGUFReader(demo())
    model = read_model(demo())
    assert model.architecture == "llama"
    assert model.quantization == "Q4_1"
    assert (model.n_layer, model.n_embd, model.n_vocab, model.n_ctx_train) == (30, 576, 49152, 8192)
    assert (model.n_head[0], model.n_head_kv[0], model.head_k, model.head_v) == (9, 3, 64, 64)
    expected = [
        (t.name, tuple(int(n) for n in t.shape), t.tensor_type.name.lower(), t.n_bytes)
        for t in reference.tensors
    ]
    assert [(t.name, t.shape, t.type_name, t.n_bytes) for t in model.tensors] == expected


def test_heads_may_differ_by_layer_and_names_come_from_the_header(tmp_path: Path) -> None:
    model = read_model(small(tmp_path / "x.gguf", n_layer=3))
    assert model.name == "tiny"
    assert model.n_head == (4, 4, 4)
    assert model.n_head_kv == (2, 2, 2)
    assert model.n_vocab == 300


def test_the_parts_of_a_split_model_are_one_model(tmp_path: Path) -> None:
    for number in range(2):
        small(tmp_path / f"m-0000{number + 1}-of-00002.gguf", split_count=2, split_no=number)
    for part in (1, 2):
        model = read_model(tmp_path / f"m-0000{part}-of-00002.gguf")
        assert len(model.tensors) == 6
        assert model.path.name == "m-00001-of-00002.gguf"
        assert model.file_bytes == sum(p.stat().st_size for p in tmp_path.iterdir())


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    small(tmp_path / "m-00001-of-00003.gguf", split_count=3)
    with pytest.raises(ModelFileError, match=r"m-00002-of-00003.gguf is missing"):
        read_model(tmp_path / "m-00001-of-00003.gguf")


def refused(path: Path) -> ModelFileError:
    """The error for a file, which must come fast and small."""
    tracemalloc.start()
    start = time.process_time()
    with pytest.raises(ModelFileError) as caught:
        read_model(path)
    seconds = time.process_time() - start
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50 * 2**20
    assert seconds < 5, "absurd lengths must not keep the reader busy"
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("text", b"This is a text file, not a model.\n", "not a GGUF file"),
        ("empty", b"", "is empty"),
        ("magic only", b"GGUF", "in mid-sentence"),
        ("future", b"GGUF" + struct.pack("<IQQ", 9, 0, 0), "GGUF version 9"),
        ("ancient", b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "GGUF version 1"),
        ("big-endian", b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "big-endian"),
        ("counts", b"GGUF" + struct.pack("<IQQ", 3, 2**60, 2**60), "announces"),
        (
            "key length",
            b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**62) + b"x" * 64,
            "announces a name",
        ),
        (
            "array length",
            b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"k" + struct.pack("<IIQ", 9, 4, 2**61),
            "announces an array",
        ),
        (
            "nested arrays",
            b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"k"
            + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 40,
            "nests arrays",
        ),
        (
            "unknown kind",
            b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"k" + struct.pack("<I", 77) + b"\0" * 32,
            "unknown kind 77",
        ),
        (
            "many nested arrays",
            b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"k" + struct.pack("<I", 9)
            + struct.pack("<IQ", 9, 20_000) + struct.pack("<IQ", 4, 0) * 20_000,
            "array of 20,000 entries",
        ),
        (
            "long texts",
            b"GGUF" + struct.pack("<IQQ", 3, 0, 5)
            + b"".join(
                struct.pack("<Q", 2) + b"k%d" % n + struct.pack("<IQ", 8, 2**21) + b"x" * 2**21
                for n in range(5)
            ),
            "its texts are longer than 8.0 MiB",
        ),
        (
            "odd row",
            b"GGUF" + struct.pack("<IQQQ", 3, 1, 0, 1) + b"t" + struct.pack("<IQIQ", 1, 33, 2, 0),
            "ends within a block of q4_0",
        ),
        (
            "absurd tensor",
            b"GGUF" + struct.pack("<IQQQ", 3, 1, 0, 1) + b"t"
            + struct.pack("<IQQIQ", 2, 2**40, 2**40, 0, 0),
            "would take",
        ),
        ("no architecture", b"GGUF" + struct.pack("<IQQ", 3, 0, 0), "architecture"),
        (
            "two tensors in one place",
            b"GGUF" + struct.pack("<IQQ", 3, 2, 0)
            + struct.pack("<Q", 1) + b"a" + struct.pack("<IQIQ", 1, 4, 0, 0)
            + struct.pack("<Q", 1) + b"b" + struct.pack("<IQIQ", 1, 4, 0, 8)
            + b"\0" * 64,
            "'b' lies over another's",
        ),
        (
            "nothing but words",
            b"GGUF" + struct.pack("<IQQ", 3, 0, 1)
            + struct.pack("<Q", 20) + b"general.architecture" + struct.pack("<IQ", 8, 5) + b"llama",
            "holds no weights",
        ),
    ],
)  # fmt: skip
def test_a_hostile_file_is_one_sentence(tmp_path: Path, name: str, data: bytes, words: str) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(data)
    assert words in refused(path).message


def test_zeros_after_a_huge_count_do_not_keep_the_reader_busy(tmp_path: Path) -> None:
    path = tmp_path / "zeros.gguf"
    head = b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"k" + struct.pack("<IIQ", 9, 8, 2**28)
    with path.open("wb") as file:
        file.write(head)
        file.truncate(2**32)
    assert "announces an array" in refused(path).message


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no named pipes in folders")
def test_a_pipe_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    if sys.platform != "win32":
        os.mkfifo(tmp_path / "pipe.gguf")
    assert "a folder or a device" in refused(tmp_path / "pipe.gguf").message


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("llama.attention.head_count", struct.pack("<IQ", 10, 2**63)),
        ("llama.attention.head_count", struct.pack("<Ii", 5, -4)),
        ("llama.block_count", struct.pack("<II", 4, 2**31 - 1)),
        ("llama.block_count", struct.pack("<IB", 7, 1)),
        ("general.alignment", struct.pack("<II", 4, 0)),
        ("general.architecture", struct.pack("<IQ", 8, 3) + b"a\nb"),
    ],
)
def test_an_absurd_value_is_one_sentence(tmp_path: Path, key: str, value: bytes) -> None:
    values = {
        "general.architecture": struct.pack("<IQ", 8, 5) + b"llama",
        "llama.block_count": struct.pack("<II", 4, 2),
        "llama.embedding_length": struct.pack("<II", 4, 64),
        key: value,
    }
    body = b"".join(struct.pack("<Q", len(k)) + k.encode() + v for k, v in values.items())
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, len(values)) + body)
    assert "\n" not in refused(path).message


def test_a_truncated_download_says_how_much_is_there(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(demo().read_bytes()[:30_000_000])
    assert "28.6 MiB of 93.8 MiB are there" in refused(path).message


def test_a_header_cut_off_in_the_vocabulary_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(demo().read_bytes()[:400_000])
    assert "damaged" in refused(path).message


def test_a_missing_file_and_a_folder_are_one_sentence_each(tmp_path: Path) -> None:
    assert "There is no file" in refused(tmp_path / "none.gguf").message
    assert "a folder or a device" in refused(tmp_path).message


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_damage_to_the_header_escapes_as_another_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.getbasetemp()
    base = folder / "base.gguf"
    if not base.exists():
        small(base)
    raw = bytearray(base.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(4, min(len(raw), 6000) - 1))
        raw[at] = data.draw(st.integers(0, 255))
    path = folder / "hurt.gguf"
    path.write_bytes(raw[: data.draw(st.integers(0, len(raw)))])
    with suppress(ModelFileError):
        read_model(path)


def test_a_name_is_fit_for_a_terminal(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    data = demo().read_bytes()
    name = b"SmolLM2 135M Instruct"
    if name not in data[:4096]:
        name = data[data.index(b"general.name") + 24 :][:8]
    path.write_bytes(data.replace(name, (b"\x1b[31m\x07" + name)[: len(name)], 1))
    shown = read_model(path).name
    assert shown.isprintable()
    assert shown.startswith("[31m")


def test_a_name_too_long_for_the_file_system_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 300 + "-00001-of-00002.gguf")
    assert "cannot be read" in refused(path).message


def test_a_file_cut_by_one_byte_says_so(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(demo().read_bytes()[:-1])
    message = refused(path).message
    there, whole = re.findall(r"[\d,]{9,}", message)
    assert int(whole.replace(",", "")) - int(there.replace(",", "")) == 1
