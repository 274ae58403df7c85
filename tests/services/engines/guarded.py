"""A launched process tree as the tests of supervision look at it."""

import os
from collections.abc import Callable

import psutil
from tests.services.engines.processes import wait_for

from splitrig.services.engines.log_file import LogFile
from splitrig.services.engines.process import EngineProcess, launch

STUBBORN = "trap '' TERM INT HUP; while :; do sleep 0.1; done"


def sh(script: str) -> list[str]:
    """A shell script as a command."""
    return ["sh", "-c", script]


class Child:
    """A launched process and the lines it printed."""

    def __init__(
        self,
        command: list[str],
        log: LogFile | None = None,
        env: dict[str, str] | None = None,
    ) -> None:
        self.lines: list[str] = []
        self.process: EngineProcess = launch(
            command, env if env is not None else dict(os.environ), self.lines.extend, log
        )

    @property
    def outer(self) -> psutil.Process:
        """The outer half of the guard."""
        assert self.process.guard_pid is not None
        return psutil.Process(self.process.guard_pid)

    @property
    def inner(self) -> psutil.Process:
        """The inner half of the guard, the engine's parent."""
        parent = psutil.Process(self.process.pid).parent()
        assert parent is not None
        return parent

    def wait(self) -> int:
        """Wait for the end of process and output; returns the exit code."""
        wait_for(lambda: self.process.poll() is not None)
        self.process.close()
        code = self.process.poll()
        assert code is not None
        return code

    def below(self) -> list[int]:
        """The guard, both halves, and everything below it."""
        return [self.outer.pid, *(p.pid for p in self.outer.children(recursive=True))]

    def grown_to(self, count: int) -> list[int]:
        """Wait until guard and tree have so many processes; returns their ids."""
        wait_for(lambda: len(self.below()) >= count)
        return self.below()


Start = Callable[..., Child]
