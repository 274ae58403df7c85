"""Asking servers: what is refused, how failures are told, and that waiting can be cut short."""

import gzip
import socket
import ssl
import threading
import time
from collections.abc import Iterator

import pytest
from tests.services.net.file_server import CERTIFICATE, FileServer, Served, serving

from splitrig.core.errors import BrokenOffError, CancelledError, NetError, StatusError
from splitrig.services.net import http as http_module
from splitrig.services.net.http import Http
from splitrig.services.net.http import trusted as trusted_context


@pytest.fixture
def secure() -> Iterator[FileServer]:
    with serving(https=True) as running:
        yield running


def read(url: str, **options: float) -> bytes:
    with Http(**options) as http:  # type: ignore[arg-type]
        return http.read(url, most_bytes=1000)


def test_an_answer_is_read_whole(server: FileServer) -> None:
    server.files["/list"] = Served(b"[1, 2]")
    assert read(f"{server.url}/list") == b"[1, 2]"
    (_, headers), *_ = server.requests
    assert headers["User-Agent"].startswith("SplitRig/")


def test_a_packed_answer_is_unpacked(server: FileServer) -> None:
    server.files["/list"] = Served(gzip.compress(b"x" * 500), headers={"Content-Encoding": "gzip"})
    assert read(f"{server.url}/list") == b"x" * 500


@pytest.mark.parametrize("packed", [False, True])
def test_an_endless_answer_is_given_up(server: FileServer, packed: bool) -> None:
    data = b"x" * 10_000_000
    headers = {"Content-Encoding": "gzip"} if packed else {}
    server.files["/list"] = Served(gzip.compress(data) if packed else data, headers=headers)
    with pytest.raises(NetError, match="more than the 1,000 bytes"):
        read(f"{server.url}/list")


def test_redirects_are_followed(server: FileServer) -> None:
    server.files["/a"] = Served(location="/b")
    server.files["/b"] = Served(b"here")
    assert read(f"{server.url}/a") == b"here"


def test_redirects_without_end_are_one_sentence(server: FileServer) -> None:
    server.files["/a"] = Served(location="/a")
    with pytest.raises(NetError, match="makes no sense"):
        read(f"{server.url}/a")
    assert len(server.requests) == 6


@pytest.mark.parametrize(
    "location", ["http://192.0.2.1/x", "file:///etc/passwd", "ftp://192.0.2.1/x"]
)
def test_a_redirect_to_what_is_not_encrypted_is_refused(server: FileServer, location: str) -> None:
    server.files["/a"] = Served(location=location)
    with pytest.raises(NetError):
        read(f"{server.url}/a")
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "url", ["http://example.invalid/x", "ftp://127.0.0.1/x", "file:///etc/passwd", "x"]
)
def test_only_encrypted_addresses_are_asked(url: str) -> None:
    with pytest.raises(NetError, match="not be encrypted"):
        read(url)


def test_an_error_of_the_server_keeps_its_headers(server: FileServer) -> None:
    server.files["/x"] = Served(b"{}", status=418, headers={"X-Reason": "tea"})
    with pytest.raises(StatusError, match=r"127\.0\.0\.1 answered 418") as raised:
        read(f"{server.url}/x")
    assert raised.value.status == 418
    assert raised.value.headers["x-reason"] == "tea"


def test_a_certificate_nobody_trusts_is_one_sentence(secure: FileServer) -> None:
    secure.files["/x"] = Served(b"secret")
    with pytest.raises(NetError, match=r"certificate of 127.0.0.1 was not accepted: .*self.signed"):
        read(f"{secure.url}/x")
    assert secure.requests == []


@pytest.fixture
def trusting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system trusts the tests' own certificate."""
    context = ssl.create_default_context(cafile=str(CERTIFICATE))
    monkeypatch.setattr(http_module, "trusted", lambda: context)


@pytest.mark.usefixtures("trusting")
def test_a_certificate_the_system_trusts_is_accepted(secure: FileServer) -> None:
    secure.files["/x"] = Served(b"secret")
    assert read(f"{secure.url}/x") == b"secret"


@pytest.mark.usefixtures("trusting")
def test_no_redirect_leads_out_of_encryption(secure: FileServer, server: FileServer) -> None:
    secure.files["/x"] = Served(location=f"{server.url}/x")
    server.files["/x"] = Served(b"for all to read")
    with pytest.raises(NetError, match="not be encrypted"):
        read(f"{secure.url}/x")
    assert server.requests == []


@pytest.mark.usefixtures("trusting")
def test_waiting_for_an_encrypted_server_is_cut_short(secure: FileServer) -> None:
    secure.files["/x"] = Served(b"x" * 100)
    secure.stall_after = 10
    cancelled = threading.Event()
    timer = threading.Timer(0.3, cancelled.set)
    timer.start()
    begin = time.monotonic()
    with Http(cancelled=cancelled.is_set, idle_s=30) as http, pytest.raises(CancelledError):
        http.read(f"{secure.url}/x", most_bytes=1000)
    assert time.monotonic() - begin < 10
    timer.join()


def test_every_connection_checks_certificates() -> None:
    context = trusted_context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


def test_a_name_that_does_not_exist_sounds_like_being_offline() -> None:
    with pytest.raises(NetError, match="offline"):
        read("https://nowhere.invalid/x")


def test_a_server_that_is_not_there_is_one_sentence() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(NetError, match=r"127\.0\.0\.1 cannot be reached"):
        read(f"http://127.0.0.1:{port}/x")


def test_a_server_that_speaks_something_else_is_one_sentence() -> None:
    def babble() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1000)
            connection.sendall(b"220 mail.example.invalid ESMTP\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=babble)
        thread.start()
        with pytest.raises(BrokenOffError, match="broke off"):
            read(f"http://127.0.0.1:{listener.getsockname()[1]}/x")
        thread.join()


def test_a_silent_server_is_given_up(server: FileServer) -> None:
    server.files["/x"] = Served(b"x" * 100)
    server.stall_after = 10
    with pytest.raises(BrokenOffError, match="went silent"):
        read(f"{server.url}/x", idle_s=0.2)


@pytest.mark.parametrize("stall_after", [0, 10])
def test_waiting_is_cut_short(server: FileServer, stall_after: int) -> None:
    server.files["/x"] = Served(b"x" * 100)
    server.stall_after = stall_after
    cancelled = threading.Event()
    timer = threading.Timer(0.3, cancelled.set)
    timer.start()
    begin = time.monotonic()
    with Http(cancelled=cancelled.is_set, idle_s=30) as http, pytest.raises(CancelledError):
        http.read(f"{server.url}/x", most_bytes=1000)
    assert time.monotonic() - begin < 10
    timer.join()


def test_waiting_for_the_first_word_is_cut_short() -> None:
    cancelled = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        timer = threading.Timer(0.3, cancelled.set)
        timer.start()
        begin = time.monotonic()
        with Http(cancelled=cancelled.is_set, idle_s=30) as http, pytest.raises(CancelledError):
            http.read(f"http://127.0.0.1:{deaf.getsockname()[1]}/x", most_bytes=1000)
        assert time.monotonic() - begin < 10
        timer.join()


def test_no_proxy_stands_between_us_and_loopback(
    server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://192.0.2.1:3128")
    monkeypatch.setenv("ALL_PROXY", "http://192.0.2.1:3128")
    server.files["/x"] = Served(b"direct")
    assert read(f"{server.url}/x") == b"direct"


def test_the_proxy_of_the_system_is_asked_for_others(
    server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_PROXY", "no_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", server.url)
    with pytest.raises(NetError, match=r"proxy on the way to api\.example\.invalid"):
        read("https://api.example.invalid/x")
