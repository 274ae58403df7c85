"""Free TCP ports on loopback."""

import socket
import sys

import psutil

from splitrig.core.errors import EngineError
from splitrig.core.share import EVERYWHERE, LOOPBACK


def free_port() -> int:
    """A port on loopback that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def lan_addresses() -> tuple[str, ...]:
    """IPv4 addresses of this machine on its networks, loopback and link-local left out."""
    up = {name for name, state in psutil.net_if_stats().items() if state.isup}
    found = [
        address.address
        for name, addresses in psutil.net_if_addrs().items()
        if name in up
        for address in addresses
        if address.family is socket.AF_INET
    ]
    return tuple(a for a in found if not a.startswith(("127.", "169.254.")))


def check_port(port: int, host: str = LOOPBACK) -> None:
    """Make sure a wanted port can be taken.

    Args:
        port: TCP port; 0 only tries the address.
        host: Address to listen on.

    Raises:
        EngineError: Another program listens on it, it is not ours to take, or the address is none
            of this machine.
    """
    if not host or ":" in host:
        # an empty one stands for all networks, which is nothing to ask for by accident
        raise EngineError(
            f"'{host}' is no IPv4 address of this machine.",
            f"Choose {LOOPBACK}, or {EVERYWHERE} for all its networks.",
        )
    with socket.socket() as probe:
        if sys.platform != "win32":
            # Connections of an engine that has just ended block the port for a minute else;
            # on Windows the option means something different and worse.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if not port:
                raise EngineError(
                    f"This machine cannot listen on {host}: {error.strerror or error}.",
                    f"Choose {LOOPBACK}, or {EVERYWHERE} for all its networks.",
                ) from error
            raise EngineError(
                f"Port {port} cannot be taken: {error.strerror}.",
                "Choose another port, or 0 for a free one.",
            ) from error


def answers(endpoint: str, timeout_s: float = 2.0) -> bool:
    """Whether somebody listens at `host:port`; blocks for at most `timeout_s` an address."""
    host, _, port = endpoint.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout_s):
            return True
    except OSError:
        return False


def accepts(port: int, host: str = LOOPBACK) -> bool:
    """Whether somebody listens on a port of this machine."""
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex((host, port)) == 0
