"""What happens to an engine, for `core.engine_machine`."""

from dataclasses import dataclass, field

from splitrig.core.engine import Dialect, Failure, LaunchRequest
from splitrig.core.engine_log import LogEvent
from splitrig.core.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """Start was pressed; `time_s` is `time.monotonic()` here and below."""

    time_s: float
    request: LaunchRequest
    plan: Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Launching:
    """A process is about to be started; again when another port had to be tried.

    It may speak before it is known to exist, so what an earlier one said is forgotten here. The
    build stays: it was asked for before.
    """

    time_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Spawned:
    """The engine's process exists; the fields are those of `EngineStatus`."""

    pid: int | None
    url: str
    api_key: str | None
    command: tuple[str, ...]
    device_names: tuple[str, ...]
    network_urls: tuple[str, ...] = ()
    served_model: str | None = None
    dialect: Dialect = Dialect.OPENAI


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged:
    """The engine's log said something."""

    time_s: float
    event: LogEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Advanced:
    """More of the weights is read; `share` is 0–1."""

    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Healthy:
    """`/health` answered 200."""

    time_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """These processes are the engine's own."""

    pids: frozenset[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metered:
    """Its own counts were looked at; `problem` says why they cannot be read, empty if they can."""

    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StopAsked:
    """The user, or the end of the program, wants it gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exited:
    """The process is gone.

    Attributes:
        exit_code: Negative for a signal; `None` if unknown.
        tail: The last lines of its output.
        out_of_memory: The computer's memory ran out at that moment.
    """

    exit_code: int | None
    tail: tuple[str, ...] = field(default=())
    out_of_memory: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """It could not be started, or had to be given up, for a reason the log does not tell."""

    failure: Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Restarting:
    """The run ended and the engine is to be started again.

    Attributes:
        time_s: When it is to be started, `time.monotonic()`.
        end: How it ended.
        sentence: When it is started again.
    """

    time_s: float
    end: Exited | Broken
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenUp:
    """The run ended and is not followed by another one, although restarts are wanted.

    Attributes:
        end: How it ended.
        sentence: Why it is not started again.
    """

    end: Exited | Broken
    sentence: str


EngineEvent = (
    Restarting
    | GivenUp
    | Begun
    | Launching
    | Spawned
    | Logged
    | Advanced
    | Healthy
    | Counted
    | Metered
    | StopAsked
    | Exited
    | Broken
)
