"""Engines of an earlier run that are still there: what is known of a run, and the words for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePath

from splitrig.core.units import size_text
from splitrig.core.words import listed

VERSION = 1
"""Layout of a record; raised when a field changes its meaning."""
RUN_VARIABLE = "SPLITRIG_RUN"
"""Environment variable that everything an engine starts inherits; its value names the run."""


LENDER = "lender"
RAY_HEAD = "ray head"
"""Kinds of runs that are no engine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessMark:
    """What tells a process from every other one, also from a later one with the same number.

    Attributes:
        pid: Process id.
        started_s: When it started, Unix time (psutil's create_time).
        ticks: On Linux the clock ticks from boot to its start (field 22 of /proc/PID/stat), which
            stay when the clock is set; `None` elsewhere.
        command: Program and arguments without secrets.
    """

    pid: int
    started_s: float
    ticks: int | None = None
    command: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a run took place; process ids of another place mean nothing here.

    Attributes:
        host: Name of the machine, as state folders may be shared.
        boot: On Linux the id of this boot; empty elsewhere.
        namespace: On Linux the namespace of process ids; empty elsewhere.
        user: Whose processes they are.
    """

    host: str
    boot: str
    namespace: str
    user: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunAbout:
    """What whoever starts an engine knows of it.

    Attributes:
        kind: Such as 'llama.cpp', or `LENDER` or `RAY_HEAD`.
        port: Where it listens; `None` when it serves nobody.
        model: Name or path of the model.
        cards: The cards it was given, by id; of what is no engine by the engine's names.
    """

    kind: str
    port: int | None = None
    model: str = ""
    cards: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One engine that was started and whose end was not seen yet.

    Attributes:
        token: Names the run; the value of `RUN_VARIABLE` in its processes.
        begun_s: When it was started, Unix time.
        place: Where.
        about: What it is.
        executable: Path of the program.
        owner: The SplitRig that started it.
        guard: The outer guard, which leads the engine's session; `None` until it is known, and
            on Windows.
        engine: The engine itself; `None` until it is known.
        members: What was seen below the guard so far, engine and inner guard included.
        version: Layout of the record.
    """

    token: str
    begun_s: float
    place: Place
    about: RunAbout
    executable: str
    owner: ProcessMark
    guard: ProcessMark | None = None
    engine: ProcessMark | None = None
    members: tuple[ProcessMark, ...] = ()
    version: int = VERSION

    @property
    def name(self) -> str:
        """Short name of the program, such as 'llama-server'."""
        if self.about.kind == RAY_HEAD:
            return "ray"  # its program is Python
        return PurePath(self.executable).name


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphan:
    """Processes of a run whose SplitRig is gone.

    Attributes:
        record: The run.
        pids: What is left of it.
        memory_bytes: Main memory they hold together.
        ports: TCP ports they listen on.
    """

    record: RunRecord
    pids: tuple[int, ...]
    memory_bytes: int
    ports: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Freed:
    """What ending an orphan gave back.

    Attributes:
        record: The run.
        ended: Processes that are gone.
        left: Processes that could not be ended.
        memory_bytes: Main memory that is free again.
        ports: TCP ports that are free again.
    """

    record: RunRecord
    ended: tuple[int, ...]
    left: tuple[int, ...]
    memory_bytes: int
    ports: tuple[int, ...] = ()


def same_start(one: ProcessMark, other: ProcessMark) -> bool:
    """The same process id, given to the same process: it started at the same moment."""
    if one.pid != other.pid:
        return False
    if one.ticks is not None and other.ticks is not None:
        return one.ticks == other.ticks
    return abs(one.started_s - other.started_s) < 0.01


def same_process(recorded: ProcessMark, seen: ProcessMark) -> bool:
    """The same process id, start and command line."""
    return same_start(recorded, seen) and recorded.command == seen.command


def orphan_sentence(orphan: Orphan, now: datetime) -> str:
    """What is still there; `now` carries the time zone to tell the start in."""
    record = orphan.record
    started = datetime.fromtimestamp(record.begun_s, tz=now.tzinfo)
    when = f"{started:%H:%M}" if started.date() == now.date() else f"{started:%Y-%m-%d %H:%M}"
    holds = listed([f"{size_text(orphan.memory_bytes)} of memory", *_ports(orphan.ports)])
    what = _WHAT.get(record.about.kind, "An engine of an earlier run")
    return f"{what} ({record.name}, started {when}) still holds {holds}."


_WHAT = {
    LENDER: "A server of an earlier run that lends this machine's cards",
    RAY_HEAD: "Ray's head of an earlier run",
}


def orphans_sentence(orphans: Sequence[Orphan], now: datetime) -> str:
    """The same for several: the first one, and how many there are besides."""
    first = orphan_sentence(orphans[0], now)
    more = len(orphans) - 1
    if not more:
        return first
    return f"{first} {more} more {'is' if more == 1 else 'are'} left as well."


def orphans_hint(orphans: Sequence[Orphan]) -> str:
    """How they came to be left, and who may still need them."""
    lends = any(orphan.record.about.kind in (LENDER, RAY_HEAD) for orphan in orphans)
    return "SplitRig or the computer crashed while it ran; " + (
        "only other machines may still use it." if lends else "nothing uses it any more."
    )


def freed_sentence(freed: Freed) -> str:
    """What was ended and what that gave back."""
    name = freed.record.name
    if freed.left:
        pids = listed([str(pid) for pid in freed.left])
        which = (
            f"processes {pids} still run" if len(freed.left) > 1 else f"process {pids} still runs"
        )
        return f"{name} could not be ended: {which}."
    if not freed.ended:
        return f"{name} had ended meanwhile."
    back = [f"{size_text(freed.memory_bytes)} of memory", *_ports(freed.ports)]
    return f"{name} was ended; {listed(back)} {'are' if len(back) > 1 else 'is'} free again."


def _ports(ports: Sequence[int]) -> list[str]:
    if not ports:
        return []
    return [f"port{'s' if len(ports) > 1 else ''} {listed([str(port) for port in ports])}"]
