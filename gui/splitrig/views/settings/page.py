"""The settings page, generated from the declarations in core.settings."""

from collections.abc import Callable, Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from PySide6.QtCore import Qt, QTimer, Signal, Slot
from PySide6.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QFileDialog,
    QFrame,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QScrollArea,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from splitrig.core.settings import Settings
from splitrig.views.settings.builds_section import BuildsSection
from splitrig.views.settings.lend_panel import LendPanel
from splitrig.views.theme import Theme
from splitrig.views.widgets.switch import Switch
from splitrig.views.widgets.texts import pad_spin_box, set_role

LLAMA_SERVER = ("engine", "llama_server")
FIELD_PX = 336
"""Paths with their button, and other lines of text, end in one line."""
"""Section and name of the setting that the llama.cpp builds belong to."""


class SettingsPage(QWidget):
    """One panel a section, one row a setting; a change takes effect at once.

    Signals:
        changed: The new `Settings`.

    Attributes:
        builds: The llama.cpp builds, above the settings of the engine.
        lend: Lending this machine's cards, with signals and slots of its own.
    """

    changed = Signal(object)

    def __init__(
        self,
        theme: Theme,
        settings: Settings,
        parent: QWidget | None = None,
        *,
        addresses: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        """Build the page.

        Args:
            theme: The look.
            settings: As they are now.
            parent: Qt parent.
            addresses: Gives this machine's addresses on its networks.
        """
        super().__init__(parent)
        self._theme = theme
        self._settings = settings
        self._files: dict[tuple[str, str], FileField] = {}
        self.builds = BuildsSection(theme)
        self.builds.use_requested.connect(partial(self._store, *LLAMA_SERVER))
        self.builds.file_requested.connect(self._on_file)
        self.builds.grown.connect(self._on_grown)
        title = QLabel("Settings")
        title.setFont(theme.font("title", 600))
        body = QWidget()
        body.setProperty("clear", "true")
        column = QVBoxLayout(body)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(12)
        for name, field in Settings.model_fields.items():
            section = getattr(settings, name)
            if name == LLAMA_SERVER[0]:
                column.addWidget(self.builds)
            if isinstance(section, BaseModel):
                column.addWidget(self._panel(name, field, section))
        self.lend = LendPanel(theme, addresses)
        column.addWidget(self.lend)
        column.addStretch(1)
        self._scroll = scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setWidget(body)
        scroll.setMaximumWidth(760)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(20, 12, 20, 16)
        layout.setSpacing(12)
        layout.addWidget(title)
        layout.addWidget(scroll, 1)

    def _panel(self, section_name: str, section: FieldInfo, values: BaseModel) -> QFrame:
        """A panel with a head and one row for each setting of a section."""
        panel = QFrame()
        panel.setProperty("panel", "true")
        layout = QVBoxLayout(panel)
        layout.setContentsMargins(16, 12, 16, 12)
        layout.setSpacing(12)
        head = QLabel(section.title or section_name)
        head.setFont(self._theme.font("body", 600))
        layout.addWidget(head)
        for name, field in type(values).model_fields.items():
            control = self._control(section_name, name, field, getattr(values, name))
            control.setAccessibleName(field.title or name)
            control.setAccessibleDescription(field.description or "")
            text = QVBoxLayout()
            text.setSpacing(2)
            text.addWidget(QLabel(field.title or name))
            help_text = QLabel(field.description or "")
            help_text.setProperty("role", "muted")
            help_text.setFont(self._theme.font("note"))
            help_text.setWordWrap(True)
            text.addWidget(help_text)
            row = QHBoxLayout()
            row.setSpacing(16)
            row.addLayout(text, 1)
            row.addWidget(control, 0, Qt.AlignmentFlag.AlignVCenter)
            layout.addLayout(row)
        return panel

    def _control(self, section: str, name: str, field: FieldInfo, value: Any) -> QWidget:
        """The widget for one setting, by its type."""
        store = partial(self._store, section, name)
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, StrEnum):
            return _choice(kind, value, store)
        if Path in get_args(kind):
            field_of_file = FileField(value)
            field_of_file.chosen.connect(store)
            self._files[section, name] = field_of_file
            return field_of_file
        if kind is bool:
            return _switch(self._theme, value, store)
        if kind is str:
            return _text_field(value, store)
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        limits = {type(m).__name__: m for m in field.metadata}
        box: QSpinBox | QDoubleSpinBox = QSpinBox() if kind is int else QDoubleSpinBox()
        box.setRange(getattr(limits["Ge"], "ge", 0), getattr(limits["Le"], "le", 100))
        box.setSuffix(f" {extra['unit']}" if "unit" in extra else "")
        if isinstance(box, QDoubleSpinBox):
            box.setDecimals(1)
            box.setSingleStep(float(str(extra.get("step", 1))))
        box.setValue(value)
        box.setMinimumWidth(120)
        box.setFixedHeight(32)
        pad_spin_box(box)
        box.valueChanged.connect(store)
        return box

    def _store(self, section: str, name: str, value: object) -> None:
        """Take a new value over and tell the owner."""
        part = getattr(self._settings, section)
        if getattr(part, name) == value:
            return
        new_part = part.model_copy(update={name: value})
        self._settings = self._settings.model_copy(update={section: new_part})
        self._show_files()
        self.changed.emit(self._settings)

    @Slot(object)
    def show_settings(self, settings: Settings) -> None:
        """Take over what changed elsewhere (recently used models, say)."""
        self._settings = settings
        self._show_files()

    @Slot()
    def show_builds(self) -> None:
        """Bring the llama.cpp builds into view, ready to look for one."""
        self.builds.look.setFocus()
        QTimer.singleShot(0, self, self._scroll_to_builds)  # once the page has its place

    @Slot(object)
    def _on_grown(self, widget: QWidget) -> None:
        """Bring what has just come into view, once it has its place."""
        QTimer.singleShot(0, self, lambda: self._scroll.ensureWidgetVisible(widget, 0, 20))

    def _scroll_to_builds(self) -> None:
        self._scroll.verticalScrollBar().setValue(self.builds.y())

    def _show_files(self) -> None:
        for (section, name), field in self._files.items():
            field.show_path(getattr(getattr(self._settings, section), name))

    @Slot()
    def _on_file(self) -> None:
        self._files[LLAMA_SERVER].choose()


def _choice(kind: type[StrEnum], value: StrEnum, store: Callable[[object], None]) -> QComboBox:
    """A drop-down over an enum."""
    box = QComboBox()
    for member in kind:
        box.addItem(member.value.capitalize(), member)
    box.setCurrentIndex(list(kind).index(value))
    box.setMinimumWidth(120)
    box.currentIndexChanged.connect(lambda i: store(list(kind)[i]))
    return box


def _switch(theme: Theme, value: object, store: Callable[[object], None]) -> Switch:
    """On or off."""
    switch = Switch(theme)
    switch.setChecked(bool(value))
    switch.toggled.connect(store)
    return switch


def _text_field(value: str, store: Callable[[object], None]) -> QLineEdit:
    """A line of text; empty leaves the choice to the program."""
    edit = QLineEdit(value)
    edit.setPlaceholderText("automatic")
    edit.setFixedWidth(FIELD_PX)
    edit.editingFinished.connect(lambda: store(edit.text().strip()))
    return edit


class FileField(QWidget):
    """A path with a button that opens the file dialog; a path without a file is marked.

    Signals:
        chosen: `Path` the user gave, or `None` to leave the choice to the program.
    """

    chosen = Signal(object)

    def __init__(self, value: Path | None) -> None:
        super().__init__()
        self._path = value
        self._edit = QLineEdit("" if value is None else str(value))
        self._edit.setPlaceholderText("automatic")
        self._edit.editingFinished.connect(self._on_edited)
        button = QPushButton("Choose")
        button.clicked.connect(self.choose)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._edit, 1)
        row.addWidget(button)
        self.setFixedWidth(FIELD_PX)
        self.setFocusProxy(self._edit)

    def show_path(self, path: Path | None) -> None:
        """Show what was chosen elsewhere; what is being typed stays."""
        if path != self._path:
            self._path = path
            self._edit.setText("" if path is None else str(path))
            self._mark(None)

    @Slot()
    def choose(self) -> None:
        """Let the user pick a file."""
        name, _ = QFileDialog.getOpenFileName(self, "Choose a file", self._edit.text())
        if name:
            self._edit.setText(name)
            self._on_edited()

    @Slot()
    def _on_edited(self) -> None:
        text = self._edit.text().strip()
        path = Path(text) if text else None
        if path is not None and not path.is_file():
            self._mark(path)
            return
        self._mark(None)
        self._path = path
        self.chosen.emit(path)

    def _mark(self, missing: Path | None) -> None:
        set_role(self._edit, "false" if missing is None else "true", "invalid")
        self._edit.setToolTip("" if missing is None else f"There is no file {missing}")
