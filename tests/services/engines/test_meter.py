"""A real engine's own figures, while another program asks it."""

import json
import threading
import time
import urllib.request

import pytest
from tests.services.engines.conftest import Watch, planned

from splitrig.core.engine import EngineStatus, Phase
from splitrig.core.metrics import EngineRates
from splitrig.services.engines.meter import EngineMetered, Meter
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
