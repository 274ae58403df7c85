"""The downloaded builds: what counts as one, and what may be removed."""

import json
from pathlib import Path

import pytest

from splitrig.core.errors import EngineError
from splitrig.services.engines import installed as store
from splitrig.services.engines.installed import Installed, damaged, installed, remove


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "engines"
    path.mkdir()
    return path


def make(root: Path, engine_id: str, *, at: str = "2026-09-22T08:00:00+00:00") -> Installed:
    """A build as an installation leaves it."""
    folder = root / engine_id
    folder.mkdir()
    (folder / store.SERVER).write_text("program")
    build, _, flavour = engine_id.partition("-")
    engine = Installed(
        id=engine_id, build=int(build[1:]), flavour=flavour, path=folder / store.SERVER,
        files={"a.zip": "ab" * 32}, checked=True, installed_at=at,
    )  # fmt: skip
    store.write_manifest(folder, engine)
    return engine


def test_what_is_written_is_read(root: Path) -> None:
    engine = make(root, "b11118-cuda-13.4")
    assert installed(root) == (engine,)
    assert damaged(root) == ()


def test_the_newest_build_comes_first_then_the_one_installed_last(root: Path) -> None:
    make(root, "b9-vulkan", at="2026-09-22T10:00:00+00:00")
    make(root, "b10-cpu", at="2026-09-22T08:00:00+00:00")
    make(root, "b10-vulkan", at="2026-09-22T09:00:00+00:00")
    assert [e.id for e in installed(root)] == ["b10-vulkan", "b10-cpu", "b9-vulkan"]


def test_without_a_folder_there_is_nothing(tmp_path: Path) -> None:
    assert installed(tmp_path / "none") == damaged(tmp_path / "none") == ()
    store.clean(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_other_folders_are_none_of_ours(root: Path) -> None:
    for name in ("mine", ".new-b7-cpu", ".downloads", "b7", "b7-CPU"):
        (root / name).mkdir()
    (root / "b8-cpu").write_text("a file")
    assert installed(root) == damaged(root) == ()


@pytest.mark.parametrize(
    "change",
    [
        {"server": "../../b7-cpu/llama-server"}, {"server": "/bin/sh"}, {"server": "gone"},
        {"server": 7}, {"build": "seven"}, {"build": None}, {"files": []}, {"files": None},
        {"installed_at": ...}, {"flavour": ...}, {"checked": ...},
    ],
)  # fmt: skip
def test_a_manifest_that_makes_no_sense_is_damage(root: Path, change: dict[str, object]) -> None:
    make(root, "b7-cpu")
    path = root / "b7-cpu" / store.MANIFEST
    said = json.loads(path.read_text()) | change
    path.write_text(json.dumps({key: value for key, value in said.items() if value is not ...}))
    assert installed(root) == ()
    assert damaged(root) == ("b7-cpu",)


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "[" * 100_000, "\x00"])
def test_a_manifest_that_is_none_is_damage(root: Path, text: str) -> None:
    make(root, "b7-cpu")
    (root / "b7-cpu" / store.MANIFEST).write_text(text)
    assert damaged(root) == ("b7-cpu",)


def test_a_damaged_build_can_be_removed(root: Path) -> None:
    make(root, "b7-cpu").path.unlink()
    remove("b7-cpu", root=root)
    assert damaged(root) == ()
    assert not (root / "b7-cpu").exists()


@pytest.mark.parametrize(
    "name", ["b8-cpu", "", ".", "..", "../engines/b7-cpu", "/", "b7-cpu/", ".downloads", "x" * 999]
)
def test_only_downloaded_builds_are_removed(root: Path, name: str) -> None:
    make(root, "b7-cpu")
    (root / ".downloads").mkdir()
    with pytest.raises(EngineError, match="is no downloaded engine") as raised:
        remove(name, root=root)
    assert "b7-cpu" in raised.value.hint
    assert (root / "b7-cpu").is_dir()


def test_one_in_use_stays(root: Path) -> None:
    engine = make(root, "b7-cpu")
    other = make(root, "b8-cpu")
    with pytest.raises(EngineError, match="b7-cpu is in use"):
        remove("b7-cpu", in_use=[engine.path], root=root)
    remove("b8-cpu", in_use=[engine.path], root=root)
    assert installed(root) == (engine,)
    assert not other.path.exists()


def test_one_in_use_under_another_name_stays(root: Path, tmp_path: Path) -> None:
    engine = make(root, "b7-cpu")
    (tmp_path / "link").symlink_to(engine.path.parent)
    with pytest.raises(EngineError, match="is in use"):
        remove("b7-cpu", in_use=[tmp_path / "link" / store.SERVER], root=root)


def test_the_size_of_a_build_is_that_of_its_files(root: Path) -> None:
    engine = make(root, "b7-cpu")
    folder = engine.path.parent
    before = store.size_bytes(folder)
    (folder / "lib").mkdir()
    (folder / "lib" / "libllama.so.1").write_bytes(bytes(5000))
    (folder / "lib" / "libllama.so").symlink_to("libllama.so.1")
    assert store.size_bytes(folder) == before + 5000
    assert store.size_bytes(root / "none") == 0
