"""Windows: an engine in a Job Object that ends with its last handle, which only we hold.

The process is created suspended, put into the job, and only then runs, so that nothing it starts
can be outside. Win32 calls: CreateJobObjectW, SetInformationJobObject, AssignProcessToJobObject,
TerminateJobObject; NtResumeProcess resumes it, as Python's subprocess keeps no thread handle.
"""

import ctypes
import msvcrt
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from ctypes import wintypes

from splitrig.services.engines.log_file import LogFile
from splitrig.services.engines.output import OutputReader

assert sys.platform == "win32"  # noqa: S101 - also tells mypy where this file counts

_CREATE_SUSPENDED = 0x00000004
_KILL_ON_JOB_CLOSE = 0x00002000
_EXTENDED_LIMIT_INFORMATION = 9


class _BasicLimits(ctypes.Structure):
    """JOBOBJECT_BASIC_LIMIT_INFORMATION."""

    _fields_ = (
        ("PerProcessUserTimeLimit", wintypes.LARGE_INTEGER),
        ("PerJobUserTimeLimit", wintypes.LARGE_INTEGER),
        ("LimitFlags", wintypes.DWORD),
        ("MinimumWorkingSetSize", ctypes.c_size_t),
        ("MaximumWorkingSetSize", ctypes.c_size_t),
        ("ActiveProcessLimit", wintypes.DWORD),
        ("Affinity", ctypes.c_size_t),
        ("PriorityClass", wintypes.DWORD),
        ("SchedulingClass", wintypes.DWORD),
    )


class _ExtendedLimits(ctypes.Structure):
    """JOBOBJECT_EXTENDED_LIMIT_INFORMATION."""

    _fields_ = (
        ("BasicLimitInformation", _BasicLimits),
        ("IoInfo", ctypes.c_ulonglong * 6),
        ("ProcessMemoryLimit", ctypes.c_size_t),
        ("JobMemoryLimit", ctypes.c_size_t),
        ("PeakProcessMemoryUsed", ctypes.c_size_t),
        ("PeakJobMemoryUsed", ctypes.c_size_t),
    )


_kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
_ntdll = ctypes.WinDLL("ntdll")
_kernel32.CreateJobObjectW.restype = wintypes.HANDLE
_kernel32.CreateJobObjectW.argtypes = [ctypes.c_void_p, wintypes.LPCWSTR]
_kernel32.SetInformationJobObject.argtypes = [
    wintypes.HANDLE, ctypes.c_int, ctypes.c_void_p, wintypes.DWORD,
]  # fmt: skip
_kernel32.AssignProcessToJobObject.argtypes = [wintypes.HANDLE, wintypes.HANDLE]
_kernel32.TerminateJobObject.argtypes = [wintypes.HANDLE, wintypes.UINT]
_kernel32.CloseHandle.argtypes = [wintypes.HANDLE]
_ntdll.NtResumeProcess.argtypes = [wintypes.HANDLE]


def _job() -> int:
    """A new job that kills all its processes when its last handle closes."""
    job = _kernel32.CreateJobObjectW(None, None)
    if not job:
        raise ctypes.WinError(ctypes.get_last_error())
    limits = _ExtendedLimits()
    limits.BasicLimitInformation.LimitFlags = _KILL_ON_JOB_CLOSE
    if not _kernel32.SetInformationJobObject(
        job, _EXTENDED_LIMIT_INFORMATION, ctypes.byref(limits), ctypes.sizeof(limits)
    ):
        raise ctypes.WinError(ctypes.get_last_error())
    return int(job)


def _suspended(command: Sequence[str], env: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    """The process, created but not yet running."""
    return subprocess.Popen(
        list(command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=dict(env),
        creationflags=_CREATE_SUSPENDED
        | subprocess.CREATE_NO_WINDOW
        | subprocess.CREATE_NEW_PROCESS_GROUP,
        bufsize=0,
    )


def _take_in(job: int, process: "subprocess.Popen[bytes]") -> None:
    """Put a suspended process into the job, then let it run.

    Raises:
        OSError: Windows refuses one of the two.
    """
    handle = int(getattr(process, "_handle"))  # noqa: B009 - no public way, and no stub for it
    if not _kernel32.AssignProcessToJobObject(job, handle):
        raise ctypes.WinError(ctypes.get_last_error())
    status = _ntdll.NtResumeProcess(handle)
    if status != 0:
        raise OSError(status, "NtResumeProcess")


class JobProcess:
    """An engine and everything below it, in one job."""

    def __init__(
        self,
        command: Sequence[str],
        env: Mapping[str, str],
        on_lines: Callable[[list[str]], None],
        log: LogFile | None = None,
    ) -> None:
        self._job: int | None = _job()
        try:
            self._process = _suspended(command, env)
            try:
                _take_in(self._job, self._process)
            except OSError:
                self._process.kill()
                raise
        except OSError:
            _kernel32.CloseHandle(self._job)
            raise
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        pipe = os.dup(self._process.stdout.fileno())
        msvcrt.setmode(pipe, os.O_BINARY)
        self._reader = OutputReader(pipe, on_lines, log)
        self._process.stdout.close()

    @property
    def pid(self) -> int:
        """Process id of the engine itself."""
        return self._process.pid

    @property
    def guard_pid(self) -> int | None:
        """There is no guard: the job does its work."""
        return None

    def poll(self) -> int | None:
        """Exit code; `None` while it runs."""
        return self._process.poll()

    def stop(self) -> None:
        """End the job; llama-server has no console to get a Ctrl-C through."""
        if self._job is not None:
            _kernel32.TerminateJobObject(self._job, 1)
            _kernel32.CloseHandle(self._job)
            self._job = None
        self._process.wait()

    def close(self) -> None:
        """Wait until the output was read to the end."""
        self._reader.join(2)
        self.stop()
