"""Keeps the settings in a TOML file: versioned, written atomically, unknown keys kept."""

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


def config_dir() -> Path:
    """Folder of the settings."""
    return Path(platformdirs.user_config_dir(APP, appauthor=False))


def log_dir() -> Path:
    """Folder of the engines' logs."""
    return Path(platformdirs.user_log_dir(APP, appauthor=False))


class SettingsStore:
    """Reads and writes `settings.toml`.

    A file that cannot be understood is never overwritten unasked: it is kept beside the new one
    as `settings.toml.broken`.
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
            data = tomlkit.parse(self.path.read_text(encoding="utf-8")).unwrap()
            settings = Settings.model_validate(data)
        except FileNotFoundError:
            return Settings()
        except (OSError, UnicodeDecodeError) as error:
            raise StoreError(
                f"The settings could not be read: {error}.",
                "The defaults are used; mend the file's permissions to get yours back.",
            ) from error
        except TOMLKitError as error:
            raise StoreError(
                f"{self.path} is not valid TOML: {error}.",
                "The defaults are used; the file is kept as settings.toml.broken when you change "
                "a setting.",
            ) from error
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"])
            raise StoreError(
                f"The setting {key} has a wrong value: {first['msg']}.",
                "The defaults are used; the file is kept as settings.toml.broken when you change "
                "a setting.",
            ) from error
        if settings.version > VERSION:
            raise StoreError(
                f"The settings were written by a newer SplitRig (layout {settings.version}).",
                "The defaults are used; update SplitRig to get yours back.",
            )
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

    def _document(self) -> tomlkit.TOMLDocument:
        """The present file, so that its comments and unknown keys live on."""
        try:
            return tomlkit.parse(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return tomlkit.document()
        except (TOMLKitError, UnicodeDecodeError):
            self.path.replace(self.path.with_name("settings.toml.broken"))
            return tomlkit.document()


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
