"""Every llama-server there is, and which one is used."""

import sys
from pathlib import Path

import pytest
from tests.services.engines.release_server import script
from tests.services.engines.test_installed import make

from splitrig.core.engine_build import Source
from splitrig.services.engines import llama_server
from splitrig.services.engines.installed import engines_dir
from splitrig.services.engines.known import known_engines, look_at
from splitrig.services.engines.llama_server import find_llama_server
from splitrig.services.engines.probe import ProbeCancelledError

if sys.platform == "win32":
    pytest.skip("the engine package and the scripts here are for Linux", allow_module_level=True)


@pytest.fixture
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "bin" / "llama-server"
    path.parent.mkdir()
    path.write_bytes(script(5))
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{path.parent}:/usr/bin:/bin")
    return path


def downloaded(engine_id: str) -> Path:
    engines_dir().mkdir(parents=True, exist_ok=True)
    path = make(engines_dir(), engine_id).path
    path.write_bytes(script(int(engine_id[1:].partition("-")[0])))
    path.chmod(0o755)
    return path


def test_without_anything_else_the_one_that_came_along_is_used() -> None:
    (engine,) = known_engines()
    assert (engine.source, engine.used, engine.chosen) == (Source.BUNDLED, True, False)
    look = look_at(engine)
    assert look.build
    assert look.error is None


def test_all_are_listed_and_one_is_used(on_path: Path, tmp_path: Path) -> None:
    old, new = downloaded("b7-cpu"), downloaded("b9-cpu")
    found = known_engines()
    assert [(e.source, e.id) for e in found] == [
        (Source.DOWNLOADED, "b9-cpu"), (Source.DOWNLOADED, "b7-cpu"), (Source.BUNDLED, None),
        (Source.PATH, None),
    ]  # fmt: skip
    assert [e.path for e in found if e.used] == [new] == [find_llama_server().path]
    chosen = known_engines(old)
    assert [(e.id, e.chosen, e.used) for e in chosen][:2] == [
        ("b7-cpu", True, True), ("b9-cpu", False, False)
    ]  # fmt: skip
    own = tmp_path / "my-own"
    own.write_bytes(script(3))
    own.chmod(0o755)
    first, *_ = known_engines(own)
    assert (first.source, first.path, first.used) == (Source.CHOSEN, own, True)


def test_a_chosen_file_that_is_gone_is_listed_and_nothing_is_used(tmp_path: Path) -> None:
    first, *rest = known_engines(tmp_path / "gone")
    assert (first.source, first.used) == (Source.CHOSEN, False)
    assert not any(engine.used for engine in rest)
    error = look_at(first).error
    assert error is not None
    assert "gone" in error.message


def test_one_file_is_listed_once(on_path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(on_path)
    found = known_engines(link)
    assert [e.source for e in found] == [Source.PATH, Source.BUNDLED]
    assert found[0].chosen
    assert found[0].used


def test_the_newest_download_comes_before_the_one_that_came_along(on_path: Path) -> None:
    assert find_llama_server().path == llama_server.bundled()
    new = downloaded("b9-cpu")
    assert find_llama_server().path == new
    assert find_llama_server(on_path).path == on_path


def test_versions_of_both_kinds_are_read() -> None:
    downloaded("b10400-cpu")
    look = look_at(known_engines()[0])
    assert look.build == "b10400"
    assert [d.name for d in look.devices or ()] == ["Vulkan0"]


def test_it_need_not_be_asked_for_its_cards() -> None:
    downloaded("b10400-cpu")
    look = look_at(known_engines()[0], for_devices=False)
    assert (look.build, look.devices, look.error) == ("b10400", None, None)


def test_asking_can_be_given_up(on_path: Path) -> None:
    on_path.write_bytes(script(5, before="sleep 30"))
    engine = next(e for e in known_engines() if e.source is Source.PATH)
    with pytest.raises(ProbeCancelledError):
        look_at(engine, cancelled=lambda: True)
