"""The figures of running engines, whoever asks them."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from splitrig.services.engines.figures import EngineFigures, FiguresReader
from splitrig.services.engines.ports import free_port
from splitrig.services.mailbox import Mailbox

RECORDED = Path(__file__).parents[2] / "recorded"


class Engine(ThreadingHTTPServer):
    """Counts 100 tokens between two looks."""

    daemon_threads = True
    status = 200
    body = ""
    looks = 0


class Answer(BaseHTTPRequestHandler):
    server: Engine

    def do_GET(self) -> None:
        self.server.looks += 1
        total = 100.0 * self.server.looks
        text = self.server.body or f"vllm:generation_tokens_total {total}\n"
        data = text.encode()
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_arguments: object) -> None:
        return


@contextmanager
def serving() -> Iterator[Engine]:
    engine = Engine(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=engine.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield engine
    finally:
        engine.shutdown()
        engine.server_close()
        thread.join()


def url(engine: Engine) -> str:
    return f"http://127.0.0.1:{engine.server_address[1]}"


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox()


@pytest.fixture
def reader(mailbox: Mailbox) -> Iterator[FiguresReader]:
    made = FiguresReader(mailbox, every_s=0.02)
    yield made
    made.close()


def figures(mailbox: Mailbox, count: int) -> list[EngineFigures]:
    found: list[EngineFigures] = []
    deadline = time.monotonic() + 10
    while len(found) < count:
        found += [item for item in mailbox.drain() if isinstance(item, EngineFigures)]
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return found


def test_speeds_come_from_the_second_look_on(mailbox: Mailbox, reader: FiguresReader) -> None:
    with serving() as engine:
        reader.follow({1: url(engine)})
        for told in figures(mailbox, 3):
            assert told.slot == 1
            assert told.rates.tok_s is not None
            assert 0 < told.rates.tok_s <= 100 / 0.02
            assert told.rates.prompt_tok_s is None


def test_two_engines_and_one_that_goes(mailbox: Mailbox, reader: FiguresReader) -> None:
    with serving() as first, serving() as second:
        reader.follow({1: url(first), 2: url(second)})
        while {told.slot for told in figures(mailbox, 2)} != {1, 2}:
            pass
        reader.follow({2: url(second)})
        time.sleep(0.1)
        mailbox.drain()
        assert {told.slot for told in figures(mailbox, 4)} == {2}


def test_an_engine_without_figures_is_asked_once(mailbox: Mailbox, reader: FiguresReader) -> None:
    with serving() as engine:
        engine.status = 404
        reader.follow({1: url(engine)})
        time.sleep(0.3)
        assert engine.looks == 1
        assert not mailbox.drain()


@pytest.mark.parametrize(("status", "body"), [(503, "loading"), (200, "<html>"), (500, "")])
def test_an_answer_that_is_none_leaves_gaps_not_errors(
    mailbox: Mailbox, reader: FiguresReader, status: int, body: str
) -> None:
    with serving() as engine:
        engine.status, engine.body = status, body
        reader.follow({1: url(engine)})
        assert all(told.rates.tok_s is None for told in figures(mailbox, 2))
        engine.status, engine.body = 200, ""
        while figures(mailbox, 1)[0].rates.tok_s is None:
            pass


def test_nobody_there(mailbox: Mailbox, reader: FiguresReader) -> None:
    reader.follow({1: f"http://127.0.0.1:{free_port()}"})
    assert all(told.rates.tok_s is None for told in figures(mailbox, 2))


def test_llama_servers_own_figures(mailbox: Mailbox, reader: FiguresReader) -> None:
    with serving() as engine:
        engine.body = (RECORDED / "engine/metrics.txt").read_text()
        reader.follow({1: url(engine)})
        told = figures(mailbox, 1)[0]
        assert (told.rates.tok_s, told.rates.running, told.rates.waiting) == (0, 0, 0)


def test_nothing_runs_before_there_is_an_engine(mailbox: Mailbox) -> None:
    before = threading.active_count()
    reader = FiguresReader(mailbox)
    reader.follow({})
    assert threading.active_count() == before
    reader.close()
    reader.follow({1: "http://127.0.0.1:1"})
    assert threading.active_count() == before
