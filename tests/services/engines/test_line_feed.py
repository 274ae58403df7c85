"""The last lines get through, and what is missing is counted."""

import threading

from splitrig.services.engines.line_feed import EngineLogLines, GapCounter, LineFeed


def test_lines_are_given_away_once() -> None:
    feed = LineFeed(3)
    feed.add(["a", "b"])
    assert feed.take() == EngineLogLines(("a", "b"), 3, 0)
    assert feed.take() is None
    feed.add(["c"])
    assert feed.take() == EngineLogLines(("c",), 3, 2)


def test_of_a_flood_the_last_lines_stay() -> None:
    feed = LineFeed(most_lines=3)
    feed.add([str(n) for n in range(10)])
    feed.add(["x"])
    assert feed.take() == EngineLogLines(("8", "9", "x"), 1, 8)


def test_missing_lines_are_counted_wherever_they_went() -> None:
    gaps = GapCounter()
    assert gaps.skipped_before(EngineLogLines(("a", "b"), 1, 5)) == 5
    assert gaps.skipped_before(EngineLogLines(("c",), 1, 7)) == 0
    # as if two posts between had been dropped by a full mailbox
    assert gaps.skipped_before(EngineLogLines(("z",), 1, 100)) == 92
    assert gaps.skipped_before(EngineLogLines(("a",), 2, 0)) == 0


def test_a_new_feed_of_the_same_name_counts_from_nothing() -> None:
    gaps = GapCounter()
    gaps.skipped_before(EngineLogLines(("a",) * 50, 1, 0))
    assert gaps.skipped_before(EngineLogLines(("b",), 1, 0)) == 0
    assert gaps.skipped_before(EngineLogLines(("c",), 1, 1)) == 0


def test_no_line_is_lost_or_counted_twice_between_two_threads() -> None:
    feed = LineFeed(most_lines=50)
    done = threading.Event()

    def write() -> None:
        for number in range(5000):
            feed.add([f"{number} {part}" for part in range(3)])
        done.set()

    thread = threading.Thread(target=write)
    thread.start()
    gaps, shown, skipped = GapCounter(), 0, 0
    while True:
        ended = done.is_set()
        if (news := feed.take()) is not None:
            skipped += gaps.skipped_before(news)
            shown += len(news.lines)
        if ended:
            break
    thread.join()
    assert shown + skipped == 15_000
