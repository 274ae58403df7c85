"""Files from which llama.cpp takes options: where they lie, and what is said of them."""

from pathlib import Path

from splitrig.core.config_files import ConfigFile, config_files, config_notes, hiding
from splitrig.core.engine import EngineKind
from splitrig.core.gpu import Severity

HOME = Path("/home/me")


def test_the_users_file_is_hidden_and_the_machines_cannot_be() -> None:
    files = config_files({}, HOME, windows=False)
    assert [(str(f.path), f.hidden) for f in files] == [
        ("/home/me/.config/llama.cpp/config.ini", True),
        ("/etc/llama.cpp/config.ini", False),
    ]
    (user, _) = config_files({"XDG_CONFIG_HOME": "/conf"}, HOME, windows=False)
    assert user.path == Path("/conf/llama.cpp/config.ini")


def test_on_windows_both_can_only_be_told_of() -> None:
    inherited = {"APPDATA": "/roaming", "PROGRAMDATA": "/all"}
    files = config_files(inherited, HOME, windows=True)
    assert [(f.path, f.hidden) for f in files] == [
        (Path("/roaming/llama.cpp/config.ini"), False),
        (Path("/all/llama.cpp/config.ini"), False),
    ]
    assert config_files({}, HOME, windows=True) == ()


def test_hiding_keeps_the_drivers_that_vulkan_finds_there() -> None:
    hidden = hiding({"XDG_CONFIG_HOME": "/conf", "XDG_CONFIG_DIRS": "/a:/b"}, HOME)
    (user, _) = config_files(hidden, HOME, windows=False)
    assert not user.path.exists()
    assert hidden["XDG_CONFIG_DIRS"] == "/conf:/a:/b"
    assert hiding({}, HOME)["XDG_CONFIG_DIRS"] == "/home/me/.config:/etc/xdg"


def test_what_stays_in_force_is_a_warning_and_only_for_engines_that_read_it() -> None:
    files = config_files({}, HOME, windows=False)
    hidden, read = config_notes(files, EngineKind.LLAMA_CPP)
    assert (hidden.severity, read.severity) == (Severity.INFO, Severity.WARNING)
    assert "/etc/llama.cpp/config.ini" in read.message
    assert "in force" in read.detail
    assert len(config_notes(files, EngineKind.OLLAMA)) == 2
    assert config_notes(files, EngineKind.VLLM) == ()
    assert config_notes((), EngineKind.LLAMA_CPP) == ()
    assert "hides it" in ConfigFile(path=Path("/x"), hidden=True).sentence
