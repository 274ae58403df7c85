"""Requests to servers on the internet: TLS checked, bounded in time and size, given up at will.

httpx rather than the standard library: redirects from one server to another, the proxy that the
system names and separate time limits for connecting and reading are what it does well, and it
hands out the socket, so that a request can be cut while it waits. It costs 0.19 s of import, hence
the late ones here.
"""

import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from splitrig import __version__
from splitrig.core.errors import BrokenOffError, CancelledError, NetError, StatusError

if TYPE_CHECKING:
    import httpx

CONNECT_S = 10.0
IDLE_S = 30.0
"""Longest silence of a server, seconds."""
MOST_REDIRECTS = 5
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_POLL_S = 0.05

Cancelled = Callable[[], bool]
"""Asked while something waits: whether to give it up."""


def never() -> bool:
    """Nobody gives up."""
    return False


class Http:
    """A connection to the internet for the duration of a `with` block.

    Args:
        cancelled: Asked 20 times a second; once it says yes, what runs is cut off.
        idle_s: Longest silence of a server, seconds.
    """

    def __init__(self, *, cancelled: Cancelled = never, idle_s: float = IDLE_S) -> None:
        self._cancelled = cancelled
        self._idle_s = idle_s
        self._clients: dict[bool, httpx.Client] = {}
        self._sockets: list[socket.socket] = []
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._cut_when_cancelled, name="http-cancel")

    def __enter__(self) -> Self:
        if self._cancelled is not never:
            self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for client in self._clients.values():
            client.close()
        if self._watch.ident is not None:
            self._watch.join()

    def read(self, url: str, *, most_bytes: int, headers: Mapping[str, str] | None = None) -> bytes:
        """The whole answer of a server.

        Raises:
            StatusError: It answered with an error.
            NetError: It cannot be reached, or its answer is longer than `most_bytes`.
            CancelledError: It was given up.
        """
        with self.stream(url, headers or {}) as response, self._words(url):
            if response.status_code != 200:
                raise status_error(response)
            parts, length = [], 0
            for part in response.iter_bytes():
                parts.append(part)
                length += len(part)
                if length > most_bytes:
                    raise NetError(
                        f"{_host(url)} sent more than the {most_bytes:,} bytes that make sense.",
                        "Try again later.",
                    )
        return b"".join(parts)

    @contextmanager
    def stream(self, url: str, headers: Mapping[str, str]) -> Iterator["httpx.Response"]:
        """An answer whose body is not read yet; errors of the server are the caller's business.

        Raises:
            NetError: The server cannot be reached.
            CancelledError: It was given up.
        """
        _check_address(url, plain=_is_loopback(url))
        with self._words(url):
            client = self._client(url)
            opened = client.stream(
                "GET",
                url,
                headers={"User-Agent": f"SplitRig/{__version__}", **headers},
                extensions={"trace": self._trace},
            )
            response = opened.__enter__()
        try:
            yield response
        finally:
            with suppress(OSError):
                opened.__exit__(None, None, None)

    def chunks(self, response: "httpx.Response", url: str) -> Iterator[bytes]:
        """The body as it comes, not decoded.

        Raises:
            BrokenOffError: The connection ended before the body did.
            CancelledError: It was given up.
        """
        with self._words(url):
            for chunk in response.iter_raw():
                if self._cancelled():
                    raise CancelledError
                yield chunk

    def _client(self, url: str) -> "httpx.Client":
        import httpx

        loopback = _is_loopback(url)
        if loopback not in self._clients:

            def check(request: httpx.Request) -> None:
                _check_address(str(request.url), plain=loopback)

            self._clients[loopback] = httpx.Client(
                verify=trusted(),
                trust_env=not loopback,  # no proxy stands between us and loopback
                follow_redirects=True,
                max_redirects=MOST_REDIRECTS,
                timeout=httpx.Timeout(self._idle_s, connect=CONNECT_S),
                event_hooks={"request": [check]},
            )
        return self._clients[loopback]

    def _trace(self, name: str, info: Mapping[str, Any]) -> None:
        """Remember the socket of a new connection (httpcore's `trace` extension)."""
        if name.endswith((".connect_tcp.complete", ".start_tls.complete")):
            found = info["return_value"].get_extra_info("socket")
            if isinstance(found, socket.socket):
                self._sockets.append(found)

    def _cut_when_cancelled(self) -> None:
        """Watcher: closing a socket elsewhere does not wake a thread that reads, this does."""
        while not self._over.wait(_POLL_S):
            if self._cancelled():
                for found in tuple(self._sockets):
                    with suppress(OSError):
                        # Not the method of a TLS socket: it takes apart what the reader uses.
                        socket.socket.shutdown(found, socket.SHUT_RDWR)

    @contextmanager
    def _words(self, url: str) -> Iterator[None]:
        """Turn httpx's errors into ours."""
        import httpx

        try:
            yield
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, OSError, ValueError) as error:
            if self._cancelled():
                raise CancelledError from error
            raise _net_error(error, url) from error


def trusted() -> ssl.SSLContext:
    """Whom to trust: the system's own certificates, else those that came with Python's packages."""
    context = ssl.create_default_context()
    places = ssl.get_default_verify_paths()
    if sys.platform != "win32" and not (places.cafile or places.capath):
        import certifi

        context.load_verify_locations(certifi.where())
    return context


def status_error(response: "httpx.Response") -> StatusError:
    """A server's refusal as an error."""
    host = response.url.host
    return StatusError(
        f"{host} answered {response.status_code} {response.reason_phrase}".rstrip() + ".",
        "Try again later.",
        status=response.status_code,
        headers={name.lower(): value for name, value in response.headers.items()},
    )


def _host(url: str) -> str:
    return urlsplit(url).hostname or url[:80]


def _is_loopback(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "http" and parts.hostname in _LOOPBACK


def _check_address(url: str, *, plain: bool) -> None:
    """Refuse what is neither encrypted nor on this machine.

    Raises:
        NetError: It is refused.
    """
    if urlsplit(url).scheme != "https" and not (plain and _is_loopback(url)):
        raise NetError(
            f"{url[:200]} is not fetched: the connection would not be encrypted.",
            "Only https addresses are used.",
        )


def _net_error(error: Exception, url: str) -> NetError:
    """What went wrong on the way to a server, in words."""
    import httpx

    host = _host(url)
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return NetError(
                f"The certificate of {host} was not accepted: {cause.verify_message}.",
                "A proxy or virus scanner may stand between; nothing is fetched through it "
                "unless the system trusts its certificate.",
            )
        if isinstance(cause, socket.gaierror):
            return NetError(
                f"{host} was not found: this machine seems to be offline.",
                "Check the connection and try again.",
            )
    details = f"{type(error).__name__}: {error}"[:500]
    match error:
        case httpx.ConnectTimeout():
            words = f"{host} did not answer within {CONNECT_S:g} s."
        case httpx.ProxyError():
            words = f"The proxy on the way to {host} refused: {error}."
        case httpx.ConnectError():
            words = f"{host} cannot be reached: {error}."
        case httpx.ReadTimeout():
            return BrokenOffError(f"{host} went silent.", "Try again.", details=details)
        case httpx.TransportError() | OSError():
            return BrokenOffError(
                f"The connection to {host} broke off.", "Try again.", details=details
            )
        case _:
            words = f"{host} answered in a way that makes no sense."
    return NetError(words, "Check the connection and try again.", details=details)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what led to it."""
    for _ in range(10):
        if error is None:
            return
        yield error
        error = error.__cause__ or error.__context__
