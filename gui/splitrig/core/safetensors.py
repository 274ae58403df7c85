"""The table of a safetensors file: which tensors it holds, and how large they are."""

import math
from dataclasses import dataclass

MOST = 2**50
"""No size or place in a file is larger."""
MOST_DIMENSIONS = 8
DTYPE_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "I16": 16, "U16": 16,
    "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "F64": 64, "I64": 64, "U64": 64,
    "C64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "F4_E2M1": 4,
}  # fmt: skip
"""Bits of one element (the safetensors format's dtypes)."""


@dataclass(frozen=True, slots=True)
class HfTensor:
    """One tensor of a safetensors file.

    Attributes:
        name: Such as 'model.layers.0.mlp.down_proj.weight'.
        dtype: As the file says, such as 'BF16'.
        shape: Elements per dimension.
        n_bytes: Size of its data, bytes.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    n_bytes: int


def tensor_from_header(name: str, raw: object, data_bytes: int) -> HfTensor:
    """One entry of a safetensors header.

    Args:
        name: The tensor's name.
        raw: Its `{"dtype", "shape", "data_offsets"}`.
        data_bytes: Size of the part of the file that holds data, bytes.

    Raises:
        ValueError: The entry makes no sense; its text is the end of a sentence on the file.
    """
    shown = name[:80]
    entry = raw if isinstance(raw, dict) else {}
    dtype = entry.get("dtype")
    shape, offsets = _counts(entry.get("shape")), _counts(entry.get("data_offsets"))
    if not isinstance(dtype, str) or dtype not in DTYPE_BITS:
        raise ValueError(f"{shown} is of the unknown kind {str(dtype)[:20]}")
    if shape is None or len(shape) > MOST_DIMENSIONS:
        raise ValueError(f"{shown} has no possible shape")
    if offsets is None or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise ValueError(f"{shown} lies nowhere in the file")
    if offsets[1] > data_bytes:
        raise ValueError("it is shorter than its header says")
    n_bytes = offsets[1] - offsets[0]
    if n_bytes != -(-math.prod(shape) * DTYPE_BITS[dtype] // 8):
        raise ValueError(f"{shown} takes {n_bytes:,} bytes, which its shape does not need")
    return HfTensor(name, dtype, shape, n_bytes)


def _counts(value: object) -> tuple[int, ...] | None:
    """A list of counts; `None` if it is something else."""
    if not isinstance(value, list):
        return None
    good = all(type(entry) is int and 0 <= entry < MOST for entry in value)
    return tuple(value) if good else None
