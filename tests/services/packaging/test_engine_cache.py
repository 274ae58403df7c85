"""The folder in which the engines of the tests are built, and what tests do without an engine."""

import json
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
from tests.support import provisioned

PACKAGING = Path(__file__).parents[3] / "packaging"


@pytest.fixture(scope="module")
def engine_cache() -> ModuleType:
    """The module; its folder's name belongs to another package, so it is loaded by path."""
    spec = spec_from_file_location("engine_cache", PACKAGING / "engine_cache.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_is_complete_is_not_made_again(engine_cache: ModuleType, tmp_path: Path) -> None:
    made = []

    def make(folder: Path, log: Path) -> None:
        made.append(folder)
        (folder / "file").write_text("whole")

    for _ in range(2):
        assert engine_cache.provide(tmp_path / "thing", make) == tmp_path / "thing"
    assert (tmp_path / "thing" / "file").read_text() == "whole"
    assert len(made) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["thing"]


def test_a_failed_attempt_leaves_its_log_and_says_its_last_line(
    engine_cache: ModuleType, tmp_path: Path
) -> None:
    def make(folder: Path, log: Path) -> None:
        (folder / "half").touch()
        script = "print('compiling'); raise SystemExit('no space left')"
        engine_cache.run_logged([sys.executable, "-c", script], "It could not be built", log=log)

    with pytest.raises(engine_cache.UnavailableError, match=r"^It could .*: no space left \(all"):
        engine_cache.provide(tmp_path / "thing", make)
    assert [path.name for path in tmp_path.iterdir()] == ["thing.log"]
    assert (tmp_path / "thing.log").read_text().splitlines() == ["compiling", "no space left"]


@pytest.mark.skipif(sys.platform == "win32", reason="nothing is built there")
def test_what_an_interrupted_build_left_is_removed(
    engine_cache: ModuleType, tmp_path: Path
) -> None:
    (tmp_path / ".unfinished-x" / "thing").mkdir(parents=True)
    with engine_cache.locked(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_the_users_cache_folder_is_used(
    engine_cache: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert engine_cache.cache_folder() == tmp_path / "splitrig-tests"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert engine_cache.cache_folder() == tmp_path / ".cache" / "splitrig-tests"


def record(path: Path, **engines: dict[str, str]) -> Path:
    path.write_text(json.dumps(engines))
    return path


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"missing": "Go is not installed"}, "Go is not installed"),
        ({"version": "1", "program": str(Path(sys.prefix) / "gone")}, "run ./test once"),
    ],
)
def test_a_test_without_its_engine_skips_with_the_reason_and_fails_on_ci(
    values: dict[str, str], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = record(tmp_path / "found.json", ollama=values)
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match=reason):
        provisioned.entry("ollama", found)
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match=reason):
        provisioned.entry("ollama", found)


def test_an_engine_that_is_there_is_returned(tmp_path: Path) -> None:
    values = {"version": "1", "program": sys.executable}
    assert provisioned.entry("ollama", record(tmp_path / "found.json", ollama=values)) == values
