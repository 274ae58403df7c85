"""The split: as numbers, as a bar, by free memory, or even."""

from collections.abc import Sequence

from PySide6.QtCore import Signal, Slot
from PySide6.QtWidgets import QHBoxLayout, QLineEdit, QPushButton, QWidget

from splitrig.core.engine_rules import EngineRules
from splitrig.core.errors import SplitError
from splitrig.core.split import parse_split, split_text
from splitrig.core.split_mode import LAYER, NONE, WITHIN
from splitrig.core.vllm_layout import Layout
from splitrig.views.launch.card_choice import CardChoice
from splitrig.views.launch.layout_choice import LayoutChoice
from splitrig.views.theme import Theme
from splitrig.views.widgets.split_bar import SplitBar, SplitCard
from splitrig.views.widgets.texts import Panel, set_role, text_label

FIELD_TIP = "One number for each card, such as 3,1 or 12.4 : 7.6"
EQUAL = "tensor parallel gives every card the same"
MANY_CARDS = 3
"""With more the field needs the room of the words beside it."""


class SplitPanel(Panel):
    """Field, Auto, Even and the bar; an invalid text changes nothing.

    Signals:
        changed: `tuple[float, ...]`: the shares the user wants.
        auto_wanted: Follow free memory.
        even_wanted: The same share for every card.
        handle_changed: Another handle has the focus; its fit range is wanted.
        layout_wanted: `Layout` that the user picked for vLLM, or `None` for Auto.

    Attributes:
        layouts: That choice; shown for vLLM on several cards.
    """

    changed = Signal(object)
    auto_wanted = Signal()
    even_wanted = Signal()
    handle_changed = Signal()
    layout_wanted = Signal(object)

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent=parent)
        self._cards: tuple[SplitCard, ...] = ()
        self._narrow = self._many = False
        self.field = QLineEdit()
        self.field.setFont(theme.font("body", 600))
        self.field.setAccessibleName("Split, one number for each card")
        self.field.setToolTip(FIELD_TIP)
        self.field.setFixedHeight(32)
        self.field.setMinimumWidth(104)
        self.field.textEdited.connect(self._on_edited)
        self.field.editingFinished.connect(self._on_finished)
        self._hint = text_label(theme, "share of the layers", "note", role="muted")
        self.auto = QPushButton("Auto")
        self.even = QPushButton("Even")
        for button, tip in (
            (self.auto, "Shares by free memory; also a double click on the bar"),
            (self.even, "The same share for every card"),
        ):
            button.setProperty("small", "true")
            button.setToolTip(tip)
        self.auto.clicked.connect(self.auto_wanted)
        self.even.clicked.connect(self.even_wanted)
        self.bar = SplitBar(theme)
        self.bar.moved.connect(self.changed)
        self.bar.auto_wanted.connect(self.auto_wanted)
        self.bar.field_wanted.connect(self._on_field_wanted)
        self.bar.handle_changed.connect(self._on_handle)
        self.error = text_label(theme, "", "note", role="danger")
        self.error.setWordWrap(True)
        self.error.hide()
        self._closed = ""
        self._mode = LAYER
        self.why = text_label(theme, "", "note", role="muted")
        self.why.setWordWrap(True)
        self.why.hide()
        self.layouts = LayoutChoice(theme)
        self.layouts.chosen.connect(self.layout_wanted)
        row = QHBoxLayout()
        row.setSpacing(8)
        row.addWidget(text_label(theme, "Split", weight=600))
        row.addSpacing(4)
        row.addWidget(self.field, 1)
        row.addWidget(self._hint)
        row.addStretch(0)
        row.addWidget(self.auto)
        row.addWidget(self.even)
        self.body.addLayout(row)
        self.body.addWidget(self.layouts)
        self.body.addWidget(self.error)
        self.body.addWidget(self.why)
        self.body.addWidget(self.bar)
        self.body.setContentsMargins(16, 10, 16, 8)

    def show_cards(self, cards: Sequence[CardChoice]) -> None:
        """The cards that take part."""
        self._cards = tuple(SplitCard(number=c.number, name=c.name) for c in cards)
        self.bar.set_cards(self._cards)
        self._many = len(cards) > MANY_CARDS
        self.field.setMaximumWidth(104 + 60 * max(len(cards) - 2, 0))
        self._show_hint()

    def show_rules(self, rules: EngineRules) -> None:
        """Where the engine decides by itself there is nothing to set or to show: say why."""
        self._closed = rules.no_ratio
        for widget in (self.field, self.auto, self.even, self.bar):
            widget.setVisible(not self._closed)
        self.why.setText(self._closed)
        self.why.setVisible(bool(self._closed))
        if self._closed:
            self._show_error(None)
        self._show_hint()

    def show_mode(self, mode: str) -> None:
        """Say what a share is a share of; with everything on one card there is none."""
        self._mode = mode
        self.bar.set_within(within=mode in WITHIN)

    def show_split(
        self, shares: Sequence[float], n_slots: int, *, auto: bool, equal: bool = False
    ) -> None:
        """Show the shares; the text stays while the user types in it.

        Args:
            shares: Per card.
            n_slots: Layers to share out.
            auto: They follow free memory.
            equal: The layout picked gives every card the same.
        """
        alone = self._mode == NONE
        several = len(shares) > 1 and not alone and not equal
        self.field.setEnabled(several)
        self.auto.setEnabled(several and not auto)
        self.even.setEnabled(several)
        reason = ""
        if self._closed:
            reason = "the engine decides"
        elif not shares:
            reason = "no card takes part"
        elif not n_slots:
            reason = "no layer is to lie on the cards"
        elif equal and len(shares) > 1:
            reason = EQUAL
            shares = (1.0,) * len(shares)
        elif alone and len(shares) > 1:
            reason = "everything lies on the first card"
            shares = (1.0, *(0.0 for _ in shares[1:]))
        of_what = "share of every layer" if self._mode in WITHIN else "share of the layers"
        words = "shares by free memory" if auto and several else of_what
        self._hint.setText(reason or words)
        self.bar.close_with(reason)
        self.bar.show_layers(())
        self.bar.set_stage(1)
        self.bar.set_within(within=self._mode in WITHIN)
        self.bar.show_split(shares, n_slots)
        if not self.field.hasFocus() or not self.field.isModified():
            self.field.setText(split_text(shares))
            self.field.setCursorPosition(0)
            self._show_error(None)

    @property
    def hint(self) -> str:
        """The words beside the field."""
        return self._hint.text()

    def show_layout(self, layout: Layout, layers: Sequence[int]) -> None:
        """Show how vLLM will use the cards.

        Args:
            layout: Tensor × pipeline parallel; with the former alone cards divide every layer.
            layers: Layers of each card; the same for all of a stage.
        """
        self._hint.setText(layout.words)
        self.bar.show_layers(layers)
        self.bar.show_split([float(n) for n in layers], sum(layers))
        self.bar.set_within(within=layout.tp > 1 and layout.pp == 1)
        if layout.pp > 1:
            self.bar.set_stage(layout.tp)

    def set_narrow(self, *, narrow: bool) -> None:
        """Leave out the words beside the field."""
        self._narrow = narrow
        self._show_hint()

    def _show_hint(self) -> None:
        """Where there is no field there is room for the words."""
        self._hint.setVisible(bool(self._closed) or (not self._narrow and not self._many))

    @Slot(str)
    def _on_edited(self, text: str) -> None:
        """Each valid text counts at once; an incomplete one is not scolded while typing."""
        try:
            shares = parse_split(text, len(self._cards))
        except SplitError:
            self._show_error(None)
            return
        self._show_error(None)
        self.changed.emit(shares)

    @Slot()
    def _on_finished(self) -> None:
        if not self.field.isModified():
            return
        try:
            shares = parse_split(self.field.text(), len(self._cards))
        except SplitError as error:
            self._show_error(error)
            return
        self.field.setModified(False)
        self._show_error(None)
        self.changed.emit(shares)

    def _show_error(self, error: SplitError | None) -> None:
        set_role(self.field, "true" if error else "false", "invalid")
        self.error.setText(error.message if error else "")
        self.error.setVisible(error is not None)

    @Slot()
    def _on_field_wanted(self) -> None:
        self.field.setFocus()
        self.field.selectAll()

    @Slot()
    def _on_handle(self) -> None:
        self.handle_changed.emit()
