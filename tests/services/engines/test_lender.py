"""Lending this machine's devices with the real `ggml-rpc-server`."""

import os
import shutil
import signal
import socket
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.services.engines.conftest import Watch
from tests.services.engines.rpc_servers import rpc_server, wait_for
from tests.services.engines.test_remote_engine import ask, start

from splitrig.core.engine import Phase
from splitrig.core.errors import EngineError
from splitrig.core.lending import LendPhase, LendRequest, LendStatus
from splitrig.core.orphan import LENDER
from splitrig.core.remote import RemoteEndpoint, engine_use
from splitrig.services.engines.helpers import LENDER_NAME, Kept
from splitrig.services.engines.lender import Lender, command_line, engine_protocol
from splitrig.services.engines.line_feed import EngineLogLines
from splitrig.services.engines.llama_server import LlamaServer, find_llama_server
from splitrig.services.engines.ports import free_port
from splitrig.services.engines.records import read
from splitrig.services.engines.remote_devices import all_cards, remote_servers
from splitrig.services.engines.rpc_client import Command
from splitrig.services.engines.rpc_probe import probe
from splitrig.services.mailbox import Mailbox

if sys.platform == "win32":
    pytest.skip("the engine package is for Linux", allow_module_level=True)

CPU = LendRequest(devices=("CPU",), port=0, n_threads=1)


@pytest.fixture
def lender() -> Iterator[Lender]:
    made = Lender(Mailbox())
    yield made
    made.close()


def wait_phase(lender: Lender, *phases: LendPhase) -> LendStatus:
    wait_for(lambda: lender.status.phase in phases)
    return lender.status


def failed(lender: Lender, server: LlamaServer, request: LendRequest) -> str:
    """Its sentence, when it must fail."""
    lender.start(server, request)
    status = wait_phase(lender, LendPhase.FAILED, LendPhase.LISTENING)
    assert status.phase is LendPhase.FAILED
    assert status.failure is not None
    assert status.failure.hint
    assert status.pid is None
    return status.failure.message


def rpc_server_of(script: str, folder: Path) -> LlamaServer:
    """An engine with this shell script beside it as its `ggml-rpc-server`."""
    for name, text in (("llama-server", "exit 0"), ("ggml-rpc-server", script)):
        path = folder / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
    return LlamaServer(folder / "llama-server")


def test_it_lends_until_it_is_stopped(lender: Lender) -> None:
    lender.start(find_llama_server(), CPU)
    status = wait_phase(lender, LendPhase.LISTENING)
    assert status.endpoint.startswith("127.0.0.1:")
    assert [device.name for device in status.devices] == ["CPU"]
    assert (status.client, status.n_clients) == (None, 0)
    pid = status.pid
    assert pid is not None
    found = probe(RemoteEndpoint.parse(status.endpoint))
    assert found.usable
    assert found.protocol == status.protocol is not None
    assert len(found.cards) == 1
    with pytest.raises(EngineError, match="lent already"):
        lender.start(find_llama_server(), CPU)
    lender.stop()
    status = wait_phase(lender, LendPhase.STOPPED)
    assert (status.pid, status.endpoint) == (None, "")
    assert not psutil.pid_exists(pid)
    lender.start(find_llama_server(), CPU)
    assert wait_phase(lender, LendPhase.LISTENING).n_clients == 0


def test_what_happens_is_posted_and_connections_are_no_log(lender: Lender) -> None:
    lender.start(find_llama_server(), CPU)
    endpoint = wait_phase(lender, LendPhase.LISTENING).endpoint
    host, _, port = endpoint.rpartition(":")
    with socket.create_connection((host, int(port))):
        assert wait_phase(lender, LendPhase.SERVING).n_clients == 1
        wait_for(lambda: lender.status.client == "127.0.0.1")
    assert wait_phase(lender, LendPhase.LISTENING).client is None
    lender.stop()
    wait_phase(lender, LendPhase.STOPPED)
    posted = lender._mailbox.drain()
    phases = [item.phase for item in posted if isinstance(item, LendStatus)]
    assert list(dict.fromkeys(phases)) == [
        LendPhase.STARTING, LendPhase.LISTENING, LendPhase.SERVING, LendPhase.STOPPING,
        LendPhase.STOPPED,
    ]  # fmt: skip
    news = [item for item in posted if isinstance(item, EngineLogLines)]
    assert {item.source for item in news} == {LENDER_NAME}
    lines = [line for item in news for line in item.lines]
    assert any("Starting RPC server" in line for line in lines)
    assert not any("lient connection" in line for line in lines)


def test_its_output_is_kept_and_its_record_ends_with_it(tmp_path: Path) -> None:
    kept = Kept(log_dir=tmp_path / "logs", records=tmp_path / "running")
    lender = Lender(Mailbox(), kept)
    try:
        lender.start(find_llama_server(), CPU)
        status = wait_phase(lender, LendPhase.LISTENING)
        (path,) = (tmp_path / "running").glob("*.json")
        record = read(path)
        assert record is not None
        assert (record.about.kind, record.about.cards) == (LENDER, ("CPU",))
        assert record.engine is not None
        assert record.engine.pid == status.pid
    finally:
        lender.close()
    assert list((tmp_path / "running").iterdir()) == []
    (log,) = (tmp_path / "logs").iterdir()
    assert log.name.startswith("ggml-rpc-server_")
    assert "Starting RPC server" in log.read_text(encoding="utf-8")


def test_rude_clients_do_not_end_it(lender: Lender) -> None:
    """A bare ggml-rpc-server dies of SIGPIPE here; ours is started deaf to it."""
    lender.start(find_llama_server(), CPU)
    status = wait_phase(lender, LendPhase.LISTENING)
    host, _, port = status.endpoint.rpartition(":")
    hello = bytes([Command.HELLO]) + struct.pack("<Q", 24) + bytes(24)
    with socket.create_connection((host, int(port))) as first:
        first.sendall(hello)
        assert len(first.recv(36, socket.MSG_WAITALL)) == 36
        with socket.create_connection((host, int(port))) as second:
            second.sendall(hello)
    wait_for(lambda: lender.status.n_clients >= 2)
    assert wait_phase(lender, LendPhase.LISTENING, LendPhase.FAILED).pid == status.pid
    assert probe(RemoteEndpoint.parse(status.endpoint), rates=False).usable


@pytest.mark.engine
def test_an_engine_on_lent_devices_is_seen_as_one_use(lender: Lender, watch: Watch) -> None:
    lender.start(find_llama_server(), LendRequest(devices=("CPU", "CPU"), port=0, n_threads=1))
    endpoint = RemoteEndpoint.parse(wait_phase(lender, LendPhase.LISTENING).endpoint)
    servers = remote_servers(find_llama_server(), [endpoint])
    cards = all_cards(servers)
    use = engine_use(cards, servers)
    lender._mailbox.drain()
    watched = watch()
    start(watched, list(cards), use.rpc, dict(use.names), (3, 1))
    ready = watched.wait(Phase.READY)
    assert ready.mismatches == ()
    assert ask(ready, 3)
    assert lender.status.phase is LendPhase.SERVING
    assert lender.status.client == "127.0.0.1"
    assert lender.status.n_clients > 100
    watched.supervisor.stop()
    watched.wait(Phase.STOPPED)
    wait_phase(lender, LendPhase.LISTENING)
    phases = [i.phase for i in lender._mailbox.drain() if isinstance(i, LendStatus)]
    # the list, the load, and a pause between them on a slow machine: not a hundred visits
    changes = [p for p, before in zip(phases, [None, *phases], strict=False) if p is not before]
    assert changes[-2:] == [LendPhase.SERVING, LendPhase.LISTENING]
    assert len(changes) < 10


def test_one_that_is_killed_is_told_of(lender: Lender) -> None:
    lender.start(find_llama_server(), CPU)
    pid = wait_phase(lender, LendPhase.LISTENING).pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    status = wait_phase(lender, LendPhase.FAILED)
    assert status.failure is not None
    assert status.failure.message == "The server that lends the cards ended by signal 9."
    assert any("Starting RPC server" in line for line in status.failure.log_tail)


def test_a_device_the_engine_does_not_have_is_one_sentence(lender: Lender) -> None:
    request = LendRequest(devices=("CUDA7",), port=0)
    assert failed(lender, find_llama_server(), request) == (
        "The engine has no device CUDA7 to lend."
    )


def test_a_port_in_use_is_one_sentence(lender: Lender) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        message = failed(lender, find_llama_server(), LendRequest(devices=("CPU",), port=port))
    assert message.startswith(f"Port {port} cannot be taken on 127.0.0.1")


def test_an_address_of_another_machine_is_one_sentence(lender: Lender) -> None:
    request = LendRequest(devices=("CPU",), host="192.0.2.9", port=free_port(), on_network=True)
    assert failed(lender, find_llama_server(), request) == "This machine has no address 192.0.2.9."


def test_cards_in_use_are_not_lent(lender: Lender) -> None:
    server = find_llama_server()
    with pytest.raises(EngineError, match="uses CUDA1, so it cannot be lent"):
        lender.start(server, LendRequest(devices=("CUDA0", "CUDA1")), in_use={"CUDA1"})
    with pytest.raises(EngineError, match="uses CUDA1"):
        lender.start(server, LendRequest(), in_use={"CUDA1"})
    assert lender.status.phase is LendPhase.STOPPED


@pytest.mark.parametrize("host", ["192.168.1.7", "0.0.0.0", "8.8.8.8"])
def test_the_network_has_to_be_meant(lender: Lender, host: str) -> None:
    with pytest.raises(EngineError, match="could use and crash this one") as raised:
        lender.start(find_llama_server(), LendRequest(host=host))
    assert "--on-network" in raised.value.hint


@pytest.mark.parametrize("host", ["workshop", "::1", "1.2.3", ""])
def test_what_is_no_numeric_address_is_one_sentence(lender: Lender, host: str) -> None:
    with pytest.raises(EngineError, match="is no IPv4 address of this machine"):
        lender.start(find_llama_server(), LendRequest(host=host, on_network=True))


def test_a_meant_address_is_listened_on(lender: Lender) -> None:
    """Every address of this machine; loopback is one."""
    request = LendRequest(devices=("CPU",), host="0.0.0.0", port=0, on_network=True)
    lender.start(find_llama_server(), request)
    status = wait_phase(lender, LendPhase.LISTENING)
    port = status.endpoint.rpartition(":")[2]
    assert probe(RemoteEndpoint.parse(f"127.0.0.1:{port}"), rates=False).usable


def test_an_engine_without_such_a_server_is_one_sentence(lender: Lender, tmp_path: Path) -> None:
    copy = tmp_path / "llama-server"
    shutil.copy(find_llama_server().path, copy)
    assert "There is no ggml-rpc-server beside llama-server" in failed(
        lender, LlamaServer(copy), CPU
    )
    assert engine_protocol(LlamaServer(copy)) is None


def test_one_that_never_listens_is_given_up(
    lender: Lender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from splitrig.services.engines import lender as module

    monkeypatch.setattr(module, "START_S", 0.3)
    silent = rpc_server_of(
        'case "$1" in --help) echo "-H -p -d -t --cache";; *) exec sleep 60;; esac', tmp_path
    )
    assert "did not listen within 0.3 s" in failed(lender, silent, CPU)


def test_its_options_are_read_from_its_own_help(tmp_path: Path) -> None:
    server = find_llama_server()
    whole = LendRequest(devices=("CUDA0", "CUDA1"), host="127.0.0.1", cache=True, n_threads=2)
    command = command_line(server, whole, 7)
    assert command == (
        str(server.rpc_server), "-H", "127.0.0.1", "-p", "7", "-d", "CUDA0,CUDA1", "-t", "2", "-c",
    )  # fmt: skip
    assert command_line(server, LendRequest(), 7)[1:] == ("-H", "127.0.0.1", "-p", "7")
    old = rpc_server_of('echo "  -H, --host HOST\n  -p, --port PORT\n  -m, --mem MB"', tmp_path)
    assert command_line(old, LendRequest(), 7)[1:] == ("-H", "127.0.0.1", "-p", "7")
    with pytest.raises(EngineError, match="has no option --device"):
        command_line(old, whole, 7)


def test_stopping_while_it_starts_leaves_nothing(lender: Lender) -> None:
    lender.start(find_llama_server(), CPU)
    lender.stop()
    assert wait_phase(lender, LendPhase.STOPPED).failure is None


def test_the_protocol_of_the_engine_at_hand_is_known() -> None:
    known = engine_protocol(find_llama_server())
    with rpc_server(1) as server:
        assert probe(RemoteEndpoint.parse(server.endpoint), rates=False).protocol == known
    assert known is not None


def test_what_is_kept_on_disk_lies_in_the_users_cache(
    lender: Lender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LLAMA_CACHE", raising=False)
    lender.start(find_llama_server(), LendRequest(devices=("CPU",), port=0, cache=True))
    assert wait_phase(lender, LendPhase.LISTENING).failure is None
    assert (tmp_path / "xdg-cache" / "llama.cpp" / "rpc").is_dir()
