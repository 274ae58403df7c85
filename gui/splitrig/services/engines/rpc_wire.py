"""One connection to an RPC server, in which every wait has an end.

A `ggml-rpc-server` on Linux dies of SIGPIPE when it sends to a client that has closed in order
(ggml-rpc/transport.cpp sends without MSG_NOSIGNAL). A client that resets the connection costs it
an error and no more. So every connection here resets when it is closed, by whatever way, unless
nothing is owed; and whether a server is free is found out without making it send anything.
"""

import errno
import os
import select
import socket
import struct
import sys
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Self

from splitrig.core.errors import EngineError
from splitrig.services.engines.probe import Cancelled, ProbeCancelledError, never

CONNECT_S = 3.0
KNOCK_S = 2.0
"""A free server ends an empty connection at once."""
LIMIT_S = 15.0
"""Longest life of a connection, however many questions are asked in it."""
SLICE_S = 0.05
"""Longest time until a wish to stop is seen."""
Bytes = bytes | bytearray | memoryview
_CONNECTING = (errno.EINPROGRESS, errno.EWOULDBLOCK, getattr(errno, "WSAEWOULDBLOCK", -1))
_LENGTH = struct.Struct("<Q")
_RESET = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
_IN_ORDER = struct.pack("hh" if sys.platform == "win32" else "ii", 0, 0)


class WireError(EngineError):
    """The other side did not behave as an RPC server does."""


class RefusedError(WireError):
    """Nobody listens there."""


class SilentError(WireError):
    """No answer in time."""


class GoneError(WireError):
    """The other side ended the connection."""


class ForeignError(WireError):
    """What came is no answer of an RPC server."""


class AbsurdError(WireError):
    """It answers as an RPC server does, with figures that cannot be; the message begins with It."""


def resolve(host: str, timeout_s: float = CONNECT_S) -> str:
    """The IPv4 address of a name, as the engine would find it; blocks for at most `timeout_s`.

    Raises:
        WireError: It has none, or nobody could say in time.
    """
    found: list[str] = []

    def look() -> None:
        with suppress(OSError, UnicodeError):
            found.append(socket.gethostbyname(host))

    # The system's look-up cannot be ended; as a daemon it does not keep the program from ending.
    thread = threading.Thread(target=look, name=f"look-up of {host}", daemon=True)
    thread.start()
    thread.join(timeout_s)
    if not found:
        raise WireError(
            f"The name {host} has no IPv4 address that this machine can find.",
            "Check its spelling, or write the address itself.",
        )
    return found[0]


class Wire:
    """A TCP connection to one server; commands and answers as ggml-rpc frames them."""

    def __init__(self, address: str, port: int, cancelled: Cancelled = never) -> None:
        """Connect; blocks for at most `CONNECT_S`.

        Raises:
            RefusedError: Nobody listens there.
            SilentError: No answer in time, or no way there.
            ProbeCancelledError: It was given up.
        """
        self._cancelled = cancelled
        self._shown = f"{address}:{port}"
        self._until = time.monotonic() + LIMIT_S
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connect(address, port)
        except BaseException:
            self._socket.close()
            raise

    def _connect(self, address: str, port: int) -> None:
        self._socket.settimeout(0)
        deadline = time.monotonic() + CONNECT_S
        code = self._socket.connect_ex((address, port))
        while code in _CONNECTING:
            # Windows tells a refusal through the third list
            _, done, failed = select.select([], [self._socket], [self._socket], SLICE_S)
            if done or failed:
                code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                break
            self._check(deadline)
        if code == errno.ECONNREFUSED:
            raise RefusedError(f"Nothing listens at {self._shown}.")
        if code:
            raise SilentError(f"{self._shown} cannot be reached: {os.strerror(code)}.")
        self._socket.settimeout(SLICE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close: in order if nothing went wrong, else by a reset."""
        if kind is None:
            with suppress(OSError):
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _IN_ORDER)
        self._socket.close()

    def is_served(self, timeout_s: float = KNOCK_S) -> bool:
        """Whether the server reads this connection: it ends one that says nothing.

        Nothing can be sent afterwards.

        Raises:
            ForeignError: It speaks first, which an RPC server does not.
        """
        try:
            self._socket.shutdown(socket.SHUT_WR)
            self._receive(1, timeout_s)
        except SilentError:
            return False
        except (GoneError, OSError):
            return True
        raise ForeignError(f"{self._shown} speaks first, so it is no RPC server.")

    def tell(self, command: int, *parts: Bytes, timeout_s: float) -> None:
        """Send a command that is not answered.

        Raises:
            SilentError: It was not taken in time.
            GoneError: The connection has ended.
        """
        size = sum(memoryview(part).nbytes for part in parts)
        deadline = time.monotonic() + timeout_s
        self._check(deadline)
        self._send(bytes([command]) + _LENGTH.pack(size), deadline)
        for part in parts:
            self._send(part, deadline)

    def ask(self, command: int, *parts: Bytes, answer_bytes: int, timeout_s: float) -> bytes:
        """Send a command and wait for its answer, whose size is known.

        Raises:
            SilentError: It did not come in time.
            GoneError: The connection has ended.
            ForeignError: It has another size.
        """
        deadline = time.monotonic() + timeout_s
        self.tell(command, *parts, timeout_s=timeout_s)
        (size,) = _LENGTH.unpack(self._receive(_LENGTH.size, deadline - time.monotonic()))
        if size != answer_bytes:
            raise ForeignError(f"{self._shown} does not answer as an RPC server does.")
        return self._receive(size, deadline - time.monotonic())

    def _send(self, data: Bytes, deadline: float) -> None:
        rest = memoryview(data).cast("B")
        while rest:
            try:
                sent = self._socket.send(rest)
            except TimeoutError:
                self._check(deadline)
                continue
            except OSError as error:
                raise GoneError(f"{self._shown} ended the connection.") from error
            rest = rest[sent:]
            if rest:
                self._check(deadline)

    def _receive(self, size: int, timeout_s: float) -> bytes:
        deadline = time.monotonic() + timeout_s
        data = bytearray(size)
        view, have = memoryview(data), 0
        while have < size:
            try:
                got = self._socket.recv_into(view[have:])
            except TimeoutError:
                self._check(deadline)
                continue
            except OSError as error:
                raise GoneError(f"{self._shown} ended the connection.") from error
            if not got:
                raise GoneError(f"{self._shown} ended the connection.")
            have += got
            if have < size:
                self._check(deadline)
        return bytes(data)

    def _check(self, deadline: float) -> None:
        if self._cancelled():
            raise ProbeCancelledError(f"{self._shown} was not waited for.")
        if time.monotonic() > min(deadline, self._until):
            raise SilentError(f"{self._shown} did not answer in time.")
