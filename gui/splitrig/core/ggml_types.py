"""ggml's tensor types: how many bytes a row takes (ggml/src/ggml.c, `type_traits`)."""

from dataclasses import dataclass

PAD_BYTES = 128
"""Alignment of every tensor in a device buffer (CUDA's `get_alignment`, the largest in use)."""


@dataclass(frozen=True, slots=True)
class GgmlType:
    """One tensor type.

    Attributes:
        number: Its number in a GGUF file.
        name: ggml's name, lower case.
        block: Elements per block.
        block_bytes: Bytes per block.
    """

    number: int
    name: str
    block: int
    block_bytes: int

    @property
    def quantized(self) -> bool:
        """Several elements share a block."""
        return self.block > 1


_TABLE = (
    (0, "f32", 1, 4), (1, "f16", 1, 2), (2, "q4_0", 32, 18), (3, "q4_1", 32, 20),
    (6, "q5_0", 32, 22), (7, "q5_1", 32, 24), (8, "q8_0", 32, 34), (9, "q8_1", 32, 36),
    (10, "q2_k", 256, 84), (11, "q3_k", 256, 110), (12, "q4_k", 256, 144), (13, "q5_k", 256, 176),
    (14, "q6_k", 256, 210), (15, "q8_k", 256, 292), (16, "iq2_xxs", 256, 66),
    (17, "iq2_xs", 256, 74), (18, "iq3_xxs", 256, 98), (19, "iq1_s", 256, 50),
    (20, "iq4_nl", 32, 18), (21, "iq3_s", 256, 110), (22, "iq2_s", 256, 82),
    (23, "iq4_xs", 256, 136), (24, "i8", 1, 1), (25, "i16", 1, 2), (26, "i32", 1, 4),
    (27, "i64", 1, 8), (28, "f64", 1, 8), (29, "iq1_m", 256, 56), (30, "bf16", 1, 2),
    (34, "tq1_0", 256, 54), (35, "tq2_0", 256, 66), (39, "mxfp4", 32, 17), (40, "nvfp4", 64, 36),
    (41, "q1_0", 128, 18),
)  # fmt: skip

BY_NUMBER = {row[0]: GgmlType(*row) for row in _TABLE}
BY_NAME = {row[1]: GgmlType(*row) for row in _TABLE}

CACHE_TYPES = ("f16", "bf16", "f32", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl")
"""Types llama-server takes for `--cache-type-k` and `--cache-type-v`."""


def row_bytes(type_name: str, n: int) -> int:
    """Bytes of a row of `n` elements; `n` is rounded up to whole blocks."""
    kind = BY_NAME[type_name]
    return -(-n // kind.block) * kind.block_bytes


def padded(n_bytes: int, multiple: int = PAD_BYTES) -> int:
    """`n_bytes` rounded up to a multiple."""
    return -(-n_bytes // multiple) * multiple


def device_bytes(type_name: str, width: int, n_bytes: int) -> int:
    """Bytes a tensor takes in a CUDA buffer.

    A quantised tensor whose row is no multiple of 512 elements gets room for the missing part
    (ggml-cuda.cu, `get_alloc_size`, MATRIX_ROW_PADDING).
    """
    extra = 0
    if BY_NAME[type_name].quantized and width % 512:
        extra = row_bytes(type_name, 512 - width % 512)
    return padded(n_bytes + extra)
