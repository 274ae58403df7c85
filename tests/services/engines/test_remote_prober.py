"""Looks in the background, one after the other."""

import sys
import threading
import time
from collections.abc import Iterator

import pytest
from tests.services.engines.rpc_servers import listener, rpc_server, wait_for

from splitrig.core.remote import RemoteEndpoint, RemoteServer, RemoteState
from splitrig.services.engines.remote_prober import RemoteLooked, RemoteProber
from splitrig.services.mailbox import Mailbox

if sys.platform == "win32":
    pytest.skip("the engine package is for Linux", allow_module_level=True)


class Looked:
    """A prober, and what it posted."""

    def __init__(self) -> None:
        self.mailbox = Mailbox()
        self.in_use: set[str] = set()
        self.prober = RemoteProber(self.mailbox, lambda: self.in_use)
        self.found: list[RemoteServer] = []

    def wait(self, count: int) -> list[RemoteServer]:
        def there() -> bool:
            for item in self.mailbox.drain():
                assert isinstance(item, RemoteLooked)
                self.found.append(item.server)
            return len(self.found) >= count

        wait_for(there)
        return self.found


@pytest.fixture
def looked() -> Iterator[Looked]:
    made = Looked()
    yield made
    made.prober.close()


ABSENT = RemoteEndpoint("127.0.0.1", 1)


def test_every_server_is_looked_at_in_turn(looked: Looked) -> None:
    with rpc_server(1) as one:
        there = RemoteEndpoint.parse(one.endpoint)
        looked.prober.look([there, ABSENT])
        first, second = looked.wait(2)
        assert (first.endpoint, first.state) == (there, RemoteState.FREE)
        assert first.link.up_mb_s is not None
        assert (second.endpoint, second.state) == (ABSENT, RemoteState.ABSENT)
        looked.prober.look([there])
        assert looked.wait(3)[-1].usable


def test_a_server_that_is_in_use_or_gone_keeps_its_cards(looked: Looked) -> None:
    with rpc_server(2) as one:
        there = RemoteEndpoint.parse(one.endpoint)
        looked.prober.look([there])
        cards = looked.wait(1)[0].cards
        looked.in_use.add(one.endpoint)
        looked.prober.look([there])
        used = looked.wait(2)[-1]
        assert (used.state, used.cards, used.usable) == (RemoteState.IN_USE, cards, False)
        looked.in_use.clear()
    looked.prober.look([there])
    gone = looked.wait(3)[-1]
    assert (gone.state, gone.cards, gone.seen_s) == (RemoteState.ABSENT, cards, used.seen_s)
    looked.prober.forget(there)
    looked.prober.look([there])
    assert looked.wait(4)[-1].cards == ()


def test_closing_gives_up_at_once(looked: Looked) -> None:
    asked = threading.Event()

    def mute(connection: object) -> None:
        asked.set()
        time.sleep(0.5)

    with listener(mute) as endpoint:
        looked.prober.look([RemoteEndpoint.parse(endpoint), ABSENT])
        assert asked.wait(5)
        begun = time.monotonic()
        looked.prober.close()
        assert time.monotonic() - begun < 0.4
    looked.prober.look([ABSENT])
    assert looked.mailbox.drain() == []
