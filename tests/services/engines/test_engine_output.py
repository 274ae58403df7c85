"""Lines from a pipe: whole, bounded, and there before the disk has them."""

import os
import threading
from pathlib import Path

import pytest

from splitrig.core.log_lines import FILE_ENDED
from splitrig.services.engines.log_file import LogFile
from splitrig.services.engines.output import LONGEST_LINE_BYTES, OutputReader


def read_all(*chunks: bytes) -> list[str]:
    """The lines of these chunks, each written once the one before was handed over."""
    read, write_end = os.pipe()
    lines: list[str] = []
    reader = OutputReader(read, lines.extend)
    for chunk in chunks:
        os.write(write_end, chunk)
    os.close(write_end)
    assert reader.join(5)
    return lines


def test_lines_do_not_wait_for_a_busy_disk(tmp_path: Path) -> None:
    released = threading.Event()

    class BusyDisk(LogFile):
        def write(self, data: bytes) -> None:
            assert released.wait(10)
            super().write(data)

    read, write_end = os.pipe()
    lines: list[str] = []
    log = BusyDisk(tmp_path, "engine")
    reader = OutputReader(read, lines.extend, log)
    os.write(write_end, b"last words\n")
    os.close(write_end)
    assert not reader.join(0.2)
    assert lines == ["last words"]
    released.set()
    assert reader.join(5)
    assert log.path.read_bytes() == b"last words\n"


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


@pytest.mark.parametrize(
    ("chunks", "lines"),
    [
        ([b"a\nb\n"], ["a", "b"]),
        ([b"a\nb"], ["a", "b"]),
        ([b"a\r\nb\r\n\r\nc"], ["a", "b", "", "c"]),
        ([b"a\n\nb\n"], ["a", "", "b"]),
        ([b"gr\xc3\xbc\xc3\x9fe\nbad \xff\n"], ["grüße", "bad \ufffd"]),
        ([b"one\x0bline\xc2\x85still\xe2\x80\xa8one\n"], ["one\x0bline\x85still\u2028one"]),
        ([b"\rLoading: 0%\rLoading: 50%\rLoading: 100%\nend\n"],
         ["Loading: 0%", "Loading: 50%", "Loading: 100%", "end"]),
        ([b"x" * 30_000 + b"\ny\n"], ["x" * LONGEST_LINE_BYTES, "y"]),
        ([], []),
    ],
)  # fmt: skip
def test_lines_are_whole(chunks: list[bytes], lines: list[str]) -> None:
    assert read_all(*chunks) == lines


def test_a_line_end_in_two_halves_is_one() -> None:
    read, write_end = os.pipe()
    lines: list[str] = []
    reader = OutputReader(read, lines.extend)
    for byte in b"a\r\nb\r\n\r\nc\r":
        os.write(write_end, bytes([byte]))
        threading.Event().wait(0.01)
    os.close(write_end)
    assert reader.join(5)
    assert lines == ["a", "b", "", "c"]


def test_states_of_a_progress_bar_come_as_they_are_written() -> None:
    read, write_end = os.pipe()
    lines: list[str] = []
    reader = OutputReader(read, lines.extend)
    os.write(write_end, b"\rLoading: 0%\rLoading: 50%")
    while not lines:
        pass
    os.write(write_end, b"\rLoading: 100%\n")
    os.close(write_end)
    assert reader.join(5)
    assert lines == ["Loading: 0%", "Loading: 50%", "Loading: 100%"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a Linux device")
def test_a_full_disk_is_told_once_among_the_lines(tmp_path: Path) -> None:
    log = LogFile(tmp_path, "engine")
    log.close()
    log._file = Path("/dev/full").open("wb", buffering=0)  # noqa: SIM115 - the reader closes it
    read, write_end = os.pipe()
    lines: list[str] = []
    reader = OutputReader(read, lines.extend, log)
    for number in range(3):
        os.write(write_end, b"line %d\n" % number)
        while len([line for line in lines if line.startswith("line")]) <= number:
            pass
    os.close(write_end)
    assert reader.join(5)
    assert [line for line in lines if line.startswith("line")] == ["line 0", "line 1", "line 2"]
    (told,) = [line for line in lines if not line.startswith("line")]
    assert told.startswith(f"{FILE_ENDED}: No space left on device")
