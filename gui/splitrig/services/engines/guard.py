"""Stands between the program and an engine on Linux; nothing below it outlives the program.

Run as `python -I -S guard.py FD GRACE_MS PROGRAM ARGUMENTS…`. Standard input is a pipe whose write
end only the program has: when it closes, however the program ended, the guard ends the engine and
everything below it, by asking, and after GRACE_MS by force. The engine's process id goes to file
descriptor FD as one line.

The guard leads its own session, so a terminal's Ctrl-C or hang-up does not reach the engine before
the program had its say. It is a child subreaper: grandchildren whose parent died become its own
children, so none escapes. The engine carries a parent-death signal, in case the guard itself is
killed; only then may a grandchild of the engine survive.

Exit code: that of the engine; 128 + n when signal n ended it; 127 when it could not be started.
Only the standard library, and little of it: this process should cost a few MB.
"""

import contextlib
import ctypes
import os
import select
import signal
import sys
import time

assert sys.platform != "win32"  # noqa: S101 - also tells mypy where this file counts

OWN_SIGNALS = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGCHLD)
"""What the guard handles in its own way and the engine in the default one."""
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def prctl(option: int, value: int) -> None:
    """`prctl(2)`; failing to set it would quietly lose the protection, so it is fatal."""
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def descendants() -> list[int]:
    """Process ids of everything below this process."""
    found, queue = [], [os.getpid()]
    while queue:
        pid = queue.pop()
        try:
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/children") as file:
                    children = [int(child) for child in file.read().split()]
                found += children
                queue += children
        except OSError:
            continue  # it ended while we looked
    return found or [pid for pid in started if pid not in statuses]


def end_everything(grace_s: float) -> None:
    """Ask everything below to end, then kill what is left; returns when nothing is left."""
    for pid in descendants():
        tell(pid, signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    while reap() and time.monotonic() < deadline:
        time.sleep(0.01)
    while reap():
        for pid in descendants():
            tell(pid, signal.SIGKILL)
        time.sleep(0.005)


def tell(pid: int, number: int) -> None:
    """Send a signal to a process that may be gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


started: list[int] = []
"""The engine: all that can be ended where the kernel does not list children."""
statuses: dict[int, int] = {}


def reap() -> bool:
    """Collect what has ended; false when there is no child any more."""
    try:
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return True
            statuses[pid] = status
    except ChildProcessError:
        return False


def start(command: list[str], report: int) -> int:
    """Fork and run the engine; returns its process id."""
    guard = os.getpid()
    # Until the child has put the guard's handlers aside, a request to end waits, not gets lost.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, OWN_SIGNALS)
    pid = os.fork()
    if pid:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return pid
    try:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != guard:
            os._exit(127)  # the guard died before the signal was set
        for number in OWN_SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.close(report)
        os.execvpe(command[0], command, os.environ)
    except OSError as error:
        os.write(2, f"guard: {command[0]}: {error.strerror}\n".encode())
    os._exit(127)


def watch(engine: int, wake: int) -> None:
    """Wait until the engine ended, the program is gone, or the guard is asked to end."""
    while reap() and engine not in statuses:
        ready, _, _ = select.select([0, wake], [], [])
        if wake in ready and signal.SIGTERM in os.read(wake, 64):
            return
        if 0 in ready and not os.read(0, 64):
            return


def main() -> int:
    """Set the traps, start the engine, wait, clean up."""
    report, grace_s, command = int(sys.argv[1]), int(sys.argv[2]) / 1000, sys.argv[3:]
    if os.getpid() != os.getsid(0):
        os.setsid()
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    wake, alarm = os.pipe()
    os.set_blocking(alarm, False)
    signal.set_wakeup_fd(alarm, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    engine = start(command, report)
    started.append(engine)
    os.write(report, f"{engine}\n".encode())
    os.close(report)
    watch(engine, wake)
    end_everything(grace_s)
    status = statuses.get(engine, 0)
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


if __name__ == "__main__":
    sys.exit(main())
