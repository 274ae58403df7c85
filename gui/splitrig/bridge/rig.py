"""The cards for the window: the last reading, the history, and what the engine did meanwhile."""

from PySide6.QtCore import QObject, Signal, Slot

from splitrig.bridge.pump import Pump
from splitrig.core.engine import EngineStatus, Phase
from splitrig.core.gpu import Rig
from splitrig.core.history import History, MarkKind
from splitrig.core.link import BusyLinks
from splitrig.services import clock

_LOADING = (Phase.STARTING, Phase.LOADING)


class RigBridge(QObject):
    """Keeps the last reading and the history; telemetry's thread posts the readings.

    Signals:
        sampled: `Rig`, with every reading.
        changed: `Rig`, when cards came, went or were lost, or when the sources' notes changed.
        history_changed: `History`, after each reading that was added to it.

    Attributes:
        rig: The last reading; `None` before the first.
        history: The readings of the last hour.
        links: The PCIe links seen under load, for `core.advice`.
    """

    sampled = Signal(object)
    changed = Signal(object)
    history_changed = Signal(object)

    def __init__(self, pump: Pump, history: History | None = None) -> None:
        super().__init__()
        self.rig: Rig | None = None
        self.history = History() if history is None else history
        self.links = BusyLinks()
        self._rates: tuple[float | None, float | None] = (None, None)
        self._latched: tuple[float | None, float | None] = (None, None)
        self._loading = False
        pump.listen(Rig, self._on_rig)

    @Slot(object, object)
    def set_rates(self, tok_s: float | None, prompt_tok_s: float | None) -> None:
        """Speeds from now on, tokens per second; they go into the next reading.

        0.0 means 'ready and silent', `None` 'no engine'. A speed that lasts shorter than the
        time between two readings (a quick prompt) still reaches the next one.
        """
        rates = (tok_s, prompt_tok_s)
        self._rates = rates
        self._latched = (
            rates[0] or self._latched[0] or rates[0],
            rates[1] or self._latched[1] or rates[1],
        )

    @Slot(object)
    def show_engines(self, engines: tuple[EngineStatus, ...]) -> None:
        """Mark the time engines take to load; a ready one is silent, without one no speed is."""
        loading = any(status.phase in _LOADING for status in engines)
        if loading != self._loading:
            self._loading = loading
            self.mark_started(MarkKind.LOAD) if loading else self.mark_ended(MarkKind.LOAD)
        ready = any(status.phase is Phase.READY for status in engines)
        if ready and self._rates == (None, None):
            self.set_rates(0.0, 0.0)
        if not engines:
            self.mark_ended(MarkKind.PROMPT)
            self.mark_ended(MarkKind.ANSWER)
            self.set_rates(None, None)

    @Slot()
    def start_prompt(self) -> None:
        """A request was sent: the engine reads the prompt."""
        self.mark_started(MarkKind.PROMPT)

    @Slot()
    def start_answer(self) -> None:
        """The first token came: the prompt is read."""
        self.mark_ended(MarkKind.PROMPT)
        self.mark_started(MarkKind.ANSWER)

    @Slot()
    def end_answer(self) -> None:
        """The answer is complete, was stopped, or broke; the engine is silent."""
        self.mark_ended(MarkKind.PROMPT)
        self.mark_ended(MarkKind.ANSWER)
        self.set_rates(0.0, 0.0)

    def mark_started(self, kind: MarkKind) -> None:
        """Begin a span in the history now."""
        self.history.begin(kind, clock.now_s())

    def mark_ended(self, kind: MarkKind) -> None:
        """End a span in the history now; harmless when none is open."""
        self.history.end(kind, clock.now_s())

    def _on_rig(self, rig: Rig) -> None:
        before, self.rig = self.rig, rig
        tok_s, prompt_tok_s = self._latched
        self._latched = self._rates
        self.links.add(rig)
        self.history.append(rig, tok_s=tok_s, prompt_tok_s=prompt_tok_s)
        if before is None or _shape(before) != _shape(rig):
            self.changed.emit(rig)
        self.sampled.emit(rig)
        self.history_changed.emit(self.history)


def _shape(rig: Rig) -> tuple[object, ...]:
    """What `changed` is about: the cards, which of them are lost, the notes, demo or not."""
    lost = frozenset(gpu_id for gpu_id, sample in rig.samples.items() if sample.lost)
    return rig.gpus, lost, rig.notes, rig.demo
