"""Where the engine will listen: its port, and whether other machines reach it."""

from PySide6.QtCore import Signal, Slot
from PySide6.QtWidgets import QHBoxLayout, QSpinBox, QWidget

from splitrig.core.engine_rules import EngineRules
from splitrig.core.share import EVERYWHERE, LOOPBACK
from splitrig.views.theme import Theme
from splitrig.views.widgets.switch import Switch
from splitrig.views.widgets.texts import Panel, pad_spin_box, set_role, text_label

HERE = "only programs on this computer reach it"
OPEN = "every machine on your network that has the key can use it, unencrypted"


class AddressPanel(Panel):
    """Port and network.

    Signals:
        changed: Either of them, by the user.
    """

    changed = Signal()

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent=parent)
        self._refusal = ""
        self._port = QSpinBox()
        self._port.setRange(0, 65535)
        self._port.setSpecialValueText("a free one")
        self._port.setAccessibleName("Port")
        self._port.setToolTip("Where the engine listens; 0 takes a free port")
        self._port.setKeyboardTracking(False)
        self._port.setFixedWidth(118)
        pad_spin_box(self._port)
        self._port.valueChanged.connect(self.changed)
        self.network = Switch(theme, "On the network")
        self.network.toggled.connect(self._on_network)
        self._words = text_label(theme, HERE, "note", role="muted")
        self._words.setWordWrap(True)
        label = text_label(theme, "Port", "note", role="muted")
        label.setBuddy(self._port)
        row = QHBoxLayout()
        row.setSpacing(10)
        row.addWidget(label)
        row.addWidget(self._port)
        row.addSpacing(6)
        row.addWidget(self.network)
        row.addStretch(1)
        self._row = row
        self._narrow = False
        self._below: bool | None = None
        self.body.addLayout(row)
        self.set_narrow(narrow=False)

    def set_narrow(self, *, narrow: bool) -> None:
        """The words stand under the switch where there is no room beside it."""
        self._narrow = narrow
        self._place_words()

    def _place_words(self) -> None:
        """A reason takes more room than there is beside the switch."""
        below = self._narrow or bool(self._refusal)
        if below == self._below:
            return
        self._below = below
        self._row.removeWidget(self._words)
        self.body.removeWidget(self._words)
        if below:
            self.body.addWidget(self._words)
        else:
            self._row.insertWidget(self._row.count() - 1, self._words, 100)

    @property
    def port(self) -> int:
        """Wanted TCP port; 0 for a free one."""
        return self._port.value()

    @property
    def host(self) -> str:
        """Address to listen on."""
        return EVERYWHERE if self.network.isChecked() else LOOPBACK

    def set_port(self, port: int) -> None:
        """Want this port, as if the user had typed it."""
        self._port.setValue(port)

    def show_rules(self, rules: EngineRules) -> None:
        """Close the network for an engine whose key does not guard all of it."""
        self._refusal = f"{rules.no_network} {rules.network_way_out}".strip()
        self.network.setEnabled(not self._refusal)
        self._place_words()
        self._port.setEnabled(rules.picks_cards)
        if self._refusal:
            self.network.setChecked(False)
        self._show_words()

    @Slot()
    def _on_network(self) -> None:
        self._show_words()
        self.changed.emit()

    def _show_words(self) -> None:
        on = self.network.isChecked()
        self._words.setText(self._refusal or (OPEN if on else HERE))
        set_role(self._words, "warning" if on else "muted")
        self.network.setAccessibleDescription(self._words.text())
