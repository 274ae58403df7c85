"""Lines get into the ring in portions, and none that is missing goes unmentioned."""

from splitrig.core.log_intake import LogIntake
from splitrig.core.log_lines import FILE_ENDED, Level
from splitrig.core.log_ring import MOST_LINES, LogRing, Numbered


def texts(taken: list[Numbered]) -> list[str]:
    return [line.text for _, line in taken]


def test_a_portion_at_a_time() -> None:
    intake = LogIntake(LogRing())
    intake.push(["a", "b", "c"])
    intake.push(["d"])
    assert intake.n_queued == 4
    assert texts(intake.take(2)) == ["a", "b"]
    assert texts(intake.take(2)) == ["c", "d"]
    assert intake.n_queued == 0
    assert intake.take(2) == []
    assert intake.ring.total == 4


def test_lines_dropped_before_are_told_of_where_they_were() -> None:
    intake = LogIntake(LogRing())
    intake.push(["a"])
    intake.push(["b", "c"], skipped=12345)
    taken = intake.take(100)
    assert texts(taken) == ["a", "12,345 lines not shown; they are in the file", "b", "c"]
    assert taken[1][1].level is Level.NOTE
    assert intake.ring.total == 12_348


def test_a_gap_is_told_of_once_when_its_lines_come_in_portions() -> None:
    intake = LogIntake(LogRing())
    intake.push(["a", "b"], skipped=3)
    assert texts(intake.take(1)) == ["3 lines not shown; they are in the file", "a"]
    assert texts(intake.take(1)) == ["b"]


def test_what_a_held_up_window_would_never_show_is_passed_over_and_counted() -> None:
    intake = LogIntake(LogRing())
    intake.push(["old"] * 9000, "1", skipped=1)
    intake.push(["other"] * 2000, "2")
    intake.push(["new"] * 9000, "1")
    intake.push(["newest"] * 1000, "1")
    assert intake.n_queued <= MOST_LINES
    taken = intake.take(100_000)
    notes = [line for _, line in taken if line.level is Level.NOTE]
    assert [(note.source, note.text) for note in notes] == [
        ("1", "9,001 lines not shown; they are in the file")
    ]
    assert texts(taken).count("new") == 9000
    assert intake.ring.total == 21_001


def test_without_a_file_nobody_is_sent_there() -> None:
    intake = LogIntake(LogRing())
    intake.push([f"{FILE_ENDED}: No space left on device (x.log)."], "1")
    intake.push(["a"], "1", skipped=2)
    intake.push(["b"], "2", skipped=2)
    found = texts(intake.take(100))
    assert found[1:] == ["2 lines not shown", "a", "2 lines not shown; they are in the file", "b"]
    intake.has_file_again("1")
    intake.push(["c"], "1", skipped=2)
    assert texts(intake.take(100))[0].endswith("they are in the file")


def test_engines_have_tracebacks_of_their_own() -> None:
    intake = LogIntake(LogRing())
    intake.push(["Traceback (most recent call last):"], "1")
    intake.push(["  indented"], "2")
    intake.push(["  indented"], "1")
    assert [line.level for _, line in intake.take(9)] == [Level.ERROR, Level.PLAIN, Level.ERROR]
