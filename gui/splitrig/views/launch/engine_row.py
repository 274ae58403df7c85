"""Which engine: its name and build, what it can do, and the way to another one."""

from PySide6.QtCore import QSize, Qt, Signal, Slot
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QHBoxLayout, QMenu, QVBoxLayout, QWidget

from splitrig.core.engine import EngineKind
from splitrig.core.engine_rules import RULES, EngineRules, rules_of
from splitrig.core.errors import EngineMissingError, SplitRigError
from splitrig.views.theme import Theme
from splitrig.views.widgets.badge import Badge
from splitrig.views.widgets.texts import ElidedLabel, IconButton, set_role, text_label


class EngineRow(QWidget):
    """Name, build, half a sentence, and a menu of all engines.

    Signals:
        chosen: `EngineKind` the user picked.
        builds_wanted: No llama.cpp is here, and the user wants to get one.

    Attributes:
        get: The button for that.
    """

    chosen = Signal(object)
    builds_wanted = Signal()

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._kind, self._unusable = EngineKind.LLAMA_CPP, False
        self.button = IconButton(theme, "caret-down", "llama.cpp", small=True)
        self.button.setLayoutDirection(Qt.LayoutDirection.RightToLeft)
        self.button.setIconSize(QSize(12, 12))
        self.button.clicked.connect(self.open_menu)
        self.badge = Badge(theme)
        self._says = ElidedLabel(text_label(theme, "", "note", role="muted"))
        self.notes = text_label(theme, "", "note", role="muted")
        self.notes.setWordWrap(True)
        row = QHBoxLayout()
        row.setSpacing(10)
        row.addWidget(text_label(theme, "Engine", weight=600))
        row.addWidget(self.button)
        row.addWidget(self.badge)
        row.addWidget(self._says, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        column.addLayout(row)
        column.addWidget(self.notes)
        self.get = IconButton(theme, "download-simple", "Get llama.cpp", small=True)
        self.get.clicked.connect(self.builds_wanted)
        column.addWidget(self.get, 0, Qt.AlignmentFlag.AlignLeft)
        self.menu = QMenu(self)
        self.menu.triggered.connect(self._on_action)
        self.show_engine(EngineKind.LLAMA_CPP)

    def show_engine(
        self,
        kind: EngineKind,
        build: str | None = None,
        error: SplitRigError | None = None,
        lost: tuple[str, ...] = (),
    ) -> None:
        """Show the engine chosen.

        Args:
            kind: Which.
            build: Its build; `None` while it is not known.
            error: Why it cannot be used.
            lost: What did not carry over from the engine chosen before.
        """
        self._kind, self._unusable = kind, error is not None
        rules = rules_of(kind, build)
        self.button.setText(rules.name)
        self.button.setAccessibleName(f"Engine: {rules.name}")
        if error is not None:
            self.badge.set_badge("not usable", "warning", "warning")
        else:
            self.badge.set_badge(build or "")
        self.badge.setVisible(bool(build) or error is not None)
        self._says.setText(rules.says)
        self._says.setToolTip(rules.says)
        words = f"{error.message} {error.hint}".strip() if error is not None else " ".join(lost)
        set_role(self.notes, "warning" if error is not None else "muted")
        self.notes.setText(words)
        self.notes.setVisible(bool(words))
        missing = isinstance(error, EngineMissingError) and kind is EngineKind.LLAMA_CPP
        self.get.setVisible(missing)

    def fill_menu(self) -> QMenu:
        """Every engine with what it does."""
        self.menu.clear()
        self.menu.setToolTipsVisible(True)
        for kind, rules in RULES.items():
            action = self.menu.addAction(_menu_text(rules))
            action.setCheckable(True)
            action.setChecked(kind is self._kind)
            action.setData(kind.value)
        return self.menu

    @Slot()
    def open_menu(self) -> None:
        """Show the other engines."""
        self.fill_menu().popup(self.button.mapToGlobal(self.button.rect().bottomLeft()))

    @Slot(object)
    def _on_action(self, action: QAction) -> None:
        kind = EngineKind(action.data())
        # one that could not be used may have been started or installed meanwhile
        if kind is not self._kind or self._unusable:
            self.chosen.emit(kind)


def _menu_text(rules: EngineRules) -> str:
    return f"{rules.name}\t{rules.says}"  # the tab makes two columns
