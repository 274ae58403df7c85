"""Reads a Hugging Face model folder: config.json and the headers of its weights, never a tensor.

Layout of safetensors: eight bytes with the length of a JSON table, the table, the data.
"""

import json
import re
import stat
import struct
from collections.abc import Mapping
from pathlib import Path

from splitrig.core.errors import ModelFileError
from splitrig.core.hf_model import (
    HfModel,
    model_from_size,
    model_from_tensors,
    read_config,
)
from splitrig.core.safetensors import HfTensor, tensor_from_header
from splitrig.core.units import size_text

CONFIG = "config.json"
INDEX = "model.safetensors.index.json"
MOST_CONFIG_BYTES = 4 * 2**20
MOST_INDEX_BYTES = 64 * 2**20
"""The index of a mixture of 60,000 tensors takes 9 MiB."""
MOST_HEADER_BYTES = 100_000_000
"""The format's own limit."""
MOST_TENSORS = 1_000_000
MOST_SHARDS = 2000
_AGAIN = "Download the model again, or choose another folder."
_HUB = re.compile(r"models--(?P<owner>.+?)--(?P<name>.+)")
_HASH = re.compile(r"[0-9a-f]{40}")


def is_hf_folder(path: Path) -> bool:
    """Whether a folder looks like one of these models; reads nothing."""
    try:
        return (path / CONFIG).is_file() or _snapshot(path) is not None
    except OSError:
        return False


def read_hf_model(path: Path) -> HfModel:
    """Read a model folder; blocks for some ms a weight file.

    Args:
        path: A folder with config.json, or a model's folder in the Hugging Face cache
            (`models--owner--name`), of which the main revision is taken.

    Raises:
        ModelFileError: It is no such folder, or something in it is damaged.
    """
    folder = model_folder(path)
    config = read_config(_json(folder / CONFIG, MOST_CONFIG_BYTES))
    files = _weight_files(folder)
    if not files:
        raise ModelFileError(
            f"{folder.name} has a config.json but no weights.",
            "Download the model's .safetensors files into it.",
        )
    file_bytes = sum(file.stat().st_size for file in files)
    name = folder_name(folder)
    if files[0].suffix != ".safetensors":
        return model_from_size(folder, name, config, file_bytes)
    tensors: list[HfTensor] = []
    for file in files:
        tensors += _tensors(file)
        if len(tensors) > MOST_TENSORS:
            raise ModelFileError(f"{folder.name} has more than {MOST_TENSORS:,} tensors.", _AGAIN)
    return model_from_tensors(folder, name, config, tensors, file_bytes)


def model_folder(path: Path) -> Path:
    """The folder with config.json.

    Raises:
        ModelFileError: There is none.
    """
    try:
        if path.is_file():
            raise ModelFileError(
                f"{path.name} is a file; vLLM takes the folder of a Hugging Face model.",
                "llama.cpp and Ollama take GGUF files: choose one of them for it."
                if path.suffix == ".gguf"
                else "Choose the folder with its config.json.",
            )
        if not path.is_dir():
            raise ModelFileError(f"There is no folder {path}.", "Choose another model.")
        if (path / CONFIG).is_file():
            return path
        snapshot = _snapshot(path)
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror}.", _AGAIN) from error
    if snapshot is None:
        raise ModelFileError(
            f"{path.name} has no config.json, so it is no Hugging Face model.",
            "Choose the folder with config.json and the .safetensors files.",
        )
    return snapshot


def _snapshot(path: Path) -> Path | None:
    """The main revision in a folder of the Hugging Face cache (`refs/main`, `snapshots/HASH`)."""
    if _HUB.fullmatch(path.name) is None:
        return None
    reference = path / "refs/main"
    if not reference.is_file() or reference.stat().st_size > 100:
        return None
    revision = reference.read_text(encoding="utf-8", errors="replace").strip()
    found = path / "snapshots" / revision
    return found if _HASH.fullmatch(revision) and (found / CONFIG).is_file() else None


def folder_name(folder: Path) -> str:
    """The model's name: the folder's, or the one in the Hugging Face cache."""
    if folder.parent.name == "snapshots" and (match := _HUB.fullmatch(folder.parent.parent.name)):
        return match["name"]
    return folder.absolute().name


def _json(path: Path, most_bytes: int) -> Mapping[str, object]:
    """A JSON file that holds a table."""
    data = _read(path, 0, most_bytes + 1)
    if len(data) > most_bytes:
        raise ModelFileError(f"{path.name} is larger than {size_text(most_bytes)}.", _AGAIN)
    return _table(data, path.name)


def _table(data: bytes, name: str) -> Mapping[str, object]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{name} is damaged: it is no JSON.", _AGAIN) from error
    if not isinstance(value, dict):
        raise ModelFileError(f"{name} is damaged: it holds no table.", _AGAIN)
    return value


def _read(path: Path, start: int, n_bytes: int) -> bytes:
    """At most so many bytes of a plain file; a pipe or device is never opened."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ModelFileError(f"{path.name} is no plain file.", _AGAIN)
        with path.open("rb") as file:
            file.seek(start)
            return file.read(n_bytes)
    except OSError as error:
        raise ModelFileError(f"{path.name} cannot be read: {error.strerror}.", _AGAIN) from error


def _weight_files(folder: Path) -> list[Path]:
    """The files vLLM would load: those of the index, else all safetensors, else .bin files.

    Source: `DefaultModelLoader._prepare_weights` in vllm/model_executor/model_loader.
    """
    index = folder / INDEX
    if index.is_file():
        return _indexed(folder, _json(index, MOST_INDEX_BYTES))
    found = sorted(folder.glob("*.safetensors"))
    single = folder / "model.safetensors"
    if single in found:
        # the same weights once more under another name are left out
        found = [file for file in found if file == single or not file.name.startswith("consol")]
    if not found:
        found = [
            file
            for file in sorted(folder.glob("*.bin"))
            if file.name not in ("training_args.bin", "optimizer.bin", "scheduler.bin")
        ]
    return [file for file in found[: MOST_SHARDS + 1] if file.is_file()]


def _indexed(folder: Path, index: Mapping[str, object]) -> list[Path]:
    """The files an index names, each of which must lie in the folder."""
    where = index.get("weight_map")
    if not isinstance(where, dict) or not where:
        raise ModelFileError(f"{INDEX} is damaged: it names no files.", _AGAIN)
    names = {name for name in where.values() if isinstance(name, str)}
    if len(names) > MOST_SHARDS:
        raise ModelFileError(f"{INDEX} names more than {MOST_SHARDS:,} files.", _AGAIN)
    for name in names:
        if name in ("", ".", "..") or "/" in name or "\\" in name or "\0" in name:
            raise ModelFileError(f"{INDEX} names a file outside the folder.", _AGAIN)
    files = [folder / name for name in sorted(names)]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise ModelFileError(
            f"{folder.name} is incomplete: {len(missing)} of {len(files)} weight files are not "
            f"there, {missing[0]} first.",
            "Let the download of the model finish, or start it again.",
        )
    return files


def _tensors(path: Path) -> list[HfTensor]:
    """The table of one safetensors file."""
    size = path.stat().st_size
    head = _read(path, 0, 8)
    length = int(struct.unpack("<Q", head)[0]) if len(head) == 8 else 0
    if length < 2 or length > min(MOST_HEADER_BYTES, size - 8):
        raise ModelFileError(f"{path.name} is damaged: it is no safetensors file.", _AGAIN)
    table = _table(_read(path, 8, length), path.name)
    data_bytes = size - 8 - length
    try:
        return [
            tensor_from_header(name, raw, data_bytes)
            for name, raw in table.items()
            if name != "__metadata__"
        ]
    except ValueError as error:
        raise ModelFileError(f"{path.name} is damaged: {error}.", _AGAIN) from error
