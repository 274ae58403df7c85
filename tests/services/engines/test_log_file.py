"""The engine's log file: one a run, in parts, bounded, and never in the engine's way."""

import os
import re
import sys
from pathlib import Path

import pytest

from splitrig.core.errors import StoreError
from splitrig.core.log_lines import FILE_ENDED, OWN
from splitrig.services.engines import log_file
from splitrig.services.engines.log_file import PARTS, RUNS, LogFile


def write(folder: Path, *chunks: bytes, part_bytes: int = 100) -> LogFile:
    log = LogFile(folder, "engine", part_bytes=part_bytes)
    for chunk in chunks:
        log.write(chunk)
    log.close()
    return log


def parts(log: LogFile) -> list[bytes]:
    """Contents of the parts that are there, in their order."""
    stem = log.path.name.removesuffix(".log")
    numbers = {
        int(match[1] or 1): file
        for file in log.path.parent.iterdir()
        if (match := re.fullmatch(re.escape(stem) + r"(?:\.part(\d+))?\.log", file.name))
    }
    return [numbers[number].read_bytes() for number in sorted(numbers)]


def test_the_name_says_which_engine_and_when(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "sub", "llama.cpp 1: a/b")
    log.close()
    assert re.fullmatch(r"llama\.cpp-1-a-b_\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d\.log", log.path.name), (
        log.path.name
    )


def test_runs_within_one_second_have_their_own_files(tmp_path: Path) -> None:
    logs = [write(tmp_path, b"%d" % number) for number in range(5)]
    assert len({log.path for log in logs}) == 5
    assert [log.path.read_bytes() for log in logs] == [b"0", b"1", b"2", b"3", b"4"]


def test_a_log_that_grows_goes_on_in_parts_cut_between_lines(tmp_path: Path) -> None:
    log = write(tmp_path, b"a" * 49 + b"\n", b"b" * 29 + b"\n" + b"c" * 29 + b"\n", b"d" * 99)
    assert parts(log) == [
        b"a" * 49 + b"\n" + b"b" * 29 + b"\n",
        b"c" * 29 + b"\n",
        b"d" * 99,
    ]


def test_a_line_longer_than_a_part_is_cut(tmp_path: Path) -> None:
    assert parts(write(tmp_path, b"a" * 250)) == [b"a" * 100, b"a" * 100, b"a" * 50]


def test_the_beginning_and_the_end_of_a_flood_are_kept_and_it_is_said_once(tmp_path: Path) -> None:
    log = LogFile(tmp_path, "engine", part_bytes=100)
    told = []
    for number in range(500):
        log.write(b"line %04d\n" % number)
        told += log.news()
    log.close()
    kept = parts(log)
    assert len(kept) == PARTS
    assert all(len(part) <= 100 for part in kept)
    assert kept[0].startswith(b"line 0000\n")
    assert kept[-1].endswith(b"line 0499\n")
    assert b"".join(kept[1:]).count(b"\n") == 70
    assert told == [f"{OWN}of this log the files keep the beginning and the last 700 B."]


def test_reading_along_is_not_disturbed(tmp_path: Path) -> None:
    log = LogFile(tmp_path, "engine", part_bytes=100)
    log.write(b"first\n")
    with log.path.open("rb") as reader:
        assert reader.read() == b"first\n"
        log.write(b"second\n")
        assert reader.read() == b"second\n"
        for _ in range(200):
            log.write(b"x" * 50 + b"\n")
        assert log.error is None
        assert reader.read() == b"x" * 50 + b"\n"
    log.close()


def aged(number: int, folder: Path) -> None:
    """Date what was not dated yet; the clock of the file system is too coarse for a test."""
    for file in folder.glob("engine*"):
        if file.stat().st_mtime > 1e6:
            os.utime(file, (number, number))


def test_files_of_the_oldest_runs_are_removed_with_all_their_parts(tmp_path: Path) -> None:
    (tmp_path / "notes.log").write_bytes(b"not ours")
    for number in range(RUNS + 3):
        write(tmp_path, b"a" * 100, b"%d" % number)
        aged(number, tmp_path)
    kept = {file.read_bytes() for file in tmp_path.glob("engine*part2.log")}
    assert kept == {b"%d" % number for number in range(3, RUNS + 3)}
    assert len(list(tmp_path.iterdir())) == 2 * RUNS + 1


def test_earlier_runs_are_bounded_in_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_file, "FOLDER_BYTES", 250)
    for number in range(5):
        write(tmp_path, b"%d" % number * 100)
        aged(number, tmp_path)
    kept = sorted(file.read_bytes()[:1] for file in tmp_path.iterdir())
    assert kept == [b"2", b"3", b"4"]


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="log cannot be written"):
        LogFile(tmp_path / "file", "engine")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a Linux device")
def test_a_full_disk_ends_the_file_is_told_once_and_nothing_else(tmp_path: Path) -> None:
    log = LogFile(tmp_path, "engine")
    log.close()
    with Path("/dev/full").open("wb", buffering=0) as full:
        log._file = full  # the only way to a full disk in a test
        log.write(b"more")
        assert log.error is not None
        log.write(b"and more")
        assert log.news() == [f"{FILE_ENDED}: No space left on device ({log.path})."]
        assert log.news() == []


@pytest.mark.skipif(sys.platform == "win32", reason="resource limits are POSIX")
def test_what_fits_on_an_almost_full_disk_is_written(tmp_path: Path) -> None:
    import resource
    import signal

    log = LogFile(tmp_path, "engine")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        log.write(b"a" * 1500)
        log.write(b"b")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    log.close()
    assert log.path.read_bytes() == b"a" * 1000
    (told,) = log.news()
    assert told.startswith(f"{FILE_ENDED}: File too large")
