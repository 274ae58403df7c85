"""Unpacking what nobody vouches for."""

import gzip
import io
import os
import random
import shutil
import stat
import subprocess
import sys
import tarfile
import tracemalloc
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from tests.services.store.archives import (
    ZIP_FILE,
    ZIP_LINK,
    ZIP_PROGRAM,
    entry,
    file,
    folder,
    header,
    link,
    raw_tar,
    tar,
    zipped,
)

from splitrig.core.errors import ArchiveError, SplitRigError, StoreError
from splitrig.services.store import archive as archive_module
from splitrig.services.store.archive import unpack

LINUX = sys.platform.startswith("linux")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "inside" / "root"
    path.mkdir(parents=True)
    return path


def tree(root: Path) -> dict[str, bytes | str]:
    """Everything below `root`: content of files, targets of links."""
    found: dict[str, bytes | str] = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_file():
            found[name] = path.read_bytes()
    return found


def test_a_tar_with_the_links_of_shared_libraries(tmp_path: Path, root: Path) -> None:
    archive = tar(
        tmp_path / "a.tar.gz",
        folder("llama-b7"),
        link("llama-b7/libllama.so", "libllama.so.0"),  # links may come before what they name
        link("llama-b7/libllama.so.0", "libllama.so.0.0.7"),
        file("llama-b7/libllama.so.0.0.7", b"\x7fELF library"),
        file("llama-b7/llama-server", b"\x7fELF program", 0o755),
        file("llama-b7/LICENSE", b"MIT"),
        entry("llama-b7/copy", tarfile.LNKTYPE, "llama-b7/LICENSE"),
    )
    unpack(archive, root)
    assert tree(root) == {
        "LICENSE": b"MIT",
        "copy": "-> LICENSE",
        "libllama.so": "-> libllama.so.0",
        "libllama.so.0": "-> libllama.so.0.0.7",
        "libllama.so.0.0.7": b"\x7fELF library",
        "llama-server": b"\x7fELF program",
    }
    assert (root / "libllama.so").read_bytes() == b"\x7fELF library"


def test_links_across_folders_stay_right_when_the_wrapper_goes(tmp_path: Path, root: Path) -> None:
    archive = tar(
        tmp_path / "a.tar.gz",
        file("w/lib/real.so", b"real"),
        link("w/bin/real.so", "../lib/real.so"),
        file("w/bin/program", b"#!"),
        link("w/bin/deep/real.so", "../../../w/lib/real.so"),
    )
    unpack(archive, root)
    assert (root / "bin" / "real.so").read_bytes() == b"real"
    assert (root / "bin" / "deep" / "real.so").resolve() == (root / "lib" / "real.so").resolve()


def test_a_flat_zip_and_one_of_the_old_era(tmp_path: Path, root: Path) -> None:
    unpack(zipped(tmp_path / "a.zip", ("llama-server.exe", b"MZ"), ("ggml.dll", b"MZ")), root)
    assert tree(root) == {"llama-server.exe": b"MZ", "ggml.dll": b"MZ"}
    other = root.parent / "other"
    other.mkdir()
    old = zipped(
        tmp_path / "b.zip",
        ("build/bin/llama-server", b"\x7fELF", ZIP_PROGRAM),
        ("build/bin/libllama.so", b"libllama.so.0", ZIP_LINK),
        ("build/bin/libllama.so.0", b"\x7fELF lib", ZIP_FILE),
        ("build/bin/notes.txt", b"text", ZIP_FILE),
    )
    unpack(old, other)
    assert tree(other) == {
        "libllama.so": "-> libllama.so.0",
        "libllama.so.0": b"\x7fELF lib",
        "llama-server": b"\x7fELF",
        "notes.txt": b"text",
    }


@pytest.mark.skipif(not LINUX, reason="Windows has no such modes")
def test_programs_become_executable_and_nothing_more(tmp_path: Path, root: Path) -> None:
    archive = tar(
        tmp_path / "a.tar.gz",
        file("script", b"#!/bin/sh\n", 0o600),
        file("elf", b"\x7fELF", 0o000),
        file("by-its-mode", b"text", 0o100),
        file("text", b"text", 0o4777 & ~0o111),
        file("set-uid", b"\x7fELF", 0o6755),
        file("empty", b"", 0o644),
    )
    unpack(archive, root)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in root.iterdir()}
    assert modes == {
        "script": 0o755, "elf": 0o755, "by-its-mode": 0o755, "text": 0o644, "set-uid": 0o755,
        "empty": 0o644,
    }  # fmt: skip


def test_names_may_begin_with_a_dot(tmp_path: Path, root: Path) -> None:
    archive = tar(tmp_path / "a.tar.gz", folder("."), file("./a"), file("./b/./c"), file("..d"))
    unpack(archive, root)
    assert set(tree(root)) == {"a", "b/c", "..d"}


NAMES = [
    "../out", "a/../../out", "/abs", "//abs", "a/..", "..", "", "/", "C:/x", "C:x", "a\\..\\..\\x",
    "\\\\server\\share\\x", "a\x00b", "a\nb", "nul", "sub/CON.txt", "trailing.", "trailing ",
    "stream:x", "what?", "x" * 300, "/".join("abcdefghijklmnop"), "./..", "...",
]  # fmt: skip


@pytest.mark.parametrize("name", [name for name in NAMES if "\x00" not in name])
def test_a_tar_with_a_name_that_leads_elsewhere(tmp_path: Path, root: Path, name: str) -> None:
    archive = tar(tmp_path / "a.tar.gz", file("good"), file(name))
    refuse(archive, root)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in {"", "/"}])
def test_a_zip_with_a_name_that_leads_elsewhere(tmp_path: Path, root: Path, name: str) -> None:
    refuse(zipped(tmp_path / "a.zip", ("good", b"data"), (name, b"data")), root)


def refuse(archive: Path, root: Path, words: str = "is not unpacked|is damaged") -> ArchiveError:
    """Unpacking must end in one sentence and write nothing outside of `root`."""
    outside = tree_of_names(archive.parent, but=root)
    with pytest.raises(ArchiveError, match=words) as raised:
        unpack(archive, root)
    assert raised.value.message.startswith(archive.name)
    assert raised.value.hint
    assert tree_of_names(archive.parent, but=root) == outside
    for path in root.rglob("*"):
        if path.is_symlink():
            assert path.resolve().is_relative_to(root.resolve())
    return raised.value


def tree_of_names(folder: Path, but: Path) -> set[str]:
    return {str(path) for path in folder.rglob("*") if not path.is_relative_to(but)}


@pytest.mark.parametrize(
    "target",
    ["../../out", "/etc/passwd", "../..", "..", ".", "", "good/../../out", "C:\\x", "a\nb",
     "nothing", "folder", "x" * 3000, "self", "//x"],
)  # fmt: skip
def test_a_link_that_leads_out_or_nowhere(tmp_path: Path, root: Path, target: str) -> None:
    archive = tar(tmp_path / "a.tar.gz", file("good"), file("folder/x"), link("self", target))
    refuse(archive, root, "link 'self'|no name for a file")
    again = root.parent / "again"
    again.mkdir()
    if target:
        refuse(
            zipped(
                tmp_path / "a.zip", ("good", b""), ("folder/x", b""),
                ("self", target.encode(), ZIP_LINK),
            ),
            again,
        )  # fmt: skip


def test_nothing_is_written_through_a_link(tmp_path: Path, root: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    for members in (
        (link("d", str(outside)), file("d/x")),
        (link("d", "../../outside"), file("d/x")),
        (file("real/y"), link("d", "real"), file("d/x")),
        (link("f", "../../outside/f"), file("f")),
        (file("a"), link("f", "a"), file("f")),
        (file("a"), file("a/b")),
        (file("a/b"), file("a")),
        (file("a/b"), link("a", "c"), file("c")),
        (file("a"), folder("a")),
        (file("a"), folder("a/b")),
        (file("A"), file("a")),
        (link("d/l", "../../.."), link("d/m", "l/../x"), file("x")),
    ):
        place = root.parent / f"root-{len(list(root.parent.iterdir()))}"
        place.mkdir()
        refuse(tar(tmp_path / "a.tar.gz", *members), place)
    assert list(outside.iterdir()) == []


def test_links_in_a_circle(tmp_path: Path, root: Path) -> None:
    refuse(tar(tmp_path / "a.tar.gz", file("x"), link("a", "b"), link("b", "a")), root, "no file")


def test_a_hard_link_to_what_is_not_there(tmp_path: Path, root: Path) -> None:
    for target in ("../../etc/passwd", "/etc/passwd", "none"):
        archive = tar(tmp_path / "a.tar.gz", file("x"), entry("l", tarfile.LNKTYPE, target))
        place = root / target.replace("/", "-").replace(".", "-")
        place.mkdir()
        refuse(archive, place)


def test_the_broken_links_of_b9165(tmp_path: Path, root: Path) -> None:
    archive = tar(
        tmp_path / "llama-b9165-bin-ubuntu-vulkan-x64.tar.gz",
        file("llama-b9165/libggml.so.0.0.9165", b"\x7fELF"),
        link("llama-b9165/libggml.so", "llama-b9165ibggml.so.0"),
    )
    refuse(archive, root, "link 'llama-b9165/libggml.so' leads to no file of the archive")


@pytest.mark.parametrize(
    "kind", [tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.GNUTYPE_SPARSE, b"Z"]
)
def test_what_is_neither_file_nor_link_nor_folder(tmp_path: Path, root: Path, kind: bytes) -> None:
    refuse(tar(tmp_path / "a.tar.gz", file("good"), entry("odd", kind)), root, "is no file")


@pytest.mark.parametrize("kind", [stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK])
def test_what_is_no_file_in_a_zip(tmp_path: Path, root: Path, kind: int) -> None:
    refuse(zipped(tmp_path / "a.zip", ("odd", b"", kind | 0o644)), root, "is no file")


def test_a_bomb_that_says_what_it_is(tmp_path: Path, root: Path) -> None:
    plain = header("huge", 2**40)
    refuse(raw_tar(tmp_path / "a.tar.gz", plain), root, "unpacked it would be more than 8.0 GiB")
    assert tree(root) == {}


def test_a_bomb_that_does_not_say_what_it_is(tmp_path: Path, root: Path) -> None:
    """A gigabyte of zeros behind a header that is small; only what makes sense is unpacked."""
    path = tmp_path / "a.tar.gz"
    with gzip.open(path, "wb", compresslevel=1) as target:
        target.write(header("first", 10) + b"x" * 512)
        for number in range(40):
            target.write(header(f"f{number}", 1024**2) + bytes(1024**2))
    with pytest.raises(ArchiveError, match=r"more than 8\.0 MiB"):
        unpack(path, root, most_bytes=8 * 1024**2)
    assert sum(p.stat().st_size for p in root.rglob("*")) <= 9 * 1024**2


def test_a_zip_whose_members_are_larger_than_they_say(tmp_path: Path, root: Path) -> None:
    path = zipped(tmp_path / "a.zip", ("bomb", bytes(50_000_000)))
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):
        at = data.index(signature) + offset
        data[at : at + 4] = (10).to_bytes(4, "little")
    path.write_bytes(data)
    refuse(path, root)
    assert sum(p.stat().st_size for p in root.rglob("*")) <= 10


def test_a_zip_of_very_many_bytes(tmp_path: Path, root: Path) -> None:
    path = zipped(tmp_path / "a.zip", *((f"f{n}", bytes(1_000_000)) for n in range(20)))
    with pytest.raises(ArchiveError, match="more than 5"):
        unpack(path, root, most_bytes=5 * 1024**2)


def test_very_many_files(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_module, "MOST_FILES", 10)
    names = [f"f{number}" for number in range(11)]
    refuse(tar(tmp_path / "a.tar.gz", *map(file, names)), root, "more than 10 files")
    other = root.parent / "other"
    other.mkdir()
    refuse(zipped(tmp_path / "a.zip", *((n, b"") for n in names)), other, "more than 10 files")


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XGLTYPE])
def test_a_header_that_would_fill_the_memory(tmp_path: Path, root: Path, kind: bytes) -> None:
    path = tmp_path / "a.tar.gz"
    with gzip.open(path, "wb", compresslevel=1) as target:
        target.write(header("long", 200 * 1024**2, kind))
        for _ in range(200):
            target.write(b"9" * 1024**2)
    tracemalloc.start()
    try:
        refuse(path, root)
        assert tracemalloc.get_traced_memory()[1] < 50 * 1024**2
    finally:
        tracemalloc.stop()


def test_an_archive_that_ends_early(tmp_path: Path, root: Path) -> None:
    data = random.Random(1).randbytes(100_000)
    for path in (
        tar(tmp_path / "a.tar.gz", file("x", data)),
        zipped(tmp_path / "a.zip", ("x", data)),
    ):
        whole = path.read_bytes()
        for length in (0, 1, 20, 1000, len(whole) // 2, len(whole) - 30):
            path.write_bytes(whole[:length])
            place = root / f"{path.name}-{length}"
            place.mkdir()
            refuse(path, place)


def test_what_is_no_archive(tmp_path: Path, root: Path) -> None:
    for name, data in (
        ("a.zip", b"<html>not found</html>"), ("a.tar.gz", b"<html>not found</html>"),
        ("b.tar.gz", gzip.compress(b"just text")), ("c.tar.gz", gzip.compress(b"")),
        ("d.zip", b""), ("e.zip", b"PK\x05\x06" + bytes(18)),
        ("f.tar.gz", gzip.compress(bytes(1024))),
    ):  # fmt: skip
        (tmp_path / name).write_bytes(data)
        place = root / name
        place.mkdir()
        refuse(tmp_path / name, place)


def test_an_encrypted_zip(tmp_path: Path, root: Path) -> None:
    path = zipped(tmp_path / "a.zip", ("x", b"data"))
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        data[data.index(signature) + offset] |= 1
    path.write_bytes(data)
    refuse(path, root)


def test_bytes_turned_over_at_random_never_lead_out(tmp_path: Path, root: Path) -> None:
    chance = random.Random(7)
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as target:
        for member in (
            folder("w"), file("w/a", b"data" * 50), link("w/l", "a"), file("w/" + "n" * 150),
        ):  # fmt: skip
            info, data = member if isinstance(member, tuple) else (member, b"")
            target.addfile(info, io.BytesIO(data))
    zip_path = zipped(tmp_path / "a.zip", ("w/a", b"data" * 50, ZIP_FILE), ("w/l", b"a", ZIP_LINK))
    sound = zip_path.read_bytes()
    for number in range(400):
        source = plain.getvalue() if number % 2 else sound
        data = bytearray(source)
        for _ in range(chance.randint(1, 6)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        path = tmp_path / ("a.tar.gz" if number % 2 else "a.zip")
        path.write_bytes(gzip.compress(data, 1) if number % 2 else data)
        place = root / str(number)
        place.mkdir()
        outside = tree_of_names(tmp_path, but=root)
        with suppress(SplitRigError):  # and no other error
            unpack(path, place)
        assert tree_of_names(tmp_path, but=root) == outside
        for found in place.rglob("*"):
            assert found.resolve().is_relative_to(place.resolve())
        shutil.rmtree(place)


def test_a_full_disk_is_no_fault_of_the_archive(tmp_path: Path, small_disk: Path) -> None:
    archive = tar(tmp_path / "a.tar.gz", file("big", random.Random(2).randbytes(2_000_000)))
    with pytest.raises(StoreError, match="is full") as raised:
        unpack(archive, small_disk)
    assert not isinstance(raised.value, ArchiveError)


@pytest.mark.skipif(not LINUX, reason="needs GNU tar")
def test_a_tar_made_as_llama_cpp_makes_it(tmp_path: Path, root: Path) -> None:
    """The command of its release.yml, with GNU tar."""
    source = tmp_path / "build" / "bin"
    source.mkdir(parents=True)
    (source / "llama-server").write_bytes(b"\x7fELF program")
    (source / "llama-server").chmod(0o755)
    (source / "libllama.so.0.0.7").write_bytes(b"\x7fELF library")
    (source / "libllama.so.0").symlink_to("libllama.so.0.0.7")
    (source / "libllama.so").symlink_to("libllama.so.0")
    os.link(source / "libllama.so.0.0.7", source / "libsame.so")
    archive = tmp_path / "llama-b7-bin-ubuntu-x64.tar.gz"
    command = ["tar", "-czf", str(archive), "--transform", r"s,^\.,llama-b7,", "-C", str(source)]
    subprocess.run([*command, "."], check=True)
    unpack(archive, root)
    found = tree(root)
    assert set(found) == {
        "libllama.so", "libllama.so.0", "libllama.so.0.0.7", "libsame.so", "llama-server"
    }  # fmt: skip
    assert (root / "libllama.so").read_bytes() == b"\x7fELF library"
    assert (root / "libsame.so").read_bytes() == b"\x7fELF library"


def test_a_zip_made_by_another_program_keeps_its_links(tmp_path: Path, root: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as target:
        info = zipfile.ZipInfo("lib.so")
        info.create_system, info.external_attr = 3, ZIP_LINK << 16
        target.writestr(info, "lib.so.1")
        target.writestr("lib.so.1", "library")
        target.mkdir("empty")
    unpack(tmp_path / "a.zip", root)
    assert tree(root) == {"lib.so": "-> lib.so.1", "lib.so.1": b"library"}
    assert (root / "empty").is_dir()
