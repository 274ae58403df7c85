"""What is asked of an Ollama: version, models, load, unload, pull, delete."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from splitrig.core import ollama_failure as failures
from splitrig.core.errors import EngineError
from splitrig.core.ollama import FOREVER, full_name
from splitrig.core.ollama_model import ServedModel
from splitrig.services.engines.ollama_http import Ask, Call, OllamaHttp

ANSWER_S = 15.0
"""Longest wait for answers that need no work of it, seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A model an Ollama holds in memory.

    Attributes:
        name: With its tag.
        n_bytes: Everything it takes, bytes.
        on_cards_bytes: Of that, in the memory of cards (all of them together), bytes.
        n_ctx: Context, tokens; `None` in old versions.
        lasts_s: How long it stays without a request, counted from now, seconds; `None` until it
            is unloaded.
    """

    name: str
    n_bytes: int
    on_cards_bytes: int
    n_ctx: int | None = None
    lasts_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PullProgress:
    """How far a pull is.

    Attributes:
        status: In Ollama's words, such as 'pulling manifest'.
        digest: The part being fetched; empty between parts.
        total_bytes: Size of that part, bytes.
        done_bytes: Of it, here already, bytes.
    """

    status: str
    digest: str = ""
    total_bytes: int = 0
    done_bytes: int = 0


class OllamaApi:
    """One Ollama, by its address; every method blocks and may be called from any thread."""

    def __init__(self, url: str, *, answer_s: float = ANSWER_S) -> None:
        self._http = OllamaHttp(url)
        self._answer_s = answer_s

    @property
    def url(self) -> str:
        """Its address."""
        return self._http.url

    def version(self, timeout_s: float | None = None) -> str:
        """Its version, such as '0.32.15'.

        Raises:
            EngineError: Nothing answers, or something else than an Ollama.
        """
        version = self._get("/api/version", timeout_s).get("version")
        if not isinstance(version, str) or not version:
            raise failures.unreadable(self.url, "no version")
        return version

    def models(self) -> tuple[ServedModel, ...]:
        """The models it has, in its own order.

        Raises:
            EngineError: It does not answer.
        """
        found = []
        for entry in _entries(self._get("/api/tags"), "models"):
            details = entry.get("details")
            details = details if isinstance(details, dict) else {}
            found.append(
                ServedModel(
                    name=_text(entry, "name"),
                    n_bytes=_number(entry, "size") or 0,
                    family=_text(details, "family"),
                    parameters=_text(details, "parameter_size"),
                    quantization=_text(details, "quantization_level"),
                )
            )
        return tuple(model for model in found if model.name)

    def running(self, timeout_s: float | None = None) -> tuple[LoadedModel, ...]:
        """The models it holds in memory.

        Raises:
            EngineError: It does not answer.
        """
        entries = _entries(self._get("/api/ps", timeout_s), "models")
        return tuple(
            LoadedModel(
                name=_text(entry, "name"),
                n_bytes=_number(entry, "size") or 0,
                on_cards_bytes=_number(entry, "size_vram") or 0,
                n_ctx=_number(entry, "context_length"),
                lasts_s=_seconds_until(_text(entry, "expires_at")),
            )
            for entry in entries
        )

    def show(self, name: str) -> Mapping[str, Any]:
        """What it knows of a model: `details`, `model_info`, `capabilities`, `modelfile`, ….

        Raises:
            EngineError: It does not answer, or has no such model.
        """
        body = {"model": name}
        return self._post("/api/show", body, "read the model", name, wait_s=self._answer_s)

    def load(
        self,
        name: str,
        options: Mapping[str, Any] | None = None,
        *,
        keep_alive: int | str = FOREVER,
        call: Call | None = None,
    ) -> None:
        """Load a model; blocks until it is loaded, for as long as that takes.

        Args:
            name: Of the model.
            options: Those of a run, such as `num_ctx`.
            keep_alive: How long it stays without a request, seconds or such as '5m'.
            call: To give it up, which makes Ollama stop loading.

        Raises:
            CallCancelledError: It was given up.
            EngineError: It could not be loaded.
        """
        body: dict[str, Any] = {"model": name, "stream": False, "keep_alive": keep_alive}
        if options:
            body["options"] = dict(options)
        self._post("/api/generate", body, "load the model", name, call=call, wait_s=None)

    def unload(self, name: str, timeout_s: float | None = None) -> None:
        """Let a model go; does nothing when it is not loaded.

        Raises:
            EngineError: It does not answer, or has no such model.
        """
        body = {"model": name, "stream": False, "keep_alive": 0}
        wait_s = self._answer_s if timeout_s is None else timeout_s
        self._post("/api/generate", body, "unload the model", name, wait_s=wait_s)

    def keep(
        self,
        name: str,
        options: Mapping[str, Any],
        seconds: float,
        timeout_s: float | None = None,
    ) -> None:
        """Let a loaded model stay for so long without a request.

        Args:
            name: Of the model.
            options: Those it was loaded with; others would load it anew.
            seconds: From now.
            timeout_s: Longest wait for the answer, seconds.

        Raises:
            EngineError: It does not answer, or has no such model.
        """
        body = {
            "model": name,
            "stream": False,
            "options": dict(options),
            "keep_alive": max(round(seconds), 1),
        }
        wait_s = self._answer_s if timeout_s is None else timeout_s
        self._post("/api/generate", body, "keep the model", name, wait_s=wait_s)

    def pull(
        self,
        name: str,
        on_progress: Callable[[PullProgress], None] | None = None,
        *,
        insecure: bool = False,
        call: Call | None = None,
    ) -> None:
        """Download a model; blocks until it is complete. A later pull goes on where one ended.

        Args:
            name: Of the model.
            on_progress: Called with each piece of news, on this thread.
            insecure: Allow a registry without TLS.
            call: To give it up.

        Raises:
            CallCancelledError: It was given up.
            EngineError: It could not be downloaded, also when Ollama began with success.
        """
        body = {"model": name, "stream": True} | ({"insecure": True} if insecure else {})
        complete = False
        ask = Ask(method="POST", path="/api/pull", doing="pull the model", body=body, call=call)
        for line in self._about(name, ask):
            status = _text(line, "status")
            complete = complete or status == "success"
            if on_progress is not None:
                on_progress(
                    PullProgress(
                        status=status,
                        digest=_text(line, "digest"),
                        total_bytes=_number(line, "total") or 0,
                        done_bytes=_number(line, "completed") or 0,
                    )
                )
        if not complete:
            raise failures.broke_off(self.url, "the stream ended without success")

    def delete(self, name: str) -> None:
        """Delete a model from its store.

        Raises:
            EngineError: It does not answer, or has no such model.
        """
        ask = Ask(
            method="DELETE",
            path="/api/delete",
            doing="delete the model",
            body={"model": name},
            wait_s=self._answer_s,
        )
        for _ in self._about(name, ask):
            pass

    def alive(self, timeout_s: float = 2.0) -> bool:
        """Whether it answers as an Ollama does."""
        try:
            self.version(timeout_s)
        except EngineError:
            return False
        return True

    # How it is asked

    def _get(self, path: str, timeout_s: float | None = None) -> Mapping[str, Any]:
        wait_s = self._answer_s if timeout_s is None else timeout_s
        return self._http.last(Ask(method="GET", path=path, doing="answer", wait_s=wait_s))

    def _post(
        self,
        path: str,
        body: Mapping[str, Any],
        doing: str,
        model: str,
        *,
        call: Call | None = None,
        wait_s: float | None,
    ) -> Mapping[str, Any]:
        """The last line of an answer that is about a model."""
        ask = Ask(method="POST", path=path, doing=doing, body=body, call=call, wait_s=wait_s)
        last: Mapping[str, Any] = {}
        for line in self._about(model, ask):
            last = line
        return last

    def _about(self, model: str, ask: Ask) -> Iterator[Mapping[str, Any]]:
        """The lines of an answer; that there is no such model has a sentence of its own."""
        try:
            yield from self._http.lines(ask)
        except failures.OllamaToldError as error:
            if not failures.says_not_found(error.words):
                raise
            raise self._no_model(model, ask) from error

    def _no_model(self, model: str, ask: Ask) -> EngineError:
        if ask.path == "/api/pull":
            return EngineError(
                f"There is no model '{model}' to pull.", "Check its name at ollama.com/library."
            )
        there: list[str] = []
        with suppress(EngineError):
            there = [served.name for served in self.models()]
        return failures.no_model(model, there)


def holds(api: OllamaApi, name: str, timeout_s: float | None = None) -> LoadedModel | None:
    """The model of this name if it is loaded.

    Args:
        api: The Ollama.
        name: Of the model.
        timeout_s: Longest wait for the answer, seconds.

    Raises:
        EngineError: The Ollama does not answer.
    """
    wanted = full_name(name)
    loaded = api.running(timeout_s)
    return next((model for model in loaded if full_name(model.name) == wanted), None)


def _seconds_until(moment: str) -> float | None:
    """Seconds until a moment as Go writes it; `None` for none, and for one 292 years away."""
    match = re.fullmatch(r"(\d{4})(-\S+?)(?:\.\d+)?(Z|[+-]\d\d:\d\d)", moment)
    if match is None or match[1] > "2200":
        return None
    try:
        at = datetime.fromisoformat(match[1] + match[2] + match[3])
    except ValueError:
        return None
    return max((at - datetime.now(UTC)).total_seconds(), 0.0)


def _entries(answer: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    value = answer.get(key)
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _text(of: Mapping[str, Any], key: str) -> str:
    value = of.get(key)
    return value if isinstance(value, str) else ""


def _number(of: Mapping[str, Any], key: str) -> int | None:
    value = of.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
