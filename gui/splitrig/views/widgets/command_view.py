"""The exact command: flags coloured, long paths shortened for the eye, copied in full."""

import sys
from collections.abc import Sequence
from html import escape
from pathlib import PurePath

from PySide6.QtCore import Qt, QTimer, Slot
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QSizePolicy, QWidget

from splitrig.views.theme import Theme
from splitrig.views.widgets.texts import IconButton

COPIED_MS = 1600
MOST_TOGETHER = 44
"""Longest flag with its value, characters, that is kept on one line."""


def quote(word: str, *, windows: bool = sys.platform == "win32") -> str:
    """A word as a shell takes it: single quotes, on Windows double ones."""
    if word and all(c.isalnum() or c in "-_./:,=+@%\\~" for c in word):
        return word if windows or "\\" not in word else "'" + word + "'"
    if windows:
        return '"' + word.replace('"', '\\"') + '"'
    return "'" + word.replace("'", "'\"'\"'") + "'"


def command_text(command: Sequence[str]) -> str:
    """The command on one line, ready for a shell."""
    return " ".join(quote(word) for word in command)


def short_words(command: Sequence[str]) -> list[str]:
    """The command with file names instead of absolute paths, for showing."""
    return [quote(PurePath(w).name if PurePath(w).is_absolute() else w) for w in command]


class CommandView(QFrame):
    """A command in JetBrains Mono with a button that copies it."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._command: tuple[str, ...] = ()
        self.setProperty("code", "true")
        self._text = QLabel()
        self._text.setTextFormat(Qt.TextFormat.RichText)
        self._text.setFont(theme.font("note", mono=True))
        self._text.setWordWrap(True)
        self._text.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        flag = Qt.TextInteractionFlag
        self._text.setTextInteractionFlags(
            flag.TextSelectableByMouse | flag.TextSelectableByKeyboard
        )
        self._text.setAccessibleName("Command")
        self._copy = IconButton(theme, "copy", "Copy", small=True, hint="Copy the whole command")
        self._copy.clicked.connect(self._on_copy)
        self._back = QTimer(self)
        self._back.setSingleShot(True)
        self._back.setInterval(COPIED_MS)
        self._back.timeout.connect(self._on_copied_shown)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(12, 8, 8, 8)
        layout.setSpacing(8)
        layout.addWidget(self._text, 1)
        layout.addWidget(self._copy, 0, Qt.AlignmentFlag.AlignTop)
        theme.changed.connect(self._on_theme)

    @property
    def command(self) -> tuple[str, ...]:
        """What is shown."""
        return self._command

    def set_command(self, command: Sequence[str]) -> None:
        """Show a command, one entry a word."""
        if tuple(command) == self._command:
            return
        self._command = tuple(command)
        self._text.setAccessibleDescription(command_text(command))
        self._text.setToolTip(escape(command_text(command)))
        self._on_theme()

    @Slot()
    def _on_theme(self) -> None:
        """A flag and its value stay on one line."""
        colour = self._theme.colour("accent_text").name()
        pieces: list[str] = []
        for word in short_words(self._command):
            is_flag = word.startswith("-") and not word[1:2].isdigit()
            # hyphens and spaces inside a pair must not break the line
            shown = escape(word).replace("-", "&#8209;").replace(" ", "&nbsp;")
            text = f'<span style="color:{colour}">{shown}</span>' if is_flag else shown
            follows = pieces and pieces[-1].startswith("<span") and "&nbsp;" not in pieces[-1]
            if not is_flag and len(word) > MOST_TOGETHER:
                pieces.append(escape(word))  # or it would run below the button
            elif not is_flag and follows:
                pieces[-1] += "&nbsp;" + text
            else:
                pieces.append(text)
        self._text.setText(" ".join(pieces))

    @Slot()
    def _on_copy(self) -> None:
        QGuiApplication.clipboard().setText(command_text(self._command))
        self._copy.setText("Copied")
        self._back.start()

    @Slot()
    def _on_copied_shown(self) -> None:
        self._copy.setText("Copy")
