"""Real RPC servers, and programs that are none, for the tests of remote cards."""

import contextlib
import socket
import socketserver
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from splitrig.services.engines.llama_server import find_llama_server
from splitrig.services.engines.ports import free_port


def wait_for(condition: Callable[[], bool], most_s: float = 20) -> None:
    deadline = time.monotonic() + most_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


@dataclass
class RealServer:
    """A `ggml-rpc-server` that was not started by the program under test."""

    process: subprocess.Popen[str]
    endpoint: str
    lines: list[str]

    @property
    def port(self) -> int:
        return int(self.endpoint.rpartition(":")[2])

    def visits(self) -> int:
        """Connections it has accepted and closed again."""
        return sum("Client connection closed" in line for line in self.lines)


def _listens(pid: int, port: int) -> bool:
    """Somebody listens on a port of the process' network; looked up, as a try would be a client."""
    rows = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
    return any(row.split()[1].endswith(f":{port:04X}") and row.split()[3] == "0A" for row in rows)


@contextlib.contextmanager
def rpc_server(
    n_devices: int = 1,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    prefix: Sequence[str] = (),
    device: str = "CPU",
) -> Iterator[RealServer]:
    """Run the installed engine's `ggml-rpc-server`, below `prefix` if there is one."""
    server = find_llama_server()
    port = port or free_port()
    command = [*prefix, str(server.rpc_server), "-H", host, "-p", str(port), "-t", "1"]
    command += ["-d", ",".join([device] * n_devices)]
    process = subprocess.Popen(
        command, env=server.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip
    lines: list[str] = []
    assert process.stdout is not None
    reader = threading.Thread(target=lines.extend, args=(process.stdout,))
    try:
        reader.start()
        wait_for(lambda: _listens(process.pid, port))
        yield RealServer(process, f"{host}:{port}", lines)
    finally:
        process.kill()
        process.wait()
        reader.join()
        process.stdout.close()


@contextlib.contextmanager
def listener(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server on loopback that handles each connection with `serve`; gives its address."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):
                serve(self.request)

    class Server(socketserver.ThreadingTCPServer):
        block_on_close = True

        def handle_error(self, *_arguments: object) -> None:
            return

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
