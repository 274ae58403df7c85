"""Free TCP ports on loopback."""

import socket
import sys

from splitrig.core.errors import EngineError


def free_port() -> int:
    """A port on loopback that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def check_port(port: int) -> None:
    """Make sure a wanted port can be taken.

    Raises:
        EngineError: Another program listens on it, or it is not ours to take.
    """
    with socket.socket() as probe:
        if sys.platform != "win32":
            # Connections of an engine that has just ended block the port for a minute else;
            # on Windows the option means something different and worse.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise EngineError(
                f"Port {port} cannot be taken: {error.strerror}.",
                "Choose another port, or 0 for a free one.",
            ) from error


def accepts(port: int) -> bool:
    """Whether somebody listens on a loopback port."""
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) == 0
