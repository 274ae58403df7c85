"""Engines, answers and what a page asks for, for the tests of the chat."""

from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path

from splitrig.core.chat import Answer, AnswerPhase, AnswerStats, ChatOptions, Message
from splitrig.core.engine import EngineStatus, LaunchRequest, Phase
from splitrig.core.errors import ChatError
from splitrig.core.plan import PlanRequest
from splitrig.views.chat.page import ChatPage

STATS = AnswerStats(prompt_tokens=812, cached_tokens=12, prompt_read_tokens=812, prompt_tok_s=1450)


def engine(phase: Phase = Phase.READY, **plan: object) -> EngineStatus:
    """An engine in a phase; the rest are knobs of its plan."""
    request = LaunchRequest(model=Path("SmolLM2-135M.gguf"), plan=PlanRequest(**plan))
    url = "http://127.0.0.1:8137" if phase is Phase.READY else None
    return EngineStatus(phase=phase, request=request, url=url)


def growing(text: str, *, request_id: int = 1, reasoning: str = "", tokens: int = 74) -> Answer:
    """An answer in the middle."""
    stats = replace(STATS, first_token_s=0.31, tokens=tokens, tok_s=61.27)
    return Answer(request_id=request_id, text=text, reasoning=reasoning, stats=stats)


def ended(answer: Answer, reason: str = "stop") -> Answer:
    """The same as its last news."""
    stats = replace(answer.stats, finish_reason=reason)
    return replace(answer, phase=AnswerPhase.FINISHED, stats=stats)


def broken(answer: Answer) -> Answer:
    """The same when the engine dies."""
    error = ChatError(
        "The engine ended after 74 tokens; what it said is kept.",
        "Launch it again, then regenerate the answer.",
        details="ConnectionResetError(104)",
    )
    return replace(answer, phase=AnswerPhase.FAILED, error=error)


@dataclass
class Asked:
    """What a page asked for."""

    conversations: list[list[Message]] = field(default_factory=list)
    options: list[ChatOptions] = field(default_factory=list)
    stops: int = 0

    def listen(self, page: ChatPage) -> None:
        page.send_requested.connect(self._on_send)
        page.stop_requested.connect(self._on_stop)

    def _on_send(self, messages: list[Message], options: ChatOptions) -> None:
        self.conversations.append(list(messages))
        self.options.append(options)

    def _on_stop(self) -> None:
        self.stops += 1


class _Words(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found = ""

    def handle_data(self, data: str) -> None:
        self.found += data


def words(html: str) -> str:
    """Rich text as it is read, single spaces between words."""
    parser = _Words()
    parser.feed(html)
    return " ".join(parser.found.split())
