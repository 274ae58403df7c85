"""A store of Ollama with one model in it, made of links: nothing is copied, no store is touched.

A server of our own is given this store instead of the user's. So a model file that is in no store
can be served; the model says itself how it is to be run, and no request of another program can
make the server load it differently, or something else in its place. Ollama does not check the
digests of what it loads, so the name of a link need not be one.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import platformdirs

from splitrig.core.errors import EngineError
from splitrig.core.ollama import full_name
from splitrig.core.ollama_model import (
    CONFIG_TYPE,
    DEFAULT_HOST,
    DEFAULT_NAMESPACE,
    MANIFEST_TYPE,
    MODEL_LAYER,
    Layer,
    OllamaModel,
)

PARAMETERS_LAYER = "application/vnd.ollama.image.params"
OURS = ("num_gpu", "main_gpu", "num_thread")
"""Parameters of a model that would stand against the plan."""
MOST_PARAMETERS_BYTES = 2**20


def cache_folder() -> Path:
    """Where these stores lie; each takes a few kilobytes."""
    return Path(platformdirs.user_cache_dir("splitrig", appauthor=False)) / "ollama"


def make_overlay(
    model: OllamaModel | Path,
    name: str,
    parameters: Mapping[str, Any],
    *,
    cache: Path | None = None,
) -> Path:
    """Make the store, or make it anew.

    Args:
        model: A model of a store, or a GGUF file.
        name: What the server is to call it.
        parameters: How it is to be run, by the names of a Modelfile.
        cache: Where to make it.

    Returns:
        The folder for `OLLAMA_MODELS`.

    Raises:
        EngineError: The file cannot be linked, or the folder not be written.
    """
    source = model if isinstance(model, Path) else model.path
    key = json.dumps([str(source.absolute()), name, dict(parameters)], sort_keys=True)
    folder = (cache or cache_folder()) / hashlib.sha256(key.encode()).hexdigest()[:16]
    blobs = folder / "blobs"
    try:
        blobs.mkdir(parents=True, exist_ok=True)
        if isinstance(model, Path):
            layers, config = _of_file(blobs, model)
        else:
            layers, config = _of_model(blobs, model)
        layers.append(_write(blobs, _merged(model, parameters), PARAMETERS_LAYER))
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": _entry(config),
            "layers": [_entry(layer) for layer in layers],
        }
        _replace(_manifest_path(folder, name), json.dumps(manifest).encode())
    except OSError as error:
        raise EngineError(
            f"Ollama cannot be given the model: {error.strerror or error}.",
            f"Make {folder.parent} writable, or add the file with 'ollama create'.",
        ) from error
    return folder


def _of_file(blobs: Path, path: Path) -> tuple[list[Layer], Layer]:
    """The parts of a bare file; its chat template is in it."""
    digest = hashlib.sha256(str(path.absolute()).encode()).hexdigest()
    weights = Layer(MODEL_LAYER, digest, path.stat().st_size)
    _link(path.absolute(), blobs / weights.blob)
    config = {
        "model_format": "gguf",
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }
    return [weights], _write(blobs, json.dumps(config).encode(), CONFIG_TYPE)


def _of_model(blobs: Path, model: OllamaModel) -> tuple[list[Layer], Layer]:
    """The parts of a stored model, without its parameters."""
    for layer in model.layers:
        _link(model.store / "blobs" / layer.blob, blobs / layer.blob)
    *layers, config = model.layers
    return [layer for layer in layers if layer.media_type != PARAMETERS_LAYER], config


def _merged(model: OllamaModel | Path, parameters: Mapping[str, Any]) -> bytes:
    """The model's own parameters with ours in the place of those that stand against them."""
    own: dict[str, Any] = {}
    if isinstance(model, OllamaModel):
        for layer in model.layers:
            if layer.media_type == PARAMETERS_LAYER:
                own |= _parameters(model.store / "blobs" / layer.blob)
    kept = {key: value for key, value in own.items() if key not in OURS}
    return json.dumps(kept | dict(parameters)).encode()


def _parameters(path: Path) -> dict[str, Any]:
    if path.stat().st_size > MOST_PARAMETERS_BYTES:
        return {}
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _manifest_path(folder: Path, name: str) -> Path:
    """Where the server looks for a name (types/model/name.go)."""
    rest, _, tag = full_name(name).rpartition(":")
    parts = rest.split("/")
    if len(parts) < 2:
        parts = [DEFAULT_NAMESPACE, *parts]
    if len(parts) < 3:
        parts = [DEFAULT_HOST, *parts]
    return folder.joinpath("manifests", *parts, tag)


def _link(source: Path, target: Path) -> None:
    """A symbolic link, or a hard one where those are not allowed (Windows)."""
    if target.exists() and target.samefile(source):
        return
    target.unlink(missing_ok=True)
    try:
        target.symlink_to(source)
    except OSError:
        os.link(source, target)


def _write(blobs: Path, content: bytes, media_type: str) -> Layer:
    layer = Layer(media_type, hashlib.sha256(content).hexdigest(), len(content))
    _replace(blobs / layer.blob, content)
    return layer


def _replace(path: Path, content: bytes) -> None:
    """Write a file whole, whoever else writes the same."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent.parent, prefix=".new-")
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    Path(temporary).replace(path)


def _entry(layer: Layer) -> dict[str, object]:
    return {
        "mediaType": layer.media_type,
        "digest": f"sha256:{layer.digest}",
        "size": layer.n_bytes,
    }
