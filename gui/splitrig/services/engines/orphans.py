"""Finds and ends what engines of an earlier run have left, and never anything else.

Something may be left although the guard exists: when program and guard were killed together, the
engine itself dies, but what it had started lives on (Ollama's llama-server, vLLM's workers).

A process belongs to a run if it carries the run's name in its environment, or has the process id,
the start and the command line that the record tells; further what is in the guard's session
together with such a process (nothing enters a session but by birth), and what is below one. It
must belong to the same user. Of a run whose SplitRig still lives nothing is touched.
"""

import logging
import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import psutil

from splitrig.core.errors import EngineError
from splitrig.core.orphan import (
    RUN_VARIABLE,
    Freed,
    Orphan,
    ProcessMark,
    RunRecord,
    same_process,
    same_start,
)
from splitrig.services.engines.records import (
    NewerRecordError,
    mark,
    path_of,
    place,
    read,
    records_dir,
    remove,
)

log = logging.getLogger(__name__)

GUARD_S = 2.5
"""A guard whose program is gone has ended everything after this long, or never will."""
GRACE_S = 1.0
"""From asking to end to killing."""
KILL_S = 3.0
"""From killing to giving up on what the kernel holds fast."""
LOOK_S = 0.02
TEMPORARY_S = 60
"""Age of a half-written record that nobody is writing any more."""


def find_orphans(folder: Path | None = None) -> tuple[Orphan, ...]:
    """What is left of engines whose SplitRig is gone; records of nothing are deleted.

    Blocks for some 20 ms, and for up to `GUARD_S` right after a crash, while a guard is at work.
    """
    folder = folder or records_dir()
    _sweep(folder)
    found = []
    for record in _abandoned(folder):
        _wait_for_guard(record)
        left = remains(record)
        if left:
            found.append(_orphan(record, left))
        else:
            remove(path_of(record, folder))
    return tuple(found)


def end_orphan(orphan: Orphan, folder: Path | None = None) -> Freed:
    """Ask everything left of a run to end, then kill it; looks anew at what belongs to it.

    Blocks for at most `GRACE_S` + `KILL_S`.

    Raises:
        EngineError: It is no orphan: the SplitRig that started it is running.
    """
    record = orphan.record
    if _lives(record.owner):
        raise EngineError(
            f"{record.name} belongs to a SplitRig that is running (process {record.owner.pid}).",
            "Stop the engine there.",
        )
    before = remains(record)
    held = _orphan(record, before)
    for process in before:
        _tell(process, psutil.Process.terminate)
        _tell(process, psutil.Process.resume)  # one that was stopped would not hear
    _wait_until(lambda: not any(mark(process) for process in before), GRACE_S)
    deadline = time.monotonic() + KILL_S
    while (left := remains(record)) and time.monotonic() < deadline:
        for process in left:
            _tell(process, psutil.Process.kill)
        time.sleep(LOOK_S)
    still = _orphan(record, left)
    if not left:
        remove(path_of(record, folder))
    return Freed(
        record=record,
        ended=tuple(pid for pid in held.pids if pid not in still.pids),
        left=still.pids,
        memory_bytes=max(held.memory_bytes - still.memory_bytes, 0),
        ports=tuple(port for port in held.ports if port not in still.ports),
    )


def remains(record: RunRecord) -> list[psutil.Process]:
    """All processes of a run that still live, whoever their parent is now."""
    mine = {process.pid: process for process in _own_processes(record)}
    ours = {pid for pid, process in mine.items() if _belongs(process, record)}
    if record.guard is not None and any(_session(pid) == record.guard.pid for pid in ours):
        ours |= {pid for pid in mine if _session(pid) == record.guard.pid}
    parents = {pid: _parent(process) for pid, process in mine.items()}
    grown = True
    while grown:
        below = {pid for pid, parent in parents.items() if parent in ours and pid not in ours}
        ours |= below
        grown = bool(below)
    return [mine[pid] for pid in sorted(ours)]


def _abandoned(folder: Path) -> list[RunRecord]:
    """The records of this place whose SplitRig is gone; those of an earlier boot are deleted."""
    here = place()
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            record = read(path)
        except FileNotFoundError:
            continue  # its run ended meanwhile
        except (OSError, NewerRecordError) as error:
            log.warning("the record %s is left alone: %r", path.name, error)
            continue
        if record is None:
            log.warning("the record %s says nothing", path.name)
            remove(path)
        elif (record.place.host, record.place.user) != (here.host, here.user):
            continue
        elif record.place.boot != here.boot:
            remove(path)
        elif record.place.namespace == here.namespace and not _lives(record.owner):
            found.append(record)
    return found


def _sweep(folder: Path) -> None:
    """Delete what a program that was killed in mid-writing has left."""
    for path in folder.glob(".*.new"):
        try:
            if time.time() - path.stat().st_mtime > TEMPORARY_S:
                remove(path)
        except FileNotFoundError:
            continue


def _lives(recorded: ProcessMark | None) -> bool:
    """Whether the very process that was recorded still runs; its command line may have changed."""
    if recorded is None:
        return False
    try:
        seen = mark(psutil.Process(recorded.pid))
    except psutil.NoSuchProcess:
        return False
    return seen is not None and same_start(recorded, seen)


def _wait_for_guard(record: RunRecord) -> None:
    """Right after a crash the guard is still at work."""
    _wait_until(lambda: not _lives(record.guard), GUARD_S)


def _own_processes(record: RunRecord) -> Iterable[psutil.Process]:
    """Processes of the same user that are not dead; never this one or one above it."""
    me = psutil.Process()
    spared = {me.pid, *(process.pid for process in me.parents())}
    for process in psutil.process_iter():
        try:
            if process.pid in spared or process.status() == psutil.STATUS_ZOMBIE:
                continue
            if _user(process) == record.place.user:
                yield process
        except (psutil.Error, OSError):
            continue  # it ended, or is none of ours


def _user(process: psutil.Process) -> str:
    """As `Place.user` names it.

    Raises:
        psutil.Error: It is gone, or not ours to see.
    """
    if sys.platform == "win32":
        return process.username()
    else:  # noqa: RET505 - mypy calls the line unreachable on Windows otherwise
        return str(process.uids().real)


def _belongs(process: psutil.Process, record: RunRecord) -> bool:
    """It carries the run's name, or is a process that the record names."""
    try:
        if process.environ().get(RUN_VARIABLE) == record.token:
            return True
    except (psutil.Error, OSError):
        pass  # not ours to read, or gone: the next look tells
    named = (record.guard, record.engine, *record.members)
    if not any(recorded is not None and recorded.pid == process.pid for recorded in named):
        return False
    seen = mark(process)
    return seen is not None and any(
        recorded is not None and same_process(recorded, seen) for recorded in named
    )


def _session(pid: int) -> int | None:
    if sys.platform == "win32":
        return None
    else:  # noqa: RET505 - mypy calls the line unreachable on Windows otherwise
        try:
            return os.getsid(pid)
        except OSError:
            return None


def _parent(process: psutil.Process) -> int | None:
    try:
        parent = process.parent()  # checks that it is older, as Windows keeps stale numbers
    except psutil.Error:
        return None
    return None if parent is None else parent.pid


def _orphan(record: RunRecord, processes: Iterable[psutil.Process]) -> Orphan:
    processes = list(processes)
    ports = {port for process in processes for port in _ports(process)}
    return Orphan(
        record=record,
        pids=tuple(process.pid for process in processes),
        memory_bytes=sum(map(_memory_bytes, processes)),
        ports=tuple(sorted(ports)),
    )


def _memory_bytes(process: psutil.Process) -> int:
    """Main memory of one process; what several share is counted once where the system tells."""
    try:
        if sys.platform == "linux":
            return process.memory_full_info().pss
        else:  # noqa: RET505 - mypy calls the line unreachable on Linux otherwise
            return process.memory_info().rss
    except (psutil.Error, OSError):
        return 0  # gone: it holds nothing


def _ports(process: psutil.Process) -> set[int]:
    try:
        connections = process.net_connections("tcp")
    except (psutil.Error, OSError):
        return set()
    return {c.laddr.port for c in connections if c.status == psutil.CONN_LISTEN and c.laddr}


def _tell(process: psutil.Process, act: Callable[[psutil.Process], None]) -> None:
    """Act on a process; psutil makes sure that it is still the same one."""
    try:
        act(process)
    except psutil.NoSuchProcess:
        pass
    except psutil.AccessDenied:
        log.warning("process %d cannot be ended from here", process.pid)


def _wait_until(condition: Callable[[], bool], most_s: float) -> None:
    deadline = time.monotonic() + most_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(LOOK_S)
