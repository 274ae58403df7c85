"""Which cards take part."""

from collections.abc import Sequence

from PySide6.QtCore import Signal, Slot
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from splitrig.core.engine_rules import EngineRules
from splitrig.core.units import MISSING, gib_text
from splitrig.views.launch.card_choice import CardChoice
from splitrig.views.launch.remote_part import RemotePart
from splitrig.views.theme import Theme
from splitrig.views.widgets.card_chip import CardChip
from splitrig.views.widgets.switch import Switch
from splitrig.views.widgets.texts import ElidedLabel, Panel, line, set_role, text_label


class _CardRow(QWidget):
    """Switch, chip, name, a word about it, free memory."""

    def __init__(self, theme: Theme, card_id: str) -> None:
        super().__init__()
        self.card_id = card_id
        self.switch = Switch(theme)
        self._chip = CardChip(theme)
        self._name = text_label(theme, weight=500)
        self._note = ElidedLabel(text_label(theme, "", "note", role="muted"))
        self._free = text_label(theme, weight=500)
        self._unit = text_label(theme, "GiB free", "note", role="muted")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 4, 0, 4)
        row.setSpacing(10)
        row.addWidget(self.switch)
        row.addWidget(self._chip)
        row.addWidget(self._name)
        row.addWidget(self._note, 1)
        row.addWidget(self._free)
        row.addSpacing(-5)
        row.addWidget(self._unit)

    def show_card(self, card: CardChoice, *, can_switch: bool) -> None:
        self.switch.setVisible(can_switch)
        self._chip.set_number(card.number)
        self._name.setText(card.name)
        set_role(self._name, "" if card.used or not can_switch else "muted")
        self._note.setText(card.reason or card.note)
        self._note.setToolTip(card.reason or card.note)
        set_role(self._note, "warning" if card.reason else "muted")
        self._free.setText(gib_text(card.free_bytes))
        self._free.setToolTip("The driver does not report it." if card.free_bytes is None else "")
        self._unit.setVisible(self._free.text() != MISSING)
        self.switch.setAccessibleName(f"Use card {card.number}, {card.name}")
        self.switch.setAccessibleDescription(card.reason)
        self.switch.setEnabled(not card.reason)
        self.switch.blockSignals(True)  # noqa: FBT003 - Qt's own signature
        self.switch.setChecked(card.used)
        self.switch.blockSignals(False)  # noqa: FBT003 - Qt's own signature


class CardsPanel(Panel):
    """One row a card; below this machine's own, those of other machines.

    Signals:
        switched: `str, bool`: this card of this machine is to be used, or not.

    Attributes:
        remote: Cards of other machines.
    """

    switched = Signal(str, bool)

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent=parent)
        self._theme = theme
        self._rows: list[_CardRow] = []
        self._lines: list[QWidget] = []
        self._hint = text_label(theme, "", "note", role="muted")
        self.body.setSpacing(0)
        self.body.setContentsMargins(16, 10, 16, 6)
        self.add_head(text_label(theme, "Cards", weight=600), self._hint)
        self._list = QVBoxLayout()
        self.body.addLayout(self._list)
        self._picks = True
        self._remote_line = line()
        self.body.addWidget(self._remote_line)
        self.remote = RemotePart(theme)
        self.body.addWidget(self.remote)

    @property
    def switches(self) -> list[Switch]:
        """The switches, in the order of the cards."""
        return [row.switch for row in self._rows]

    def show_cards(self, cards: Sequence[CardChoice], n_used: int, n_cards: int) -> None:
        """Show this machine's cards; rows are made anew only when other cards are there.

        Args:
            cards: Those of this machine.
            n_used: How many take part, with those of other machines.
            n_cards: How many there are, with those of other machines.
        """
        if [row.card_id for row in self._rows] != [card.id for card in cards]:
            self._make_rows([card.id for card in cards])
        for row, card in zip(self._rows, cards, strict=True):
            row.show_card(card, can_switch=self._picks)
        parts = f"{n_used} of {n_cards} take part" if n_cards else "no card found"
        self._hint.setText(parts if self._picks else "chosen where Ollama was started")

    def show_rules(self, rules: EngineRules) -> None:
        """Without switches where the engine has chosen its cards already."""
        self._picks = rules.picks_cards
        for part in (self._remote_line, self.remote):
            part.setVisible(self._picks)

    def _make_rows(self, ids: Sequence[str]) -> None:
        for old in (*self._rows, *self._lines):
            self._list.removeWidget(old)
            old.hide()
            old.deleteLater()
        self._rows, self._lines = [], []
        for card_id in ids:
            if self._rows:
                self._lines.append(line())
                self._list.addWidget(self._lines[-1])
            row = _CardRow(self._theme, card_id)
            row.switch.toggled.connect(self._on_toggled)
            self._rows.append(row)
            self._list.addWidget(row)

    @Slot(bool)
    def _on_toggled(self, on: bool) -> None:  # noqa: FBT001 - the signal's own argument
        sender = self.sender()
        for row in self._rows:
            if row.switch is sender:
                self.switched.emit(row.card_id, on)
