"""Writes down every running engine, so that one that outlived its program can be found again.

One JSON file a run, readable only by the user, in `running` of the state folder. It is written
before the engine starts, follows what becomes of it, and is removed when it has ended.
"""

import json
import logging
import os
import platform
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import platformdirs
import psutil
from pydantic import TypeAdapter

from splitrig.core.errors import EngineError, StoreError
from splitrig.core.orphan import (
    RUN_VARIABLE,
    VERSION,
    Place,
    ProcessMark,
    RunAbout,
    RunRecord,
)
from splitrig.core.secret import without_secrets
from splitrig.services.engines.log_file import LogFile
from splitrig.services.engines.process import LaunchedProcess, launch
from splitrig.services.store.settings import APP

log = logging.getLogger(__name__)

FIRST_LOOK_S = 0.05
SECOND_LOOK_S = 0.5
LONGEST_LOOK_S = 300.0
"""What an engine has become is looked at ever more rarely, seconds after its start."""
_RECORD = TypeAdapter(RunRecord)


def records_dir() -> Path:
    """Folder of the records."""
    return Path(platformdirs.user_state_dir(APP, appauthor=False)) / "running"


def place() -> Place:
    """Where this program runs."""
    if sys.platform == "linux":
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return Place(
            host=platform.node(),
            boot=boot,
            namespace=str(Path("/proc/self/ns/pid").readlink()),
            user=str(os.getuid()),
        )
    else:  # noqa: RET505 - mypy calls the line unreachable on Linux otherwise
        user = psutil.Process().username()
        return Place(host=platform.node(), boot="", namespace="", user=user)


def mark(process: psutil.Process) -> ProcessMark | None:
    """What tells this process from all others; `None` when it is gone, dead or not ours to see."""
    try:
        with process.oneshot():
            if process.status() == psutil.STATUS_ZOMBIE:
                return None
            return ProcessMark(
                pid=process.pid,
                started_s=process.create_time(),
                ticks=_ticks(process.pid),
                command=without_secrets(process.cmdline()),
            )
    except (psutil.Error, OSError):
        return None


def _ticks(pid: int) -> int | None:
    """Clock ticks from boot to the start of a process, on Linux.

    Raises:
        OSError: It is gone.
    """
    if sys.platform == "linux":
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return int(text.rpartition(")")[2].split()[19])  # its name may hold anything, brackets too
    else:  # noqa: RET505 - mypy calls the line unreachable on Linux otherwise
        return None


class RecordFile:
    """The record of one run on disk.

    Attributes:
        record: As it was last told; also where the file could not be written.
        problem: Why it could not be written, the first time that happened.
    """

    def __init__(self, record: RunRecord, folder: Path | None = None) -> None:
        self.record = record
        self.problem: StoreError | None = None
        self._path = path_of(record, folder)

    def write(self, record: RunRecord) -> None:
        """Replace the file at once and whole; an engine is not held up by a full disk."""
        self.record = record
        try:
            _write(self._path, record)
        except OSError as error:
            if self.problem is None:
                self.problem = StoreError(
                    f"The record of the engine cannot be written to {self._path.parent}: "
                    f"{error.strerror}.",
                    "Make that folder writable; until then an engine left by a crash is not found.",
                )
                log.warning("%s", self.problem)

    def remove(self) -> None:
        """The run has ended."""
        remove(self._path)


def path_of(record: RunRecord, folder: Path | None = None) -> Path:
    """The file of a record."""
    return (folder or records_dir()) / f"{record.token}.json"


def remove(path: Path) -> None:
    """Delete a record; one that cannot be deleted is judged again next time."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        log.warning("%s cannot be deleted: %s", path, error)


def _write(path: Path, record: RunRecord) -> None:
    """Write beside, then rename: a reader sees the old record or the new one.

    Raises:
        OSError: It cannot be written.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".new")  # mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(_RECORD.dump_json(record, indent=1))
        Path(name).replace(path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise


def read(path: Path) -> RunRecord | None:
    """A record; `None` when it says nothing that can be used.

    Raises:
        OSError: It cannot be read.
        NewerRecordError: A newer SplitRig wrote it.
    """
    content = path.read_bytes()
    try:
        values = json.loads(content)
        if isinstance(values, dict) and values.get("version", 0) > VERSION:
            raise NewerRecordError(path)
        record = _RECORD.validate_python(values)
    except (ValueError, TypeError, RecursionError):
        return None
    return record if path.stem == record.token else None


class NewerRecordError(Exception):
    """A newer SplitRig wrote the record; only that one may judge it."""


class RecordedProcess:
    """An engine and everything below it, with a record that follows it.

    Attributes:
        problem: Why there is no record of it on disk; `None` when there is.
    """

    def __init__(self, process: LaunchedProcess, file: RecordFile) -> None:
        self._process = process
        self._file = file
        self._begun_s = time.monotonic()
        self._next_s = FIRST_LOOK_S
        self._look()

    @property
    def problem(self) -> StoreError | None:
        """Why its record could not be written."""
        return self._file.problem

    @property
    def pid(self) -> int:
        """Process id of the engine itself."""
        return self._process.pid

    @property
    def guard_pid(self) -> int | None:
        """Process id of the outer guard; `None` where there is none."""
        return self._process.guard_pid

    def poll(self) -> int | None:
        """Exit code, negative for a signal; `None` while it runs. Now and then looks at it."""
        code = self._process.poll()
        if code is None and (age_s := time.monotonic() - self._begun_s) >= self._next_s:
            self._next_s = max(SECOND_LOOK_S, age_s + min(age_s, LONGEST_LOOK_S))
            self._look()
        return code

    def stop(self) -> None:
        """Ask it to end, then kill it and all below it; blocks for at most about 2 s."""
        self._process.stop()

    def close(self) -> None:
        """Wait until its output was read to the end, and forget it; call after it has ended."""
        self._process.close()
        if self._process.poll() is not None:
            self._file.remove()

    def _look(self) -> None:
        """Bring the record up to date: vLLM renames itself, Ollama starts more, wrappers change."""
        old = self._file.record
        guard = _mark_of(self.guard_pid) or old.guard
        top = self.guard_pid or self.pid
        seen = {m.pid: m for m in map(mark, _family(top)) if m is not None}
        engine = seen.get(self.pid, old.engine)
        strayed = {m.pid: m for m in old.members if psutil.pid_exists(m.pid)}
        members = tuple(sorted({**strayed, **seen}.values(), key=lambda m: m.pid))
        new = replace(old, guard=guard, engine=engine, members=members)
        if new != old:
            self._file.write(new)


def _mark_of(pid: int | None) -> ProcessMark | None:
    try:
        return None if pid is None else mark(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return None


def _family(pid: int) -> list[psutil.Process]:
    """A process and everything below it."""
    try:
        top = psutil.Process(pid)
        return [top, *top.children(recursive=True)]
    except psutil.Error:
        return []


def launch_recorded(
    command: Sequence[str],
    env: Mapping[str, str],
    on_lines: Callable[[list[str]], None],
    log_file: LogFile | None = None,
    *,
    about: RunAbout,
    folder: Path | None = None,
) -> RecordedProcess:
    """Start an engine as `process.launch` does, and keep a record of it until it has ended.

    Args:
        command: Program and arguments; no shell is involved.
        env: The whole environment of the child; the name of the run is added.
        on_lines: Called on a reader thread with whole lines of its output.
        log_file: Gets the raw output as well.
        about: What it is.
        folder: Where the record lies instead of `records_dir`.

    Raises:
        EngineError: It could not be started.
    """
    owner = mark(psutil.Process())
    if owner is None:
        raise EngineError("This machine does not tell its own processes apart.")
    record = RunRecord(
        token=secrets.token_hex(16),
        begun_s=time.time(),
        place=place(),
        about=about,
        executable=str(command[0]),
        owner=owner,
    )
    file = RecordFile(record, folder)
    file.write(record)
    try:
        process = launch(command, {**env, RUN_VARIABLE: record.token}, on_lines, log_file)
    except EngineError:
        file.remove()
        raise
    return RecordedProcess(process, file)
