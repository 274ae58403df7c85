"""Values reach those who listen for them, whatever one of them does."""

import pytest
from pytestqt.qtbot import QtBot

from splitrig.bridge.pump import Pump
from splitrig.services.mailbox import Mailbox


class BrokenError(Exception):
    """A mistake in a listener."""


def test_values_go_to_their_listeners_in_order(qtbot: QtBot) -> None:
    box, heard = Mailbox(), []
    pump = Pump(box)
    pump.listen(int, lambda value: heard.append(("first", value)))
    pump.listen(int, lambda value: heard.append(("second", value)))
    for value in (1, "nobody", 2):
        box.post(value)
    pump.drain()
    assert heard == [("first", 1), ("second", 1), ("first", 2), ("second", 2)]


def test_an_error_in_one_listener_costs_the_others_nothing(qtbot: QtBot) -> None:
    box, heard = Mailbox(), []
    pump = Pump(box, interval_ms=5)

    def broken(value: int) -> None:
        if value == 1:
            raise BrokenError

    pump.listen(int, broken)
    pump.listen(int, heard.append)
    pump.listen(str, heard.append)
    for value in (1, "text", 2):
        box.post(value)
    with qtbot.captureExceptions() as caught:
        pump.start()
        qtbot.waitUntil(lambda: len(heard) == 3)
        pump.stop()
    assert heard == [1, "text", 2]
    assert [kind for kind, _, _ in caught] == [BrokenError]


def test_a_listener_that_always_fails_lets_nothing_pile_up(qtbot: QtBot) -> None:
    box = Mailbox(capacity=3)
    pump = Pump(box)

    def broken(value: int) -> None:
        raise BrokenError

    pump.listen(int, broken)
    for value in range(10):
        box.post(value)
        with pytest.raises(BrokenError):
            pump.drain()
    assert len(pump._due) <= 3
