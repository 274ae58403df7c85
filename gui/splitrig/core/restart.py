"""Whether an engine that crashed is started again, and when; a pure function of what happened."""

import signal
from collections.abc import Collection
from dataclasses import dataclass

from splitrig.core.engine_log import TroubleKind
from splitrig.core.settings import EngineSettings
from splitrig.core.words import ordinal

LASTING = frozenset(
    {
        TroubleKind.OUT_OF_MEMORY,
        TroubleKind.HOST_OUT_OF_MEMORY,
        TroubleKind.BAD_DEVICE,
        TroubleKind.MISSING_LIBRARY,
        TroubleKind.BAD_ARGUMENT,
        TroubleKind.NOT_GGUF,
        TroubleKind.MODEL_MISSING,
        TroubleKind.UNKNOWN_ARCHITECTURE,
        TroubleKind.MODEL_BROKEN,
        TroubleKind.MODEL_REFUSED,
        TroubleKind.NEEDS_FLASH,
    }
)
"""What ends a load and would end the next one in the same way."""
_LASTING_CODES = frozenset(
    {
        127,  # the guard could not run it
        -4,  # SIGILL: built for another processor
        0xC000001D,  # STATUS_ILLEGAL_INSTRUCTION
        0xC0000135,  # STATUS_DLL_NOT_FOUND
    }
)
_REQUESTS = frozenset({0, -signal.SIGINT, -signal.SIGTERM})
"""Exit codes of an engine that was asked to end, here by somebody else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartPolicy:
    """When to start again.

    Attributes:
        enabled: Whether at all.
        most_tries: Restarts in a row, without `healthy_s` of work between them.
        first_delay_s: Before the first restart, seconds; doubled for each further one.
        longest_delay_s: Longest wait before a restart, seconds.
        healthy_s: After so many seconds of work earlier crashes are forgotten.
    """

    enabled: bool = False
    most_tries: int = 5
    first_delay_s: float = 2.0
    longest_delay_s: float = 60.0
    healthy_s: float = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a run ended, as far as it matters here.

    Attributes:
        exit_code: Negative for a signal; `None` if it is unknown, or it was given up.
        causes: What its log complained of.
        out_of_memory: The computer's memory ran out when it ended.
        ready_s: How long it had answered requests, seconds; `None`: it never did.
        asked: The user, or the end of the program, wanted it gone.
    """

    exit_code: int | None = None
    causes: Collection[TroubleKind] = frozenset()
    out_of_memory: bool = False
    ready_s: float | None = None
    asked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartDecision:
    """What to do after a run ended.

    Attributes:
        restart: Whether to start it again.
        delay_s: How long to wait before, seconds.
        tries: Restarts in a row, this one counted; to be passed to the next decision.
        sentence: What is told to the user; empty when there is nothing to tell.
    """

    restart: bool
    delay_s: float = 0.0
    tries: int = 0
    sentence: str = ""


def policy_of(settings: EngineSettings) -> RestartPolicy:
    """What the settings want."""
    return RestartPolicy(enabled=settings.restart_on_crash, most_tries=settings.restart_tries)


def decide(policy: RestartPolicy, ending: Ending, tries: int = 0) -> RestartDecision:
    """Whether to start again.

    Args:
        policy: What the user wants.
        ending: How the last run ended.
        tries: Restarts in a row so far; 0 after a start by hand.
    """
    was_ready = ending.ready_s is not None
    if not policy.enabled or ending.asked or (not was_ready and tries == 0):
        return RestartDecision(restart=False)  # off, wanted, or no crash but a failed start
    if was_ready and ending.exit_code in _REQUESTS:
        return _no("It was asked to end from outside; it is not started again.")
    if not was_ready and _lasts(ending):
        return _no("It is not started again: the next start would fail in the same way.")
    before = 0 if ending.ready_s is not None and ending.ready_s >= policy.healthy_s else tries
    what = "It crashed" if was_ready else "The start failed"
    if before >= policy.most_tries:
        times = "a restart" if before == 1 else f"{before} restarts in a row"
        return _no(f"{what} after {times}; it is not started again.")
    number = before + 1
    delay_s = min(policy.first_delay_s * 2 ** (number - 1), policy.longest_delay_s)
    return RestartDecision(
        restart=True,
        delay_s=delay_s,
        tries=number,
        sentence=f"{what}; starting again in {delay_s:g} s "
        f"({ordinal(number)} of {policy.most_tries}).",
    )


def _no(sentence: str) -> RestartDecision:
    return RestartDecision(restart=False, sentence=sentence)


def _lasts(ending: Ending) -> bool:
    """A load that failed for a reason that is still there at the next one."""
    code = ending.exit_code
    codes = () if code is None else (code, code & 0xFFFFFFFF)
    return (
        ending.out_of_memory
        or any(c in _LASTING_CODES for c in codes)
        or any(c in LASTING for c in ending.causes)
    )
