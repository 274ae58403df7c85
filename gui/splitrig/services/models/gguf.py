"""Reads the header of a GGUF file: metadata and tensor table, never the tensors.

Layout: docs/gguf.md of the ggml project. Arrays are stepped over without decoding (a vocabulary
has hundreds of thousands of entries), which is what makes this reader fast enough for a window.
"""

import mmap
import re
import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from splitrig.core.errors import ModelFileError
from splitrig.core.ggml_types import BY_NUMBER, row_bytes
from splitrig.core.model import Model, Tensor
from splitrig.core.units import size_text

MAGIC = b"GGUF"
VERSIONS = (2, 3)
KEEP_ELEMENTS = 1024
"""Arrays of numbers up to this length are kept (heads per layer); longer ones are stepped over."""
KEEP_ELEMENTS_TOGETHER = 65_536
"""Numbers of all arrays that are kept; what comes after them is stepped over."""
MOST_NESTED = 4
MOST_STRINGS = 1_000_000
"""Strings in all arrays of a header; the largest vocabularies have some 260,000 and twice that
many merges. A file of zeros must not keep the reader busy."""
MOST_ARRAYS = 10_000
"""Arrays inside arrays; no model is known to have one."""
MOST_TEXT_BYTES = 8 * 2**20
"""Names and texts of a header together; a chat template takes some 10 KiB."""
MOST_KEYS = 10_000
MOST_TENSORS = 20_000
MOST_HEADS = 2**20
MOST_DIMENSIONS = 4
MOST_NAME = 120
"""Characters of a model's own name that are shown."""
_SCALARS = {
    0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d",
}  # fmt: skip
_STRING, _ARRAY = 8, 9
_ARCHITECTURE = re.compile(r"[\w.+-]{1,64}")
_SHARD = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$")
_AGAIN = "Download it again, or choose another file."

_FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K",
    11: "Q3_K_S", 12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S",
    17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS",
    23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M",
    30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4", 39: "NVFP4",
    40: "Q1_0",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Header:
    """What one file says."""

    metadata: Mapping[str, object]
    tensors: tuple[Tensor, ...]


class _Cursor:
    """Reads little-endian values and never past the end of the file."""

    def __init__(self, data: mmap.mmap, path: Path) -> None:
        self._data = data
        self._path = path
        self._at = 0
        self._end = len(data)
        self._strings_left = MOST_STRINGS
        self._arrays_left = MOST_ARRAYS
        self._text_left = MOST_TEXT_BYTES
        self._kept = 0

    @property
    def at(self) -> int:
        """Position, bytes from the start."""
        return self._at

    def broken(self, why: str) -> ModelFileError:
        """The error for this file."""
        return ModelFileError(f"{self._path.name} is damaged: {why}.", _AGAIN)

    def skip(self, n_bytes: int) -> None:
        """Step over `n_bytes`."""
        if n_bytes > self._end - self._at:
            raise self.broken(f"its header ends at {size_text(self._end)}, in mid-sentence")
        self._at += n_bytes

    def take(self, n_bytes: int) -> bytes:
        """The next `n_bytes`."""
        start = self._at
        self.skip(n_bytes)
        return self._data[start : self._at]

    def number(self, code: str) -> int:
        """The next integer of a struct code."""
        size = struct.calcsize(code)
        return int(struct.unpack("<" + code, self.take(size))[0])

    def text(self, most: int = 65_536) -> str:
        """The next string; what is no UTF-8 in it is replaced."""
        length = self.number("Q")
        if length > most:
            raise self.broken(f"it announces a name of {length:,} bytes")
        self._text_left -= length
        if self._text_left < 0:
            raise self.broken(f"its texts are longer than {size_text(MOST_TEXT_BYTES)}")
        return self.take(length).decode("utf-8", errors="replace")

    def value(self, kind: int, depth: int = 0) -> object:
        """The next metadata value; `None` for arrays that are stepped over."""
        if kind in _SCALARS:
            code = _SCALARS[kind]
            value: object = struct.unpack("<" + code, self.take(struct.calcsize(code)))[0]
            return value
        if kind == _STRING:
            return self.text(most=MOST_TEXT_BYTES)
        if kind == _ARRAY:
            return self._array(depth)
        raise self.broken(f"it has a value of the unknown kind {kind}")

    def _array(self, depth: int) -> object:
        if depth >= MOST_NESTED:
            raise self.broken(f"it nests arrays more than {MOST_NESTED} deep")
        kind, count = self.number("I"), self.number("Q")
        smallest = struct.calcsize(_SCALARS[kind]) if kind in _SCALARS else 8
        if count * smallest > self._end - self._at:
            raise self.broken(f"it announces an array of {count:,} entries")
        if kind in _SCALARS:
            self._kept += count if count <= KEEP_ELEMENTS else 0
            if count > KEEP_ELEMENTS or self._kept > KEEP_ELEMENTS_TOGETHER:
                self.skip(count * smallest)
                return None
            return struct.unpack(f"<{count}{_SCALARS[kind]}", self.take(count * smallest))
        if kind == _STRING:
            self._strings_left -= count
            if self._strings_left < 0:
                raise self.broken(f"it announces an array of {count:,} entries")
            self._skip_strings(count)
            return None
        if kind == _ARRAY:
            self._arrays_left -= count
            if self._arrays_left < 0:
                raise self.broken(f"it announces an array of {count:,} entries")
            for _ in range(count):
                self._array(depth + 1)
            return None
        raise self.broken(f"it has an array of the unknown kind {kind}")

    def _skip_strings(self, count: int) -> None:
        """Step over strings; the loop is the hot spot of the whole reader."""
        unpack, data, at, end = struct.Struct("<Q").unpack_from, self._data, self._at, self._end
        try:
            for _ in range(count):
                at += 8 + unpack(data, at)[0]
                if at > end:
                    break
        except struct.error:
            at = end + 1
        if at > end:
            raise self.broken("its vocabulary ends in the middle")
        self._at = at


def read_model(path: Path) -> Model:
    """Read what planning needs to know of a model file; blocks for some 50 ms.

    Raises:
        ModelFileError: The file is missing, unreadable, no GGUF, damaged, or lacks a part.
    """
    try:
        parts = _parts(path)
    except OSError as error:  # a name too long for the file system
        raise _unreadable(path, error) from error
    headers = [_read_header(part) for part in parts]
    first = headers[0]
    tensors = tuple(t for header in headers for t in header.tensors)
    declared = first.metadata.get("split.tensors.count")
    if isinstance(declared, int) and declared != len(tensors):
        raise ModelFileError(
            f"{path.name} and its other parts hold {len(tensors)} of {declared} tensors.", _AGAIN
        )
    try:
        file_bytes = sum(part.stat().st_size for part in parts)
        return _model(parts[0], first.metadata, tensors, file_bytes)
    except OSError as error:
        raise _unreadable(path, error) from error


def _parts(path: Path) -> list[Path]:
    """All files of a split model, in order; the file itself otherwise."""
    match = _SHARD.search(path.name)
    if match is None:
        return [path]
    total = int(match[2])
    stem = path.name[: match.start()]
    parts = [path.with_name(f"{stem}-{n:05}-of-{total:05}.gguf") for n in range(1, total + 1)]
    missing = [part.name for part in parts if not part.exists()]
    if missing and path.exists():
        raise ModelFileError(
            f"{missing[0]} is missing; the model has {total} parts and {len(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} not here.",
            f"Put all parts into {path.parent}.",
        )
    return parts or [path]


def _unreadable(path: Path, error: OSError) -> ModelFileError:
    if isinstance(error, FileNotFoundError):
        return ModelFileError(f"There is no file {path}.", "Choose another file.")
    reason = error.strerror or type(error).__name__
    return ModelFileError(f"{path.name} cannot be read: {reason}.", "Check its permissions.")


def _read_header(path: Path) -> _Header:
    try:
        if path.exists() and not path.is_file():
            # opening a pipe would wait for somebody to write into it
            raise ModelFileError(
                f"{path.name or path} is a folder or a device.", "Choose a GGUF file."
            )
        with path.open("rb") as file:
            if path.stat().st_size == 0:
                raise ModelFileError(f"{path.name} is empty.", _AGAIN)
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _parse(_Cursor(data, path), len(data), path)
    except OSError as error:
        raise _unreadable(path, error) from error
    except (OverflowError, MemoryError, ValueError) as error:
        raise ModelFileError(f"{path.name} is damaged: {error}.", _AGAIN) from error


def _parse(cursor: _Cursor, file_size: int, path: Path) -> _Header:
    if file_size < 4 or cursor.take(4) != MAGIC:
        raise ModelFileError(
            f"{path.name} is not a GGUF file.", "Choose a model in GGUF format (llama.cpp's own)."
        )
    version = cursor.number("I")
    if version not in VERSIONS:
        swapped = int.from_bytes(version.to_bytes(4, "little"), "big")
        if swapped in VERSIONS:
            raise ModelFileError(
                f"{path.name} is a big-endian GGUF file.", "Choose the little-endian edition."
            )
        raise ModelFileError(
            f"{path.name} has GGUF version {version}; versions 2 and 3 can be read.",
            "Choose a file made with a current llama.cpp." if version < min(VERSIONS)
            else "Update SplitRig.",
        )  # fmt: skip
    n_tensors, n_keys = cursor.number("Q"), cursor.number("Q")
    if n_keys > MOST_KEYS or n_tensors > MOST_TENSORS:
        raise cursor.broken(f"it announces {n_tensors:,} tensors and {n_keys:,} keys")
    metadata: dict[str, object] = {}
    for _ in range(n_keys):
        key = cursor.text()
        metadata[key] = cursor.value(cursor.number("I"))
    table = [_tensor(cursor) for _ in range(n_tensors)]
    _check_size(cursor, metadata, table, file_size, path)
    return _Header(metadata, tuple(t for t, _ in table))


def _check_size(
    cursor: _Cursor,
    metadata: Mapping[str, object],
    table: Sequence[tuple[Tensor, int]],
    file_size: int,
    path: Path,
) -> None:
    """Make sure that every tensor has its own place and that the file reaches to the last."""
    alignment = metadata.get("general.alignment", 32)
    if not isinstance(alignment, int) or alignment <= 0 or alignment & (alignment - 1):
        raise cursor.broken(f"it asks for an alignment of {alignment} bytes")
    data_start = -(-cursor.at // alignment) * alignment
    ends = 0
    for tensor, offset in sorted(table, key=lambda row: row[1]):
        if offset < ends:
            raise cursor.broken(f"the data of the tensor {tensor.name!r} lies over another's")
        ends = offset + tensor.n_bytes
    needed = data_start + ends if table else 0
    if needed > file_size:
        there, whole = size_text(file_size), size_text(needed)
        if there == whole:
            there, whole = f"{file_size:,}", f"{needed:,} bytes"
        raise ModelFileError(f"{path.name} is incomplete: {there} of {whole} are there.", _AGAIN)


def _tensor(cursor: _Cursor) -> tuple[Tensor, int]:
    """One row of the tensor table, and where its data starts."""
    name = cursor.text(most=1024)
    n_dimensions = cursor.number("I")
    if not 1 <= n_dimensions <= MOST_DIMENSIONS:
        raise cursor.broken(f"the tensor {name!r} has {n_dimensions} dimensions")
    shape = tuple(cursor.number("Q") for _ in range(n_dimensions))
    number, offset = cursor.number("I"), cursor.number("Q")
    kind = BY_NUMBER.get(number)
    if kind is None:
        raise ModelFileError(
            f"The tensor {name!r} has the type {number}, which SplitRig does not know.",
            "Update SplitRig, or choose another quantisation.",
        )
    if shape[0] % kind.block:
        raise cursor.broken(f"a row of the tensor {name!r} ends within a block of {kind.name}")
    rows = 1
    for extent in shape[1:]:
        rows *= extent
    n_bytes = row_bytes(kind.name, shape[0]) * rows
    if n_bytes >= 2**63:
        raise cursor.broken(f"the tensor {name!r} would take {n_bytes:,} bytes")
    if offset >= 2**63:
        raise cursor.broken(f"the tensor {name!r} would begin at byte {offset:,}")
    return Tensor(name, shape, kind.name, n_bytes), offset


def _model(
    path: Path, metadata: Mapping[str, object], tensors: tuple[Tensor, ...], file_bytes: int
) -> Model:
    architecture = metadata.get("general.architecture")
    if not isinstance(architecture, str) or not _ARCHITECTURE.fullmatch(architecture):
        raise ModelFileError(f"{path.name} does not say its architecture.", _AGAIN)

    def number(key: str, default: int | None = None) -> int:
        value = metadata.get(f"{architecture}.{key}", default)
        if isinstance(value, tuple):
            value = max(value, default=0)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**31:
            raise ModelFileError(
                f"{path.name} does not say {architecture}.{key}, which every language model has.",
                "Choose a language model; vision projectors and adapters cannot be planned alone.",
            )
        return value

    if not tensors:
        raise ModelFileError(f"{path.name} holds no weights.", "Choose the model itself.")
    n_layer = number("block_count")
    if not 1 <= n_layer <= 10_000:
        raise ModelFileError(f"{path.name} claims {n_layer:,} layers.", _AGAIN)
    n_head = _per_layer(metadata.get(f"{architecture}.attention.head_count", 0), n_layer)
    n_head_kv = _per_layer(metadata.get(f"{architecture}.attention.head_count_kv", n_head), n_layer)
    if any(not 0 <= heads <= MOST_HEADS for heads in (*n_head, *n_head_kv)):
        raise ModelFileError(f"{path.name} claims an absurd number of heads.", _AGAIN)
    n_embd = number("embedding_length")
    head = n_embd // max(n_head, default=1) if any(n_head) else 0
    name = metadata.get("general.name")
    embedding = next((t for t in tensors if t.name == "token_embd.weight"), None)
    file_type = metadata.get("general.file_type")
    return Model(
        path=path,
        name=_clean(name) or path.stem,
        architecture=architecture,
        quantization=_FILE_TYPES.get(file_type) if isinstance(file_type, int) else None,
        file_bytes=file_bytes,
        n_layer=n_layer,
        n_ctx_train=number("context_length", 0),
        n_embd=n_embd,
        n_vocab=embedding.shape[-1] if embedding else number("vocab_size", 0),
        n_ff=number("feed_forward_length", 0),
        n_head=n_head,
        n_head_kv=n_head_kv,
        head_k=number("attention.key_length", head),
        head_v=number("attention.value_length", head),
        n_expert=number("expert_count", 0),
        n_expert_used=number("expert_used_count", 0),
        n_ff_expert=number("expert_feed_forward_length", 0),
        sliding_window=number("attention.sliding_window", 0),
        metadata=metadata,
        tensors=tensors,
    )


def _clean(name: object) -> str:
    """A name as it may go to a terminal and into a window: printable, on one line, not endless."""
    text = name if isinstance(name, str) else ""
    return "".join(c for c in text[:1000] if c.isprintable()).strip()[:MOST_NAME]


def _per_layer(value: object, n_layer: int) -> tuple[int, ...]:
    """A number for all layers, or one for each."""
    if isinstance(value, tuple):
        numbers = []
        for entry in value[:n_layer]:
            with suppress(TypeError, ValueError, OverflowError):
                numbers.append(int(entry))
        return tuple(numbers + [0] * (n_layer - len(numbers)))
    return (int(value) if isinstance(value, int) else 0,) * n_layer
