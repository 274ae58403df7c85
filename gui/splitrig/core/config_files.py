"""Files from which llama.cpp's own programs take options, whoever starts them.

Newer builds read them before variables and arguments (`common_params_apply_system_config` in
common/arg.cpp) and have no option against it. An option that is not on the command line, such as
one that keeps tensors in RAM, would change the split without a word in the window.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from splitrig.core.engine import EngineKind
from splitrig.core.gpu import Note, Severity

READERS = (EngineKind.LLAMA_CPP, EngineKind.OLLAMA)
"""The engines that run a llama-server."""
_NOWHERE = "/dev/null"
"""No file can lie below it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigFile:
    """One of these files.

    Attributes:
        path: Where it lies.
        hidden: An engine that SplitRig starts does not get to see it.
    """

    path: Path
    hidden: bool

    @property
    def sentence(self) -> str:
        """That it is there, and what becomes of it."""
        if self.hidden:
            return (
                f"{self.path} holds options for llama.cpp; SplitRig hides it from the engines it "
                "starts: their options are set in SplitRig."
            )
        return (
            f"{self.path} holds options for llama.cpp, and newer builds read it whoever starts "
            "them: what SplitRig does not set itself is in force and may move layers off the cards."
        )


def config_files(
    environment: Mapping[str, str], home: Path, *, windows: bool
) -> tuple[ConfigFile, ...]:
    """Where these files would lie: the user's, then the machine's."""
    if windows:
        # other things lie below these folders as well, such as what CUDA has compiled
        folders = [environment.get(name) for name in ("APPDATA", "PROGRAMDATA")]
        return tuple(ConfigFile(path=_file(Path(f)), hidden=False) for f in folders if f)
    return (
        ConfigFile(path=_file(_user_folder(environment, home)), hidden=True),
        ConfigFile(path=_file(Path("/etc")), hidden=False),
    )


def hiding(environment: Mapping[str, str], home: Path) -> dict[str, str]:
    """Variables with which the user's file is not found; nothing else of that folder is lost.

    Vulkan's loader looks there for drivers, and then in `XDG_CONFIG_DIRS`.
    """
    others = environment.get("XDG_CONFIG_DIRS") or "/etc/xdg"
    user = _user_folder(environment, home)
    return {"XDG_CONFIG_HOME": _NOWHERE, "XDG_CONFIG_DIRS": f"{user}:{others}"}


def config_notes(files: Iterable[ConfigFile], engine: EngineKind) -> tuple[Note, ...]:
    """What to say of the files that are there when an engine is about to be started."""
    return tuple(
        Note(
            id="config-file-hidden" if file.hidden else "config-file-read",
            severity=Severity.INFO if file.hidden else Severity.WARNING,
            message=f"{file.path} is hidden from the engine."
            if file.hidden
            else f"The engine may also take options from {file.path}.",
            detail=file.sentence,
        )
        for file in files
        if engine in READERS
    )


def _user_folder(environment: Mapping[str, str], home: Path) -> Path:
    return Path(environment.get("XDG_CONFIG_HOME") or home / ".config")


def _file(folder: Path) -> Path:
    return folder / "llama.cpp" / "config.ini"
