"""Models in the stores of Ollama on this machine, read from the disk without a server."""

import os
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from splitrig.core.errors import ModelFileError
from splitrig.core.ollama import full_name
from splitrig.core.ollama_model import (
    MOST_MANIFEST_BYTES,
    OllamaModel,
    StoreListing,
    name_of,
    read_manifest,
    weights_of,
)

SYSTEM_STORES = ("/usr/share/ollama/.ollama/models", "/var/lib/ollama/.ollama/models",
                 "/var/lib/ollama/models", "/var/snap/ollama/common/models")  # fmt: skip
"""Where services of the system keep theirs: the install script's, distributions', the snap."""
MOST_MODELS = 10_000


def store_folders(environ: Mapping[str, str] | None = None) -> tuple[Path, ...]:
    """Stores that are there: `OLLAMA_MODELS`, the user's own, those of a service of the system."""
    environ = os.environ if environ is None else environ
    chosen = environ.get("OLLAMA_MODELS", "").strip().strip("\"'")
    candidates = [Path(chosen).expanduser()] if chosen else []
    candidates.append(Path.home() / ".ollama" / "models")
    if sys.platform != "win32":
        candidates += [Path(folder) for folder in SYSTEM_STORES]
    return tuple(folder for folder in dict.fromkeys(candidates) if _is_store(folder))


def list_models(folders: Sequence[Path]) -> StoreListing:
    """All models of these stores; blocks for some milliseconds."""
    models: dict[str, OllamaModel] = {}
    notes: list[str] = []
    for folder in folders:
        for manifest, name in _manifests(folder, notes):
            if len(models) >= MOST_MODELS:
                notes.append(f"Only the first {MOST_MODELS:,} of Ollama's models are shown.")
                return StoreListing(tuple(models.values()), tuple(notes))
            if name in models:
                continue
            try:
                models[name] = _read(folder, manifest, name)
            except ModelFileError as error:
                notes.append(str(error))
    return StoreListing(tuple(sorted(models.values(), key=lambda m: m.name)), tuple(notes))


def find_model(name: str, folders: Sequence[Path]) -> OllamaModel:
    """The model of this name; `latest` where it has no tag.

    Raises:
        ModelFileError: There is none, or it cannot be read.
    """
    wanted = full_name(name)
    there = []
    for folder in folders:
        for manifest, found in _manifests(folder, []):
            if found == wanted:
                return _read(folder, manifest, found)
            there.append(found)
    shown = ", ".join(sorted(there)[:6]) + (" …" if len(there) > 6 else "")
    raise ModelFileError(
        f"Ollama has no model '{name}'; " + (f"it has {shown}." if there else "it has none yet."),
        f"Pull it with 'ollama pull {name}', or choose a GGUF file.",
    )


def model_of(path: Path, name: str) -> OllamaModel | None:
    """The model whose GGUF file this is; `None` when it lies in no store."""
    if path.parent.name != "blobs":
        return None
    folder = path.parent.parent
    for manifest, found in _manifests(folder, []):
        if found == full_name(name):
            model = _read(folder, manifest, found)
            return model if model.path == path else None
    return None


def _is_store(folder: Path) -> bool:
    try:
        return (folder / "manifests").is_dir()
    except OSError:
        return False


def _manifests(
    folder: Path, notes: list[str], parts: tuple[str, ...] = ()
) -> Iterator[tuple[Path, str]]:
    """Manifests with the names they stand for; exactly four levels deep, links not followed."""
    place = folder.joinpath("manifests", *parts)
    try:
        with os.scandir(place) as scan:
            entries = sorted(scan, key=lambda entry: entry.name)
    except OSError as error:
        notes.append(f"{place} cannot be read: {error.strerror}.")
        return
    for entry in entries:
        here = (*parts, entry.name)
        if len(here) < 4 and entry.is_dir(follow_symlinks=False):
            yield from _manifests(folder, notes, here)
        elif len(here) == 4 and entry.is_file(follow_symlinks=False):
            name = name_of(here)
            if name is not None:
                yield place / entry.name, name


def _read(folder: Path, manifest: Path, name: str) -> OllamaModel:
    """One model.

    Raises:
        ModelFileError: Its manifest is damaged, or its file is not there.
    """
    way_out = f"Pull it again with 'ollama pull {name}'."
    try:
        if manifest.stat().st_size > MOST_MANIFEST_BYTES:
            raise ModelFileError(f"Ollama's entry for {name} is damaged: it is too long.", way_out)
        layers = read_manifest(manifest.read_bytes(), name)
        weights = weights_of(layers)
        path = folder / "blobs" / weights.blob
        status = path.stat()
    except OSError as error:
        raise ModelFileError(f"{name} cannot be read: {error.strerror}.", way_out) from error
    if not stat.S_ISREG(status.st_mode):
        raise ModelFileError(f"The file of {name} is none.", way_out)
    return OllamaModel(name=name, store=folder, path=path, n_bytes=status.st_size, layers=layers)
