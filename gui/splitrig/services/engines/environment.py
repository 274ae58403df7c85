"""The environment that an engine is started in, made from the one this program has."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from splitrig.core.config_files import READERS, ConfigFile, config_files, hiding
from splitrig.core.engine import EngineKind
from splitrig.core.environment import (
    EngineEnvironment,
    Kept,
    Replaced,
    engine_environment,
    inherited_notes,
)


def environment_for(
    engine: EngineKind,
    ours: Mapping[str, str] | None = None,
    *,
    library_dir: Path | None = None,
) -> EngineEnvironment:
    """What an engine gets, and what of the inherited environment is worth a word.

    Args:
        engine: Which engine.
        ours: What is set for it, over everything else.
        library_dir: Where the loader looks for its libraries first.
    """
    given = dict(ours or {})
    if library_dir is not None and "LD_LIBRARY_PATH" not in given:
        folders = [str(library_dir), os.environ.get("LD_LIBRARY_PATH")]
        given["LD_LIBRARY_PATH"] = os.pathsep.join(filter(None, folders))
    if engine in READERS and any(file.hidden for file in found_config_files()):
        given = hiding(os.environ, Path.home()) | given
    return engine_environment(engine, os.environ, given)


def notes_for_all() -> tuple[tuple[Replaced, ...], tuple[Kept, ...]]:
    """What of the inherited environment is worth a word, whichever engine is started."""
    return inherited_notes(os.environ)


def found_config_files() -> tuple[ConfigFile, ...]:
    """The files that are here from which llama.cpp's programs would take options."""
    files = config_files(os.environ, Path.home(), windows=sys.platform == "win32")
    return tuple(file for file in files if _is_there(file.path))


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except PermissionError:  # an engine of the same user does not find it either
        return False
