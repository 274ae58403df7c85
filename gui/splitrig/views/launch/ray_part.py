"""Other machines for vLLM: the Ray cluster that joins them."""

from collections.abc import Sequence

from PySide6.QtCore import Signal, Slot
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QPushButton, QSpinBox, QVBoxLayout, QWidget

from splitrig.core.errors import SplitRigError
from splitrig.core.ray import DEFAULT_PORT, WARNING, RayState, holds_text, join_command
from splitrig.core.share import LOOPBACK
from splitrig.core.vllm import Cluster
from splitrig.views.theme import Theme
from splitrig.views.widgets.switch import Switch
from splitrig.views.widgets.texts import IconButton, pad_spin_box, set_role, text_label

ABOUT = (
    "vLLM joins machines with Ray, whose head runs on this one: look for a head that was started "
    "already, or start it here."
)
ALONE = "No other machine has joined yet: run this line there, then look again."
JOIN = "On every further machine, in vLLM's environment:"


class RayPart(QWidget):
    """Where the head is, what the cluster holds, and how other machines join.

    Signals:
        look_wanted: `Cluster` to look at.
        start_wanted: `Cluster` whose head is to be started here.
        stop_wanted: The head that was started here is to end.
        switched: `bool`: the cards of the other machines take part, or not.

    Attributes:
        address: This machine's address as the others reach it.
        port: Of Ray's head.
        look: Look for a head.
        start: Start the head here, or end it.
        use: The cards of the other machines take part.
        state: What was found.
        join: The line for the other machines.
        copy: Copies it.
        warning: What to know about the network.
    """

    look_wanted = Signal(object)
    start_wanted = Signal(object)
    stop_wanted = Signal()
    switched = Signal(bool)

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._has_head = False
        self._make(theme)
        head = QHBoxLayout()
        head.setSpacing(8)
        head.addWidget(self.address, 1)
        head.addWidget(self.port)
        head.addWidget(self.look)
        head.addWidget(self.start)
        self._join_row = QWidget()
        joins = QHBoxLayout(self._join_row)
        joins.setContentsMargins(0, 0, 0, 0)
        joins.addWidget(self.join, 1)
        joins.addWidget(self.copy)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 4)
        column.setSpacing(6)
        column.addLayout(head)
        for widget in (self.state, self._join_words, self._join_row, self.use, self.warning):
            column.addWidget(widget)
        self._show_found(found=False, others=False)
        self.show_addresses(())
        self.look.clicked.connect(self._on_look)
        self.start.clicked.connect(self._on_start)
        self.copy.clicked.connect(self._on_copy)
        self.use.toggled.connect(self.switched)

    def _make(self, theme: Theme) -> None:
        self.address = QComboBox()
        self.address.setAccessibleName("This machine's address for the others")
        self.address.setMinimumContentsLength(8)
        self.port = QSpinBox()
        self.port.setRange(1, 65535)
        self.port.setValue(DEFAULT_PORT)
        self.port.setAccessibleName("Port of Ray's head")
        self.port.setFixedWidth(84)
        pad_spin_box(self.port)
        self.look = QPushButton("Look")
        self.start = QPushButton("Start Ray")
        for button in (self.look, self.start):
            button.setProperty("small", "true")  # the row has to fit the column of a small window
        self.use = Switch(theme, "Use the other machines' cards")
        self.state = text_label(theme, ABOUT, "note", role="muted")
        self._join_words = text_label(theme, JOIN, "note", role="muted")
        self.join = text_label(theme, "", "note", mono=True)
        self.copy = IconButton(theme, "copy", small=True, hint="Copy the line")
        self.warning = text_label(theme, WARNING, "note", role="warning")
        for label in (self.state, self.join, self.warning):
            label.setWordWrap(True)

    def show_addresses(self, addresses: Sequence[str]) -> None:
        """Offer this machine's addresses on its networks."""
        self.address.clear()
        self.address.addItems([*addresses, LOOPBACK])

    def show_news(
        self,
        cluster: Cluster,
        state: RayState | None,
        error: SplitRigError | None,
        *,
        has_head: bool,
    ) -> None:
        """Say what was found at a head, or why nothing was."""
        self._has_head = has_head
        others = state.others(cluster.host_ip) if state is not None else ()
        text = ABOUT
        if error is not None:
            text = f"{error.message} {error.hint}".strip()
        elif state is not None:
            text = holds_text(state) if others else ALONE
        self.state.setText(text)
        set_role(self.state, "danger" if error is not None else "muted")
        self.join.setText(join_command(cluster) if state is not None else "")
        self._show_found(found=state is not None, others=bool(others))
        self._show_busy(busy=False)

    def _show_found(self, *, found: bool, others: bool) -> None:
        for widget in (self._join_row, self.warning):
            widget.setVisible(found)
        self._join_words.setVisible(found and others)
        self.use.setVisible(others)
        if not others:
            self.use.setChecked(False)

    def _show_busy(self, *, busy: bool) -> None:
        self.look.setEnabled(not busy)
        self.start.setEnabled(not busy)
        self.start.setText("Stop Ray" if self._has_head else "Start Ray")
        for widget in (self.address, self.port):
            widget.setEnabled(not busy and not self._has_head)

    def _cluster(self) -> Cluster:
        return Cluster(host_ip=self.address.currentText(), port=self.port.value())

    def _wait(self, words: str) -> None:
        self.state.setText(words)
        set_role(self.state, "muted")
        self._show_busy(busy=True)

    @Slot()
    def _on_look(self) -> None:
        self._wait("Looking …")
        self.look_wanted.emit(self._cluster())

    @Slot()
    def _on_start(self) -> None:
        if self._has_head:
            self._wait("Ray stops …")
            self.stop_wanted.emit()
        else:
            self._wait("Ray starts …")
            self.start_wanted.emit(self._cluster())

    @Slot()
    def _on_copy(self) -> None:
        QGuiApplication.clipboard().setText(self.join.text())
