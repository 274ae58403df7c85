"""Lending this machine's cards: which, at which address, and who uses them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QPushButton, QSpinBox, QVBoxLayout, QWidget

from splitrig.core.errors import SplitRigError
from splitrig.core.lending import LendPhase, LendRequest, LendStatus, state_text
from splitrig.core.remote import DEFAULT_PORT
from splitrig.core.remote_words import exposure_warning
from splitrig.core.share import LOOPBACK
from splitrig.views.theme import Theme
from splitrig.views.widgets.switch import Switch
from splitrig.views.widgets.texts import Panel, pad_spin_box, set_role, text_label

ABOUT = (
    "Another computer's llama.cpp can then put layers on them, one engine at a time. "
    "It needs the same llama.cpp."
)
HERE = "This computer only"


@dataclass(frozen=True, slots=True)
class LendChoice:
    """A device that can be lent: the engine's name, and the words shown."""

    name: str
    label: str


PROCESSOR = LendChoice("CPU", "Processor, slow, in the computer's memory")


class LendPanel(Panel):
    """Devices, address and port; Start, Stop and the state.

    Signals:
        lend_wanted: `LendRequest`.
        stop_wanted: The user wants the cards back.

    Attributes:
        address: Where to listen.
        port: TCP port.
        warning: What to know about that address.
        start: Start or Stop.
        state: What is going on.
        problem: Why it is not.
    """

    lend_wanted = Signal(object)
    stop_wanted = Signal()

    def __init__(
        self,
        theme: Theme,
        addresses: Callable[[], Sequence[str]] = tuple,
        parent: QWidget | None = None,
    ) -> None:
        """Build the panel.

        Args:
            theme: The look.
            addresses: Gives this machine's addresses on its networks.
            parent: Qt parent.
        """
        super().__init__(parent=parent)
        self._theme = theme
        self._addresses = addresses
        self._choices: tuple[LendChoice, ...] = ()
        self._switches: dict[str, Switch] = {}
        self._status = LendStatus()
        self.body.setSpacing(12)
        self.state = text_label(theme, "", "note", role="muted")
        self.add_head(text_label(theme, "Lend this machine's cards", weight=600), self.state)
        about = text_label(theme, ABOUT, "note", role="muted")
        about.setWordWrap(True)
        self.body.addWidget(about)
        self._rows = QVBoxLayout()
        self._rows.setSpacing(8)
        self.body.addLayout(self._rows)
        self.body.addLayout(self._foot(theme))
        self.warning = text_label(theme, "", "note", role="warning")
        self.problem = text_label(theme, "", "note", role="danger")
        for label in (self.warning, self.problem):
            label.setWordWrap(True)
            label.hide()
            self.body.addWidget(label)
        self.show_devices(())
        self._show_addresses()
        self.show_status(LendStatus())

    def _foot(self, theme: Theme) -> QHBoxLayout:
        self.address = QComboBox()
        self.address.setAccessibleName("Address to lend at")
        self.address.setMinimumWidth(220)
        self.address.currentIndexChanged.connect(self._on_address)
        self.port = QSpinBox()
        self.port.setRange(0, 65535)
        self.port.setValue(DEFAULT_PORT)
        self.port.setSpecialValueText("a free one")
        self.port.setAccessibleName("Port to lend at")
        self.port.setFixedWidth(118)
        pad_spin_box(self.port)
        self.start = QPushButton("Start lending")
        self.start.clicked.connect(self._on_start)
        row = QHBoxLayout()
        row.setSpacing(10)
        row.addWidget(text_label(theme, "At", "note", role="muted"))
        row.addWidget(self.address)
        row.addWidget(text_label(theme, "Port", "note", role="muted"))
        row.addWidget(self.port)
        row.addStretch(1)
        row.addWidget(self.start)
        return row

    @property
    def switches(self) -> dict[str, Switch]:
        """The switch of each device, by the engine's name."""
        return dict(self._switches)

    def show_devices(self, choices: Sequence[LendChoice]) -> None:
        """Offer these cards, and the processor; what was switched stays so."""
        offered = (*choices, PROCESSOR)
        if offered == self._choices:
            return
        before = {name: switch.isChecked() for name, switch in self._switches.items()}
        known = bool([c for c in self._choices if c != PROCESSOR])
        self._choices, self._switches = offered, {}
        while (item := self._rows.takeAt(0)) is not None:
            if (old := item.widget()) is not None:
                old.hide()
                old.deleteLater()
        for choice in offered:
            switch = Switch(self._theme)
            usual = choice != PROCESSOR or not choices
            switch.setChecked(before.get(choice.name, usual) if known else usual)
            switch.setAccessibleName(f"Lend {choice.name}, {choice.label}")
            switch.toggled.connect(self._on_switched)
            self._switches[choice.name] = switch
            box = QWidget()
            row = QHBoxLayout(box)
            row.setContentsMargins(0, 0, 0, 0)
            row.setSpacing(10)
            row.addWidget(switch)
            row.addWidget(text_label(self._theme, choice.name, weight=500))
            row.addWidget(text_label(self._theme, choice.label, "note", role="muted"), 1)
            self._rows.addWidget(box)
        self._show_open()

    @Slot(object)
    def show_status(self, status: LendStatus) -> None:
        """Follow the server that lends."""
        self._status = status
        self.state.setText(state_text(status))
        serving = status.phase in (LendPhase.LISTENING, LendPhase.SERVING)
        set_role(self.state, "success" if serving else "muted")
        failure = status.failure
        self._show_problem(f"{failure.message} {failure.hint}" if failure is not None else "")
        self._show_open()

    @Slot(object)
    def show_error(self, error: SplitRigError) -> None:
        """Say why lending could not even be tried."""
        self._show_problem(f"{error.message} {error.hint}")

    def showEvent(self, event: QShowEvent) -> None:
        """The networks may be others than last time."""
        if not self._status.phase.active:
            self._show_addresses()
        super().showEvent(event)

    def _show_problem(self, text: str) -> None:
        self.problem.setText(text.strip())
        self.problem.setVisible(bool(text))

    def _show_addresses(self) -> None:
        """Offer this machine's addresses; the one that was chosen stays, if it is there still."""
        chosen = self.address.currentData()
        self.address.blockSignals(True)  # noqa: FBT003 - Qt's own signature
        self.address.clear()
        self.address.addItem(HERE, LOOPBACK)
        for address in self._addresses():
            self.address.addItem(f"The network, {address}", address)
        self.address.setCurrentIndex(max(self.address.findData(chosen), 0))
        self.address.blockSignals(False)  # noqa: FBT003 - Qt's own signature
        self._on_address()

    def _show_open(self) -> None:
        """Lock the choices while something is lent; the button says what it would do."""
        active = self._status.phase.active
        for widget in (self.address, self.port, *self._switches.values()):
            widget.setEnabled(not active)
        chosen = any(switch.isChecked() for switch in self._switches.values())
        self.start.setText("Stop lending" if active else "Start lending")
        self.start.setEnabled(self._status.phase is not LendPhase.STOPPING and (active or chosen))

    @Slot()
    def _on_switched(self) -> None:
        self._show_open()

    @Slot()
    def _on_address(self) -> None:
        text = exposure_warning(self.address.currentData(), lending=True)
        self.warning.setText(text)
        self.warning.setVisible(bool(text))
        self.address.setItemData(0, "An SSH tunnel can lead there", Qt.ItemDataRole.ToolTipRole)

    @Slot()
    def _on_start(self) -> None:
        if self._status.phase.active:
            self.stop_wanted.emit()
            return
        self._show_problem("")
        host = self.address.currentData()
        self.lend_wanted.emit(
            LendRequest(
                devices=tuple(n for n, switch in self._switches.items() if switch.isChecked()),
                host=host,
                port=self.port.value(),
                on_network=host != LOOPBACK,
            )
        )
