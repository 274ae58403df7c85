"""The notice bar: what happened with its number, what to do, and the details folded away."""

from html import escape

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QPlainTextEdit,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from splitrig.views.theme import Theme
from splitrig.views.widgets.texts import IconButton, IconLabel, set_role

ICONS = {
    "info": ("info", "accent_text"),
    "hint": ("lightbulb", "accent_text"),
    "success": ("check-circle", "success"),
    "warning": ("warning", "warning"),
    "danger": ("x-circle", "danger"),
}


class NoticeBar(QFrame):
    """One sentence that matters, with an action, a fold for raw lines, and a way to close it.

    Signals:
        action_triggered: The action's button was pressed.
        closed: The user put the notice away; it is hidden already.
    """

    action_triggered = Signal()
    closed = Signal()

    def __init__(
        self,
        theme: Theme,
        *,
        closable: bool = True,
        stacked: bool = False,
        parent: QWidget | None = None,
    ) -> None:
        """Make an empty bar.

        Args:
            theme: Colours and icons.
            closable: It has a cross.
            stacked: The detail stands under the title, not behind it.
            parent: Qt parent.
        """
        super().__init__(parent)
        self._theme = theme
        self._stacked = stacked
        self._title = self._detail = ""
        self.severity = "info"
        self.setProperty("notice", "info")
        self._icon = IconLabel(theme, "info", 18)
        self._text = QLabel()
        self._text.setTextFormat(Qt.TextFormat.RichText)
        self._text.setWordWrap(True)
        self._text.setFont(theme.font())
        self._text.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self._text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._action = QPushButton()
        self._action.setProperty("small", "true")
        self._action.clicked.connect(self.action_triggered)
        self._fold = QPushButton("Details")
        self._fold.setProperty("small", "true")
        self._fold.setProperty("kind", "quiet")
        self._fold.setCheckable(True)
        self._fold.toggled.connect(self._on_fold)
        self._close = IconButton(theme, "x", kind="quiet", small=True, hint="Close this notice")
        self._close.clicked.connect(self._on_close)
        self._close.setVisible(closable)
        self._lines = QPlainTextEdit()
        self._lines.setReadOnly(True)
        self._lines.setFont(theme.font("note", mono=True))
        self._lines.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self._lines.setFixedHeight(168)
        self._lines.setAccessibleName("Details")
        self._lines.hide()
        self._build()
        theme.changed.connect(self._on_theme)

    def _build(self) -> None:
        row = QHBoxLayout()
        row.setSpacing(12)
        top = Qt.AlignmentFlag.AlignTop if self._stacked else Qt.AlignmentFlag.AlignVCenter
        row.addWidget(self._icon, 0, top)
        row.addWidget(self._text, 1)
        row.addWidget(self._fold)
        row.addWidget(self._action)
        row.addWidget(self._close)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(12, 8, 8, 8)
        layout.setSpacing(8)
        layout.addLayout(row)
        layout.addWidget(self._lines)

    def show_notice(
        self,
        severity: str,
        title: str,
        detail: str = "",
        *,
        action: str = "",
        details: str = "",
    ) -> None:
        """Show the notice.

        Args:
            severity: `info`, `hint`, `success`, `warning` or `danger` (`Severity` will do).
            title: What happened, number first.
            detail: What it costs and the way out.
            action: Label of the button; empty hides it.
            details: Raw lines for the fold; empty hides the fold.
        """
        self.severity = str(severity)
        self._title, self._detail = title, detail
        set_role(self, self.severity, "notice")
        self._icon.set_icon(*ICONS.get(self.severity, ICONS["info"]))
        self._action.setText(action)
        self._action.setAccessibleName(action)
        self._action.setVisible(bool(action))
        self._fold.setChecked(False)
        self._fold.setVisible(bool(details))
        self._lines.setPlainText(details)
        self.setAccessibleName(f"{title} {detail}".strip())
        self._on_theme()
        self.show()

    def focus_action(self) -> None:
        """Let the keyboard go on at the action, or where there is none at the cross."""
        (self._close if self._action.isHidden() else self._action).setFocus()

    @property
    def title(self) -> str:
        """The sentence shown."""
        return self._title

    @property
    def detail(self) -> str:
        """What stands behind or under it."""
        return self._detail

    @Slot()
    def _on_theme(self) -> None:
        muted = self._theme.colour("muted").name()
        title = f'<span style="font-weight:500">{escape(self._title)}</span>'
        if not self._detail:
            self._text.setText(title)
            return
        size = self._theme.font_size("note").size
        between = "<br>" if self._stacked else " "
        style = f"color:{muted}" + (f";font-size:{size}px" if self._stacked else "")
        self._text.setText(f'{title}{between}<span style="{style}">{escape(self._detail)}</span>')

    @Slot(bool)
    def _on_fold(self, open_: bool) -> None:  # noqa: FBT001 - the signal's own argument
        self._lines.setVisible(open_)
        self._fold.setText("Hide details" if open_ else "Details")

    @Slot()
    def _on_close(self) -> None:
        self.hide()
        self.closed.emit()
