"""What every kind of engine has in common: how it is asked, shown, started, read and ended."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from splitrig.core.engine import Dialect, EngineDevice, EngineKind, Failure, LaunchRequest
from splitrig.core.engine_log import LogEvent
from splitrig.core.gpu import GpuInfo
from splitrig.core.orphan import RunAbout
from splitrig.core.plan import Plan
from splitrig.services.engines.log_file import LogFile
from splitrig.services.engines.probe import Cancelled, never
from splitrig.services.engines.process import EngineProcess, LaunchedProcess
from splitrig.services.engines.records import launch_recorded

OnLines = Callable[[list[str]], None]
"""Takes whole lines of output, on the thread that reads them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is wanted of one start.

    Attributes:
        request: As the user chose it.
        names: The engine's devices for the cards, in the order of the split; `None` when the
            processor is to lend as many devices as there are cards.
        plan: What was planned; `None` where nothing can be.
    """

    request: LaunchRequest
    names: tuple[str, ...] | None
    plan: Plan | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Starter:
    """What a run starts its process with, so that a record of it is kept while it runs.

    Attributes:
        on_lines: Takes its output.
        log: Gets the raw output as well.
        about: What goes into the record.
        records: Folder of the records; `None` for the usual one.
    """

    on_lines: OnLines
    log: LogFile | None
    about: RunAbout
    records: Path | None = None

    def launch(
        self, command: Sequence[str], env: Mapping[str, str], on_lines: OnLines | None = None
    ) -> LaunchedProcess:
        """Start a process that ends with this program, however that ends.

        Args:
            command: Program and arguments; no shell is involved.
            env: The whole environment of the child.
            on_lines: Takes its output instead.

        Raises:
            EngineError: It could not be started.
        """
        return launch_recorded(
            command,
            env,
            on_lines or self.on_lines,
            self.log,
            about=self.about,
            folder=self.records,
        )


class Run(Protocol):
    """One start of an engine, from the helpers it needs to the end of them.

    Its methods are called on the supervisor's thread, `read_line` on the one that reads the log.

    Attributes:
        request: As it is run: with what the order left open.
        device_names: The engine's devices, in the order of the split.
        log_name: Name of the file that gets the output, without `.log`.
        says_when_bound: Its log passes a mark before anybody else could be asked on its port.
        says_when_loaded: Its log has a line after the last one that counts for the verdict.
        takes_key: Requests need the key.
        has_metrics: `/metrics` of its address tells tokens and requests.
        dialect: How to speak to it in a chat.
        served_model: What a request has to name as its model; `None` where it need not.
    """

    request: LaunchRequest
    device_names: tuple[str, ...]
    log_name: str
    says_when_bound: bool
    says_when_loaded: bool
    takes_key: bool
    has_metrics: bool
    dialect: Dialect
    served_model: str | None

    def command(self, port: int) -> tuple[str, ...]:
        """The command line, for running and showing; there is no key in it."""

    def url(self, port: int) -> str:
        """Base address."""

    def start(self, port: int, key: str, starter: Starter) -> EngineProcess:
        """Start the process.

        Raises:
            EngineError: It could not be started.
        """

    def answers(self, port: int, key: str) -> bool:
        """Whether the model is loaded and requests are answered; asked again and again.

        Blocks for at most some 1 s.

        Raises:
            EngineError: It will never be, for a reason its log does not tell.
        """

    def read_line(self, line: str) -> LogEvent | None:
        """What a line of its log says; `None` for lines that say nothing to follow."""

    def helper_failure(self, tail: Sequence[str]) -> Failure | None:
        """Why it cannot go on although its process does: a helper of it is gone."""

    def close(self) -> None:
        """End the helpers; after the process has ended. Does nothing the second time."""


class Engine(Protocol):
    """One engine as it is installed; what it says of itself is read once."""

    @property
    def kind(self) -> EngineKind:
        """Which."""

    @property
    def build(self) -> str | None:
        """Its build, if it was asked before; never blocks."""

    def check(self, cancelled: Cancelled = never) -> str:
        """Its build; blocks for up to some seconds the first time.

        Raises:
            EngineError: It does not start, or is something else.
        """

    def list_devices(
        self, gpus: Sequence[GpuInfo], model: Path | None, cancelled: Cancelled = never
    ) -> tuple[EngineDevice, ...]:
        """The devices it could use; blocks for up to some seconds.

        Args:
            gpus: The cards, for engines that can only be told which ones to use.
            model: Any model file; some engines name PCI addresses only with one.
            cancelled: Asked meanwhile whether to give up.

        Raises:
            EngineError: It does not start.
        """

    def preview(
        self, request: LaunchRequest, names: Sequence[str] | None, port: int
    ) -> tuple[str, ...]:
        """The command that a start would run; empty until it was checked. Never blocks.

        Raises:
            EngineError: It cannot do what is asked.
        """

    def open(self, order: Order, on_lines: OnLines, cancelled: Cancelled = never) -> Run:
        """Get ready for one start: begin the helpers it needs; blocks for some 50 ms.

        Args:
            order: What is wanted.
            on_lines: Takes the helpers' output.
            cancelled: Asked meanwhile whether to give up.

        Raises:
            EngineError: It cannot do what is asked.
        """
