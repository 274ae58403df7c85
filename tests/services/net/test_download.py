"""Fetching one file: it goes on where it broke off, and only the right bytes get its name."""

import errno
import hashlib
import os
import stat
import sys
import threading
import time
from pathlib import Path

import pytest
from tests.services.net.file_server import FileServer, Served

from splitrig.core.errors import BrokenOffError, CancelledError, NetError, StatusError, StoreError
from splitrig.services.net.download import Wanted, discard, download, file_sha256
from splitrig.services.store.disk import check_space, is_full, store_error

DATA = bytes(range(256)) * 12_000
"""3 MB."""
SHA256 = hashlib.sha256(DATA).hexdigest()
NO_WAIT = (0.0,) * 5


@pytest.fixture
def wanted(server: FileServer) -> Wanted:
    server.files["/f.zip"] = Served(DATA, etag='"v1"')
    return Wanted(url=f"{server.url}/f.zip", size_bytes=len(DATA), sha256=SHA256)


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_file_arrives_whole(server: FileServer, wanted: Wanted, tmp_path: Path) -> None:
    seen: list[int] = []
    assert download(wanted, tmp_path / "f.zip", on_bytes=seen.append) == SHA256
    assert (tmp_path / "f.zip").read_bytes() == DATA
    assert left(tmp_path) == {"f.zip"}
    assert seen == sorted(seen)
    assert seen[-1] == len(DATA)
    assert server.sent["/f.zip"] == len(DATA)


def test_a_file_that_is_there_is_not_fetched_again(
    server: FileServer, wanted: Wanted, tmp_path: Path
) -> None:
    (tmp_path / "f.zip").write_bytes(DATA)
    assert download(wanted, tmp_path / "f.zip") == SHA256
    assert server.requests == []


def test_a_wrong_file_of_that_name_is_replaced(
    server: FileServer, wanted: Wanted, tmp_path: Path
) -> None:
    (tmp_path / "f.zip").write_bytes(b"?" * len(DATA))
    download(wanted, tmp_path / "f.zip")
    assert (tmp_path / "f.zip").read_bytes() == DATA


def test_a_cut_connection_goes_on_where_it_broke(
    server: FileServer, wanted: Wanted, tmp_path: Path
) -> None:
    server.cuts = [1_000_000, 500_000]
    download(wanted, tmp_path / "f.zip", waits_s=NO_WAIT)
    assert (tmp_path / "f.zip").read_bytes() == DATA
    assert server.ranges_asked() == [None, "bytes=1000000-", "bytes=1500000-"]
    assert [headers.get("If-Range") for _, headers in server.requests] == [None, '"v1"', '"v1"']
    assert server.sent["/f.zip"] == len(DATA)  # not one byte twice


def test_a_later_call_goes_on_where_an_earlier_one_broke(
    server: FileServer, wanted: Wanted, tmp_path: Path
) -> None:
    server.cuts = [2_000_000]
    with pytest.raises(BrokenOffError, match="broke off"):
        download(wanted, tmp_path / "f.zip", waits_s=())
    assert left(tmp_path) == {"f.zip.part", "f.zip.part.json"}
    assert (tmp_path / "f.zip.part").read_bytes() == DATA[:2_000_000]
    seen: list[int] = []
    starts: list[int] = []
    download(wanted, tmp_path / "f.zip", on_start=starts.append, on_bytes=seen.append, waits_s=())
    assert starts == [2_000_000]
    assert seen[0] > 2_000_000
    assert server.sent["/f.zip"] == len(DATA)
    assert left(tmp_path) == {"f.zip"}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_what_grows_belongs_to_its_owner_alone(
    server: FileServer, wanted: Wanted, tmp_path: Path
) -> None:
    server.cuts = [10]
    with pytest.raises(BrokenOffError):
        download(wanted, tmp_path / "f.zip", waits_s=())
    for name in left(tmp_path):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


def test_attempts_begin_anew_whenever_something_arrived(
    server: FileServer, wanted: Wanted, tmp_path: Path
) -> None:
    server.cuts = [300_000] * 9
    download(wanted, tmp_path / "f.zip", waits_s=(0.0,))
    assert len(server.requests) == 10


def test_a_server_that_never_delivers_is_given_up(
    server: FileServer, wanted: Wanted, tmp_path: Path
) -> None:
    server.cuts = [0] * 9
    with pytest.raises(BrokenOffError):
        download(wanted, tmp_path / "f.zip", waits_s=(0.0, 0.0))
    assert len(server.requests) == 3


def test_a_passing_error_of_the_server_is_tried_again(
    server: FileServer, wanted: Wanted, tmp_path: Path
) -> None:
    server.statuses = [503, 502]
    download(wanted, tmp_path / "f.zip", waits_s=NO_WAIT)
    assert len(server.requests) == 3


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_refusal_is_not_tried_again(
    server: FileServer, wanted: Wanted, tmp_path: Path, status: int
) -> None:
    server.statuses = [status] * 5
    with pytest.raises(StatusError, match=str(status)):
        download(wanted, tmp_path / "f.zip", waits_s=NO_WAIT)
    assert len(server.requests) == 1


def broken(server: FileServer, wanted: Wanted, target: Path, at: int = 1_000_000) -> None:
    """A download that broke off."""
    server.cuts = [at]
    with pytest.raises(BrokenOffError):
        download(wanted, target, waits_s=())
    server.requests.clear()


def test_a_file_that_changed_meanwhile_is_fetched_from_its_beginning(
    server: FileServer, wanted: Wanted, tmp_path: Path
) -> None:
    server.files["/f.zip"] = Served(b"!" * len(DATA), etag='"v0"')
    broken(server, wanted, tmp_path / "f.zip")
    server.files["/f.zip"] = Served(DATA, etag='"v1"')
    download(wanted, tmp_path / "f.zip", waits_s=())
    assert server.ranges_asked() == ["bytes=1000000-"]  # If-Range made the server send all of it
    assert (tmp_path / "f.zip").read_bytes() == DATA


def test_a_server_that_ignores_if_range_is_noticed_by_its_tag(
    server: FileServer, wanted: Wanted, tmp_path: Path
) -> None:
    server.if_range = False
    server.files["/f.zip"] = Served(b"!" * len(DATA), etag='"v0"')
    broken(server, wanted, tmp_path / "f.zip")
    server.files["/f.zip"] = Served(DATA, etag='"v1"')
    download(wanted, tmp_path / "f.zip", waits_s=NO_WAIT)
    assert server.ranges_asked() == ["bytes=1000000-", None]
    assert (tmp_path / "f.zip").read_bytes() == DATA


def test_a_server_without_ranges_starts_over(
    server: FileServer, wanted: Wanted, tmp_path: Path
) -> None:
    server.ranges = False
    server.cuts = [1_000_000]
    starts: list[int] = []
    download(wanted, tmp_path / "f.zip", on_start=starts.append, waits_s=NO_WAIT)
    assert starts == [0, 0]
    assert (tmp_path / "f.zip").read_bytes() == DATA
    assert server.sent["/f.zip"] == len(DATA) + 1_000_000


@pytest.mark.parametrize("etag", [None, 'W/"v1"'])
def test_without_a_strong_tag_the_checksum_vouches(
    server: FileServer, wanted: Wanted, tmp_path: Path, etag: str | None
) -> None:
    server.files["/f.zip"] = Served(DATA, etag=etag)
    server.cuts = [1_000_000]
    download(wanted, tmp_path / "f.zip", waits_s=NO_WAIT)
    assert server.sent["/f.zip"] == len(DATA)
    assert "If-Range" not in server.requests[1][1]


def test_without_tag_and_checksum_it_starts_over(
    server: FileServer, wanted: Wanted, tmp_path: Path
) -> None:
    server.files["/f.zip"] = Served(DATA)
    server.cuts = [1_000_000]
    bare = Wanted(url=wanted.url, size_bytes=len(DATA), sha256=None)
    assert download(bare, tmp_path / "f.zip", waits_s=NO_WAIT) == SHA256
    assert server.ranges_asked() == [None, None]


def test_a_part_of_another_file_is_not_used(
    server: FileServer, wanted: Wanted, tmp_path: Path
) -> None:
    other = Wanted(url=wanted.url, size_bytes=len(DATA), sha256="0" * 64)
    broken(server, other, tmp_path / "f.zip")
    download(wanted, tmp_path / "f.zip", waits_s=())
    assert server.ranges_asked() == [None]


@pytest.mark.parametrize("note", ["", "[]", "{}", "null", "\x00"])
def test_a_part_without_a_usable_note_is_not_used(
    server: FileServer, wanted: Wanted, tmp_path: Path, note: str
) -> None:
    broken(server, wanted, tmp_path / "f.zip")
    (tmp_path / "f.zip.part.json").write_text(note)
    download(wanted, tmp_path / "f.zip", waits_s=())
    assert server.ranges_asked() == [None]


def test_a_part_that_is_whole_already_needs_no_server(
    server: FileServer, wanted: Wanted, tmp_path: Path
) -> None:
    broken(server, wanted, tmp_path / "f.zip")
    (tmp_path / "f.zip.part").write_bytes(DATA)
    assert download(wanted, tmp_path / "f.zip") == SHA256
    assert server.requests == []


def test_416_starts_over(server: FileServer, wanted: Wanted, tmp_path: Path) -> None:
    broken(server, wanted, tmp_path / "f.zip")
    server.statuses = [416]
    download(wanted, tmp_path / "f.zip", waits_s=NO_WAIT)
    assert server.ranges_asked() == ["bytes=1000000-", None]
    assert (tmp_path / "f.zip").read_bytes() == DATA


def test_a_wrong_checksum_leaves_nothing(
    server: FileServer, wanted: Wanted, tmp_path: Path
) -> None:
    server.files["/f.zip"] = Served(DATA[:-1] + b"!", etag='"v1"')
    with pytest.raises(NetError, match="does not have the checksum") as raised:
        download(wanted, tmp_path / "f.zip")
    assert SHA256 in raised.value.details
    assert left(tmp_path) == set()


@pytest.mark.parametrize("size", [len(DATA) - 1, len(DATA) + 1])
def test_a_file_of_another_length_is_not_even_fetched(
    server: FileServer, wanted: Wanted, tmp_path: Path, size: int
) -> None:
    other = Wanted(url=wanted.url, size_bytes=size, sha256=SHA256)
    with pytest.raises(NetError, match="bytes long on the server"):
        download(other, tmp_path / "f.zip", waits_s=())
    assert left(tmp_path) == set()


def test_a_server_that_does_not_say_when_to_stop_is_stopped(
    server: FileServer, wanted: Wanted, tmp_path: Path
) -> None:
    server.length = False
    short = Wanted(url=wanted.url, size_bytes=1000, sha256=None)
    with pytest.raises(NetError, match="more than the 1000 bytes"):
        download(short, tmp_path / "f.zip")


def test_a_body_of_unknown_length_that_ends_early_goes_on(
    server: FileServer, wanted: Wanted, tmp_path: Path
) -> None:
    server.length = False
    server.cuts = [1_000_000]
    download(wanted, tmp_path / "f.zip", waits_s=NO_WAIT)
    assert server.sent["/f.zip"] == len(DATA)


def test_a_redirect_keeps_what_was_asked_for(
    server: FileServer, wanted: Wanted, tmp_path: Path
) -> None:
    server.files["/go"] = Served(location="/f.zip")
    server.cuts = [1_000_000]
    moved = Wanted(url=f"{server.url}/go", size_bytes=len(DATA), sha256=SHA256)
    download(moved, tmp_path / "f.zip", waits_s=NO_WAIT)
    asked = [(path, headers.get("Range")) for path, headers in server.requests]
    assert asked[2:] == [("/go", "bytes=1000000-"), ("/f.zip", "bytes=1000000-")]


def test_giving_up_in_the_middle_keeps_what_is_here(
    server: FileServer, wanted: Wanted, tmp_path: Path
) -> None:
    cancelled = threading.Event()
    server.stall_after = 1_000_000

    def on_bytes(done: int) -> None:
        if done == 1_000_000:
            cancelled.set()

    begin = time.monotonic()
    with pytest.raises(CancelledError):
        download(wanted, tmp_path / "f.zip", on_bytes=on_bytes, cancelled=cancelled.is_set)
    assert time.monotonic() - begin < 10  # the server is silent for 30
    assert (tmp_path / "f.zip.part").stat().st_size == 1_000_000
    discard(tmp_path / "f.zip")
    assert left(tmp_path) == set()


def test_giving_up_between_two_attempts_does_not_wait(
    server: FileServer, wanted: Wanted, tmp_path: Path
) -> None:
    cancelled = threading.Event()
    server.cuts = [10]
    begin = time.monotonic()
    with pytest.raises(CancelledError):
        download(
            wanted, tmp_path / "f.zip", on_bytes=lambda _: cancelled.set(),
            cancelled=cancelled.is_set, waits_s=(30.0,),
        )  # fmt: skip
    assert time.monotonic() - begin < 10


def test_a_full_disk_is_one_sentence_and_leaves_nothing(
    server: FileServer, wanted: Wanted, small_disk: Path
) -> None:
    with pytest.raises(StoreError, match=f"The disk with {small_disk} is full"):
        download(wanted, small_disk / "f.zip", waits_s=NO_WAIT)
    assert left(small_disk) == set()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_write_that_fails_for_want_of_room_is_told_apart() -> None:
    with (
        pytest.raises(OSError, match="No space left") as raised,
        Path("/dev/full").open("wb", buffering=0) as full,
    ):
        full.write(b"x")
    assert is_full(raised.value)
    assert "is full" in store_error(raised.value, Path("/data")).message
    other = store_error(OSError(errno.EROFS, os.strerror(errno.EROFS)), Path("/data"))
    assert other.message == "/data cannot be written: Read-only file system."


def test_room_is_asked_for_before(tmp_path: Path) -> None:
    check_space(tmp_path / "not" / "yet" / "there", 1)
    with pytest.raises(StoreError, match=r"GiB are needed in .* and .* are free"):
        check_space(tmp_path, 2**60)


def test_a_folder_that_cannot_be_written_is_one_sentence(
    server: FileServer, wanted: Wanted, tmp_path: Path
) -> None:
    (tmp_path / "f.zip.part.json").mkdir()
    with pytest.raises(StoreError, match="cannot be written"):
        download(wanted, tmp_path / "f.zip")


def test_the_checksum_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(DATA)
    assert file_sha256(tmp_path / "f") == SHA256
