"""A connection that waits beside the engine's, and tells when the server is gone."""

import os
import signal
import socket
import sys
import time

import pytest
from tests.services.engines.rpc_servers import rpc_server, wait_for

from splitrig.core.remote import RemoteEndpoint
from splitrig.services.engines.remote_watch import RemoteWatch
from splitrig.services.engines.rpc_client import RpcClient
from splitrig.services.engines.rpc_probe import probe
from splitrig.services.engines.rpc_wire import Wire

if sys.platform == "win32":
    pytest.skip("the engine package is for Linux", allow_module_level=True)


def test_a_server_that_serves_is_left_in_peace_and_free_afterwards() -> None:
    with rpc_server(1) as server, Wire("127.0.0.1", server.port) as wire:
        client = RpcClient(wire)
        client.hello()
        watch = RemoteWatch(server.endpoint)
        for _ in range(5):
            assert client.device_count() == 1
            time.sleep(0.1)
        assert watch.lost is None
        watch.close()
        assert client.device_count() == 1
        wire.__exit__(None, None, None)
        wait_for(lambda: probe(RemoteEndpoint.parse(server.endpoint), rates=False).usable)
        assert server.process.poll() is None


def test_a_server_that_is_killed_is_told_of_at_once() -> None:
    with rpc_server(1) as server, Wire("127.0.0.1", server.port) as wire:
        RpcClient(wire).hello()
        watch = RemoteWatch(server.endpoint)
        time.sleep(0.4)
        begun = time.monotonic()
        os.kill(server.process.pid, signal.SIGKILL)
        wait_for(lambda: watch.lost is not None, 3)
        assert time.monotonic() - begun < 2
        assert watch.lost is not None
        assert server.endpoint in watch.lost.message
        assert "has ended" in watch.lost.message
        watch.close()


def test_one_that_cannot_connect_says_nothing() -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        watch = RemoteWatch(f"127.0.0.1:{unheard.getsockname()[1]}")
        time.sleep(0.3)
        assert watch.lost is None
        watch.close()
