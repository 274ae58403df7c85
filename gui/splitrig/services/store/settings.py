"""Keeps the settings in a TOML file: versioned, written atomically, unknown keys kept."""

import errno
import itertools
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import platformdirs
import tomlkit
from pydantic import ValidationError
from tomlkit.exceptions import TOMLKitError

from splitrig.core.errors import StoreError
from splitrig.core.settings import VERSION, Settings
from splitrig.core.words import listed

APP = "splitrig"
BROKEN = ".broken"


def config_dir() -> Path:
    """Folder of the settings."""
    return Path(platformdirs.user_config_dir(APP, appauthor=False))


def data_dir() -> Path:
    """Folder of what was downloaded."""
    return Path(platformdirs.user_data_dir(APP, appauthor=False))


def log_dir() -> Path:
    """Folder of the engines' logs."""
    return Path(platformdirs.user_log_dir(APP, appauthor=False))


_Flaw = tuple[tuple[int | str, ...], str]
"""Where a wrong value stands, and what is wrong with it."""


class _UnusableError(Exception):
    """The file is there and cannot be used; the words say why."""


class SettingsStore:
    """Reads and writes `settings.toml`.

    A file that cannot be used, or not all of it, is never lost: it is kept beside the new one as
    `settings.toml.broken`.

    Attributes:
        problem: What of the file could not be used when it was last loaded; `None` for nothing.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.path = (folder or config_dir()) / "settings.toml"
        self.problem: StoreError | None = None

    def load(self) -> Settings:
        """The stored settings; the defaults when there are none yet.

        A wrong value is replaced by its default. So is the whole file where it cannot be read, is
        no TOML or comes from a newer version. `problem` tells of it.
        """
        self.problem = None
        kept = f"the file is kept as {self.path.name}{BROKEN} as soon as something is saved."
        try:
            settings, flaws = _settings_of(self._parsed())
        except FileNotFoundError:
            return Settings()
        except OSError as error:
            self.problem = StoreError(
                f"The settings in {self.path} could not be read: {error.strerror or error}.",
                "The defaults are used; mend the file's permissions to get yours back.",
            )
            return Settings()
        except _UnusableError as flaw:
            self.problem = StoreError(f"{flaw}.", f"The defaults are used; {kept}")
            return Settings()
        if flaws:
            self.problem = StoreError(_flaws_text(flaws), f"All others hold; {kept}")
        return settings

    def save(self, settings: Settings) -> None:
        """Write the settings; the old file stays whole if that fails.

        Raises:
            StoreError: The folder or file cannot be written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            document = self._document()
            _merge(document, settings.model_dump(mode="json"))
            handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=".settings-")
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    file.write(tomlkit.dumps(document))
                Path(name).replace(self.path)
            except OSError:
                Path(name).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise StoreError(
                f"The settings could not be saved in {self.path.parent}: {error.strerror}.",
                "They hold until SplitRig is closed; make the folder writable to keep them.",
            ) from error

    def _parsed(self) -> tomlkit.TOMLDocument:
        """The file as TOML; a pipe in its place is not waited for.

        Raises:
            OSError: It cannot be read, or is no file.
            _UnusableError: It is no TOML.
        """
        if self.path.exists() and not self.path.is_file():
            raise IsADirectoryError(errno.EISDIR, "it is no file", str(self.path))
        try:
            return tomlkit.parse(self.path.read_text(encoding="utf-8-sig"))
        except UnicodeDecodeError as error:
            raise _UnusableError(f"{self.path} is not valid TOML: it is no text") from error
        except TOMLKitError as error:
            raise _UnusableError(f"{self.path} is not valid TOML: {error}".rstrip(".")) from error

    def _document(self) -> tomlkit.TOMLDocument:
        """The present file, so that its comments and unknown keys live on.

        One that could not be loaded as it is, is kept aside first; none that was before is lost.
        """
        try:
            document = self._parsed()
            _, flaws = _settings_of(document)
        except FileNotFoundError:
            return tomlkit.document()
        except _UnusableError:
            self.path.replace(self._aside())
            return tomlkit.document()
        if flaws:
            shutil.copy2(self.path, self._aside())
        for place, _ in flaws:
            _drop(document, place)
        return document

    def _aside(self) -> Path:
        """A name for a file that cannot be used, which no file has yet."""
        names = (f"{self.path.name}{BROKEN}{n or ''}" for n in itertools.count())
        return next(path for path in map(self.path.with_name, names) if not path.exists())


def _settings_of(document: tomlkit.TOMLDocument) -> tuple[Settings, list[_Flaw]]:
    """The settings of a parsed file, and the wrong values for which their defaults stand.

    Raises:
        _UnusableError: It comes from a newer version.
    """
    values = document.unwrap()
    flaws: list[_Flaw] = []
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        # the last ones first, or those behind them in a list would move up
        flaws = [(flaw["loc"], flaw["msg"]) for flaw in reversed(error.errors())]
        for place, _ in flaws:
            _drop(values, place)
        settings = Settings.model_validate(values)
    if settings.version > VERSION:
        raise _UnusableError(
            f"The settings were written by a newer SplitRig (layout {settings.version})"
        )
    return settings, flaws


def _drop(values: Any, place: tuple[int | str, ...]) -> None:
    """Take a value out of nested tables and lists, by the keys and numbers that lead to it."""
    for part in place[:-1]:
        values = values[part]
    del values[place[-1]]


def _flaws_text(flaws: list[_Flaw]) -> str:
    """One sentence on what has a wrong value."""
    keys = [".".join(map(str, place)) for place, _ in reversed(flaws)]
    if len(flaws) > 1:
        return f"The settings {listed(keys)} have wrong values; their defaults are used."
    return f"The setting {keys[0]} has a wrong value ({flaws[0][1]}); its default is used."


def _merge(table: Any, values: dict[str, Any]) -> None:
    """Write `values` into a TOML table without touching what it does not name."""
    for key, value in values.items():
        if value is None:
            table.pop(key, None)  # TOML has no null: an unset option is an absent key
        elif isinstance(value, dict):
            if key not in table:
                table[key] = tomlkit.table()
            _merge(table[key], value)
        elif table.get(key) != value:
            table[key] = value
