"""A real engine's own figures, while another program asks it."""

import json
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from tests.services.engines.conftest import Watch, Watched, planned

from splitrig.core.engine import EngineStatus, Phase
from splitrig.core.gpu import Rig
from splitrig.core.metrics import EngineRates
from splitrig.core.verify import verify
from splitrig.services.engines.meter import TIMEOUT_S, EngineMetered, Meter
from splitrig.services.engines.ports import free_port

pytestmark = pytest.mark.engine


def ask(status: EngineStatus, tokens: int) -> None:
    body = {
        "messages": [{"role": "user", "content": "Tell me a very long story about the sea."}],
        "max_tokens": tokens,
        "temperature": 0,
    }
    headers = {"Authorization": f"Bearer {status.api_key}", "Content-Type": "application/json"}
    request = urllib.request.Request(
        f"{status.url}/v1/chat/completions", json.dumps(body).encode(), headers
    )
    with urllib.request.urlopen(request, timeout=120) as answer:
        assert json.load(answer)["usage"]["completion_tokens"] == tokens


def test_what_others_ask_is_seen_while_it_is_answered(watch: Watch) -> None:
    watched = watch()
    watched.start(*planned(3.0, 1.0))
    ready = watched.wait(Phase.READY)
    asking = threading.Thread(target=ask, args=(ready, 300))
    asking.start()
    while asking.is_alive():
        watched.drain()
        time.sleep(0.05)
    asking.join()
    deadline = time.monotonic() + 5
    while not (watched.metered and watched.metered[-1].rates.tok_s == 0):
        watched.drain()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    speeds = [news.rates.tok_s or 0.0 for news in watched.metered]
    assert sum(speed > 0 for speed in speeds) >= 2, "told of while it works, not at its end only"
    spans = [1.0] + [
        b.rates.time_s - a.rates.time_s
        for a, b in zip(watched.metered, watched.metered[1:], strict=False)
    ]
    total = sum(speed * span for speed, span in zip(speeds, spans, strict=True))
    assert 200 < total < 400
    assert all(news.slot == 1 for news in watched.metered)


def test_an_engine_that_is_gone_tells_nothing() -> None:
    assert Meter(free_port(), "key").look() is None


def test_a_look_comes_at_most_once_a_second(watch: Watch) -> None:
    watched = watch()
    watched.start(*planned(1.0, 1.0))
    ready = watched.wait(Phase.READY)
    meter = Meter(int((ready.url or "").rpartition(":")[2]), ready.api_key or "")
    assert meter.look() is None
    assert meter.look() is None
    time.sleep(1.05)
    seen = meter.look()
    assert isinstance(seen, EngineRates)
    assert seen.tok_s == 0
    assert EngineMetered(1, seen).rates is seen


class Odd(BaseHTTPRequestHandler):
    """Answers `/metrics` by what its server holds: a status and a body, or a drip."""

    server: "OddServer"

    def do_GET(self) -> None:
        self.server.asked.append(self.headers["Authorization"])
        if self.server.drips:
            while not self.server.over.wait(0.1):
                self.wfile.write(b"x")
            return
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, *_arguments: object) -> None:
        return


class OddServer(ThreadingHTTPServer):
    """An engine whose figures are odd."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Odd)
        self.asked: list[str] = []
        self.status, self.body, self.drips = 200, b"llamacpp:requests_processing 1\n", False
        self.over = threading.Event()

    def handle_error(self, *_arguments: object) -> None:
        """Whoever asked may have left."""


@pytest.fixture
def odd() -> Iterator[OddServer]:
    with OddServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.over.set()
        server.shutdown()
        thread.join()


def looked(meter: Meter, monkeypatch: pytest.MonkeyPatch) -> EngineRates | None:
    """One look, whether it is time or not."""
    monkeypatch.setattr(meter, "_next_s", 0.0)
    return meter.look()


def test_a_wrong_key_is_told_of_and_what_was_told_before_is_taken_back(
    odd: OddServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    meter = Meter(odd.server_port, "key", patience_s=0)
    assert looked(meter, monkeypatch) is None
    seen = looked(meter, monkeypatch)
    assert seen is not None
    assert seen.running == 1
    assert meter.problem == ""
    odd.status = 401
    nothing = looked(meter, monkeypatch)
    assert nothing is not None
    assert (nothing.tok_s, nothing.running) == (None, None)
    assert meter.problem == "The engine's figures cannot be read: it answers 401 Unauthorized."
    assert looked(meter, monkeypatch) is None, "told once"
    odd.status = 200
    assert looked(meter, monkeypatch) is not None
    assert meter.problem == ""
    assert set(odd.asked) == {"Bearer key"}


def test_other_text_is_told_of_and_never_read_again(
    odd: OddServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd.body = b"<html>"
    meter = Meter(odd.server_port, "key")
    assert looked(meter, monkeypatch) is not None
    assert "no Prometheus text" in meter.problem
    assert looked(meter, monkeypatch) is None
    assert len(odd.asked) == 1


def test_bytes_that_come_one_by_one_hold_nothing_up(
    odd: OddServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd.drips = True
    meter = Meter(odd.server_port, "key", patience_s=0)
    begun_s = time.monotonic()
    looked(meter, monkeypatch)
    assert time.monotonic() - begun_s < 4 * TIMEOUT_S
    assert "no answer within" in meter.problem


def test_who_listens_and_says_nothing_is_asked_ever_more_seldom() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        meter = Meter(silent.getsockname()[1], "key", patience_s=1.2)
        assert meter.look() is None
        assert meter.problem == "", "it may be busy"
        looks, deadline = 0, time.monotonic() + 10
        while not meter.problem:
            assert time.monotonic() < deadline
            looks += meter.look() is not None
            time.sleep(0.02)
        assert looks == 1, "one word that nothing is known any more"
        assert meter.problem.endswith("no answer within 0.5 s.")
        assert meter._next_s - time.monotonic() > 0.5


def test_an_engine_without_figures_says_so_once_in_its_status(
    start_fake: Callable[..., Watched], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Meter.__init__, "__kwdefaults__", {"patience_s": 0.0})
    watched = start_fake("bare")
    watched.wait(Phase.READY)
    deadline = time.monotonic() + 20
    while not watched.statuses[-1].unmetered:
        watched.drain()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    told = watched.statuses[-1]
    assert told.phase is Phase.READY
    assert "it answers 501" in told.unmetered
    time.sleep(1.5)
    watched.drain()
    assert len({status.unmetered for status in watched.statuses}) == 2
    assert len(watched.metered) == 1
    note = next(n for n in verify(told, None, Rig(time_s=0)) if n.id == "unmetered")
    assert note.message == told.unmetered
