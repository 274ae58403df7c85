"""Loads a model in an Ollama while others ask whether it is done; given up at once."""

import threading
from collections.abc import Mapping
from typing import Any

from splitrig.core.errors import EngineError
from splitrig.services.engines.ollama_api import OllamaApi
from splitrig.services.engines.ollama_http import Call, CallCancelledError


class OllamaLoad:
    """One load, on a thread of its own."""

    def __init__(self, api: OllamaApi, model: str, options: Mapping[str, Any]) -> None:
        self._api = api
        self._model = model
        self._options = dict(options)
        self._call = Call()
        self._done = threading.Event()
        self._error: EngineError | None = None
        self._thread = threading.Thread(target=self._run, name="ollama load")
        self._thread.start()

    @property
    def done(self) -> bool:
        """It has ended, well or not."""
        return self._done.is_set()

    @property
    def error(self) -> EngineError | None:
        """Why it failed."""
        return self._error

    def cancel(self) -> None:
        """Give it up and wait for its thread, which is immediate; harmless when it is over."""
        self._call.cancel()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._api.load(self._model, self._options, call=self._call)
        except CallCancelledError:
            pass
        except EngineError as error:
            self._error = error
        self._done.set()
