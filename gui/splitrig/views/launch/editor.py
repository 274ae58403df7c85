"""The page while nothing runs, or comes up: choices on the left, what follows on the right."""

from collections.abc import Sequence

from PySide6.QtWidgets import QHBoxLayout, QPushButton, QStackedWidget, QVBoxLayout, QWidget

from splitrig.core.engine import Phase
from splitrig.core.plan import Plan
from splitrig.views.launch.address_panel import AddressPanel
from splitrig.views.launch.card_choice import CardChoice
from splitrig.views.launch.cards_panel import CardsPanel
from splitrig.views.launch.knobs_panel import KnobsPanel
from splitrig.views.launch.loading_panel import LoadingPanel
from splitrig.views.launch.model_panel import ModelPanel
from splitrig.views.launch.plan_panel import PlanPanel
from splitrig.views.launch.split_panel import SplitPanel
from splitrig.views.theme import Theme
from splitrig.views.widgets.empty_state import EmptyState
from splitrig.views.widgets.scroll_column import ScrollColumn
from splitrig.views.widgets.texts import IconButton, Panel, text_label

LEFT_PX = 548
NARROW_LEFT_PX = 400
DEMO = "The demo rig has two made-up cards, with a real engine on the processor."
NO_CARD = ("No card to plan for", f"None was found here. {DEMO}")
NONE_USABLE = "The engine can use none of the cards"
ALL_OFF = ("No card takes part", "Switch at least one card on, and the plan is shown here.")


class Editor(QWidget):
    """The two columns and the foot with Start or Stop; the page fills and listens.

    Attributes:
        model: Which model.
        cards: Which cards.
        split: How the layers are shared.
        knobs: The settings below the split.
        address: Port, and whether other machines reach it.
        plan: Verdict, bars, numbers, command.
        loading: Steps of a start.
        empty: What stands there without a model.
        no_card: What stands there without a card to plan for.
        start: Start; open when the plan fits.
        anyway: Start although it does not fit.
        stop: Stop, while an engine comes up.
    """

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._has_model = False
        self.model = ModelPanel(theme)
        self.cards = CardsPanel(theme)
        self.split = SplitPanel(theme)
        self.knobs = KnobsPanel(theme)
        self.address = AddressPanel(theme)
        self.plan = PlanPanel(theme)
        self.loading = LoadingPanel(theme)
        self.empty = EmptyState(
            theme,
            "model",
            "Choose a model",
            "A GGUF file from this machine. Where its layers lie is shown before it loads.",
            action=("folder-plus", "Choose a file"),
            second=("cube", "Demo model"),
        )
        self.no_card = EmptyState(theme, "cards", *NO_CARD, action=("play", "Open the demo rig"))
        self._empty_panel = _filled(self.empty)
        self._no_card_panel = _filled(self.no_card)
        self._column = QWidget()
        inside = QVBoxLayout(self._column)
        inside.setContentsMargins(0, 0, 0, 0)
        inside.setSpacing(12)
        choices: tuple[Panel, ...] = (
            self.model,
            self.cards,
            self.split,
            self.knobs,
            self.address,
        )
        for panel in choices:
            inside.addWidget(panel)
        inside.addStretch(1)
        self._left = ScrollColumn(self._column)
        self._right = QStackedWidget()
        faces: tuple[Panel, ...] = (
            self._empty_panel,
            self._no_card_panel,
            self.plan,
            self.loading,
        )
        for face in faces:
            self._right.addWidget(face)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(16)
        row.addWidget(self._left)
        right = QVBoxLayout()
        right.setSpacing(12)
        right.addWidget(self._right, 1)
        right.addLayout(self._foot(theme))
        row.addLayout(right, 1)

    def _foot(self, theme: Theme) -> QHBoxLayout:
        self.words = text_label(theme, "", "note", role="muted")
        self.words.setWordWrap(True)
        self.anyway = QPushButton("Start anyway")
        self.anyway.setProperty("kind", "quiet")
        self.anyway.setFixedHeight(40)
        self.start = IconButton(theme, "play", "Start", kind="primary")
        self.stop = IconButton(theme, "stop", "Stop")
        foot = QHBoxLayout()
        foot.setSpacing(8)
        foot.addWidget(self.words, 1)
        foot.addWidget(self.anyway)
        for button in (self.start, self.stop):
            button.setProperty("large", "true")
            button.setMinimumWidth(108)
            foot.addWidget(button)
        return foot

    def set_narrow(self, *, narrow: bool) -> None:
        """Two widths of the left column."""
        self._left.setFixedWidth(NARROW_LEFT_PX if narrow else LEFT_PX)
        self.split.set_narrow(narrow=narrow)
        self.knobs.set_narrow(narrow=narrow)

    def show_choices(self, cards: Sequence[CardChoice], *, has_model: bool) -> None:
        """Without a model there is nothing to split and to set, without cards to plan for."""
        usable = [card for card in cards if not card.reason]
        self._has_model = has_model
        self.split.setVisible(has_model and bool(usable))
        self.knobs.setVisible(has_model)
        self.address.setVisible(has_model)
        if usable:
            self.no_card.set_text(*ALL_OFF)
        elif cards:
            reasons = ", ".join(dict.fromkeys(card.reason for card in cards))
            self.no_card.set_text(NONE_USABLE, f"{reasons[:1].upper()}{reasons[1:]}. {DEMO}")
        else:
            self.no_card.set_text(*NO_CARD)
        if self.no_card.action_button is not None:
            self.no_card.action_button.setVisible(not usable)

    def show_state(
        self, phase: Phase, plan: Plan | None, words: str, *, blocked: bool = False
    ) -> None:
        """Lock or open the choices, show the face that belongs to the phase, and the foot."""
        fits = plan is not None and plan.fits and not blocked
        self._column.setEnabled(not phase.active)
        self.start.setVisible(not phase.active)
        self.start.setEnabled(fits)
        self.anyway.setVisible(
            not phase.active and plan is not None and not plan.fits and not blocked
        )
        self.stop.setVisible(phase.active)
        self.stop.setEnabled(phase is not Phase.STOPPING)
        face: Panel = self._no_card_panel if self._has_model else self._empty_panel
        if phase.active:
            face = self.loading
        elif plan is not None:
            face = self.plan
        self._right.setCurrentWidget(face)
        self.words.setText(words)


def _filled(empty: EmptyState) -> Panel:
    """A panel with nothing but an empty state."""
    panel = Panel()
    panel.body.setContentsMargins(0, 0, 0, 0)
    panel.body.addWidget(empty)
    return panel
