"""Stands between the program and an engine on Linux; nothing below it outlives the program.

Run as `python -I -S guard.py FD GRACE_MS PROGRAM ARGUMENTS…`. Standard input is a pipe whose write
end only the program has: when it closes, however the program ended, the guard ends the engine and
everything below it, by asking, and after GRACE_MS by force. The engine's process id goes to file
descriptor FD as one line.

The guard is two processes, so that the end of either leaves nothing behind: the outer one starts
the inner one, which starts the engine. Both are child subreapers: a process whose parent died
becomes the child of the inner one, or, when that is gone too, of the outer one. The inner one gets
a request to end when the outer one dies; the engine gets SIGKILL when the inner one dies. Only
when both are killed together may a grandchild of the engine survive; `records` finds those.

It leads its own session, so a terminal's Ctrl-C or hang-up does not reach the engine before the
program had its say.

Exit code: that of the engine; 128 + n when signal n ended it; 127 when it could not be started.
Only the standard library, and little of it: these processes should cost a few MB.
"""

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
SPARE_S = 0.4
"""What the inner guard may take beyond the grace before the outer one does its work."""
LONGEST_PAUSE_S = 0.5
"""Between two tries to kill something the kernel holds fast."""


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
    """Ask everything below to end, then kill what is left.

    Returns when nothing is left but what belongs to another user and cannot be ended from here.
    """
    for pid in descendants():
        tell(pid, signal.SIGTERM)
        tell(pid, signal.SIGCONT)  # one that was stopped would not hear
    deadline = time.monotonic() + grace_s
    while reap() and time.monotonic() < deadline:
        time.sleep(0.01)
    pause_s = 0.005
    while reap():
        below = descendants()
        refused = [pid for pid in below if not tell(pid, signal.SIGKILL)]
        if refused and len(refused) == len(below):
            os.write(2, f"guard: not allowed to end {refused}\n".encode())
            return
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.5, LONGEST_PAUSE_S)


def tell(pid: int, number: int) -> bool:
    """Send a signal to a process that may be gone; false when it is another user's."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
    except PermissionError:
        return False
    return True


started: list[int] = []
"""What this guard has started: all that can be ended where the kernel does not list children."""
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


def set_traps() -> int:
    """Handle the guard's signals; returns a descriptor on which their numbers arrive."""
    wake, alarm = os.pipe()
    os.set_blocking(alarm, False)
    signal.set_wakeup_fd(alarm, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    return wake


def fork(death_signal: int) -> int:
    """Fork; the child gets `death_signal` when this process dies.

    Both return with the guard's signals held back: until each has set or put aside its handlers,
    a request to end waits, not gets lost.
    """
    parent = os.getpid()
    signal.pthread_sigmask(signal.SIG_BLOCK, OWN_SIGNALS)
    pid = os.fork()
    if pid:
        started.append(pid)
        return pid
    prctl(PR_SET_PDEATHSIG, death_signal)
    if os.getppid() != parent:
        os._exit(127)  # it died before the signal was set
    started.clear()
    return 0


def start(command: list[str], report: int) -> int:
    """Fork and run the engine; returns its process id."""
    pid = fork(signal.SIGKILL)
    if pid:
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        return pid
    try:
        for number in OWN_SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.close(report)
        os.execvpe(command[0], command, os.environ)
    except OSError as error:
        os.write(2, f"guard: {command[0]}: {error.strerror}\n".encode())
    os._exit(127)


def wait_for_end(child: int, wake: int) -> bool:
    """Wait until `child` ended (false), or it has to: the program is gone or asks (true)."""
    while reap() and child not in statuses:
        ready, _, _ = select.select([0, wake], [], [])
        if wake in ready and signal.SIGTERM in os.read(wake, 64):
            return True
        if 0 in ready and not os.read(0, 64):
            return True
    return False


def keep(outer: int, command: list[str], report: int, grace_s: float) -> int:
    """The inner guard: from the start of the engine to the end of everything below it."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    wake = set_traps()
    engine = start(command, report)
    os.write(report, f"{engine}\n".encode())
    os.close(report)
    wait_for_end(engine, wake)
    end_everything(grace_s)
    if os.getppid() == outer:
        tell(outer, signal.SIGCONT)  # one that was stopped could not end
    return statuses.get(engine, 0)


def oversee(inner: int, wake: int, grace_s: float) -> int:
    """The outer guard: does the inner one's work when that died or hangs."""
    if wait_for_end(inner, wake):
        tell(inner, signal.SIGTERM)
        tell(inner, signal.SIGCONT)
        deadline = time.monotonic() + grace_s + SPARE_S
        while reap() and inner not in statuses and (left_s := deadline - time.monotonic()) > 0:
            select.select([wake], [], [], left_s)
    end_everything(0)
    return statuses.get(inner, 0)


def code_of(status: int) -> int:
    """Exit code for what `waitpid` told."""
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def main() -> int:
    """Split in two; each half returns its exit code."""
    report, grace_s, command = int(sys.argv[1]), int(sys.argv[2]) / 1000, sys.argv[3:]
    if os.getpid() != os.getsid(0):
        os.setsid()
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    outer = os.getpid()
    inner = fork(signal.SIGTERM)
    if inner == 0:
        return code_of(keep(outer, command, report, grace_s))
    os.close(report)
    return code_of(oversee(inner, set_traps(), grace_s))


if __name__ == "__main__":
    # without the interpreter's own end, which takes longer than ours
    os._exit(main())
