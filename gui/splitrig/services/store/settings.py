"""Keeps the settings in a TOML file: versioned, written atomically, unknown keys kept."""

import errno
import itertools
import os
import tempfile
from pathlib import Path
from typing import Any

import platformdirs
import tomlkit
from pydantic import ValidationError
from tomlkit.exceptions import TOMLKitError

from splitrig.core.errors import StoreError
from splitrig.core.settings import VERSION, Settings

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


class _UnusableError(Exception):
    """The file is there and cannot be used; the words say why."""


class SettingsStore:
    """Reads and writes `settings.toml`.

    A file that cannot be used is never overwritten: it is kept beside the new one as
    `settings.toml.broken`.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.path = (folder or config_dir()) / "settings.toml"

    def load(self) -> Settings:
        """The stored settings; the defaults when there are none yet.

        Raises:
            StoreError: The file cannot be read, is no TOML, has a wrong value or comes from a
                newer version.
        """
        try:
            return _settings_of(self._parsed())
        except FileNotFoundError:
            return Settings()
        except OSError as error:
            raise StoreError(
                f"The settings in {self.path} could not be read: {error.strerror or error}.",
                "The defaults are used; mend the file's permissions to get yours back.",
            ) from error
        except _UnusableError as flaw:
            raise StoreError(
                f"{flaw}.",
                f"The defaults are used; the file is kept as {self.path.name}{BROKEN} as soon as "
                "something is saved.",
            ) from flaw

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

        One that could not be loaded is moved aside first, and none that was moved before is lost.
        """
        try:
            document = self._parsed()
            _settings_of(document)
        except FileNotFoundError:
            return tomlkit.document()
        except _UnusableError:
            self.path.replace(self._aside())
            return tomlkit.document()
        return document

    def _aside(self) -> Path:
        """A name for a file that cannot be used, which no file has yet."""
        names = (f"{self.path.name}{BROKEN}{n or ''}" for n in itertools.count())
        return next(path for path in map(self.path.with_name, names) if not path.exists())


def _settings_of(document: tomlkit.TOMLDocument) -> Settings:
    """The settings of a parsed file.

    Raises:
        _UnusableError: It has a wrong value, or comes from a newer version.
    """
    try:
        settings = Settings.model_validate(document.unwrap())
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise _UnusableError(f"The setting {key} has a wrong value: {first['msg']}") from error
    if settings.version > VERSION:
        raise _UnusableError(
            f"The settings were written by a newer SplitRig (layout {settings.version})"
        )
    return settings


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
