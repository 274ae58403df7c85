"""Two machines for Ray: network namespaces with a cable between them, and no other network.

Ray listens on every network of a machine, whatever address it is told, so it is not tried on a real
one. Needs root, and `ip`, `unshare` and `nsenter`.
"""

import ctypes
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

CLONE_NEWNET = 0x40000000
HERE, THERE = "10.77.0.1", "10.77.0.2"


@dataclass(frozen=True, slots=True)
class Machines:
    """The two of them; the calling thread and what it starts are on the first.

    Attributes:
        here: Address of the first.
        there: Address of the second.
        holder: A process that keeps the second one's network alive.
    """

    here: str
    there: str
    holder: int

    def on_the_other(self, command: Sequence[str]) -> list[str]:
        """The command that runs `command` on the second machine."""
        return ["nsenter", f"--net=/proc/{self.holder}/ns/net", *command]

    def processes(self, pid: int | None = None) -> list[psutil.Process]:
        """All processes on the second machine, or on that of process `pid`."""
        wanted = _network(self.holder if pid is None else pid)
        found = []
        for process in psutil.process_iter():
            try:
                if _network(process.pid) == wanted and process.pid != self.holder:
                    found.append(process)
            except OSError:
                continue
        return found


def _network(pid: int) -> str:
    return str(Path(f"/proc/{pid}/ns/net").readlink())


def _run(command: str) -> None:
    subprocess.run(command.split(), check=True)


@contextmanager
def two_machines() -> Iterator[Machines]:
    """Put the calling thread onto the first of them; skips the calling test where it may not."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/proc/thread-self/ns/net").open("rb") as before:
        if libc.unshare(CLONE_NEWNET) != 0:
            pytest.skip("Ray is only tried in a network of its own, which takes root.")
        holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        try:
            mine = str(Path("/proc/thread-self/ns/net").readlink())
            while _network(holder.pid) == mine:
                time.sleep(0.01)
            _run("ip link set lo up")
            _run(f"ip link add cable-a type veth peer name cable-b netns {holder.pid}")
            _run(f"ip addr add {HERE}/24 dev cable-a")
            _run("ip link set cable-a up")
            machines = Machines(HERE, THERE, holder.pid)
            for command in (
                "ip link set lo up",
                f"ip addr add {THERE}/24 dev cable-b",
                "ip link set cable-b up",
            ):
                _run(" ".join(machines.on_the_other([command])))
            yield machines
        finally:
            libc.setns(before.fileno(), CLONE_NEWNET)
            holder.kill()
            holder.wait()
