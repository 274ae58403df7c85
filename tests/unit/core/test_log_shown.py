"""Rows and what waits behind them; steps from match to match while rows come and go."""

import pytest

from splitrig.core.log_lines import Level, LogLine
from splitrig.core.log_ring import MOST_LINES, Numbered
from splitrig.core.log_search import Match
from splitrig.core.log_shown import ShownLines


def numbered(*texts: str, first: int = 0) -> list[Numbered]:
    return [(first + n, LogLine(Level.INFO, text)) for n, text in enumerate(texts)]


def rows(shown: ShownLines) -> list[str]:
    return [line.text for _, line in shown.rows]


@pytest.fixture
def shown() -> ShownLines:
    made = ShownLines()
    made.reset(numbered("a buffer", "b", "buffer buffer", "d", first=10))
    return made


def test_lines_wait_until_they_are_taken_in(shown: ShownLines) -> None:
    shown.hold(numbered("e", "f", "g", first=14), first=0)
    assert len(shown) == 4
    assert [line.text for line in shown.take_in(2)] == ["e", "f"]
    assert [line.text for line in shown.take_in()] == ["g"]
    assert shown.take_in() == []
    assert rows(shown)[-3:] == ["e", "f", "g"]


def test_what_is_lost_while_it_waits_leaves_a_note(shown: ShownLines) -> None:
    shown.hold(numbered(*"efghi", first=14), first=0)
    shown.hold(numbered("j", first=19), first=18)
    taken = shown.take_in(1)
    assert [(line.level, line.text) for line in taken] == [
        (Level.NOTE, "4 lines not shown"),
        (Level.INFO, "i"),
    ]
    assert [line.text for line in shown.take_in()] == ["j"]


def test_other_lines_forget_what_waited(shown: ShownLines) -> None:
    shown.hold(numbered("e", first=14), first=15)
    shown.reset(numbered("x", first=20))
    assert shown.take_in() == []
    assert rows(shown) == ["x"]


def test_rows_are_known_by_their_numbers(shown: ShownLines) -> None:
    assert [shown.n_before(number) for number in (0, 10, 12, 99)] == [0, 0, 2, 4]
    shown.drop(3)
    assert rows(shown) == ["d"]
    assert shown.n_before(13) == 0


def test_there_may_be_only_so_many_rows() -> None:
    shown = ShownLines()
    shown.reset(numbered(*["x"] * (MOST_LINES + 5)))
    assert shown.n_over() == 5
    shown.drop(5)
    assert shown.n_over() == 0


def test_steps_go_round_both_ways(shown: ShownLines) -> None:
    shown.look_for("BUFFER", match_case=False)
    assert shown.search.total == 3
    assert shown.ordinal() is None
    places = []
    for _ in range(4):
        places.append(shown.step(forward=True, row=0))
        assert shown.ordinal() == [1, 2, 3, 1][len(places) - 1]
    assert places == [Match(0, 2, 6), Match(2, 0, 6), Match(2, 7, 6), Match(0, 2, 6)]
    back = [shown.step(forward=False, row=0) for _ in range(3)]
    assert back == [Match(2, 7, 6), Match(2, 0, 6), Match(0, 2, 6)]


def test_the_first_step_begins_at_the_row_in_view(shown: ShownLines) -> None:
    shown.look_for("buffer", match_case=False)
    assert shown.step(forward=True, row=1) == Match(2, 0, 6)
    shown.forget_current()
    assert shown.step(forward=False, row=2) == Match(0, 2, 6)


def test_a_new_search_takes_the_nearest_match(shown: ShownLines) -> None:
    shown.look_for("buffer", match_case=False)
    assert shown.first_from(1) == Match(2, 0, 6)
    assert shown.first_from(3) == Match(2, 7, 6)
    shown.look_for("nowhere", match_case=False)
    assert shown.first_from(0) is None
    assert shown.step(forward=True, row=0) is None
    assert shown.step(forward=False, row=0) is None


def test_the_current_match_keeps_its_line_while_rows_go(shown: ShownLines) -> None:
    shown.look_for("buffer", match_case=False)
    shown.first_from(2)
    shown.drop(2)
    assert shown.current == Match(0, 0, 6)
    assert shown.ordinal() == 1
    shown.drop(1)
    assert shown.current is None
    assert shown.ordinal() is None


def test_new_rows_are_searched_too(shown: ShownLines) -> None:
    shown.look_for("buffer", match_case=True)
    shown.hold(numbered("Buffer", "buffer", first=14), first=0)
    shown.take_in()
    assert shown.search.total == 4
    assert shown.step(forward=False, row=0) == Match(5, 0, 6)


def test_nothing_can_be_searched(shown: ShownLines) -> None:
    shown.reset([])
    shown.look_for("x", match_case=False)
    assert shown.first_from(0) is None
    assert shown.step(forward=True, row=0) is None
