"""Notices that an RPC server, or the way to it, is lost while an engine uses it.

llama.cpp waits for ever for a server that is cut off: no packet comes that could tell it. So a
second connection is held beside the engine's. It waits in the server's queue, where the far system
answers its keep-alive packets although the server does not serve it; when that stops the way is
cut, and when it is reset the server is gone. Nothing is ever sent in it.
"""

import select
import socket
import sys
import threading

from splitrig.core.engine import Failure

IDLE_S = 5
"""Silence after which a keep-alive packet is sent."""
EVERY_S = 3
TRIES = 5
"""Unanswered packets after which the way counts as cut: some 20 s in all. Radio links pause for
seconds, and a load over the network is worth waiting for."""
CONNECT_S = 3.0
LOOK_S = 0.2


class RemoteWatch:
    """Holds a connection to one server, on a thread of its own.

    Begin it only when the engine holds its own connection: before, this one would be served in
    its place. End it at once after the engine: the server serves it next.
    """

    def __init__(self, endpoint: str) -> None:
        """Start to watch `host:port`."""
        self._lost: Failure | None = None
        self._ending = threading.Event()
        self._endpoint = endpoint
        self._thread = threading.Thread(target=self._run, name="remote watch")
        self._thread.start()

    @property
    def lost(self) -> Failure | None:
        """What was lost; `None` while all is well."""
        return self._lost

    def close(self) -> None:
        """Let go of the connection; blocks for at most some 3 s."""
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as held:
            if not _connect(held, self._endpoint):
                return  # its queue may be full; the engine itself notices what can be noticed
            while self._lost is None and not self._ending.wait(LOOK_S):
                ready, _, _ = select.select([held], [], [], 0)
                if ready:
                    self._lost = _told(held, self._endpoint)


def _connect(held: socket.socket, endpoint: str) -> bool:
    """Connect with keep-alive; false when that does not work."""
    host, _, port = endpoint.rpartition(":")
    held.settimeout(CONNECT_S)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if sys.platform == "win32":
        held.ioctl(socket.SIO_KEEPALIVE_VALS, (1, IDLE_S * 1000, EVERY_S * 1000))
    elif sys.platform == "linux":
        held.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, IDLE_S)
        held.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, EVERY_S)
        held.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, TRIES)
    try:
        held.connect((host, int(port)))
    except OSError:
        return False
    held.settimeout(0)
    return True


def _told(held: socket.socket, endpoint: str) -> Failure | None:
    """What an event on a held connection means; `None` for none that is a loss."""
    data = b""
    try:
        data = held.recv(1)
    except BlockingIOError:
        return None
    except ConnectionError:
        pass  # reset: its system is there, the server is not
    except OSError:
        return Failure(
            message=f"The connection to {endpoint} is lost: nothing comes back any more.",
            hint="Check the network and that machine, then launch the engine again.",
        )
    if data:
        return None
    return Failure(
        message=f"The server at {endpoint}, which lends its cards, has ended.",
        hint="Start ggml-rpc-server there again, then launch the engine again.",
    )
