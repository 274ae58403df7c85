"""Who answers the chat, what an answer brings, and how fast the engines write."""

from collections.abc import Sequence

from PySide6.QtCore import QObject, Signal, Slot

from splitrig.core.attached import is_unloaded
from splitrig.core.chat import Answer, ChatOptions, Message
from splitrig.core.engine import EngineStatus, Phase
from splitrig.core.engine_log import Holding
from splitrig.core.metrics import RatesOfAll
from splitrig.core.ollama import attached_options
from splitrig.services.engines.meter import EngineMetered
from splitrig.wiring.parts import Bridges, Pages


class Conversation(QObject):
    """Joins the Chat page with the engine that answers it, and the curves with both.

    Signals:
        activity_changed: `answering_slot` may be another one.

    Attributes:
        last_answer: The newest state of the newest answer.
        answers_ended: How many answers came to an end, well or not.
    """

    activity_changed = Signal()

    def __init__(self, pages: Pages, bridges: Bridges, parent: QObject) -> None:
        super().__init__(parent)
        self._pages, self._bridges = pages, bridges
        self.last_answer: Answer | None = None
        self.answers_ended = 0
        self._token_seen = False
        self._metered = RatesOfAll()
        self._talks_to = self._asked = 0  # slots
        self._heard: set[int] = set()  # slots that were asked something since their load
        chat, page = bridges.chat, pages.chat
        page.send_requested.connect(self.ask)
        page.stop_requested.connect(chat.stop)
        page.engine_chosen.connect(bridges.engine.show)
        page.launch_requested.connect(lambda: pages.window.show_page("launch"))
        chat.answer_changed.connect(page.show_text)
        chat.answer_changed.connect(self._on_answer)
        chat.figures_changed.connect(page.show_answer)
        chat.figures_changed.connect(self._on_figures)
        chat.answer_finished.connect(page.show_finished)
        chat.answer_finished.connect(self._on_answer_end)
        chat.answer_failed.connect(page.show_failed)
        chat.answer_failed.connect(self._on_answer_end)
        bridges.engine.status_changed.connect(self._show_engine)
        bridges.engine.engines_changed.connect(self._show_engine)
        bridges.engine.metered.connect(self._on_metered)
        bridges.engine.told.connect(self._on_told)

    @property
    def answering_slot(self) -> int | None:
        """The engine that writes an answer for the chat right now."""
        return self._asked if self._bridges.chat.busy and self._token_seen else None

    @Slot(object, object)
    def ask(self, messages: Sequence[Message], options: ChatOptions) -> None:
        """Send a conversation to the engine."""
        self._token_seen = False
        self._asked = self._talks_to
        self._metered.answer(self._asked, 0.0, 0.0)
        self._bridges.rig.start_prompt()
        status = self._bridges.engine.status_of(self._asked)
        # others may have asked an Ollama that had the model before, or has loaded it again
        others = status.log.holding in (Holding.BEFORE, Holding.AGAIN)
        first = self._asked not in self._heard and not others
        self._heard.add(self._asked)
        self._bridges.chat.send(messages, options, first=first)

    @Slot(object)
    def _on_told(self, status: EngineStatus) -> None:
        """An engine that is loaded again has heard nothing yet."""
        if status.phase is not Phase.READY or is_unloaded(status):
            self._heard.discard(status.slot)

    @Slot(object)
    def _show_engine(self, _news: object) -> None:
        """The chat talks to the engine shown, else to one that can answer."""
        shown = self._bridges.engine.status
        ready = [s for s in (shown, *self._bridges.engine.running) if s.phase is Phase.READY]
        talks_to = ready[0] if ready else shown
        self._bridges.chat.set_endpoint(
            talks_to.url if ready else None,
            talks_to.api_key if ready else None,
            model=talks_to.served_model,
            dialect=talks_to.dialect,
            load_options=attached_options(talks_to.request),
        )
        self._talks_to = talks_to.slot
        self._pages.chat.set_engine(talks_to)
        self._pages.side.show_engine(talks_to)
        self._show_rates_of_all()

    # Answers

    @Slot(object)
    def _on_answer(self, answer: Answer) -> None:
        self.last_answer = answer
        stats, rig = answer.stats, self._bridges.rig
        if stats.tokens and not self._token_seen:
            self._token_seen = True
            rig.start_answer()
            self._show_answer_rates(stats.tok_s, stats.prompt_tok_s)
            self.activity_changed.emit()
        self._show_answer_rates(stats.tok_s if stats.tokens else 0.0, 0.0)

    def _show_answer_rates(self, tok_s: float | None, prompt_tok_s: float | None) -> None:
        self._metered.answer(self._asked, tok_s, prompt_tok_s)
        self._bridges.rig.set_rates(self._metered.tok_s, self._metered.prompt_tok_s)

    @Slot(object)
    def _on_figures(self, answer: Answer) -> None:
        stats = answer.stats
        self._pages.strip.show_rate(self._metered.tok_s)
        self._pages.launch.show_rate(stats.tok_s if stats.tokens else 0.0)
        self._pages.side.show_stats(stats)

    @Slot(object)
    def _on_answer_end(self, answer: Answer) -> None:
        self.last_answer = answer
        self.answers_ended += 1
        self._bridges.rig.end_answer()
        self._pages.side.add_answer(answer.stats)
        self._show_rates_of_all()
        self.activity_changed.emit()

    # Rates

    @Slot(object)
    def _on_metered(self, news: EngineMetered) -> None:
        """The curves also show what others ask of the engines."""
        self._metered.add(news.slot, news.rates)
        self._show_rates_of_all()

    def _show_rates_of_all(self) -> None:
        ready = self._ready_slots()
        if not self._bridges.chat.busy:
            self._metered.end_answer()
        self._metered.keep(ready)
        total = self._metered.tok_s if ready else None
        if ready:
            self._bridges.rig.set_rates(total, self._metered.prompt_tok_s)
        self._pages.strip.show_rate(total)
        if not self._bridges.chat.busy:  # else they show the answer's own
            self._pages.side.show_rate(total)
            self._pages.launch.show_rate(total)

    def _ready_slots(self) -> set[int]:
        running = self._bridges.engine.running
        return {status.slot for status in running if status.phase is Phase.READY}
