"""The strip on top of every page: a slim memory bar per card, the engine, tok/s now."""

from pathlib import Path

from PySide6.QtCore import QRectF, QSize, Qt, Slot
from PySide6.QtGui import QFont, QFontMetrics, QFontMetricsF, QPainter, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QSizePolicy, QWidget

from splitrig.core.engine import EngineStatus, Phase
from splitrig.core.engine_words import model_stem
from splitrig.core.gpu import Rig
from splitrig.core.units import MISSING, gib_text, number_text
from splitrig.core.usage import Usage, usage_of
from splitrig.views.theme import Theme
from splitrig.views.widgets.badge import Badge
from splitrig.views.widgets.graph_data import GraphCard, cards_of
from splitrig.views.widgets.graph_paint import paint_chip, paint_usage
from splitrig.views.widgets.state_pill import StatePill
from splitrig.views.widgets.texts import IconLabel, line, text_label

HEIGHT_PX = 48
NAMES_UP_TO = 4
NARROW_BELOW_PX = 1000
_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
_LEFT = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter


class StripCard(QWidget):
    """One card: chip, name, used of total, bar. What has no room is left out, the name first."""

    def __init__(self, theme: Theme, card: GraphCard, *, dense: bool, parent: QWidget) -> None:
        super().__init__(parent)
        self._theme = theme
        self.card = card
        self._dense = dense
        self._usage = Usage(total_bytes=None, used_bytes=None, engine_bytes=0)
        self._lost = False
        self.setAccessibleName(f"VRAM of card {card.number}, {card.name}")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMaximumWidth(86 if dense else 200)
        self.setFixedHeight(28)
        theme.changed.connect(self.update)

    def sizeHint(self) -> QSize:
        """As wide as there is room for."""
        return QSize(self.maximumWidth(), 28)

    def minimumSizeHint(self) -> QSize:
        """Chip and one number."""
        return QSize(52, 28)

    @property
    def text(self) -> str:
        """The numbers as shown where there is room for all."""
        used, total = gib_text(self._usage.used_bytes), gib_text(self._usage.total_bytes)
        return "lost" if self._lost else f"{used} / {total} GiB"

    def show_usage(self, usage: Usage, *, lost: bool) -> None:
        """Take a new reading; painted again only when a number or a pixel can differ."""
        if (usage, lost) != (self._usage, self._lost):
            self._usage, self._lost = usage, lost
            self.setToolTip(f"{self.card.name}: {self.text}")
            self.setAccessibleDescription(self.text)
            self.update()

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Numbers from the right, then the name if it fits."""
        theme = self._theme
        painter = QPainter(self)
        line = QRectF(0, 0, self.width(), 14)
        paint_chip(painter, theme, QRectF(0, 0, 14, 14), self.card.number, hollow=self._lost)
        font, strong = theme.font("axis"), theme.font("axis", 500)
        plain, bold = QFontMetricsF(font), QFontMetricsF(strong)
        room = self.width() - 14 - 5
        used = "lost" if self._lost else gib_text(self._usage.used_bytes)
        total = f"/ {gib_text(self._usage.total_bytes)}" + ("" if self._dense else " GiB")
        tail = 0.0
        used_px = bold.horizontalAdvance(used)
        if not self._lost and used_px + 3 + plain.horizontalAdvance(total) <= room:
            painter.setFont(font)
            painter.setPen(theme.colour("muted"))
            painter.drawText(line, _RIGHT, total)
            tail = plain.horizontalAdvance(total) + 3
        painter.setFont(strong)
        painter.setPen(theme.colour("danger" if self._lost else "text"))
        painter.drawText(line.adjusted(0, 0, -tail, 0), _RIGHT, used)
        name_room = room - tail - used_px - 6
        if not self._dense and name_room >= 40:
            name = bold.elidedText(self.card.name, Qt.TextElideMode.ElideRight, name_room)
            painter.setPen(theme.colour("muted" if self._lost else "text"))
            painter.drawText(line.adjusted(20, 0, 0, 0), _LEFT, name)
        bar = QRectF(0, 19, self.width(), 8)
        paint_usage(painter, theme, bar, self._usage, self.devicePixelRatioF())


class Strip(QFrame):
    """Stays on every page. Slots take readings, engine state and speed."""

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._rig: Rig | None = None
        self._status = EngineStatus()
        self._engines: tuple[EngineStatus, ...] = ()
        self._model: tuple[Path, str] | None = None
        self.cards: list[StripCard] = []
        self.setFixedHeight(HEIGHT_PX)
        self.setAccessibleName("Rig and engine now")
        self._none_icon = IconLabel(theme, "cpu", 16, "muted")
        self.none = text_label(theme, "No card found", "note", role="muted")
        self._cards_row = QHBoxLayout()
        self._cards_row.setContentsMargins(0, 0, 0, 0)
        self.demo = Badge(theme, "Demo rig", "accent")
        self.demo.setToolTip("The readings are made up; the engine and its answers are real.")
        self.model = text_label(theme, "", "note", role="muted")
        self.state = StatePill(theme)
        self.more = text_label(theme, "", "note", role="muted")
        self.rate = text_label(theme, MISSING)
        self.rate.setFont(_rate_font(theme))
        self.rate.setAlignment(_RIGHT)
        self.rate.setAccessibleName("Tokens per second now")
        self.rate.setMinimumWidth(QFontMetrics(self.rate.font()).horizontalAdvance("188.8"))
        unit = text_label(theme, "tok/s", "note", role="muted")
        unit.setContentsMargins(0, 6, 0, 0)  # both stand on one base line
        divider = line(vertical=True)
        divider.setFixedHeight(28)
        row = QHBoxLayout(self)
        row.setContentsMargins(20, 0, 20, 1)
        row.setSpacing(12)
        row.addWidget(self._none_icon)
        row.addWidget(self.none)
        row.addLayout(self._cards_row, 1000)
        row.addStretch(1)
        for widget in (self.demo, self.model, self.state, self.more, divider):
            row.addWidget(widget)
        speed = QHBoxLayout()
        speed.setSpacing(6)
        speed.addWidget(self.rate)
        speed.addWidget(unit)
        row.addLayout(speed)
        self.demo.hide()
        self.model.hide()
        self.more.hide()
        self._show_state()
        self._show_none(shown=False)
        theme.changed.connect(self.update)

    # Slots

    @Slot(object)
    def show_rig(self, rig: Rig) -> None:
        """Take a reading."""
        self._rig = rig
        cards = cards_of(rig)
        if [c.card for c in self.cards] != list(cards):
            self._make_cards(cards)
        for widget, gpu in zip(self.cards, rig.gpus, strict=True):
            sample = rig.samples.get(gpu.id)
            usage = usage_of(gpu, sample, self._engines)
            widget.show_usage(usage, lost=sample is not None and sample.lost)
        self._show_none(shown=not cards)
        self.demo.setVisible(rig.demo)

    @Slot(object)
    def show_engine(self, status: EngineStatus) -> None:
        """Take the state of the engine shown."""
        self._status = status
        self._show_state()

    @Slot(object)
    def show_engines(self, engines: tuple[EngineStatus, ...]) -> None:
        """Take the state of all that run, to divide the memory."""
        self._engines = engines
        self._show_state()
        if self._rig is not None:
            self.show_rig(self._rig)

    @Slot(object, str)
    def show_model(self, path: Path, name: str) -> None:
        """Learn a model's name; an engine with another file shows that file's name."""
        self._model = (path, name)
        self._show_state()

    @Slot(object)
    def show_rate(self, tok_s: float | None) -> None:
        """Tokens per second now; `None` when none are made."""
        text = number_text(tok_s, 1)
        if text != self.rate.text():
            self.rate.setText(text)
            self.rate.setToolTip("No answer is being written." if tok_s is None else "")

    # Parts

    def _make_cards(self, cards: tuple[GraphCard, ...]) -> None:
        dense = len(cards) > NAMES_UP_TO
        for old in self.cards:
            self._cards_row.removeWidget(old)
            old.deleteLater()
        self._cards_row.setSpacing(12 if dense else 20)
        self.cards = [StripCard(self._theme, c, dense=dense, parent=self) for c in cards]
        for widget in self.cards:
            self._cards_row.addWidget(widget, 1)
            widget.show()
        self._show_state()

    def _show_none(self, *, shown: bool) -> None:
        self.none.setVisible(shown)
        self._none_icon.setVisible(shown)

    def _show_state(self) -> None:
        """The pill says what the engine does; the model's name stands before it if it fits."""
        status = self._status
        if not status.phase.active and self._engines:
            status = self._engines[0]
        self.state.show_status(status)
        others = [s for s in self._engines if s.slot != status.slot]
        self.more.setText(f"+{len(others)}")
        self.more.setVisible(bool(others))
        self.more.setToolTip(
            "\n".join(f"Engine {s.slot}: {model_stem(s)}, {s.phase.value}" for s in others)
        )
        name = ""
        if status.phase.active and status.request is not None:
            path = status.request.model
            name = self._model[1] if self._model and self._model[0] == path else path.stem
        roomy = self.width() >= NARROW_BELOW_PX and len(self.cards) <= NAMES_UP_TO
        metrics = QFontMetricsF(self.model.font())
        shown = metrics.elidedText(name, Qt.TextElideMode.ElideMiddle, 180)
        if self.model.text() != shown:
            self.model.setText(shown)
            self.model.setToolTip(name)
        self.model.setVisible(bool(name) and roomy)
        if not any(s.phase is Phase.READY for s in (status, *self._engines)):
            self.show_rate(None)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """In a small window the model's name gives way."""
        super().resizeEvent(event)
        self._show_state()

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Ground and the line below."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), self._theme.colour("surface"))
        painter.fillRect(0, self.height() - 1, self.width(), 1, self._theme.colour("border"))


def _rate_font(theme: Theme) -> QFont:
    """20 px, between a page title and the one big number."""
    font = theme.font("title", 600)
    font.setPixelSize(20)
    return font
