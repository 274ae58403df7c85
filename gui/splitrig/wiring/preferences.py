"""What the user chose: held in one place and written whenever it changes."""

from PySide6.QtCore import QObject, Signal, Slot

from splitrig.core.errors import StoreError
from splitrig.core.settings import Settings
from splitrig.services.store.settings import SettingsStore


class Preferences(QObject):
    """The settings in use.

    Signals:
        changed: `Settings, Settings`: those of before and those the user set.
        kept: `Settings` with something in them that the program remembers by itself.
        failed: `StoreError`: they could not be written.

    Attributes:
        settings: As they are now.
        load_error: What of the file could not be used; those settings are as they come.
    """

    changed = Signal(object, object)
    kept = Signal(object)
    failed = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._store = SettingsStore()
        self.settings = self._store.load()
        self.load_error = self._store.problem

    @Slot(object)
    def use(self, settings: Settings) -> None:
        """Take what the user set on the settings page."""
        before, self.settings = self.settings, settings
        self._save()
        self.changed.emit(before, settings)

    def keep(self, settings: Settings) -> None:
        """Remember what was chosen elsewhere."""
        self.settings = settings
        self._save()
        self.kept.emit(settings)

    def _save(self) -> None:
        try:
            self._store.save(self.settings)
        except StoreError as error:
            self.failed.emit(error)
