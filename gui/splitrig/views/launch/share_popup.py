"""How to use a running engine from another program: address, key, lines to copy."""

import sys

from PySide6.QtCore import QEvent, QPoint, Qt, Slot
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLineEdit, QVBoxLayout, QWidget

from splitrig.core.attached import far_host, is_attached
from splitrig.core.engine import EngineStatus
from splitrig.core.engine_words import model_stem
from splitrig.core.share import Way, lines_for
from splitrig.views.theme import Theme
from splitrig.views.widgets.code_block import CodeBlock
from splitrig.views.widgets.segmented import Segmented
from splitrig.views.widgets.texts import IconButton, text_label

WIDTH_PX = 560
WAYS = tuple(Way)
LANGUAGES = {Way.CURL: "bash", Way.PYTHON: "python", Way.ENVIRONMENT: "bash"}
LOCAL = "Only programs on this computer reach it."
KEYLESS = "This engine takes no key: every program on this computer may use it."
ATTACHED = (
    "This Ollama takes no key: every program on this computer may use it, and other machines where "
    "it was started for them."
)


class SharePopup(QFrame):
    """Address and key, and what curl, Python or the environment need."""

    def __init__(self, theme: Theme, parent: QWidget) -> None:
        super().__init__(parent, Qt.WindowType.Popup)
        self._status = EngineStatus()
        self.setProperty("panel", "raised")
        self.setFixedWidth(WIDTH_PX)
        self.setAccessibleName("Use this engine in another program")
        self.address = QLineEdit()
        self.key = QLineEdit()
        self.reveal = IconButton(theme, "eye", "", small=True, hint="Show the key")
        self.reveal.setCheckable(True)
        self.reveal.toggled.connect(self._on_reveal)
        self.where = text_label(theme, "", "note", role="muted")
        self.where.setWordWrap(True)
        self.ways = Segmented([way.value for way in WAYS])
        self.ways.chosen.connect(self._show_lines)
        self.code = CodeBlock(theme, "bash", "")
        self.copies: dict[str, IconButton] = {}
        column = QVBoxLayout(self)
        column.setContentsMargins(16, 14, 16, 16)
        column.setSpacing(10)
        column.addWidget(text_label(theme, "Use it in another program", weight=600))
        for label, field in (("Address", self.address), ("Key", self.key)):
            field.setReadOnly(True)
            field.setFont(theme.font("note", mono=True))
            field.setAccessibleName(label)
            name = text_label(theme, label, "note", role="muted")
            name.setFixedWidth(56)
            name.setBuddy(field)
            copy = IconButton(theme, "copy", "", small=True, hint=f"Copy: {label.lower()}")
            copy.clicked.connect(lambda _checked=False, shown=field: _copy(shown.text()))
            self.copies[label] = copy
            row = QHBoxLayout()
            row.setSpacing(8)
            row.addWidget(name)
            row.addWidget(field, 1)
            if field is self.key:
                row.addWidget(self.reveal)
            row.addWidget(copy)
            column.addLayout(row)
        column.addWidget(self.where)
        column.addWidget(self.ways, 0, Qt.AlignmentFlag.AlignLeft)
        column.addWidget(self.code)

    def show_status(self, status: EngineStatus) -> None:
        """Take the engine that is shared."""
        if status == self._status:
            return
        self._status = status
        self.address.setText(f"{status.url}/v1" if status.url else "")
        self.key.setText(status.api_key or "")
        self.key.setEnabled(status.api_key is not None)
        self.reveal.setEnabled(status.api_key is not None)
        self.copies["Key"].setEnabled(status.api_key is not None)
        self.reveal.setChecked(False)
        self._on_reveal(shown=False)
        self.where.setText(_where(status))
        self._show_lines()

    def open_below(self, button: QWidget) -> None:
        """Show under the button, its left edges in line."""
        self._fit()
        self.move(button.mapToGlobal(QPoint(0, button.height() + 6)))
        self.show()
        self.ways.setFocus()

    @Slot(bool)
    def _on_reveal(self, shown: bool) -> None:  # noqa: FBT001 - the signal's own argument
        mode = QLineEdit.EchoMode.Normal if shown else QLineEdit.EchoMode.Password
        self.key.setEchoMode(mode)
        hint = "Hide the key" if shown else "Show the key"
        self.reveal.setToolTip(hint)
        self.reveal.setAccessibleName(hint)

    @Slot()
    def _show_lines(self) -> None:
        way = WAYS[self.ways.current]
        status = self._status
        # others on the network are who such lines are given to
        url = status.network_urls[0] if status.network_urls else status.url or ""
        model = status.served_model or model_stem(status)
        text = lines_for(way, url, status.api_key, model, windows=sys.platform == "win32")
        self.code.set_code(LANGUAGES[way], text)
        self._fit()

    def event(self, event: QEvent) -> bool:
        """Stay as high as what is in it: the lines take their height after they are shown."""
        done = super().event(event)
        if event.type() is QEvent.Type.LayoutRequest:
            self._fit()
        return done

    def _fit(self) -> None:
        """The hint counts a line that wraps as two; only the height for the width is right."""
        self.resize(WIDTH_PX, self.heightForWidth(WIDTH_PX))


def _where(status: EngineStatus) -> str:
    if host := far_host(status):
        return f"It runs at {host} and takes no key: every program that reaches it may use it."
    if is_attached(status):
        return ATTACHED
    if status.network_urls:
        return f"Other machines reach it at {' or '.join(status.network_urls)}, with the key."
    return LOCAL if status.api_key is not None else KEYLESS


def _copy(text: str) -> None:
    QGuiApplication.clipboard().setText(text)
