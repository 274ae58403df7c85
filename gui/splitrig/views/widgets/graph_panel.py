"""The panel with the graphs of the last minutes: legend, choice of graphs, time range."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PySide6.QtCore import QSignalBlocker, Qt, QTimer, Signal, Slot
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QMenu, QPushButton, QVBoxLayout, QWidget

from splitrig.core.gpu import Rig
from splitrig.core.history import History, Rate, Window
from splitrig.core.units import number_text
from splitrig.views.theme import Theme
from splitrig.views.widgets.graph_data import (
    DEFAULT_KEYS,
    RANGES_S,
    ROWS,
    Key,
    Row,
    cards_of,
    last_finite,
    scale_top,
    series_of,
)
from splitrig.views.widgets.graph_frame import GraphFrame, Value
from splitrig.views.widgets.legend import NAMES_UP_TO, Legend
from splitrig.views.widgets.segmented import Segmented

if TYPE_CHECKING:
    from PySide6.QtGui import QAction

    from splitrig.views.widgets.graph_data import (
        GraphCard,
    )
    from splitrig.views.widgets.graph_plots import PlotStack

VALUES_UP_TO = 4
"""With more cards the values do not fit beside a graph; the table above has them."""


class HistoryPanel(QFrame):
    """Graphs on one time axis. Nothing is drawn while it cannot be seen.

    The frame is there at once; the curves follow in the next turn of the event loop after the
    first show, because that is when pyqtgraph is imported.

    Signals:
        choice_changed: The graphs or the range shown are others now.
    """

    choice_changed = Signal()

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._rig: Rig | None = None
        self._history: History | None = None
        self._cards: tuple[GraphCard, ...] = ()
        self._highlighted: str | None = None
        self._keys: tuple[Key, ...] = DEFAULT_KEYS
        self.stack: PlotStack | None = None
        self.setProperty("panel", "true")
        self.frame = GraphFrame(theme)
        self.frame.setAccessibleName("Graphs of the last minutes")
        self.legend = Legend(theme)
        self.legend.hidden_changed.connect(self._on_legend)
        self.legend.highlighted.connect(self._on_highlighted)
        self._build_timer = QTimer(self)
        self._build_timer.setSingleShot(True)
        self._build_timer.setInterval(0)
        self._build_timer.timeout.connect(self._on_build)
        self._lay_out()
        self._apply_rows()
        theme.changed.connect(self._on_theme)
        self._on_theme()

    def _lay_out(self) -> None:
        title = QLabel("History")
        title.setFont(self._theme.font("body", 600))
        self._menu = QMenu(self)
        self._actions: dict[Key, QAction] = {}
        for row in ROWS:
            action = self._menu.addAction(row.menu)
            action.setCheckable(True)
            action.setChecked(row.key in self._keys)
            action.toggled.connect(self._on_action)
            self._actions[row.key] = action
        self.chooser = QPushButton()
        self.chooser.setProperty("small", "true")
        self.chooser.setAccessibleName("Choose the graphs")
        self.chooser.setLayoutDirection(Qt.LayoutDirection.RightToLeft)
        self.chooser.clicked.connect(self._on_chooser)
        self.ranges = Segmented(list(RANGES_S), current=list(RANGES_S.values()).index(300))
        self.ranges.chosen.connect(self._on_range)
        self.ranges.setAccessibleName("Time range")
        head = QHBoxLayout()
        head.setSpacing(12)
        head.addWidget(title)
        head.addWidget(self.legend)
        head.addStretch(1)
        head.addWidget(self.chooser)
        head.addWidget(self.ranges)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(16, 10, 16, 8)
        layout.setSpacing(6)
        layout.addLayout(head)
        layout.addWidget(self.frame, 1)

    # What is shown

    @property
    def keys(self) -> tuple[Key, ...]:
        """The graphs shown, in order."""
        return self._keys

    @property
    def seconds(self) -> int:
        """Length of the time axis."""
        return self.frame.seconds

    def choose(self, keys: Sequence[Key]) -> None:
        """Show these graphs, in the order of the list of graphs; at least one stays."""
        chosen = tuple(row.key for row in ROWS if row.key in keys)
        if not chosen or chosen == self._keys:
            self._sync_actions()
            return
        self._keys = chosen
        self._apply_rows()
        self._sync_actions()
        self.choice_changed.emit()

    def choose_range(self, seconds: int) -> None:
        """Show the last `seconds`."""
        if seconds != self.frame.seconds:
            self.frame.set_seconds(seconds)
            if self.stack is not None:
                self.stack.retheme()
            if seconds in RANGES_S.values():
                self.ranges.set_current(list(RANGES_S.values()).index(seconds))
            self._refresh()
            self.choice_changed.emit()

    @Slot(object)
    def show_rig(self, rig: Rig) -> None:
        """Take cards, sizes and limits; the curves come with the history."""
        self._rig = rig
        cards = cards_of(rig)
        if cards == self._cards:
            return
        self._cards = cards
        self.legend.set_cards(cards, with_names=len(cards) <= NAMES_UP_TO)
        self._apply_rows()
        self._dress()

    @Slot(object)
    def show_history(self, history: History) -> None:
        """Draw the newest rows, if anybody can see them."""
        self._history = history
        self._refresh()

    def showEvent(self, event: QShowEvent) -> None:
        """Catch up with what came while hidden; the first time, build the plots."""
        super().showEvent(event)
        if self.stack is None:
            self._build_timer.start()
        else:
            self._refresh()

    @Slot()
    def _on_build(self) -> None:
        if self.stack is not None or not self.isVisible():
            return
        # Late on purpose, see the class.
        from splitrig.views.widgets.graph_plots import PlotStack

        self.stack = PlotStack(self._theme, self.frame)
        self._dress()
        self._refresh()

    def _seen(self) -> bool:
        return self.isVisible() and not self.window().isMinimized()

    def _refresh(self) -> None:
        """Draw now: curves, scales, marks, values, description."""
        if self._history is None or self.stack is None or not self._seen():
            return
        now_s = self._history.last_s
        if now_s is None:
            return
        window = self._history.window(self.frame.seconds)
        self.stack.show_window(window, now_s, self._top_of)
        self.frame.set_marks(window.marks, now_s)
        values = [self._values_of(row, window) for row in self.frame.rows]
        self.frame.set_values(values)
        self.frame.setAccessibleDescription(self._description(values))

    def _top_of(self, key: Key, peak: float) -> float:
        return scale_top(key, self._rig, peak)

    def _values_of(self, row: Row, window: Window) -> tuple[Value, ...]:
        cards: Sequence[GraphCard | None] = self._cards
        if isinstance(row.key, Rate):
            cards = (None,)
        values = []
        for card in cards:
            if card is not None and card.id in self.legend.hidden:
                continue
            series = series_of(window, row.key, card.id if card else "")
            newest = None if series is None else last_finite(series)
            values.append(Value(card, number_text(newest, row.decimals)))
        return tuple(values)

    def _description(self, values: Sequence[tuple[Value, ...]]) -> str:
        parts = []
        for row, numbers in zip(self.frame.rows, values, strict=True):
            said = ", ".join(
                f"{v.card.name} {v.text} {row.unit}" if v.card else f"{v.text} {row.unit}"
                for v in numbers
            )
            parts.append(f"{row.title}: {said}")
        return "; ".join(parts)

    # Choices

    def _apply_rows(self) -> None:
        rows = [row for row in ROWS if row.key in self._keys]
        n = max(len(self._cards), 1)
        self.frame.set_rows(rows, n_values=n if n <= VALUES_UP_TO else 0)
        if self.stack is not None:
            self.stack.build(self.frame.rows)
            self._dress()
            self._refresh()
        self.chooser.setText(f"Graphs: {len(rows)}")

    def _sync_actions(self) -> None:
        for key, action in self._actions.items():
            with QSignalBlocker(action):
                action.setChecked(key in self._keys)

    def _dress(self) -> None:
        if self.stack is not None:
            self.stack.set_cards(self._cards, self.legend.hidden, self._highlighted)

    @Slot()
    def _on_chooser(self) -> None:
        self._menu.popup(self.chooser.mapToGlobal(self.chooser.rect().bottomLeft()))

    @Slot()
    def _on_action(self) -> None:
        self.choose([key for key, action in self._actions.items() if action.isChecked()])

    @Slot(int)
    def _on_range(self, index: int) -> None:
        self.choose_range(list(RANGES_S.values())[index])

    @Slot()
    def _on_legend(self) -> None:
        self._dress()
        self._refresh()

    @Slot(object)
    def _on_highlighted(self, card_id: str | None) -> None:
        self._highlighted = card_id
        self._dress()

    @Slot()
    def _on_theme(self) -> None:
        self.chooser.setIcon(self._theme.icon("caret-down", "muted"))
        if self.stack is not None:
            self.stack.retheme()
            self._refresh()
