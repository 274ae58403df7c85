"""Models in a store of Ollama: what a manifest says of one.

A store holds `manifests/HOST/NAMESPACE/MODEL/TAG` (JSON) and `blobs/sha256-…`; one of the blobs
is the GGUF file (manifest/manifest.go, types/model/name.go).
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from splitrig.core.errors import ModelFileError, SplitRigError
from splitrig.core.units import size_text

MODEL_LAYER = "application/vnd.ollama.image.model"
PROJECTOR_LAYER = "application/vnd.ollama.image.projector"
TENSOR_LAYER = "application/vnd.ollama.image.tensor"
MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG_TYPE = "application/vnd.docker.container.image.v1+json"
DEFAULT_HOST, DEFAULT_NAMESPACE = "registry.ollama.ai", "library"
MOST_MANIFEST_BYTES = 2**20
MOST_LAYERS = 10_000
_DIGEST = re.compile(r"sha256[:-]([0-9a-f]{64})")
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,349}")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}")


@dataclass(frozen=True, slots=True)
class Layer:
    """A part of a model.

    Attributes:
        media_type: What it is.
        digest: 64 hex digits.
        n_bytes: Its size.
    """

    media_type: str
    digest: str
    n_bytes: int

    @property
    def blob(self) -> str:
        """Name of its file in `blobs`."""
        return f"sha256-{self.digest}"


@dataclass(frozen=True, slots=True, kw_only=True)
class OllamaModel:
    """A model in a store.

    Attributes:
        name: As Ollama lists it, such as `smollm2:latest` or `hf.co/owner/model:Q4_K_M`.
        store: Folder of the store.
        path: Its GGUF file.
        n_bytes: Size of that file.
        layers: All of its parts, the configuration among them.
    """

    name: str
    store: Path
    path: Path
    n_bytes: int
    layers: tuple[Layer, ...] = ()

    @property
    def has_projector(self) -> bool:
        """It sees pictures; its projector takes memory besides what is planned."""
        return any(layer.media_type == PROJECTOR_LAYER for layer in self.layers)


@dataclass(frozen=True, slots=True)
class StoreListing:
    """The models of some stores.

    Attributes:
        models: By name, those of the first store first; a name that comes again is left out.
        notes: Sentences on what could not be read.
    """

    models: tuple[OllamaModel, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """A model an Ollama offers.

    Attributes:
        name: With its tag.
        n_bytes: Size of its files, bytes.
        family: Architecture, such as `llama`; empty where it does not say.
        parameters: Such as '134.52M'; empty where it does not say.
        quantization: Such as 'Q4_1'; empty where it does not say.
    """

    name: str
    n_bytes: int
    family: str = ""
    parameters: str = ""
    quantization: str = ""

    @property
    def facts(self) -> str:
        """'97.7 MiB · 134.52M parameters · llama', as far as it says."""
        many = f"{self.parameters} parameters" if self.parameters else ""
        return " · ".join(filter(None, (size_text(self.n_bytes), many, self.family)))


@dataclass(frozen=True, slots=True)
class ServedListing:
    """The models of an Ollama that runs.

    Attributes:
        url: Its address; empty where that could not be read.
        models: In its own order, the newest first.
        error: Why it could not be asked.
    """

    url: str
    models: tuple[ServedModel, ...] = ()
    error: SplitRigError | None = None


def name_of(parts: tuple[str, ...]) -> str | None:
    """The name behind `HOST/NAMESPACE/MODEL/TAG`; `None` when these parts are no name."""
    if len(parts) != 4:
        return None
    host, namespace, model, tag = parts
    if not all(_PART.fullmatch(part) for part in (namespace, model)) or not _TAG.fullmatch(tag):
        return None
    if not re.fullmatch(r"[A-Za-z0-9_.:-]{1,350}", host):
        return None
    if host != DEFAULT_HOST:
        return f"{host}/{namespace}/{model}:{tag}"
    return f"{model}:{tag}" if namespace == DEFAULT_NAMESPACE else f"{namespace}/{model}:{tag}"


def read_manifest(text: str | bytes, name: str) -> tuple[Layer, ...]:
    """The parts of a model, the configuration last.

    Raises:
        ModelFileError: It is no manifest, or one of a model without a GGUF file.
    """
    broken = f"Ollama's entry for {name} is damaged"
    way_out = f"Pull it again with 'ollama pull {name}'."
    try:
        manifest = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{broken}: it is no JSON.", way_out) from error
    entries = manifest.get("layers") if isinstance(manifest, dict) else None
    if not isinstance(entries, list) or not 1 <= len(entries) <= MOST_LAYERS:
        raise ModelFileError(f"{broken}: it names no layers.", way_out)
    layers = [_layer(entry) for entry in (*entries, manifest.get("config"))]
    found = tuple(layer for layer in layers if layer is not None)
    if len(found) < len(layers):
        raise ModelFileError(f"{broken}: a layer has no proper digest.", way_out)
    kinds = {layer.media_type for layer in found}
    if MODEL_LAYER not in kinds:
        what = "it is no GGUF file" if TENSOR_LAYER in kinds else "it has no weights"
        raise ModelFileError(f"{name} cannot be planned: {what}.", "Choose a model in GGUF format.")
    return found


def weights_of(layers: tuple[Layer, ...]) -> Layer:
    """The layer that is the GGUF file."""
    return next(layer for layer in layers if layer.media_type == MODEL_LAYER)


def _layer(entry: Any) -> Layer | None:
    if not isinstance(entry, dict):
        return None
    kind, digest, size = entry.get("mediaType"), entry.get("digest"), entry.get("size", 0)
    match = _DIGEST.fullmatch(digest) if isinstance(digest, str) else None
    if match is None or not isinstance(kind, str):
        return None
    proper = isinstance(size, int) and not isinstance(size, bool) and 0 <= size < 2**63
    return Layer(kind, match[1], size if proper else 0)
