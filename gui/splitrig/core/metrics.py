"""What an engine counts: its Prometheus text, and the rates for the graphs.

vLLM's names are those of vllm/v1/metrics/loggers.py, llama.cpp's those of
tools/server/server-context.cpp.
"""

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from splitrig.core.errors import EngineError

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*(,|(?=\}))')
_ESCAPES = {"\\n": "\n", '\\"': '"', "\\\\": "\\"}
_SPECIAL = {"+Inf": math.inf, "-Inf": -math.inf, "NaN": math.nan}
MOST_LABELS = 64

GENERATED = ("vllm:generation_tokens_total", "llamacpp:tokens_predicted_total")
DECODES = ("llamacpp:n_decode_total",)
BUSY = ("llamacpp:n_busy_slots_per_decode",)
PROMPT = ("vllm:prompt_tokens_total", "llamacpp:prompt_tokens_total")
KV_SHARE = (
    "vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc", "llamacpp:kv_cache_usage_ratio",
)  # fmt: skip
RUNNING = ("vllm:num_requests_running", "llamacpp:requests_processing")
WAITING = ("vllm:num_requests_waiting", "llamacpp:requests_deferred")
FIRST_SUM = ("vllm:time_to_first_token_seconds_sum",)
FIRST_COUNT = ("vllm:time_to_first_token_seconds_count",)
WANTED = frozenset(
    (*GENERATED, *DECODES, *BUSY, *PROMPT, *KV_SHARE, *RUNNING, *WAITING, *FIRST_SUM, *FIRST_COUNT)
)


@dataclass(frozen=True, slots=True)
class Sample:
    """One line: a name, its labels, its value."""

    name: str
    labels: Mapping[str, str]
    value: float


def parse_metrics(text: str, wanted: Collection[str] | None = None) -> tuple[Sample, ...]:
    """Read the Prometheus text format (version 0.0.4); timestamps are stepped over.

    Args:
        text: The whole answer.
        wanted: Names to take; lines of others are not looked into. `None` takes all.

    Raises:
        EngineError: A line that is wanted is no line of this format.
    """
    samples = []
    for number, line in enumerate(text.split("\n"), start=1):
        line = line.strip(" \t\r")  # noqa: PLW2901 - the line itself is what is meant
        if not line or line.startswith("#"):
            continue
        match = _NAME.match(line)
        if match is None:
            raise _unreadable(number)
        name = match[0]
        if wanted is not None and name not in wanted:
            continue
        labels, rest = _labels(line, match.end(), number)
        samples.append(Sample(name, labels, _value(rest, number)))
    return tuple(samples)


def _unreadable(number: int) -> EngineError:
    return EngineError(
        f"The engine's figures cannot be read: line {number} is no Prometheus text.",
        "The graphs of tok/s stay empty; chatting is not affected.",
    )


def _labels(line: str, at: int, number: int) -> tuple[dict[str, str], str]:
    """The labels that begin at `at`, if any, and what follows them."""
    labels: dict[str, str] = {}
    if line[at : at + 1] != "{":
        return labels, line[at:]
    at += 1
    while line[at : at + 1] != "}":
        match = _LABEL.match(line, at)
        if match is None or len(labels) >= MOST_LABELS:
            raise _unreadable(number)
        labels[match[1]] = re.sub(r"\\.", lambda m: _ESCAPES.get(m[0], m[0]), match[2])
        at = match.end()
        while line[at : at + 1] == " ":
            at += 1
    return labels, line[at + 1 :]


def _value(rest: str, number: int) -> float:
    words = rest.split()
    if not 1 <= len(words) <= 2:
        raise _unreadable(number)
    try:
        return _SPECIAL[words[0]] if words[0] in _SPECIAL else float(words[0])
    except ValueError:
        raise _unreadable(number) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineCounts:
    """What an engine has counted so far; `None` where it does not say.

    Attributes:
        time_s: When it was asked, `time.monotonic()`.
        generated: Tokens generated since its start.
        prompt: Tokens of prompts read since its start.
        kv_share: KV cache in use, 0–1.
        running: Requests being worked on.
        waiting: Requests that wait for room.
        first_s: Seconds to the first token of all requests together.
        first_n: Requests that `first_s` is about.
    """

    time_s: float
    generated: float | None = None
    prompt: float | None = None
    kv_share: float | None = None
    running: float | None = None
    waiting: float | None = None
    first_s: float | None = None
    first_n: float | None = None


def read_counts(text: str, time_s: float) -> EngineCounts:
    """What the graphs need of an engine's answer; several engines behind it are added up.

    Raises:
        EngineError: The answer is no Prometheus text.
    """
    samples = parse_metrics(text, WANTED)
    shares = _found(samples, KV_SHARE)
    return EngineCounts(
        time_s=time_s,
        generated=_generated(samples),
        prompt=_sum(_found(samples, PROMPT)),
        # the fullest of several engines is the one that makes requests wait
        kv_share=min(max(shares), 1.0) if shares else None,
        running=_sum(_found(samples, RUNNING)),
        waiting=_sum(_found(samples, WAITING)),
        first_s=_sum(_found(samples, FIRST_SUM)),
        first_n=_sum(_found(samples, FIRST_COUNT)),
    )


def _generated(samples: Sequence[Sample]) -> float | None:
    """Tokens generated so far, as fresh as an engine tells.

    llama-server adds the tokens of an answer when it has ended; until then only its decode steps
    go up, each of which gives every busy slot a token (a prompt's last batch included; with a
    draft model a step gives more than one).
    """
    steps, busy = _found(samples, DECODES), _found(samples, BUSY)
    if steps and busy:
        return steps[0] * busy[0]
    return _sum(_found(samples, GENERATED))


def _found(samples: Sequence[Sample], names: Sequence[str]) -> list[float]:
    """Values of the first of these names that is there; what is no number is left out."""
    for name in names:
        values = [s.value for s in samples if s.name == name and math.isfinite(s.value)]
        if values:
            return values
    return []


def _sum(values: Sequence[float]) -> float | None:
    return sum(values) if values else None


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRates:
    """What happened between two looks at an engine; `None` where it does not say.

    Attributes:
        time_s: When the second look was, `time.monotonic()`.
        tok_s: Tokens generated per second, all requests together.
        prompt_tok_s: Prompt tokens read per second.
        kv_share: KV cache in use, 0–1.
        running: Requests being worked on.
        waiting: Requests that wait.
        first_token_ms: Mean time to the first token of the requests that got one, milliseconds.
    """

    time_s: float
    tok_s: float | None = None
    prompt_tok_s: float | None = None
    kv_share: float | None = None
    running: int | None = None
    waiting: int | None = None
    first_token_ms: float | None = None


def rates(before: EngineCounts, after: EngineCounts) -> EngineRates:
    """Rates between two looks; `None` for all of them where no time has passed.

    A counter that is lower than before began again at zero: the engine was restarted.
    """
    seconds = after.time_s - before.time_s
    first_n = _gained(before.first_n, after.first_n)
    first_s = _gained(before.first_s, after.first_s)
    return EngineRates(
        time_s=after.time_s,
        tok_s=_per_second(_gained(before.generated, after.generated), seconds),
        prompt_tok_s=_per_second(_gained(before.prompt, after.prompt), seconds),
        kv_share=after.kv_share,
        running=None if after.running is None else round(after.running),
        waiting=None if after.waiting is None else round(after.waiting),
        first_token_ms=1000 * first_s / first_n if first_n and first_s is not None else None,
    )


def _gained(before: float | None, after: float | None) -> float | None:
    if before is None or after is None:
        return None
    return after - before if after >= before else after


def _per_second(gained: float | None, seconds: float) -> float | None:
    return gained / seconds if gained is not None and seconds > 0 else None


class RatesOfAll:
    """The last rates of every engine that is ready, added up.

    While the chat answers, its engine counts with what the answer itself tells: that is fresher
    than what the engine counts, and engines that count nothing have no other.
    """

    def __init__(self) -> None:
        self._rates: dict[int, EngineRates] = {}
        self._live: dict[int, tuple[float, float]] = {}

    def add(self, slot: int, seen: EngineRates) -> None:
        """Take the rates of one engine."""
        self._rates[slot] = seen

    def answer(self, slot: int, tok_s: float | None, prompt_tok_s: float | None) -> None:
        """Take the rates of the answer that an engine writes for the chat, one at a time."""
        self._live = {slot: (tok_s or 0.0, prompt_tok_s or 0.0)}

    def end_answer(self) -> None:
        """No answer is written any more; what its engine counted meanwhile was the answer."""
        for slot in self._live:
            self._rates.pop(slot, None)
        self._live = {}

    def keep(self, slots: Collection[int]) -> None:
        """Forget the engines that are not ready any more; a slot may get another one."""
        self._rates = {slot: seen for slot, seen in self._rates.items() if slot in slots}
        self._live = {slot: rates for slot, rates in self._live.items() if slot in slots}

    @property
    def tok_s(self) -> float:
        """Tokens generated per second, all engines together; what is not told counts as 0."""
        live = sum(tok_s for tok_s, _ in self._live.values())
        return live + sum(seen.tok_s or 0.0 for seen in self._counted())

    @property
    def prompt_tok_s(self) -> float:
        """Prompt tokens read per second, all engines together."""
        live = sum(prompt_tok_s for _, prompt_tok_s in self._live.values())
        return live + sum(seen.prompt_tok_s or 0.0 for seen in self._counted())

    def _counted(self) -> list[EngineRates]:
        """The rates of the engines that the chat does not use."""
        return [seen for slot, seen in self._rates.items() if slot not in self._live]
