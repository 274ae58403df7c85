"""Speed over the last few seconds."""

import pytest

from splitrig.core.pace import Pace


def test_nothing_is_said_before_half_a_second_was_watched() -> None:
    pace = Pace()
    assert pace.bytes_s(0.0) is None
    pace.add(10.0, 0)
    pace.add(10.3, 1000)
    assert pace.bytes_s(10.3) is None
    pace.add(10.5, 2000)
    assert pace.bytes_s(10.5) == pytest.approx(4000)


def test_a_steady_line_has_a_steady_speed() -> None:
    pace = Pace()
    for tick in range(300):
        pace.add(tick * 0.1, tick * 500)
        if tick >= 5:
            assert pace.bytes_s(tick * 0.1) == pytest.approx(5000, rel=0.03)


def test_a_line_that_became_slow_is_noticed_within_the_window() -> None:
    pace = Pace(window_s=2.0)
    pace.add(0.0, 0)
    for tick in range(1, 11):
        pace.add(tick * 0.1, tick * 100_000)
    for tick in range(11, 40):
        pace.add(tick * 0.1, 1_000_000 + (tick - 10) * 100)
    assert pace.bytes_s(3.9) == pytest.approx(1000, rel=0.06)


def test_a_silence_becomes_nothing() -> None:
    pace = Pace(window_s=5.0)
    pace.add(0.0, 0)
    pace.add(1.0, 1_000_000)
    assert pace.bytes_s(1.0) == pytest.approx(1_000_000)
    assert pace.bytes_s(4.0) == pytest.approx(250_000)
    assert pace.bytes_s(6.0) == 0
    assert pace.bytes_s(600.0) == 0


def test_after_a_silence_the_speed_is_that_of_now() -> None:
    pace = Pace(window_s=5.0)
    pace.add(0.0, 0)
    pace.add(1.0, 1000)
    pace.add(60.0, 1000)
    pace.add(61.0, 6000)
    assert pace.bytes_s(61.0) == pytest.approx(1000)
