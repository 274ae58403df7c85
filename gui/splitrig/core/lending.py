"""Lending this machine's cards with `ggml-rpc-server`: what is wanted, and what its output says."""

import re
from dataclasses import dataclass, replace
from enum import StrEnum

from splitrig.core.engine import EngineDevice, Failure
from splitrig.core.remote import DEFAULT_PORT, Protocol, Reach, reach_of
from splitrig.core.units import MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class LendRequest:
    """What is to be lent, and where.

    Attributes:
        devices: The engine's names, such as `CUDA0`; empty means all its cards.
        host: Numeric IPv4 address to listen on.
        port: TCP port; 0 picks a free one.
        on_network: An address that other machines reach is meant to be.
        cache: Keep large tensors on this machine's disk, so that the next load is short.
        n_threads: Threads of a processor that is lent; `None` leaves it to the server.
    """

    devices: tuple[str, ...] = ()
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    on_network: bool = False
    cache: bool = False
    n_threads: int | None = None


class LendPhase(StrEnum):
    """Where lending is in its life."""

    STOPPED = "stopped"
    STARTING = "starting"
    LISTENING = "listening"
    SERVING = "serving"
    STOPPING = "stopping"
    FAILED = "failed"

    @property
    def active(self) -> bool:
        """A process exists, or is about to."""
        return self not in (LendPhase.STOPPED, LendPhase.FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class LendStatus:
    """A snapshot of the server that lends.

    Attributes:
        phase: Where it is in its life; SERVING while a client is connected.
        request: What was asked for; `None` before the first start.
        endpoint: `host:port` it listens on; empty before it does.
        protocol: What it speaks; `None` until it said so.
        devices: What it lends, as it named them.
        pid: Of its process.
        client: Address of who uses it; `None` when nobody does or it cannot be told.
        n_clients: Connections so far; one load of a model opens many.
        failure: Set in phase FAILED.
    """

    phase: LendPhase = LendPhase.STOPPED
    request: LendRequest | None = None
    endpoint: str = ""
    protocol: Protocol | None = None
    devices: tuple[EngineDevice, ...] = ()
    pid: int | None = None
    client: str | None = None
    n_clients: int = 0
    failure: Failure | None = None


def state_text(status: LendStatus) -> str:
    """What the server that lends is doing, in a few words."""
    match status.phase:
        case LendPhase.LISTENING:
            return f"listening at {status.endpoint}"
        case LendPhase.SERVING:
            return f"in use by {status.client or 'an engine'}, at {status.endpoint}"
        case LendPhase.STOPPED:
            return "not lent"
        case LendPhase.FAILED:
            return "ended"
    return f"{status.phase.value} …"


class LendTrouble(StrEnum):
    """What an error line of the server is about."""

    UNKNOWN_DEVICE = "unknown device"
    NO_DEVICE = "no device"
    NOT_BOUND = "not bound"
    BAD_ARGUMENT = "bad argument"


@dataclass(frozen=True, slots=True)
class LendTroubleSeen:
    """An error line; `subject` is the device or argument it names."""

    kind: LendTrouble
    subject: str = ""


_STARTING = re.compile(r"Starting RPC server v(\d+)\.(\d+)\.(\d+)")
_DEVICE = re.compile(r"^\s+(\w+): (.*) \((\d+) MiB, (\d+) MiB free\)$")
_TROUBLES = (
    (LendTrouble.UNKNOWN_DEVICE, re.compile(r"error: unknown device: (?P<subject>\S+)")),
    (LendTrouble.NO_DEVICE, re.compile(r"^No devices found")),
    (LendTrouble.NOT_BOUND, re.compile(r"Failed to create server socket")),
    (LendTrouble.BAD_ARGUMENT, re.compile(r"error: unknown argument: (?P<subject>\S+)")),
    (LendTrouble.BAD_ARGUMENT, re.compile(r"Invalid parameters")),
)
PAUSE_S = 0.5
"""A client that comes back within this time has not left."""
CONNECTED, DISCONNECTED = "Accepted client connection", "Client connection closed"


def heard(status: LendStatus, line: str) -> LendStatus:
    """The status after a line of the server's output (tools/rpc/rpc-server.cpp, ggml-rpc.cpp)."""
    if found := _STARTING.search(line):
        protocol = Protocol(int(found[1]), int(found[2]), int(found[3]))
        return replace(status, protocol=protocol, devices=())
    if status.protocol is not None and (found := _DEVICE.match(line)):
        device = EngineDevice(
            name=found[1],
            description=found[2],
            total_bytes=int(found[3]) * MIB,
            free_bytes=int(found[4]) * MIB,
        )
        return replace(status, devices=(*status.devices, device))
    return status


@dataclass(frozen=True, slots=True)
class Visits:
    """Connections to the server so far; the first is our own look whether it listens.

    Attributes:
        n_begun: Accepted.
        n_ended: Closed again.
        last_end_s: When the last one was closed, `time.monotonic()`.
    """

    n_begun: int = 0
    n_ended: int = 0
    last_end_s: float = 0.0

    def after(self, line: str, time_s: float) -> "Visits":
        """With what a line of the output says."""
        if CONNECTED in line:
            return replace(self, n_begun=self.n_begun + 1)
        if DISCONNECTED in line:
            return replace(self, n_ended=self.n_ended + 1, last_end_s=time_s)
        return self

    @property
    def n_clients(self) -> int:
        """Connections of others."""
        return max(self.n_begun - 1, 0)

    def in_use(self, time_s: float) -> bool:
        """Somebody uses it; an engine that loads comes and goes by the hundred."""
        pausing = time_s - self.last_end_s < PAUSE_S
        return self.n_clients > 0 and (self.n_begun > self.n_ended or pausing)


def trouble_in(line: str) -> LendTroubleSeen | None:
    """The error a line tells of; `None` for other lines."""
    for kind, pattern in _TROUBLES:
        if found := pattern.search(line):
            return LendTroubleSeen(kind, found.groupdict().get("subject") or "")
    return None


def explain_end(
    trouble: LendTroubleSeen | None, *, exit_code: int | None, tail: tuple[str, ...], endpoint: str
) -> Failure:
    """Why the server that lends is gone, in one sentence.

    Args:
        trouble: The first error line of its output.
        exit_code: Of its process, negative for a signal; `None` if unknown.
        tail: Its last lines.
        endpoint: Where it was to listen.
    """
    match trouble:
        case LendTroubleSeen(kind=LendTrouble.UNKNOWN_DEVICE, subject=subject):
            message = f"The engine has no device {subject} to lend."
            hint = "Choose one of those it lists; 'splitrig doctor' names them."
        case LendTroubleSeen(kind=LendTrouble.NO_DEVICE):
            message, hint = "The engine has no device to lend.", "Look at its output."
        case LendTroubleSeen(kind=LendTrouble.NOT_BOUND):
            message = f"{endpoint} cannot be listened on: another program has it."
            hint = "Choose another port, or 0 for a free one."
        case LendTroubleSeen(subject=subject):
            message = f"This ggml-rpc-server does not take the argument {subject}".rstrip() + "."
            hint = "Use a newer llama.cpp."
        case _:
            how = "" if exit_code is None else f" with exit code {exit_code}"
            if exit_code is not None and exit_code < 0:
                how = f" by signal {-exit_code}"
            message = f"The server that lends the cards ended{how}."
            hint = "Start it again; its last lines tell more."
    return Failure(message=message, hint=hint, log_tail=tail, exit_code=exit_code)


def address_problem(request: LendRequest) -> tuple[str, str] | None:
    """Why its address must not be listened on, and the way out; `None` if it may.

    Raises:
        ValueError: It is no numeric address.
    """
    if reach_of(request.host) is Reach.THIS_MACHINE or request.on_network:
        return None
    return (
        f"At {request.host} every machine on that network could use and crash this one.",
        "Say so explicitly (--on-network), or lend on 127.0.0.1 and let an SSH tunnel lead there.",
    )
