"""A program with an engine below it that crashes together with both halves of its guard."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[3]


@dataclass
class Crashed:
    """The program, and everything that was below it before the crash."""

    program: "subprocess.Popen[str]"
    folder: Path
    engine: int
    guards: list[int]
    below: dict[int, psutil.Process]
    lines: list[str]

    def crash(self, *, guards: bool = True) -> None:
        """`kill -9` of the program and of both halves of the guard, all in one moment."""
        victims = [self.program.pid, *(self.guards if guards else [])]
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in victims:
                os.kill(pid, number)
        self.program.wait()

    def below_the_engine(self) -> list[int]:
        """What the engine had started, daemons included."""
        return [pid for pid in self.below if pid not in (*self.guards, self.engine)]

    def edit(self, change: Callable[[dict[str, Any]], object]) -> None:
        """Change the record as a test needs it."""
        (path,) = self.folder.glob("*.json")
        values = json.loads(path.read_text(encoding="utf-8"))
        change(values)
        path.write_text(json.dumps(values), encoding="utf-8")


Tree = Callable[..., Crashed]


def _begin(folder: Path, command: tuple[str, ...], program_name: str) -> Crashed:
    program = subprocess.Popen(
        [sys.executable, "-m", f"tests.services.engines.{program_name}", folder, *command],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'gui'}:{ROOT}"},
    )
    assert program.stdout is not None
    news = json.loads(program.stdout.readline())
    below = {p.pid: p for p in psutil.Process(program.pid).children(recursive=True)}
    inner = psutil.Process(news["engine"]).ppid()
    return Crashed(program, folder, news["engine"], [news["guard"], inner], below, news["lines"])


@contextmanager
def trees(folder: Path) -> Iterator[Tree]:
    """Gives what starts programs with records in `folder`; kills whatever is left at the end."""
    made: list[Crashed] = []

    def begin(*command: str, program: str = "recorded_program") -> Crashed:
        made.append(_begin(folder, command, program))
        return made[-1]

    try:
        yield begin
    finally:
        for crashed in made:
            for process in (crashed.program, *crashed.below.values()):
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            crashed.program.wait()
            assert crashed.program.stdout is not None
            crashed.program.stdout.close()
