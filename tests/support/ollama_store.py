"""Puts a GGUF file into a folder for OLLAMA_MODELS, as a pull would, without a network."""

import hashlib
import json
import os
from pathlib import Path

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.ollama.image."


def add_model(store: Path, gguf: Path, name: str, *, template: str | None = None) -> str:
    """Add a model under a name without a tag; the file is linked, not copied.

    Args:
        store: OLLAMA_MODELS; made when it is not there. May hold other models.
        gguf: Must stay where it is while the store is used, unless both are on one file system.
        name: Such as `smollm2`.
        template: A Go template for prompts; without one the server takes the file's own.

    Returns:
        The name that Ollama lists, `NAME:latest`.
    """
    blobs = store / "blobs"
    blobs.mkdir(parents=True, exist_ok=True)
    layers = [_link(blobs, gguf)]
    if template is not None:
        layers.append(_write(blobs, template.encode(), f"{LAYER}template"))
    config = {
        "model_format": "gguf",
        "model_family": "llama",
        "model_families": ["llama"],
        "model_type": "134.52M",
        "file_type": "Q4_1",
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": _write(blobs, json.dumps(config).encode(), CONFIG),
        "layers": layers,
    }
    path = store / "manifests" / "registry.ollama.ai" / "library" / name / "latest"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(manifest))
    return f"{name}:latest"


def _link(blobs: Path, gguf: Path) -> dict[str, object]:
    """The layer of the weights."""
    with gguf.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    blob = blobs / f"sha256-{digest}"
    if not blob.exists():
        try:
            os.link(gguf, blob)
        except OSError:  # on another file system
            blob.symlink_to(gguf)
    return _layer(digest, gguf.stat().st_size, f"{LAYER}model")


def _write(blobs: Path, content: bytes, media_type: str) -> dict[str, object]:
    """A small layer."""
    digest = hashlib.sha256(content).hexdigest()
    (blobs / f"sha256-{digest}").write_bytes(content)
    return _layer(digest, len(content), media_type)


def _layer(digest: str, size_bytes: int, media_type: str) -> dict[str, object]:
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": size_bytes}
