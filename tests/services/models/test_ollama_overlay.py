"""Stores made of links: what is in them, and what happens where links are not allowed."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from tests.services.engines.conftest import model_file
from tests.support.ollama_rig import set_parameters
from tests.support.ollama_store import add_model

from splitrig.core.errors import EngineError
from splitrig.services.models.ollama_overlay import cache_folder, make_overlay
from splitrig.services.models.ollama_store import find_model, list_models


def parameters_of(store: Path, name: str) -> dict[str, Any]:
    model = find_model(name, [store])
    layer = next(layer for layer in model.layers if layer.media_type.endswith(".params"))
    content = (store / "blobs" / layer.blob).read_bytes()
    assert hashlib.sha256(content).hexdigest() == layer.digest
    parameters: dict[str, Any] = json.loads(content)
    return parameters


def test_a_bare_file_is_linked_not_copied(tmp_path: Path) -> None:
    path = model_file()
    store = make_overlay(path, "splitrig/m", {"num_ctx": 512}, cache=tmp_path)
    (model,) = list_models([store]).models
    assert model.name == "splitrig/m:latest"
    assert model.path.samefile(path)
    assert model.path.is_symlink()
    assert parameters_of(store, "splitrig/m") == {"num_ctx": 512}
    kilobytes = sum(p.lstat().st_size for p in store.rglob("*") if p.is_file()) / 1000
    assert kilobytes < 10


def test_a_stored_model_keeps_its_parts_and_the_parameters_that_are_not_ours(
    tmp_path: Path,
) -> None:
    users = tmp_path / "users"
    name = add_model(users, model_file(), "smollm2", template="{{ .Prompt }}")
    set_parameters(users, name, {"num_ctx": 99, "num_gpu": 1, "main_gpu": 1, "stop": ["x"]})
    model = find_model(name, [users])
    store = make_overlay(model, name, {"num_ctx": 512}, cache=tmp_path / "cache")
    linked = find_model(name, [store])
    assert parameters_of(store, name) == {"num_ctx": 512, "stop": ["x"]}
    kinds = {layer.media_type for layer in linked.layers}
    assert kinds == {layer.media_type for layer in model.layers}
    assert linked.path.samefile(model.path)


def test_odd_parameters_of_a_model_are_left_out(tmp_path: Path) -> None:
    users = tmp_path / "users"
    name = add_model(users, model_file(), "smollm2")
    set_parameters(users, name, {})
    (users / "blobs" / ("sha256-" + "ab" * 32)).write_text("[1")
    store = make_overlay(find_model(name, [users]), name, {"num_ctx": 1}, cache=tmp_path)
    assert parameters_of(store, name) == {"num_ctx": 1}


@pytest.mark.parametrize(
    "name", ["m:q4", "me/m:latest", "hf.co/owner/m:Q4_K_M", "registry.ollama.ai/library/m:latest"]
)
def test_every_kind_of_name_is_found_again(tmp_path: Path, name: str) -> None:
    store = make_overlay(model_file(), name, {}, cache=tmp_path)
    (model,) = list_models([store]).models
    assert model.name == name.removeprefix("registry.ollama.ai/library/")


def test_other_parameters_make_another_store_and_the_same_ones_the_same(tmp_path: Path) -> None:
    one = make_overlay(model_file(), "m", {"num_ctx": 1}, cache=tmp_path)
    assert make_overlay(model_file(), "m", {"num_ctx": 1}, cache=tmp_path) == one
    assert make_overlay(model_file(), "m", {"num_ctx": 2}, cache=tmp_path) != one


def test_a_link_to_a_file_that_was_replaced_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(b"one")
    store = make_overlay(path, "m", {}, cache=tmp_path / "cache")
    (model,) = list_models([store]).models
    model.path.unlink()
    model.path.symlink_to(tmp_path / "elsewhere")
    make_overlay(path, "m", {}, cache=tmp_path / "cache")
    assert model.path.read_bytes() == b"one"


def test_a_hard_link_does_where_symbolic_ones_are_not_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object) -> None:
        raise OSError(1314, "A required privilege is not held by the client")

    path = tmp_path / "m.gguf"
    path.write_bytes(b"weights")
    monkeypatch.setattr(Path, "symlink_to", refuse)
    store = make_overlay(path, "m", {}, cache=tmp_path / "cache")
    (model,) = list_models([store]).models
    assert not model.path.is_symlink()
    assert model.path.stat().st_ino == path.stat().st_ino


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EngineError, match="Ollama cannot be given the model") as failed:
        make_overlay(model_file(), "m", {}, cache=tmp_path / "file")
    assert "ollama create" in failed.value.hint


def test_the_stores_lie_in_the_users_cache(tmp_path: Path) -> None:
    assert cache_folder() == tmp_path / "xdg-cache" / "splitrig" / "ollama"
