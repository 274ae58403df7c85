"""Cards of other machines, below this machine's: a line each, and one to add a machine."""

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QHBoxLayout, QLineEdit, QPushButton, QVBoxLayout, QWidget

from splitrig.core.errors import EngineError
from splitrig.core.remote import DEFAULT_PORT, RemoteEndpoint, RemoteState
from splitrig.core.units import MISSING, gib_text
from splitrig.views.launch.ray_part import RayPart
from splitrig.views.launch.remote_choice import LOOKING, RemoteEntry
from splitrig.views.theme import Theme
from splitrig.views.widgets.card_chip import CardChip
from splitrig.views.widgets.switch import Switch
from splitrig.views.widgets.texts import ElidedLabel, IconButton, line, set_role, text_label

NOTHING = (
    "A machine that runs ggml-rpc-server, or SplitRig with 'Lend this machine's cards' in its "
    "Settings, can carry layers."
)
INDENT_PX = 46
"""What stands below a name begins where the chip does."""


class _RemoteRow(QWidget):
    """Switch, chip, name and free memory; below them link, state and what is wrong.

    Signals:
        removed: `RemoteEndpoint` of its server.
    """

    removed = Signal(object)

    def __init__(self, theme: Theme, entry: RemoteEntry) -> None:
        super().__init__()
        self.endpoint = entry.endpoint
        self.card_id = entry.card.id if entry.card is not None else ""
        self.switch = Switch(theme)
        self._chip = CardChip(theme)
        self._name = ElidedLabel(text_label(theme, weight=500))
        self._free = text_label(theme, weight=500)
        self._unit = text_label(theme, "GiB free", "note", role="muted")
        self.remove = IconButton(
            theme, "x", kind="quiet", small=True, hint=f"Forget {entry.endpoint}"
        )
        self.remove.clicked.connect(lambda: self.removed.emit(self.endpoint))
        top = QHBoxLayout()
        top.setSpacing(10)
        for widget in (self.switch, self._chip):
            top.addWidget(widget)
            if not self.card_id:
                widget.hide()
        top.addWidget(self._name, 1)
        top.addWidget(self._free)
        top.addSpacing(-5)
        top.addWidget(self._unit)
        top.addSpacing(-4)
        top.addWidget(self.remove)
        self.words = text_label(theme, "", "note", role="muted")
        self.trouble = text_label(theme, "", "note", role="warning")
        self.trouble.setWordWrap(True)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 4, 0, 6)
        column.setSpacing(2)
        column.addLayout(top)
        for label in (self.words, self.trouble):
            label.setContentsMargins(INDENT_PX if self.card_id else 0, 0, 0, 0)
            column.addWidget(label)

    def show_entry(self, entry: RemoteEntry) -> None:
        """Bring the line up to date."""
        card = entry.card
        self._name.setText(card.name if card is not None else str(entry.endpoint))
        set_role(self._name, "" if card is not None and card.used else "muted")
        trouble = entry.trouble if entry.first and entry.state != LOOKING else ""
        state = "" if trouble or entry.state == RemoteState.FREE else entry.state
        self.words.setText(" · ".join(filter(None, (entry.link, state, entry.cost))))
        self.words.setToolTip(entry.link_details)
        self.words.setVisible(bool(self.words.text()))
        self.trouble.setText(trouble)
        self.trouble.setVisible(bool(trouble))
        self.remove.setVisible(entry.first)
        free = gib_text(card.free_bytes) if card is not None else MISSING
        self._free.setText(free)
        for label in (self._free, self._unit):
            label.setVisible(free != MISSING)
        if card is None:
            return
        self._chip.set_number(card.number)
        self.switch.setAccessibleName(f"Use card {card.number}, {card.name}")
        self.switch.setAccessibleDescription(card.reason)
        self.switch.setToolTip(card.reason)
        self.switch.setEnabled(not card.reason)
        self.switch.blockSignals(True)  # noqa: FBT003 - Qt's own signature
        self.switch.setChecked(card.used)
        self.switch.blockSignals(False)  # noqa: FBT003 - Qt's own signature


class _AddLine(QWidget):
    """Where the address of a machine is typed; Enter takes it, Escape closes it.

    Signals:
        entered: `RemoteEndpoint`.
        closed: The user does not want to add one after all.
    """

    entered = Signal(object)
    closed = Signal()

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.field = QLineEdit()
        self.field.setPlaceholderText(f"192.168.1.7:{DEFAULT_PORT}")
        self.field.setAccessibleName("Address of the machine, host and port")
        self.field.setFixedHeight(32)
        self.add = QPushButton("Add")
        self.error = text_label(theme, "", "note", role="danger")
        self.error.setWordWrap(True)
        self.error.hide()
        row = QHBoxLayout()
        row.setSpacing(8)
        row.addWidget(self.field, 1)
        row.addWidget(self.add)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 4, 0, 6)
        column.setSpacing(4)
        column.addLayout(row)
        column.addWidget(self.error)
        self.field.returnPressed.connect(self._on_entered)
        self.field.textEdited.connect(self._on_edited)
        self.add.clicked.connect(self._on_entered)

    def show_error(self, text: str) -> None:
        """Say why the address was not taken; nothing takes the words away again."""
        self.error.setText(text)
        self.error.setVisible(bool(text))
        set_role(self.field, "true" if text else "false", "invalid")

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Escape closes the line."""
        if event.key() == Qt.Key.Key_Escape:
            self.closed.emit()
            return
        super().keyPressEvent(event)

    @Slot()
    def _on_edited(self) -> None:
        self.show_error("")

    @Slot()
    def _on_entered(self) -> None:
        try:
            endpoint = RemoteEndpoint.parse(self.field.text())
        except EngineError as error:
            self.show_error(f"{error.message} {error.hint}".strip())
            return
        self.entered.emit(endpoint)


class RemotePart(QWidget):
    """The list of other machines' cards.

    Signals:
        switched: `str, bool`: this card is to be used, or not.
        added: `RemoteEndpoint` of a server the user named.
        removed: `RemoteEndpoint` of a server to be forgotten.
        look_wanted: Look at all servers again.

    Attributes:
        add: Opens the line for an address.
        look: Look again.
        entry: That line.
        warning: What to know about the network.
        ray: What stands there instead for vLLM.
    """

    switched = Signal(str, bool)
    added = Signal(object)
    removed = Signal(object)
    look_wanted = Signal()

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._rows: list[_RemoteRow] = []
        self._known: set[RemoteEndpoint] = set()
        self.look = QPushButton("Look again")
        self.add = QPushButton("Add a machine…")
        for button in (self.look, self.add):
            button.setProperty("kind", "quiet")
            button.setProperty("small", "true")
        self.add.setToolTip(NOTHING)
        head = QHBoxLayout()
        head.setSpacing(4)
        head.addWidget(text_label(theme, "Other machines", weight=500))
        head.addStretch(1)
        head.addWidget(self.look)
        head.addWidget(self.add)
        self.words = text_label(theme, "", "note", role="muted")
        self.words.setWordWrap(True)
        self._list = QVBoxLayout()
        self._list.setSpacing(0)
        self.entry = _AddLine(theme)
        self.entry.hide()
        self.warning = text_label(theme, "", "note", role="warning")
        self.warning.setWordWrap(True)
        self.warning.hide()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 6, 0, 4)
        column.setSpacing(4)
        column.addLayout(head)
        column.addWidget(self.words)
        column.addLayout(self._list)
        column.addWidget(self.entry)
        column.addWidget(self.warning)
        self.ray = RayPart(theme)
        self.ray.hide()
        column.addWidget(self.ray)
        self.add.clicked.connect(self._on_add)
        self.look.clicked.connect(self.look_wanted)
        self.entry.entered.connect(self._on_entered)
        self.entry.closed.connect(self.close_entry)

    @property
    def rows(self) -> list[_RemoteRow]:
        """The lines, in order."""
        return list(self._rows)

    def show_entries(
        self, entries: Sequence[RemoteEntry], *, closed: str, warnings: Sequence[str]
    ) -> None:
        """Show the cards of other machines; lines are made anew only when others are there.

        Args:
            entries: What stands in the list.
            closed: Why the engine chosen can use none of them; empty when it can.
            warnings: What to know about the network.
        """
        keys = [(entry.endpoint, entry.card.id if entry.card else "") for entry in entries]
        if [(row.endpoint, row.card_id) for row in self._rows] != keys:
            self._make_rows(entries)
        self._known = {entry.endpoint for entry in entries}
        for row, entry in zip(self._rows, entries, strict=True):
            row.show_entry(entry)
            row.setVisible(not closed)
        self.look.setVisible(bool(entries) and not closed)
        self.look.setEnabled(not all(entry.state == LOOKING for entry in entries))
        self.add.setVisible(not closed)
        if closed:
            self.close_entry()
        said = closed if self.ray.isHidden() else ""
        self.words.setText(said or ("" if entries or self.entry.isHidden() else NOTHING))
        self.words.setVisible(bool(self.words.text()))
        self.warning.setText("\n".join(warnings))
        self.warning.setVisible(bool(warnings) and not closed)

    def _make_rows(self, entries: Sequence[RemoteEntry]) -> None:
        while (item := self._list.takeAt(0)) is not None:
            if (old := item.widget()) is not None:
                old.hide()
                old.deleteLater()
        self._rows = []
        for entry in entries:
            if self._rows:
                self._list.addWidget(line())
            row = _RemoteRow(self._theme, entry)
            row.switch.toggled.connect(
                lambda on, card_id=row.card_id: self.switched.emit(card_id, on)
            )
            row.removed.connect(self.removed)
            self._rows.append(row)
            self._list.addWidget(row)

    @Slot()
    def close_entry(self) -> None:
        """Close the line for an address."""
        self.entry.hide()
        self.words.setVisible(self.words.text() != NOTHING)

    @Slot()
    def _on_add(self) -> None:
        self.entry.show()
        if not self._rows:
            self.words.setText(NOTHING)
            self.words.show()
        self.entry.show_error("")
        self.entry.field.clear()
        self.entry.field.setFocus()

    @Slot(object)
    def _on_entered(self, endpoint: RemoteEndpoint) -> None:
        if endpoint in self._known:
            self.entry.show_error(f"{endpoint} stands in the list already.")
            return
        self.close_entry()
        self.added.emit(endpoint)
