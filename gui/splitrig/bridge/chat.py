"""The chat for the window: send, stop, and signals for what comes back."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from PySide6.QtCore import QObject, Signal, Slot

from splitrig.bridge.pump import Pump
from splitrig.core.chat import Answer, AnswerPhase, ChatOptions, Message
from splitrig.core.engine import Dialect
from splitrig.core.errors import ChatError
from splitrig.services.chat.client import ChatClient

FIGURES_EVERY_S = 0.2
"""Numbers that change more often cannot be read, and each change costs a layout."""


class ChatBridge(QObject):
    """One answer at a time, from the engine that runs now.

    Signals:
        answer_changed: `Answer`, some fifteen times a second while it grows.
        figures_changed: `Answer`, with the first token and then as often as one can read numbers.
        answer_finished: `Answer`, complete or stopped by the user (`finish_reason` tells).
        answer_failed: `Answer` with its `error`; the text up to there is kept.
        busy_changed: An answer began or ended.
    """

    answer_changed = Signal(object)
    figures_changed = Signal(object)
    answer_finished = Signal(object)
    answer_failed = Signal(object)
    busy_changed = Signal(bool)

    def __init__(self, pump: Pump, client: ChatClient) -> None:
        super().__init__()
        self._client = client
        self._url: str | None = None
        self._api_key: str | None = None
        self._model: str | None = None
        self._dialect = Dialect.OPENAI
        self._load_options: Mapping[str, Any] = {}
        self._request_id: int | None = None
        self._figures_due_s = 0.0
        pump.listen(Answer, self._on_answer)

    @property
    def busy(self) -> bool:
        """An answer is on its way."""
        return self._request_id is not None

    def set_endpoint(
        self,
        url: str | None,
        api_key: str | None,
        *,
        model: str | None = None,
        dialect: Dialect = Dialect.OPENAI,
        load_options: Mapping[str, Any] | None = None,
    ) -> None:
        """Where and how to ask from now on.

        Args:
            url: Base address; `None` when no engine runs.
            api_key: Bearer token, if it wants one.
            model: Name of the model, for engines that want it.
            dialect: How it is spoken to.
            load_options: What the model was loaded with, for engines that load on demand.
        """
        self._url, self._api_key = url, api_key
        self._model, self._dialect, self._load_options = model, dialect, load_options or {}

    @Slot(object, object)
    def send(
        self,
        messages: Sequence[Message],
        options: ChatOptions | Mapping[str, Any],
        *,
        first: bool = False,
    ) -> None:
        """Ask; an answer still on its way is dropped.

        Args:
            messages: The conversation, the question last.
            options: Or a table with the same keys.
            first: Nobody has asked this engine anything since its load.
        """
        if not isinstance(options, ChatOptions):
            options = ChatOptions(**options)
        self._drop()
        if self._url is None:
            error = ChatError("No engine is running.", "Launch one, then send the question again.")
            self.answer_failed.emit(Answer(request_id=0, phase=AnswerPhase.FAILED, error=error))
            return
        self._figures_due_s = 0.0
        self._request_id = self._client.ask(
            self._url,
            self._api_key,
            messages,
            temperature=options.temperature,
            max_tokens=options.max_tokens,
            model=self._model,
            dialect=self._dialect,
            load_options=self._load_options,
            first=first,
        )
        self.busy_changed.emit(self.busy)

    @Slot()
    def stop(self) -> None:
        """Stop the answer; `answer_finished` follows with what was said."""
        if self._request_id is not None:
            self._client.cancel(self._request_id)

    def _drop(self) -> None:
        if self._request_id is not None:
            self._client.cancel(self._request_id)
            self._request_id = None
            self.busy_changed.emit(self.busy)

    def _on_answer(self, answer: Answer) -> None:
        if answer.request_id != self._request_id:
            return
        if answer.phase is AnswerPhase.STREAMING:
            self.answer_changed.emit(answer)
            now_s = time.monotonic()
            if now_s >= self._figures_due_s:
                # the first token is told of at once, whatever was said of the prompt before
                self._figures_due_s = now_s + FIGURES_EVERY_S if answer.stats.tokens else 0.0
                self.figures_changed.emit(answer)
            return
        self._request_id = None
        if answer.phase is AnswerPhase.FAILED:
            self.answer_failed.emit(answer)
        else:
            self.answer_finished.emit(answer)
        self.busy_changed.emit(self.busy)
