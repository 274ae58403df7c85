"""The engine's log file: rotated, bounded, and never in the engine's way."""

import os
import threading
from pathlib import Path

import pytest

from splitrig.core.errors import StoreError
from splitrig.services.engines.output import OLD_FILES, LogFile, OutputReader


def write(path: Path, *chunks: bytes, most_bytes: int = 100) -> LogFile:
    log = LogFile(path, most_bytes=most_bytes)
    for chunk in chunks:
        log.write(chunk)
    log.close()
    return log


def test_a_start_moves_the_last_logs_aside_and_keeps_a_few(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "engine.log"
    for number in range(6):
        write(path, b"start %d" % number)
    assert path.read_bytes() == b"start 5"
    assert (tmp_path / "sub" / "engine.log.1").read_bytes() == b"start 4"
    assert len(list(path.parent.iterdir())) == OLD_FILES + 1


def test_a_log_that_grows_is_rotated(tmp_path: Path) -> None:
    path = tmp_path / "engine.log"
    write(path, b"a" * 60, b"b" * 60, b"c" * 20)
    assert path.read_bytes() == b"b" * 60 + b"c" * 20
    assert (tmp_path / "engine.log.1").read_bytes() == b"a" * 60


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="log cannot be written"):
        LogFile(tmp_path / "file" / "engine.log")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a Linux device")
def test_a_full_disk_ends_the_file_and_nothing_else(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "engine.log")
    log.close()
    with Path("/dev/full").open("wb", buffering=0) as full:
        log._file = full  # type: ignore[assignment] # the only way to a full disk in a test
        log.write(b"more")
        assert log.error is not None
        log.write(b"and more")


def test_lines_do_not_wait_for_a_busy_disk(tmp_path: Path) -> None:
    released = threading.Event()

    class BusyDisk(LogFile):
        def write(self, data: bytes) -> None:
            assert released.wait(10)
            super().write(data)

    read, write_end = os.pipe()
    lines: list[str] = []
    reader = OutputReader(read, lines.extend, BusyDisk(tmp_path / "engine.log"))
    os.write(write_end, b"last words\n")
    os.close(write_end)
    assert not reader.join(0.2)
    assert lines == ["last words"]
    released.set()
    assert reader.join(5)
    assert (tmp_path / "engine.log").read_bytes() == b"last words\n"


def test_dots_of_progress_come_without_a_line_end() -> None:
    read, write_end = os.pipe()
    lines: list[str] = []
    reader = OutputReader(read, lines.extend)
    os.write(write_end, b"begin\n..")
    while len(lines) < 2:
        pass
    os.write(write_end, b"..\nend\n")
    os.close(write_end)
    assert reader.join(5)
    assert lines == ["begin", "..", "..", "end"]
