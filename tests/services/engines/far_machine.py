"""Another machine, as far as the network goes: a namespace behind a link with a real delay."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LINK = Path(__file__).with_name("slow_link.py")


def why_not() -> str:
    """Why there can be no such machine here; empty if there can."""
    if sys.platform != "linux":
        return "network namespaces are Linux's"
    if os.geteuid() != 0:
        return "a network namespace and its link need root"
    if not Path("/dev/net/tun").exists():
        return "the kernel has no /dev/net/tun"
    trial = subprocess.run(
        [sys.executable, str(LINK), "0", "0"], stdin=subprocess.DEVNULL, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    if trial.returncode:
        last = trial.stderr.strip().splitlines()[-1:] or ["no reason given"]
        return f"no network namespace with a link can be made: {last[0]}"
    return ""


@dataclass
class FarMachine:
    """Its addresses, and how to run something on it.

    Attributes:
        address: Where it is reached.
        near: Where it sees this machine.
    """

    pid: int
    address: str
    near: str
    device: str

    @property
    def prefix(self) -> list[str]:
        """Put before a command, it runs there."""
        return ["nsenter", "-t", str(self.pid), "-n"]

    def cut(self) -> None:
        """Take its end of the link down; whatever comes is lost, and nothing tells."""
        self._set("down")

    def mend(self) -> None:
        """Bring the link up again."""
        self._set("up")

    def _set(self, state: str) -> None:
        subprocess.run([*self.prefix, "ip", "link", "set", self.device, state], check=True)


@contextlib.contextmanager
def far_machine(delay_ms: float, mb_per_s: float = 0) -> Iterator[FarMachine]:
    """A machine behind a link that takes `delay_ms` each way."""
    process = subprocess.Popen(
        [sys.executable, str(LINK), str(delay_ms), str(mb_per_s)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        said = json.loads(process.stdout.readline())
        yield FarMachine(process.pid, said["far"], said["near"], said["far_device"])
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()
