import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitrig.core.log_search import LogSearch, Match

TEXTS = ["alpha buffer", "beta", "Buffer buffer", "gamma BUFFER"]


def search(words: str, texts: list[str] = TEXTS, *, match_case: bool = False) -> LogSearch:
    found = LogSearch()
    found.look_for(words, match_case=match_case, texts=texts)
    return found


def test_all_matches_are_counted() -> None:
    assert search("buffer").total == 4
    assert search("buffer", match_case=True).total == 2
    assert search("nowhere").total == 0
    assert search("").total == 0


def test_places_of_one_line() -> None:
    assert search("buffer").starts("Buffer buffer") == [0, 7]
    assert search("buffer", match_case=True).starts("Buffer buffer") == [7]
    assert search("aa").starts("aaaaa") == [0, 2]
    assert search("").starts("abc") == []


def test_the_next_row_either_way() -> None:
    found = search("buffer")
    assert [found.row_after(row) for row in range(-1, 5)] == [0, 0, 2, 2, 3, None]
    assert [found.row_before(row) for row in range(-1, 5)] == [None, 0, 0, 2, 3, 3]
    nothing = search("nowhere")
    assert (nothing.row_after(0), nothing.row_before(3)) == (None, None)
    empty = search("x", [])
    assert (empty.row_after(0), empty.row_before(0)) == (None, None)


def test_a_match_knows_its_number() -> None:
    found = search("buffer")
    assert found.ordinal(Match(0, 6, 6), TEXTS[0]) == 1
    assert found.ordinal(Match(2, 0, 6), TEXTS[2]) == 2
    assert found.ordinal(Match(2, 7, 6), TEXTS[2]) == 3
    assert found.ordinal(Match(3, 6, 6), TEXTS[3]) == 4


def test_lines_come_and_go() -> None:
    found = search("buffer")
    found.extend(["buffer", "none"])
    assert (found.total, found.row_before(9)) == (5, 4)
    found.drop(3)
    assert (found.total, found.row_after(0)) == (2, 0)
    found.drop(100)
    assert (found.total, found.row_after(0)) == (0, None)
    found.reset(["a buffer"])
    assert (found.words, found.total) == ("buffer", 1)


@pytest.mark.parametrize("text", ["İstanbul buffer", "buffer İ"])
def test_letters_that_grow_in_lower_case_do_not_move_the_places(text: str) -> None:
    found = search("buffer", [text])
    assert found.total == 1
    (start,) = found.starts(text)
    assert text[start : start + 6] == "buffer"


@given(st.text(alphabet="aAbİß ", min_size=1, max_size=3), st.lists(st.text(alphabet="aAbİß ")))
def test_the_count_is_that_of_the_places(words: str, texts: list[str]) -> None:
    found = search(words, texts)
    assert found.total == sum(len(found.starts(text)) for text in texts)
