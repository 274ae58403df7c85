"""The panel beside the chat: what the rig does while it answers."""

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Slot
from PySide6.QtGui import QPainter, QPaintEvent, QShowEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QScrollArea, QVBoxLayout, QWidget

from splitrig.core.chat import AnswerStats
from splitrig.core.engine import EngineStatus, Phase
from splitrig.core.gpu import Rig
from splitrig.core.history import History
from splitrig.core.units import MISSING, number_text
from splitrig.core.usage import usage_of
from splitrig.views.theme import Theme
from splitrig.views.widgets.graph_data import GraphCard, cards_of
from splitrig.views.widgets.graph_live_paint import CardLine, FirstTokenBars, RateCurve
from splitrig.views.widgets.memory_bar import MemorySwatch
from splitrig.views.widgets.texts import line, text_label

if TYPE_CHECKING:
    from splitrig.views.theme import Kind

WIDTH_PX = 248


class LiveSide(QFrame):
    """tok/s, first tokens, watts, and memory and load per card. Nothing is drawn while hidden."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._rig: Rig | None = None
        self._history: History | None = None
        self._engines: tuple[EngineStatus, ...] = ()
        self._model: object = None
        self.setFixedWidth(WIDTH_PX)
        self.setAccessibleName("Live")
        self.rate = text_label(theme, MISSING, "big", 600)
        self.rate.setAccessibleName("Tokens per second now")
        self.curve = RateCurve(theme)
        self.first = text_label(theme, MISSING, "body", 600)
        self.first.setAccessibleName("Seconds to the first token, last answer")
        self.bars = FirstTokenBars(theme)
        self.prompt = text_label(theme, MISSING, "note", 500)
        self.watts_name = text_label(theme, "All cards", "note", 400, role="muted")
        self.watts = text_label(theme, MISSING, "note", 500)
        self.vram_lines: list[CardLine] = []
        self.load_lines: list[CardLine] = []
        self._vram_box = QVBoxLayout()
        self._load_box = QVBoxLayout()
        self._lay_out()
        theme.changed.connect(self.update)

    def _lay_out(self) -> None:
        theme = self._theme
        body = QWidget()
        body.setProperty("clear", "true")
        column = QVBoxLayout(body)
        column.setContentsMargins(16, 12, 15, 12)
        column.setSpacing(0)
        column.addWidget(text_label(theme, "Live", "body", 600))
        column.addSpacing(8)
        column.addLayout(
            _row(self.rate, text_label(theme, "tok/s", "note", 400, role="muted"), gap=6)
        )
        column.addSpacing(8)
        column.addWidget(self.curve)
        _add_line(column)
        first_row = _row(
            text_label(theme, "First token", "body", 600),
            None,
            self.first,
            text_label(theme, "s", "note", 400, role="muted"),
            gap=5,
        )
        column.addLayout(first_row)
        column.addSpacing(8)
        column.addWidget(self.bars)
        _add_line(column)
        for name, value, unit in (
            (text_label(theme, "Prompt read at", "note", 400, role="muted"), self.prompt, "tok/s"),
            (self.watts_name, self.watts, "W"),
        ):
            unit_label = text_label(theme, unit, "note", 400, role="muted")
            unit_label.setFixedWidth(34)
            column.addLayout(_row(name, None, value, unit_label, gap=5))
            column.addSpacing(6)
        _add_line(column, above=6)
        column.addWidget(text_label(theme, "VRAM", "body", 600))
        column.addSpacing(8)
        self._vram_box.setSpacing(10)
        column.addLayout(self._vram_box)
        column.addSpacing(10)
        column.addLayout(_legend(theme))
        _add_line(column)
        column.addWidget(text_label(theme, "Load", "body", 600))
        column.addSpacing(6)
        self._load_box.setSpacing(4)
        column.addLayout(self._load_box)
        column.addStretch(1)
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        scroll.viewport().setAutoFillBackground(False)
        scroll.setWidget(body)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(1, 0, 0, 0)
        outer.addWidget(scroll)

    # Slots

    @Slot(object)
    def show_rig(self, rig: Rig) -> None:
        """Take a reading; drawn when the panel is in view."""
        self._rig = rig
        if self.isVisible():
            self._refresh()

    @Slot(object)
    def show_history(self, history: History) -> None:
        """Draw the curve anew when the panel is in view."""
        self._history = history
        if self.isVisible():
            self.curve.show_history(history)

    @Slot(object)
    def show_engine(self, status: EngineStatus) -> None:
        """Take the state of the engine that answers; another model starts new bars."""
        model = status.request.model if status.request is not None else None
        if model != self._model:
            self._model = model
            self.bars.clear()
            _set(self.first, MISSING)
            _set(self.prompt, MISSING)
        if status.phase is not Phase.READY:
            self.show_rate(None)

    @Slot(object)
    def show_engines(self, engines: tuple[EngineStatus, ...]) -> None:
        """Take the state of all engines that run, to divide the memory."""
        self._engines = engines
        if self._rig is not None and self.isVisible():
            self._refresh()

    @Slot(object)
    def show_rate(self, tok_s: float | None) -> None:
        """Tokens per second now; `None` when none are made."""
        _set(self.rate, number_text(tok_s, 1))
        self.rate.setToolTip("No answer is being written." if tok_s is None else "")

    @Slot(object)
    def show_stats(self, stats: AnswerStats) -> None:
        """Figures of the answer being written, as far as they are known."""
        self.show_rate(stats.tok_s)
        _set(self.first, number_text(stats.first_token_s, 2))
        if stats.prompt_tok_s is not None:
            _set(self.prompt, number_text(stats.prompt_tok_s))

    @Slot(object)
    def add_answer(self, stats: AnswerStats) -> None:
        """An answer is complete: its first token becomes a bar."""
        self.show_stats(stats)
        if stats.first_token_s is not None:
            self.bars.add(stats.first_token_s)

    def showEvent(self, event: QShowEvent) -> None:
        """Catch up with what came while hidden."""
        super().showEvent(event)
        if self._rig is not None:
            self._refresh()
        if self._history is not None:
            self.curve.show_history(self._history)

    def _refresh(self) -> None:
        rig = self._rig
        if rig is None:
            return
        cards = cards_of(rig)
        if [shown.card for shown in self.vram_lines] != list(cards):
            self._make_lines(cards)
        watts = []
        for vram, load, gpu in zip(self.vram_lines, self.load_lines, rig.gpus, strict=True):
            sample = rig.samples.get(gpu.id)
            usage = usage_of(gpu, sample, self._engines)
            pct = None if sample is None or sample.lost else sample.utilization_pct
            vram.show_reading(usage, pct)
            load.show_reading(usage, pct)
            if sample is not None and sample.power_w is not None:
                watts.append(sample.power_w)
        _set(self.watts, number_text(sum(watts) if watts else None))
        missing = len(cards) - len(watts)
        self.watts.setToolTip(
            f"{missing} of {len(cards)} cards report no power." if missing else ""
        )

    def _make_lines(self, cards: tuple[GraphCard, ...]) -> None:
        for old in (*self.vram_lines, *self.load_lines):
            old.setParent(None)
            old.deleteLater()
        self.vram_lines = [CardLine(self._theme, card, memory=True) for card in cards]
        self.load_lines = [CardLine(self._theme, card, memory=False) for card in cards]
        for vram, load in zip(self.vram_lines, self.load_lines, strict=True):
            self._vram_box.addWidget(vram)
            self._load_box.addWidget(load)
        words = {1: "The card", 2: "Both cards"}
        _set(self.watts_name, words.get(len(cards), f"All {len(cards)} cards"))

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Ground and the line to the left."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), self._theme.colour("surface"))
        painter.fillRect(0, 0, 1, self.height(), self._theme.colour("border"))


def _set(label: QLabel, text: str) -> None:
    """A label that is told its own text still asks for a new layout; so it is not."""
    if label.text() != text:
        label.setText(text)


def _legend(theme: Theme) -> QHBoxLayout:
    """What the fills of the bars mean."""
    row = QHBoxLayout()
    row.setSpacing(5)
    kinds: tuple[tuple[Kind, str], ...] = (
        ("weights", "Engine"),
        ("others", "Others"),
        ("free", "Free"),
    )
    for kind, word in kinds:
        row.addWidget(MemorySwatch(theme, kind, 9))
        row.addWidget(text_label(theme, word, "axis", role="muted"))
        row.addSpacing(7)
    row.addStretch(1)
    return row


def _row(*widgets: QLabel | None, gap: int) -> QHBoxLayout:
    """Labels in a row; `None` is the stretch (at the end when there is none)."""
    row = QHBoxLayout()
    row.setSpacing(gap)
    for widget in widgets:
        if widget is None:
            row.addStretch(1)
        else:
            row.addWidget(widget, 0, Qt.AlignmentFlag.AlignBottom)
    if None not in widgets:
        row.addStretch(1)
    return row


def _add_line(column: QVBoxLayout, *, above: int = 12) -> None:
    column.addSpacing(above)
    column.addWidget(line())
    column.addSpacing(12)
