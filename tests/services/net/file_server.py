"""A real server on loopback that serves files and, on request, misbehaves as networks do."""

import re
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

BLOCK = 64 * 1024
CERTIFICATE = Path(__file__).with_name("self_signed.pem")
"""Made for these tests; nobody trusts it, which is what it is for."""


@dataclass
class Served:
    """One file.

    Attributes:
        data: Its content.
        etag: Sent with it, if any.
        status: Answered instead of 200.
        headers: More headers.
        location: Answered as a redirect to this address.
    """

    data: bytes = b""
    etag: str | None = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    location: str | None = None


@dataclass
class FileServer:
    """What is served, what was asked for, and how the next answers go wrong.

    Attributes:
        url: Address without a slash at its end.
        files: By path.
        requests: Path and headers of every request.
        sent: Bytes of bodies that went out, by path.
        cuts: The next answers end after so many bytes of their body, one each.
        statuses: The next answers are these errors, one each.
        ranges: Whether it honours `Range`.
        if_range: Whether it honours `If-Range`.
        length: Whether it tells the length of a body.
        pause_s: Waits so long after each block of a body, seconds: a slow line.
        stall_after: Every answer falls silent after so many bytes of its body.
        over: Set at the end: what is silent on purpose ends.
    """

    url: str
    files: dict[str, Served] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    sent: dict[str, int] = field(default_factory=dict)
    cuts: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    ranges: bool = True
    if_range: bool = True
    length: bool = True
    pause_s: float = 0.0
    stall_after: int | None = None
    over: threading.Event = field(default_factory=threading.Event)

    def ranges_asked(self) -> list[str | None]:
        """The `Range` of every request."""
        return [headers.get("Range") for _, headers in self.requests]


@contextmanager
def serving(*, https: bool = False) -> Iterator[FileServer]:
    """Run a server."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            server.requests.append((self.path, dict(self.headers)))
            try:
                answer(self, server)
            except OSError:
                return

        def log_message(self, *_args: object) -> None:
            return

        def end_headers(self) -> None:
            self.send_header("Connection", "close")
            super().end_headers()

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_args: object) -> None:
            return  # a client that hangs up, or does not trust the certificate

    with Server(("127.0.0.1", 0), Handler) as http:
        if https:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(CERTIFICATE)
            http.socket = context.wrap_socket(http.socket, server_side=True)
        scheme = "https" if https else "http"
        server = FileServer(f"{scheme}://127.0.0.1:{http.server_port}")
        thread = threading.Thread(target=http.serve_forever, args=(0.02,), name="file-server")
        thread.start()
        try:
            yield server
        finally:
            server.over.set()
            http.shutdown()
            thread.join()


def answer(handler: BaseHTTPRequestHandler, server: FileServer) -> None:
    """Answer one request."""
    if server.statuses:
        refuse(handler, server.statuses.pop(0))
        return
    served = server.files.get(handler.path)
    if served is None:
        refuse(handler, 404)
    elif served.location is not None:
        handler.send_response(302)
        handler.send_header("Location", served.location)
        handler.send_header("Content-Length", "0")
        handler.end_headers()
    elif served.status != 200:
        refuse(handler, served.status, served.data, served.headers)
    else:
        send(handler, server, served)


def refuse(
    handler: BaseHTTPRequestHandler,
    status: int,
    body: bytes = b"{}",
    headers: dict[str, str] | None = None,
) -> None:
    """Answer with an error."""
    handler.send_response(status)
    for name, value in (headers or {}).items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def send(handler: BaseHTTPRequestHandler, server: FileServer, served: Served) -> None:
    """Send a file, or the part of it that is asked for."""
    start = 0
    asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
    same = not server.if_range or handler.headers.get("If-Range") in {None, served.etag}
    if asked and server.ranges and same:
        start = int(asked[1])
        if start >= len(served.data):
            refuse(handler, 416, b"", {"Content-Range": f"bytes */{len(served.data)}"})
            return
        handler.send_response(206)
        end = len(served.data) - 1
        handler.send_header("Content-Range", f"bytes {start}-{end}/{len(served.data)}")
    else:
        handler.send_response(200)
    for name, value in served.headers.items():
        handler.send_header(name, value)
    if served.etag is not None:
        handler.send_header("ETag", served.etag)
    body = served.data[start:]
    if server.length:
        handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    ends = [len(body), *server.cuts[:1]]
    del server.cuts[:1]
    if server.stall_after is not None:
        ends.append(server.stall_after)
    count = min(ends)
    for begin in range(0, count, BLOCK):
        part = body[begin : min(begin + BLOCK, count)]
        handler.wfile.write(part)
        handler.wfile.flush()
        server.sent[handler.path] = server.sent.get(handler.path, 0) + len(part)
        if server.pause_s:
            server.over.wait(server.pause_s)
    if server.stall_after is not None and count < len(body):
        server.over.wait(30)
