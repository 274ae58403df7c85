import os
from pathlib import Path

import pytest

from splitrig.core.errors import StoreError
from splitrig.core.settings import Appearance, AppearanceSettings, EngineSettings, Settings
from splitrig.services.store.settings import SettingsStore


def test_settings_come_back_as_they_were_saved(tmp_path: Path) -> None:
    store = SettingsStore(tmp_path)
    settings = Settings(appearance=AppearanceSettings(theme=Appearance.LIGHT)).with_recent(
        tmp_path / "a model.gguf"
    )
    store.save(settings)
    assert SettingsStore(tmp_path).load() == settings


def test_without_a_file_the_defaults_hold(tmp_path: Path) -> None:
    assert SettingsStore(tmp_path / "new").load() == Settings()


def test_unknown_keys_and_comments_survive(tmp_path: Path) -> None:
    store = SettingsStore(tmp_path)
    store.path.write_text(
        '# mine\nversion = 1\nlater = "x"\n[appearance]\ntheme = "dark"\nfuture = 3\n'
    )
    settings = store.load()
    store.save(settings.with_recent(Path("m.gguf")).with_remote("workshop:50052"))
    assert store.load().remote_endpoints == ["workshop:50052"]
    text = store.path.read_text()
    assert "# mine" in text
    assert 'later = "x"' in text
    assert "future = 3" in text


def test_an_option_that_is_unset_again_leaves_the_file(tmp_path: Path) -> None:
    store = SettingsStore(tmp_path)
    store.save(Settings(engine=EngineSettings(llama_server=Path("/opt/llama-server"))))
    assert "llama_server" in store.path.read_text()
    store.save(Settings())
    assert "llama_server" not in store.path.read_text()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("this is = = no toml", "not valid TOML"),
        ("[telemetry]\ninterval_s = 0.001\n", "The setting telemetry.interval_s has a wrong value"),
        ("version = 99\n", "newer SplitRig"),
    ],
)
def test_a_broken_file_is_one_sentence(tmp_path: Path, text: str, words: str) -> None:
    store = SettingsStore(tmp_path)
    store.path.write_text(text)
    assert store.load() == Settings()
    assert store.problem is not None
    assert words in store.problem.message
    assert store.path.read_text() == text
    store.path.unlink()
    store.load()
    assert store.problem is None


def test_only_a_wrong_value_falls_back_to_its_default(tmp_path: Path) -> None:
    store = SettingsStore(tmp_path)
    text = (
        '# mine\nrecent_models = ["a.gguf", 5, "b.gguf", 6]\n[appearance]\ntheme = "light"\n'
        '[engine]\nstart_timeout_s = 5 # short\nrestart_tries = 7\nllama_server = "/opt/x"\n'
    )
    store.path.write_text(text)
    settings = store.load()
    assert settings.appearance.theme is Appearance.LIGHT
    assert settings.engine == EngineSettings(restart_tries=7, llama_server=Path("/opt/x"))
    assert settings.recent_models == [Path("a.gguf"), Path("b.gguf")]
    assert store.problem is not None
    assert store.problem.message == (
        "The settings engine.start_timeout_s, recent_models.1 and recent_models.3 have wrong "
        "values; their defaults are used."
    )
    store.save(settings)
    assert store.load() == settings
    assert store.problem is None
    assert "# mine" in store.path.read_text()
    assert (tmp_path / "settings.toml.broken").read_text() == text


@pytest.mark.parametrize(
    ("section", "name"),
    [
        (section, name)
        for section, field in Settings.model_fields.items()
        for name in getattr(field.annotation, "model_fields", {})
    ],
)
def test_any_setting_may_be_wrong_alone(tmp_path: Path, section: str, name: str) -> None:
    store = SettingsStore(tmp_path)
    store.path.write_text(f'recent_models = ["a.gguf"]\n[{section}]\n{name} = [[]]\n')
    assert store.load() == Settings(recent_models=[Path("a.gguf")])
    assert store.problem is not None
    assert f"The setting {section}.{name} has a wrong value (" in store.problem.message


def test_a_file_that_is_no_toml_is_kept_beside_the_new_one(tmp_path: Path) -> None:
    store = SettingsStore(tmp_path)
    store.path.write_text("= =")
    store.save(Settings())
    assert (tmp_path / "settings.toml.broken").read_text() == "= ="
    assert store.load() == Settings()


def test_a_folder_that_cannot_be_written_is_one_sentence_and_changes_nothing(
    tmp_path: Path,
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(StoreError, match="could not be saved"):
        SettingsStore(blocked / "sub").save(Settings())
    assert blocked.read_text() == "in the way"


@pytest.mark.parametrize(
    "text",
    [
        '[appearance]\ntheme = "pink"\n[engine]\nllama_server = "/opt/x"\n',
        'version = 99\n[engine]\nllama_server = "/opt/x"\n',
        "engine = 5\n",
        "[[engine]]\n",
        "appearance = []\n",
    ],
)
def test_a_file_that_cannot_be_used_is_never_lost(tmp_path: Path, text: str) -> None:
    store = SettingsStore(tmp_path)
    for number in range(3):
        store.path.write_text(text)
        store.load()
        assert store.problem is not None
        assert "kept as settings.toml.broken" in store.problem.hint
        store.save(Settings())
        assert store.load() == Settings()
        aside = tmp_path / f"settings.toml.broken{number or ''}"
        assert aside.read_text() == text


def test_a_byte_order_mark_is_no_flaw(tmp_path: Path) -> None:
    store = SettingsStore(tmp_path)
    store.path.write_bytes(b"\xef\xbb\xbf[engine]\nstart_timeout_s = 77\n")
    assert store.load().engine.start_timeout_s == 77


def test_a_pipe_in_its_place_is_not_waited_for(tmp_path: Path) -> None:
    store = SettingsStore(tmp_path)
    os.mkfifo(store.path)
    assert store.load() == Settings()
    assert "could not be read" in str(store.problem)
