from hypothesis import given
from hypothesis import strategies as st

from splitrig.core.log_lines import Level, LogLine
from splitrig.core.log_ring import LogFilter, LogRing


def line(text: str, level: Level = Level.INFO, source: str = "") -> LogLine:
    return LogLine(level, text, source)


def texts(ring: LogRing, **wanted: object) -> list[str]:
    return [shown.text for _, shown in ring.chosen(LogFilter(**wanted))]  # type: ignore[arg-type]


def test_the_oldest_lines_make_room() -> None:
    ring = LogRing(most_lines=3)
    assert ring.add([line("a"), line("b")]) == [(0, line("a")), (1, line("b"))]
    assert ring.add([line("c"), line("d")]) == [(2, line("c")), (3, line("d"))]
    assert texts(ring) == ["b", "c", "d"]
    assert (ring.first, ring.total, len(ring)) == (1, 4, 3)
    assert ring.chosen(LogFilter())[0] == (1, line("b"))


def test_long_lines_are_bounded_by_their_size() -> None:
    ring = LogRing(most_lines=100, most_chars=1000)
    ring.add([line("x" * 400) for _ in range(5)])
    assert len(ring) == 2
    ring.add([line("short")] * 60)
    assert len(ring) == 61
    assert sum(len(shown.text) for shown in ring) <= 1000


def test_a_level_takes_those_above_it_and_notes_are_always_there() -> None:
    ring = LogRing()
    ring.add([line(level.name, level) for level in Level])
    assert texts(ring) == [level.name for level in Level]
    assert texts(ring, least=Level.PLAIN) == ["PLAIN", "INFO", "WARNING", "ERROR", "NOTE"]
    assert texts(ring, least=Level.ERROR) == ["ERROR", "NOTE"]
    counts = [ring.count(LogFilter(least=level)) for level in (Level.DEBUG, Level.WARNING)]
    assert counts == [5, 2]


def test_one_engine_can_be_chosen() -> None:
    ring = LogRing()
    ring.add([line("a", source="1"), line("b", Level.ERROR, "2"), line("c", source="2")])
    assert ring.sources == ("1", "2")
    assert texts(ring, source="2") == ["b", "c"]
    assert texts(ring, source="2", least=Level.ERROR) == ["b"]
    assert ring.count(LogFilter(source="2")) == 2
    assert ring.count(LogFilter(source="3")) == 0


def test_an_engine_without_lines_is_no_source() -> None:
    ring = LogRing(most_lines=1)
    ring.add([line("a", source="1"), line("b", source="2")])
    assert ring.sources == ("2",)


def test_skipped_lines_count_and_notes_do_not() -> None:
    ring = LogRing()
    ring.add([line("3 lines not shown", Level.NOTE), line("a")], n_skipped=3)
    assert ring.total == 4


@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from(Level), st.sampled_from("ab"), st.text(max_size=9)))
    ),
    st.sampled_from(Level),
    st.sampled_from(["a", "b", None]),
)
def test_counts_are_those_of_the_lines_chosen(
    batches: list[list[tuple[Level, str, str]]], least: Level, source: str | None
) -> None:
    ring = LogRing(most_lines=7, most_chars=30)
    for batch in batches:
        ring.add([line(text, level, name) for level, name, text in batch])
        wanted = LogFilter(least=least, source=source)
        chosen = ring.chosen(wanted)
        assert ring.count(wanted) == sum(s.level is not Level.NOTE for _, s in chosen)
        assert len(ring) <= 7
        assert sum(len(shown.text) for shown in ring) <= 30
        assert [number for number, _ in ring.chosen(LogFilter())] == list(
            range(ring.first, ring.first + len(ring))
        )
