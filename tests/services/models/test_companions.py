"""Draft models and projectors as files."""

from pathlib import Path

import pytest
from tests.support.tiny_models import write_mixture, write_projector

from splitrig.core.errors import ModelFileError
from splitrig.services.models.companions import (
    MOST_FOUND,
    find_projectors,
    read_draft,
    read_projector,
)
from splitrig.services.models.demo import demo_model
from splitrig.services.models.gguf import read_model


def demo() -> Path:
    path = demo_model()
    assert path is not None
    return path


def test_a_projector_is_read_with_its_size(tmp_path: Path) -> None:
    path = write_projector(tmp_path / "mmproj-x.gguf", 576)
    projector = read_projector(path)
    assert projector.path == path
    assert 900_000 < projector.n_bytes < path.stat().st_size


def test_a_model_is_no_projector_and_a_projector_no_draft(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="is no projector") as raised:
        read_projector(demo())
    assert raised.value.hint
    with pytest.raises(ModelFileError, match=r"clip\.\w+"):
        read_draft(write_projector(tmp_path / "p.gguf", 576), read_model(demo()))
    with pytest.raises(ModelFileError, match="There is no file"):
        read_projector(tmp_path / "none.gguf")


def test_a_model_of_the_same_tokens_can_draft(tmp_path: Path) -> None:
    model = read_model(demo())
    draft = write_mixture(tmp_path / "draft.gguf", demo())
    assert read_draft(draft, model).architecture == "qwen3moe"
    other = write_mixture(tmp_path / "other.gguf", demo(), most_tokens=40_000)
    with pytest.raises(ModelFileError, match="knows 40,000 tokens, the model 49,152"):
        read_draft(other, model)


def test_projectors_beside_a_model_are_found_by_their_names(tmp_path: Path) -> None:
    model = tmp_path / "model-mmproj.gguf"
    for name in ("model-mmproj.gguf", "mmproj-F16.gguf", "x.MMPROJ-q8.GGUF", "notes-mmproj.txt"):
        (tmp_path / name).touch()
    (tmp_path / "mmproj-folder.gguf").mkdir()
    assert [p.name for p in find_projectors(model)] == ["mmproj-F16.gguf", "x.MMPROJ-q8.GGUF"]
    for number in range(20):
        (tmp_path / f"mmproj-{number}.gguf").touch()
    assert len(find_projectors(model)) == MOST_FOUND
    assert find_projectors(tmp_path / "nowhere" / "m.gguf") == ()
