"""Stores of Ollama on the disk: found, listed, and hostile entries told."""

from pathlib import Path

import pytest
from tests.services.engines.conftest import model_file
from tests.support.ollama_store import add_model

from splitrig.core.errors import ModelFileError
from splitrig.services.models import ollama_store
from splitrig.services.models.gguf import read_model
from splitrig.services.models.ollama_store import (
    find_model,
    list_models,
    model_of,
    store_folders,
)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """One model, under two names."""
    folder = tmp_path / "store"
    add_model(folder, model_file(), "smollm2")
    add_model(folder, model_file(), "a")
    return folder


def entry(store: Path, *parts: str) -> Path:
    path = store.joinpath("manifests", *parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def test_models_are_listed_with_their_files(store: Path) -> None:
    listing = list_models([store])
    assert [model.name for model in listing.models] == ["a:latest", "smollm2:latest"]
    assert listing.notes == ()
    model = listing.models[1]
    assert model.path.parent == store / "blobs"
    assert model.n_bytes == model_file().stat().st_size
    assert not model.has_projector


def test_the_plan_reads_the_file_of_a_store_as_any_other(store: Path) -> None:
    model = read_model(find_model("smollm2", [store]).path)
    assert (model.n_layer, model.n_ctx_train, model.architecture) == (30, 8192, "llama")
    assert model.name == "Smollm2 135M 8k Lc100K Mix1 Ep2"


def test_the_first_store_with_a_name_wins(store: Path, tmp_path: Path) -> None:
    second = tmp_path / "second"
    add_model(second, model_file(), "smollm2")
    add_model(second, model_file(), "b")
    models = {model.name: model.store for model in list_models([store, second]).models}
    assert models == {"a:latest": store, "smollm2:latest": store, "b:latest": second}


def test_a_name_that_is_not_there_is_told_with_those_that_are(store: Path) -> None:
    with pytest.raises(ModelFileError, match="no model 'nope'; it has a:latest, smollm2:latest"):
        find_model("nope", [store])
    with pytest.raises(ModelFileError, match="it has none yet"):
        find_model("nope", [])


def test_a_file_is_traced_back_to_its_model(store: Path) -> None:
    model = find_model("smollm2", [store])
    assert model_of(model.path, "smollm2") == model
    assert model_of(model.path, "nope") is None
    assert model_of(model_file(), "smollm2") is None
    assert model_of(store / "blobs" / "sha256-00", "smollm2") is None


def test_hostile_entries_are_left_out_with_a_sentence_each(store: Path) -> None:
    library = ("registry.ollama.ai", "library")
    entry(store, *library, "broken", "latest").write_text("{")
    entry(store, *library, "huge", "latest").write_bytes(b" " * (2**20 + 1))
    gone = entry(store, *library, "gone", "latest")
    text = entry(store, *library, "a", "latest").read_text()
    gone.write_text(text.replace('"digest": "sha256:b', '"digest": "sha256:0'))
    entry(store, *library, "x y", "latest").write_text("no name at all")
    entry(store, *library, "deep", "er", "latest").write_text("too deep")
    entry(store, "stray").write_text("not deep enough")
    entry(store, *library, "link", "latest").symlink_to(gone)
    (store / "manifests" / "loop").symlink_to(store / "manifests")
    listing = list_models([store])
    assert [model.name for model in listing.models] == ["a:latest", "smollm2:latest"]
    assert len(listing.notes) == 3
    assert "broken:latest is damaged" in listing.notes[0]
    assert listing.notes[1].startswith("gone:latest cannot be read: No such file")
    assert "it is too long" in listing.notes[2]


def test_a_folder_in_the_place_of_the_file_is_told(store: Path) -> None:
    blob = find_model("a", [store]).path
    blob.unlink()
    blob.mkdir()
    with pytest.raises(ModelFileError, match="The file of a:latest is none"):
        find_model("a", [store])


def test_a_store_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "manifests").write_text("no folder")
    (note,) = list_models([tmp_path]).notes
    assert "manifests cannot be read: Not a directory" in note
    assert list_models([tmp_path]).models == ()


def test_too_many_models_are_cut(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ollama_store, "MOST_MODELS", 1)
    listing = list_models([store])
    assert len(listing.models) == 1
    assert "first 1 of" in listing.notes[0]


def test_stores_are_found_where_ollama_keeps_them(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr(ollama_store, "SYSTEM_STORES", (str(tmp_path / "system"), "/nowhere"))
    assert store_folders({}) == ()
    (home / ".ollama" / "models" / "manifests").mkdir(parents=True)
    (tmp_path / "system" / "manifests").mkdir(parents=True)
    assert store_folders({"OLLAMA_MODELS": f' "{store}" '}) == (
        store, home / ".ollama" / "models", tmp_path / "system",
    )  # fmt: skip
