"""llama.cpp's RPC protocol, as far as it tells what a server lends and what the way there costs.

The messages are those of ggml/src/ggml-rpc/ggml-rpc.cpp.
"""

import statistics
import struct
import time
from dataclasses import dataclass
from enum import IntEnum

from splitrig.core.remote import Protocol
from splitrig.core.units import MIB
from splitrig.services.engines.rpc_wire import AbsurdError, Wire

OLDEST_MAJOR, NEWEST_MAJOR = 4, 7
"""Protocols this client was tried with: 4.0.3, 5.0.0 and 7.0.0 as real servers; 6 lies between and
differs in nothing that is asked here."""
FLAGGED_MAJOR = 7
"""From this one on a byte about caching stands before the offset of what is written."""
ANSWER_S = 3.0
MOST_CARDS = 64
MOST_BYTES = 2**50
"""A device with more memory is taken for nonsense."""
ROUND_TRIPS = 9
LATENCY_S = 2.0
RATE_BYTES = (16 * 1024, 256 * 1024, 2 * MIB, 8 * MIB)
"""Sizes tried one after the other, as long as they fit into `RATE_S`."""
RATE_S = 1.5
_CAPS = bytes(24)
"""No other transport than TCP is offered."""
_TENSOR = struct.Struct("<QIQ4I4II64si80sQQQ64si")
_F32, _Q4_0 = 0, 2
_ODD_ROW, _ODD_BYTES, _PADDED_BYTES = 32, 18, 288
"""A row of 32 elements of q4_0: plain, and with room for 512."""


class Command(IntEnum):
    """`enum rpc_cmd`, as far as it is used."""

    ALLOC_BUFFER = 0
    BUFFER_GET_BASE = 3
    SET_TENSOR = 6
    GET_TENSOR = 8
    GET_DEVICE_MEMORY = 11
    GET_ALLOC_SIZE = 13
    HELLO = 14
    DEVICE_COUNT = 15


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of one device, bytes."""

    free_bytes: int
    total_bytes: int


class RpcClient:
    """A conversation with one server that is free."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self.protocol: Protocol | None = None

    def hello(self) -> Protocol:
        """Its protocol (`rpc_msg_hello_rsp`); has to come first.

        Raises:
            WireError: It is no RPC server, or one older than protocol 4.
        """
        answer = self._wire.ask(Command.HELLO, _CAPS, answer_bytes=28, timeout_s=ANSWER_S)
        self.protocol = Protocol(*answer[:3])
        return self.protocol

    def device_count(self) -> int:
        """How many devices it lends.

        Raises:
            WireError: It does not say, or lends an absurd number.
        """
        answer = self._wire.ask(Command.DEVICE_COUNT, answer_bytes=4, timeout_s=ANSWER_S)
        (count,) = struct.unpack("<I", answer)
        if count > MOST_CARDS:
            raise AbsurdError(f"It claims to lend {count:,} devices.")
        return int(count)

    def memory(self, device: int) -> Memory:
        """Free and total memory of a device.

        Raises:
            WireError: It does not say, or claims an absurd amount.
        """
        answer = self._wire.ask(
            Command.GET_DEVICE_MEMORY,
            struct.pack("<I", device),
            answer_bytes=16,
            timeout_s=ANSWER_S,
        )
        free, total = struct.unpack("<QQ", answer)
        if max(free, total) > MOST_BYTES:
            raise AbsurdError(f"It claims to have {max(free, total) >> 40:,} TiB of memory.")
        return Memory(free_bytes=min(free, total) if total else free, total_bytes=total)

    def pads_rows(self, device: int) -> bool:
        """Whether the device gives quantised rows room up to 512 elements, as CUDA does.

        Raises:
            WireError: It does not say.
        """
        row = _tensor(_Q4_0, (_ODD_ROW, 1, 1, 1), (_ODD_BYTES,) * 4)
        answer = self._wire.ask(
            Command.GET_ALLOC_SIZE,
            struct.pack("<I", device) + row + bytes(10 * _TENSOR.size),
            answer_bytes=8,
            timeout_s=ANSWER_S,
        )
        (size,) = struct.unpack("<Q", answer)
        return bool(size >= _PADDED_BYTES)

    def latency_ms(self) -> float:
        """Median of up to `ROUND_TRIPS` small round trips.

        Raises:
            WireError: It stopped answering.
        """
        took: list[float] = []
        deadline = time.monotonic() + LATENCY_S
        while len(took) < ROUND_TRIPS and (not took or time.monotonic() < deadline):
            begun = time.perf_counter()
            self.device_count()
            took.append((time.perf_counter() - begun) * 1e3)
        return statistics.median(took)

    def rates_mb_s(self, free_bytes: int, latency_ms: float) -> tuple[float | None, float | None]:
        """10⁶ bytes a second to the server and back, through a buffer on its first device.

        The buffer takes at most an eighth of the free memory. It is freed with the connection,
        however that ends: a server keeps no buffer for longer (`~rpc_server`).

        Raises:
            WireError: It stopped answering, or does not give back what was written.
        """
        sizes = [size for size in RATE_BYTES if size <= free_bytes // 8]
        buffer = self._buffer(sizes[-1]) if sizes else None
        if buffer is None:
            return None, None
        pointer, base = buffer
        up = down = None
        left_s = [RATE_S, RATE_S]
        for size in sizes:
            data = bytes(range(256)) * (size // 256)
            tensor = _tensor(_F32, (size // 4, 1, 1, 1), (4, size, size, size), pointer, base)
            if _fits(size, up, latency_ms, left_s[0]):
                took = self._write(tensor, data)
                left_s[0] -= took
                up = _rate(size, took, latency_ms)
            else:
                break
            if _fits(size, down, latency_ms, left_s[1]):
                took = self._read(tensor, data)
                left_s[1] -= took
                down = _rate(size, took, latency_ms)
        return up, down

    def _buffer(self, size: int) -> tuple[int, int] | None:
        """Handle and base address of a new buffer; `None` when there is no room."""
        answer = self._wire.ask(
            Command.ALLOC_BUFFER, struct.pack("<IQ", 0, size), answer_bytes=16, timeout_s=ANSWER_S
        )
        pointer, _ = struct.unpack("<QQ", answer)
        if not pointer:
            return None
        answer = self._wire.ask(
            Command.BUFFER_GET_BASE, struct.pack("<Q", pointer), answer_bytes=8, timeout_s=ANSWER_S
        )
        return pointer, struct.unpack("<Q", answer)[0]

    def _write(self, tensor: bytes, data: bytes) -> float:
        """Seconds until the server has taken `data` and answered the next question."""
        flagged = self.protocol is not None and self.protocol.major >= FLAGGED_MAJOR
        head = tensor + (b"\0" if flagged else b"") + bytes(8)
        begun = time.perf_counter()
        self._wire.tell(Command.SET_TENSOR, head, data, timeout_s=RATE_S + ANSWER_S)
        self.device_count()
        return time.perf_counter() - begun

    def _read(self, tensor: bytes, data: bytes) -> float:
        """Seconds until the whole of the data was there."""
        begun = time.perf_counter()
        answer = self._wire.ask(
            Command.GET_TENSOR,
            tensor + struct.pack("<QQ", 0, len(data)),
            answer_bytes=len(data),
            timeout_s=RATE_S + ANSWER_S,
        )
        took = time.perf_counter() - begun
        if answer != data:
            raise AbsurdError("It does not give back what was written.")
        return took


def _tensor(
    kind: int,
    shape: tuple[int, int, int, int],
    strides: tuple[int, int, int, int],
    buffer: int = 0,
    data: int = 0,
) -> bytes:
    """A tensor as it is described on the wire (`rpc_tensor`, 296 bytes)."""
    return _TENSOR.pack(
        1, kind, buffer, *shape, *strides, 0, b"", 0, b"", 0, 0, data, b"probe", 0
    )  # fmt: skip


def _fits(size: int, rate_mb_s: float | None, latency_ms: float, left_s: float) -> bool:
    """Whether so many bytes will pass in the time that is left."""
    if rate_mb_s is None:
        return True
    return size / (rate_mb_s * 1e6) + latency_ms / 1e3 < left_s


def _rate(size: int, took_s: float, latency_ms: float) -> float:
    """10⁶ bytes a second, without the time of the round trip."""
    return size / 1e6 / max(took_s - latency_ms / 1e3, took_s / 10)
