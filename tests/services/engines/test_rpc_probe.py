"""A look at an RPC server: the real one in all its states, and programs that are none."""

import socket
import statistics
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator

import psutil
import pytest
from tests.services.engines.rpc_servers import RealServer, listener, rpc_server, wait_for

from splitrig.core.errors import EngineError
from splitrig.core.remote import RemoteEndpoint, RemoteServer, RemoteState
from splitrig.core.units import MIB
from splitrig.services.engines import rpc_client, rpc_probe, rpc_wire
from splitrig.services.engines.probe import ProbeCancelledError
from splitrig.services.engines.rpc_client import Command, RpcClient
from splitrig.services.engines.rpc_probe import probe, require_free
from splitrig.services.engines.rpc_wire import SilentError, Wire

if sys.platform == "win32":
    pytest.skip("the engine package is for Linux", allow_module_level=True)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits that would be seconds are fractions of one."""
    for module, name, value in (
        (rpc_wire, "KNOCK_S", 0.3),
        (rpc_wire, "CONNECT_S", 0.5),
        (rpc_wire, "LIMIT_S", 3.0),
        (rpc_client, "ANSWER_S", 0.5),
        (rpc_probe, "ANSWER_S", 0.5),
    ):
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(Wire.is_served, "__defaults__", (0.3,))


@pytest.fixture
def one() -> Iterator[RealServer]:
    with rpc_server(1) as server:
        yield server


def look(endpoint: str, **options: object) -> RemoteServer:
    return probe(RemoteEndpoint.parse(endpoint), **options)  # type: ignore[arg-type]


def hold(server: RealServer) -> socket.socket:
    """Be the one client the server serves."""
    held = socket.create_connection(("127.0.0.1", server.port))
    held.sendall(bytes([Command.HELLO]) + struct.pack("<Q", 24) + bytes(24))
    got = b""
    while len(got) < 36:
        got += held.recv(36)
    return held


# the real one


def test_a_server_with_one_device_says_what_it_lends(one: RealServer) -> None:
    found = look(one.endpoint)
    assert found.state is RemoteState.FREE
    assert found.usable
    assert found.address == "127.0.0.1"
    assert f"Starting RPC server v{found.protocol}\n" in one.lines
    (card,) = found.cards
    total = card.total_bytes
    assert total is not None
    assert total > 64 * MIB
    assert 0 < card.free_bytes <= total
    assert card.pads_rows is False
    assert card.link == found.link
    assert found.link.latency_ms is not None
    assert 0 < found.link.latency_ms < 100
    assert found.link.up_mb_s is not None
    assert found.link.down_mb_s is not None
    assert min(found.link.up_mb_s, found.link.down_mb_s) > 1
    assert found.seen_s is not None
    assert found.message == ""
    assert found.notes == (
        "Its card says that all memory is free: a processor does, whatever is in use.",
    )


def test_two_devices_are_two_cards_that_share_a_memory() -> None:
    with rpc_server(2) as server:
        found = look(server.endpoint)
    assert [card.number for card in found.cards] == [0, 1]
    assert found.cards[0].total_bytes == found.cards[1].total_bytes
    assert "several devices then share it" in found.notes[0]


def test_a_look_without_rates_sends_no_megabytes(one: RealServer) -> None:
    found = look(one.endpoint, rates=False)
    assert found.usable
    assert (found.link.up_mb_s, found.link.down_mb_s) == (None, None)
    assert found.link.latency_ms is not None
    assert not any("measure" in note for note in found.notes)


def test_after_a_look_the_server_is_free_again_and_keeps_no_memory(one: RealServer) -> None:
    """Eight buffers of 8 MiB went with their connections, but for what its allocator keeps."""
    look(one.endpoint)
    me = psutil.Process(one.process.pid)
    before = me.memory_info().rss
    for _ in range(8):
        assert look(one.endpoint).usable
    assert me.memory_info().rss - before < 32 * MIB
    assert one.process.poll() is None
    require_free(RemoteEndpoint.parse(one.endpoint))


def test_a_busy_server_is_told_of_and_lives_on(one: RealServer, short: None) -> None:
    with hold(one) as held:
        found = look(one.endpoint)
        assert found.state is RemoteState.BUSY
        assert not found.usable
        assert "it is busy" in found.message
        assert "serves one client at a time" in found.hint
        with pytest.raises(EngineError, match="it is busy"):
            require_free(RemoteEndpoint.parse(one.endpoint))
        # two wait in its queue now, though they are gone, and no third is let in
        full = look(one.endpoint)
        assert full.state is RemoteState.SILENT
        assert "that nobody else uses it" in full.hint
        # whom it serves does not notice
        held.sendall(bytes([Command.DEVICE_COUNT]) + struct.pack("<Q", 0))
        assert held.recv(12, socket.MSG_WAITALL) == struct.pack("<QI", 4, 1)
    wait_for(lambda: look(one.endpoint, rates=False).usable)
    assert one.process.poll() is None


def test_a_greeting_that_is_taken_back_kills_no_busy_server(one: RealServer) -> None:
    """One that closes in order makes it die of SIGPIPE; every broken-off talk here is reset."""

    def greet() -> None:
        with Wire("127.0.0.1", one.port) as wire:
            wire.ask(Command.HELLO, bytes(24), answer_bytes=28, timeout_s=0.2)

    with hold(one), pytest.raises(SilentError):
        greet()
    wait_for(lambda: one.visits() >= 2)
    assert one.process.poll() is None
    assert look(one.endpoint, rates=False).usable


@pytest.mark.parametrize("direction", ["there", "back"])
def test_a_transfer_that_is_broken_off_kills_no_server(one: RealServer, direction: str) -> None:
    size = 64 * MIB

    def transfer() -> None:
        with Wire("127.0.0.1", one.port) as wire:
            client = RpcClient(wire)
            client.hello()
            buffer = client._buffer(size)
            assert buffer is not None
            tensor = rpc_client._tensor(0, (size // 4, 1, 1, 1), (4, size, size, size), *buffer)
            if direction == "there":
                head = bytes([Command.SET_TENSOR]) + struct.pack("<Q", len(tensor) + 8 + size)
                wire._send(head + tensor + bytes(8 + 1 * MIB), time.monotonic() + 5)
            else:
                wire.tell(Command.GET_TENSOR, tensor + struct.pack("<QQ", 0, size), timeout_s=2)
                wire._receive(8 + 1 * MIB, 2)
            raise ProbeCancelledError("stopped")

    with pytest.raises(ProbeCancelledError):
        transfer()
    assert look(one.endpoint).usable
    assert one.process.poll() is None


def test_a_look_is_given_up_at_once(one: RealServer) -> None:
    with hold(one):
        begun = time.monotonic()
        with pytest.raises(ProbeCancelledError):
            look(one.endpoint, cancelled=lambda: time.monotonic() - begun > 0.2)
        assert time.monotonic() - begun < 1
    assert one.process.poll() is None


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_a_server_in_use_by_our_engine_is_not_touched(one: RealServer, name: str) -> None:
    found = look(one.endpoint, in_use=(f"{name}:{one.port}", "otherhost.invalid:1"))
    assert found.state is RemoteState.IN_USE
    assert "An engine of yours uses" in found.message
    assert not any("Accepted" in line for line in one.lines)
    assert look(one.endpoint, in_use=(f"{name}:{one.port + 1}",), rates=False).usable


def test_a_device_with_no_room_is_not_measured() -> None:
    """At most an eighth of what is free is taken, and nothing below 16 KiB is worth it."""
    with rpc_server(1) as server, Wire("127.0.0.1", server.port) as wire:
        client = RpcClient(wire)
        client.hello()
        assert client.rates_mb_s(8 * 16 * 1024 - 1, 0.1) == (None, None)
        up, down = client.rates_mb_s(8 * 16 * 1024, 0.1)
        assert up
        assert down


# no server, or none of ours


def test_a_port_nobody_listens_on_is_one_sentence() -> None:
    found = look("127.0.0.1:1")
    assert found.state is RemoteState.ABSENT
    assert found.message == "Nothing answers at 127.0.0.1:1."
    assert "Start ggml-rpc-server there" in found.hint
    with pytest.raises(EngineError, match=r"Nothing answers at 127\.0\.0\.1:1"):
        require_free(RemoteEndpoint.parse("127.0.0.1:1"))


def test_a_name_without_an_address_is_one_sentence() -> None:
    found = look("no-such-machine.invalid")
    assert found.state is RemoteState.UNKNOWN_HOST
    assert "no-such-machine.invalid has no IPv4 address" in found.message
    assert found.address is None


def answer_hello(connection: socket.socket, body: bytes) -> bool:
    """Read a greeting and answer it with `body`; false when none comes."""
    head = connection.recv(9, socket.MSG_WAITALL)
    if len(head) < 9:
        return False
    connection.recv(struct.unpack("<Q", head[1:])[0], socket.MSG_WAITALL)
    connection.sendall(struct.pack("<Q", len(body)) + body)
    return True


def speaks(
    *version: int, then: Callable[[socket.socket], None] | None = None
) -> Callable[[socket.socket], None]:
    """A server that greets as one of protocol 4 or later does."""

    def serve(connection: socket.socket) -> None:
        greeted = answer_hello(connection, bytes([*version, 0]) + bytes(24))
        if greeted and then is not None:
            then(connection)

    return serve


def replies(*answers: bytes) -> Callable[[socket.socket], None]:
    """Answers to the commands after the greeting, in order; the last one again and again."""

    def serve(connection: socket.socket) -> None:
        number = 0
        while head := connection.recv(9, socket.MSG_WAITALL):
            connection.recv(struct.unpack("<Q", head[1:])[0], socket.MSG_WAITALL)
            body = answers[min(number, len(answers) - 1)]
            connection.sendall(struct.pack("<Q", len(body)) + body)
            number += 1

    return serve


def web(connection: socket.socket) -> None:
    if connection.recv(4096):
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


def mute(connection: socket.socket) -> None:
    """Reads what comes, even the end, and says nothing."""
    time.sleep(1.5)


def shell(connection: socket.socket) -> None:
    connection.sendall(b"SSH-2.0-OpenSSH_9.2p1\r\n")
    connection.recv(1)


def drip(connection: socket.socket) -> None:
    """The right answer, a byte at a time."""
    if connection.recv(33):
        for byte in struct.pack("<Q", 28) + bytes([4, 0, 3]) + bytes(25):
            connection.sendall(bytes([byte]))
            time.sleep(0.1)


def endless(connection: socket.socket) -> None:
    if connection.recv(33):
        connection.sendall(struct.pack("<Q", 2**63) + bytes(4096))
        connection.recv(1)


def hangs_up(connection: socket.socket) -> None:
    connection.recv(33)


@pytest.mark.parametrize(
    ("serve", "state", "words"),
    [
        (web, RemoteState.FOREIGN, "not as an RPC server should"),
        (shell, RemoteState.FOREIGN, "not as an RPC server should"),
        (endless, RemoteState.FOREIGN, "not as an RPC server should"),
        (hangs_up, RemoteState.FOREIGN, "not as an RPC server should"),
        (mute, RemoteState.BUSY, "does not answer"),
        (drip, RemoteState.FOREIGN, "stopped answering"),
        (speaks(4, 0, 3), RemoteState.FOREIGN, "ended the connection"),
        (speaks(4, 0, 3, then=replies(struct.pack("<I", 2**31))), RemoteState.FOREIGN,
         "claims to lend 2,147,483,648 devices"),
        (speaks(4, 0, 3, then=replies(b"")), RemoteState.FOREIGN, "not as an RPC server should"),
        (speaks(4, 0, 3, then=replies(struct.pack("<I", 1), struct.pack("<QQ", 2**63, 2**63))),
         RemoteState.FOREIGN, "claims to have 8,388,608 TiB of memory"),
        (speaks(4, 0, 3, then=mute), RemoteState.FOREIGN, "stopped answering"),
    ],
    ids=["web", "shell", "endless", "hangs-up", "mute", "drip", "greets-and-goes", "many", "empty",
         "huge", "greets-and-is-silent"],
)  # fmt: skip
def test_what_is_no_rpc_server_is_one_sentence(
    serve: Callable[[socket.socket], None], state: RemoteState, words: str, short: None
) -> None:
    with listener(serve) as endpoint:
        begun = time.monotonic()
        found = look(endpoint)
        assert time.monotonic() - begun < 4
    assert found.state is state, found
    assert words in found.message
    assert found.message.startswith(endpoint)
    assert found.hint
    assert not found.usable


@pytest.mark.parametrize(
    ("version", "words"), [((8, 1, 0), "newer SplitRig"), ((255, 255, 255), "newer SplitRig")]
)
def test_a_protocol_of_the_future_is_named(version: tuple[int, ...], words: str) -> None:
    with listener(speaks(*version)) as endpoint:
        found = look(endpoint)
    assert found.state is RemoteState.UNKNOWN_PROTOCOL
    text = ".".join(map(str, version))
    assert found.message == f"{endpoint} speaks protocol {text}; SplitRig knows 4 to 7."
    assert words in found.hint


def test_a_protocol_of_the_past_is_named() -> None:
    """Up to protocol 3 a greeting with a body ends the talk, and an empty one gets three bytes."""

    def old(connection: socket.socket) -> None:
        head = connection.recv(9, socket.MSG_WAITALL)
        if head == bytes([Command.HELLO]) + bytes(8):
            connection.sendall(struct.pack("<Q", 3) + bytes([3, 6, 1]))

    with listener(old) as endpoint:
        found = look(endpoint)
    assert found.state is RemoteState.UNKNOWN_PROTOCOL
    assert "speaks protocol 3.6.1; SplitRig knows 4 to 7" in found.message
    assert "newer llama.cpp there" in found.hint


def test_a_server_that_lends_nothing_is_not_usable() -> None:
    memoryless = speaks(5, 0, 0, then=replies(struct.pack("<I", 0)))
    with listener(memoryless) as endpoint:
        found = look(endpoint)
    assert found.state is RemoteState.FREE
    assert found.message == f"The server at {endpoint} lends no device."
    assert not found.usable


def test_a_server_that_loses_what_it_gets_is_not_measured() -> None:
    """All answers are right in size; the bytes that come back are not those that went there."""

    def serve(connection: socket.socket) -> None:
        answer_hello(connection, bytes([7, 0, 0, 0]) + bytes(24))
        sizes = {Command.GET_DEVICE_MEMORY: struct.pack("<QQ", 2**30, 2**30),
                 Command.DEVICE_COUNT: struct.pack("<I", 1),
                 Command.GET_ALLOC_SIZE: struct.pack("<Q", 288),
                 Command.ALLOC_BUFFER: struct.pack("<QQ", 1, 2**30),
                 Command.BUFFER_GET_BASE: struct.pack("<Q", 4096)}  # fmt: skip
        while head := connection.recv(9, socket.MSG_WAITALL):
            request = connection.recv(struct.unpack("<Q", head[1:])[0], socket.MSG_WAITALL)
            if head[0] == Command.SET_TENSOR:
                assert len(request) == 296 + 1 + 8 + 16 * 1024  # with the byte on caching
                continue
            body = sizes.get(Command(head[0])) or bytes(struct.unpack("<Q", request[-8:])[0])
            connection.sendall(struct.pack("<Q", len(body)) + body)

    with listener(serve) as endpoint:
        found = look(endpoint)
        assert found.state is RemoteState.FOREIGN
        assert "does not give back what was written" in found.message
        padded = look(endpoint, rates=False)
    assert padded.cards[0].pads_rows is True


def test_a_slow_link_is_measured_with_what_fits_into_the_time() -> None:
    """400 kB/s: 256 KiB fit, 2 MiB do not."""
    rate, seen = 400_000, []

    def relay(connection: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", server.port)) as target:
            back = threading.Thread(target=pump, args=(target, connection))
            back.start()
            pump(connection, target)
            back.join()

    def pump(source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(4096):
                seen.append(len(data))
                time.sleep(len(data) / rate)
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            source.close()

    with rpc_server(1) as server, listener(relay) as endpoint:
        begun = time.monotonic()
        found = look(endpoint)
        took = time.monotonic() - begun
    assert found.usable
    assert found.link.up_mb_s is not None
    assert found.link.down_mb_s is not None
    assert 0.1 < found.link.up_mb_s <= 0.6
    assert 0.1 < found.link.down_mb_s <= 0.6
    assert sum(seen) < 2 * MIB
    assert took < 8


def test_latency_is_the_median(one: RealServer) -> None:
    with Wire("127.0.0.1", one.port) as wire:
        client = RpcClient(wire)
        client.hello()
        took = [client.latency_ms() for _ in range(5)]
    assert statistics.median(took) > 0
