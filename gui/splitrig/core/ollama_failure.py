"""Sentences for what Ollama's interface and its loads can answer besides success."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from splitrig.core.engine import Failure
from splitrig.core.engine_failure import explain_exit
from splitrig.core.engine_log import LoadLog, Trouble, TroubleKind, add_event, read_line
from splitrig.core.errors import EngineError

LOOK = "Look at Ollama's log."
MOST_NAMES = 6
MOST_WORDS = 400
_NOT_FOUND = re.compile(r"model ['\"]?.*['\"]? not found")
_SIGNALS = {
    "aborted": -6,
    "killed": -9,
    "segmentation fault": -11,
    "illegal instruction": -4,
    "terminated": -15,
    "bus error": -7,
}
_HINTS = {
    TroubleKind.UNKNOWN_ARCHITECTURE: "A newer Ollama may: update it.",
    TroubleKind.MISSING_LIBRARY: "Install it, or install Ollama anew.",
    TroubleKind.BAD_ARGUMENT: "Choose another value, or another version of Ollama.",
    TroubleKind.MODEL_MISSING: "The file may have been moved; Ollama pulls its models again.",
}
"""Ways out that differ from those of a llama-server the user chose."""
_TIMED_OUT = "timed out waiting for llama"
_NEEDS_MEMORY = re.compile(r"requires more system memory \(([^)]+)\) than is available \(([^)]+)\)")
_CUT_SHORT = "exceeds file size"
_NO_CHAT = ("does not support generate", "does not support chat")


class OllamaGoneError(EngineError):
    """There is no connection to it, or there is none any more."""


class OllamaToldError(EngineError):
    """Ollama itself says that something went wrong.

    Attributes:
        words: Its own words.
    """

    def __init__(self, message: str, hint: str, words: str) -> None:
        super().__init__(message, hint)
        self.words = words


def words_of(body: str) -> str:
    """The words of an error body: `{"error": "…"}`, JSON inside that, or plain text."""
    text = body.strip()
    for _ in range(3):
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            break
        if isinstance(value, dict) and "error" in value:
            value = value["error"]
        if isinstance(value, dict):
            value = value.get("message", "")
        if not isinstance(value, str):
            break
        text = value.strip()
    return " ".join(text.split())[:MOST_WORDS].rstrip(". ")


def is_ollama_error(body: str) -> bool:
    """Whether an error body is one of Ollama's own, and not of something else on its port."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and isinstance(value.get("error"), str)


def refused(url: str) -> EngineError:
    """Nobody listens there."""
    return OllamaGoneError(
        f"Nothing answers at {url}: no Ollama is running there.",
        "Start Ollama, or correct its address in Settings.",
    )


def unreachable(url: str, reason: str) -> EngineError:
    """No connection, for another reason than a closed port."""
    return OllamaGoneError(
        f"The Ollama at {url} cannot be reached: {reason}.", "Check its address in Settings."
    )


def silent(url: str, seconds: float) -> EngineError:
    """The connection stands, and nothing comes."""
    return EngineError(
        f"The Ollama at {url} did not answer within {seconds:g} s.",
        "It may be busy or have hung: try again, or restart it.",
    )


def broke_off(url: str, reason: str) -> EngineError:
    """The connection ended before the answer did."""
    return OllamaGoneError(
        f"The Ollama at {url} ended in the middle of its answer.",
        "Start it again.",
        details=reason,
    )


def foreign(url: str, status: int, body: str) -> EngineError:
    """What answers is no Ollama, or one that lacks a path."""
    words = " ".join(body.split())[:80] or "nothing"
    if words.startswith("<"):
        words = "a web page"
    return EngineError(
        f"{url} answers, but not as Ollama does (HTTP {status}: {words}).",
        "Another program may have that port; correct the address in Settings, or update Ollama.",
    )


def unreadable(url: str, reason: str) -> EngineError:
    """Its answer is no JSON."""
    return EngineError(
        f"{url} answers, but not as Ollama does.",
        "Another program may have that port; correct the address in Settings.",
        details=reason,
    )


def no_model(name: str, there: Sequence[str]) -> EngineError:
    """There is no model of that name; says which there are."""
    shown = ", ".join(there[:MOST_NAMES])
    if len(there) > MOST_NAMES:
        shown += f" and {len(there) - MOST_NAMES} more"
    return EngineError(
        f"Ollama has no model '{name}'; it has {shown or 'none yet'}.",
        f"Choose one of those, or pull it with 'ollama pull {name}'." if shown
        else f"Pull it with 'ollama pull {name}'.",
    )  # fmt: skip


def says_not_found(words: str) -> bool:
    """Whether an error means that there is no such model."""
    return _NOT_FOUND.search(words) is not None or "pull model manifest: file does not" in words


def told(doing: str, words: str, status: int | None = None) -> EngineError:
    """What Ollama itself says went wrong.

    Args:
        doing: What it was to do, such as 'load the model'.
        words: Its own words.
        status: Of the answer; `None` for an error inside an answer that began well.
    """
    with_status = f" (HTTP {status})" if status is not None else ""
    said = words or "it gave no reason"
    message, hint = f"Ollama could not {doing}{with_status}: {said}.", LOOK
    if "no such host" in said or "network is unreachable" in said:
        message = f"Ollama could not {doing}: its registry cannot be reached."
        hint = "Check the connection to the internet."
    elif "no space left on device" in said:
        message, hint = f"Ollama could not {doing}: the disk is full.", "Make room, then try again."
    return OllamaToldError(message, hint, words)


def load_failure(
    words: str,
    log: LoadLog,
    tail: tuple[str, ...] = (),
    names: Mapping[str, str] | None = None,
    *,
    out_of_memory: bool = False,
) -> Failure:
    """Why a load failed: what llama-server's log says where it says something, else Ollama.

    Args:
        words: Of the error Ollama answered with.
        log: What the log said since the start.
        tail: Its last lines.
        names: Shown names by engine device name.
        out_of_memory: The computer's memory ran out meanwhile.
    """
    if match := _NEEDS_MEMORY.search(words):
        return Failure(
            message=f"The model needs {match[1]} of the computer's memory; {match[2]} are free.",
            hint="Put more layers on the cards, close other programs, or choose a smaller model.",
            log_tail=tail[-20:],
        )
    if any(said in words for said in _NO_CHAT):
        return Failure(
            message="This model cannot answer: it is made for something else, such as embeddings.",
            hint="Choose a model that chats.",
            log_tail=tail[-20:],
        )
    if _CUT_SHORT in words:
        return Failure(
            message=f"The model file is incomplete: {words}.",
            hint="Download it again, or pull it again.",
            log_tail=tail[-20:],
        )
    code = _exit_code(words)
    said = read_line(words) if not log.troubles else None
    if isinstance(said, Trouble):
        log = add_event(log, said)
    if log.troubles or code is not None:
        failure = explain_exit(
            log,
            exit_code=code,
            tail=tail or (words,),
            names=names,
            out_of_memory=out_of_memory,
        )
        kind = log.troubles[0].kind if log.troubles else None
        return replace(failure, hint=_HINTS.get(kind, failure.hint) if kind else failure.hint)
    if _TIMED_OUT in words:
        return Failure(
            message="The llama-server that Ollama started did not become ready in time.",
            hint=LOOK,
            log_tail=tail[-20:],
        )
    error = told("load the model", words)
    return Failure(message=error.message, hint=error.hint, log_tail=tail[-20:])


def _exit_code(words: str) -> int | None:
    """How llama-server ended, from Ollama's words; negative for a signal."""
    if match := re.search(r"signal: ([a-z ]+)", words):
        return next((code for name, code in _SIGNALS.items() if match[1].startswith(name)), None)
    if match := re.search(r"exit status (0x[0-9a-fA-F]+|\d+)", words):
        return int(match[1], 0)
    return None
