"""Unpacks zip and tar.gz files that nobody vouches for into a folder of their own.

Written by hand because `tarfile`'s filters are missing in Python 3.11.2 and `zipfile` knows no
links at all. The order makes it safe: while files are written the folder holds no link, so that
nothing can be written through one; links come last, each to a file that was unpacked before.
"""

import gzip
import io
import os
import re
import stat
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any

from splitrig.core.errors import ArchiveError
from splitrig.core.units import size_text
from splitrig.services.store.disk import store_error

MOST_BYTES = 8 * 1024**3
"""Together, unpacked. The largest official build, CUDA 12 with its libraries, has some 2 GiB."""
MOST_FILES = 20_000
_MOST_DEPTH = 12
_MOST_NAME = 200
_MOST_LINK = 1024
_MOST_HEADER = 16 * 1024**2
"""What a tar may say about a file beside its content, bytes."""
_BLOCK = 1024 * 1024
_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f<>:"|?*\\]')
WRAPPER = ".wrapper"
_PROGRAM = (b"\x7fELF", b"#!", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")
"""How a program begins: ELF, a script, Mach-O."""


@dataclass
class _Unpacking:
    """What has been unpacked so far.

    Attributes:
        root: The folder; everything below it is ours.
        most_bytes: What all files together may have.
        files: Files by their name, folded where the system does not tell case apart.
        links: Target of each link by its path, both relative to `root`.
    """

    root: Path
    most_bytes: int
    total: int = 0
    count: int = 0
    files: dict[str, Path] = field(default_factory=dict)
    links: dict[PurePosixPath, PurePosixPath] = field(default_factory=dict)

    def enter(self, declared_bytes: int) -> None:
        """Count one more entry of this declared size.

        Raises:
            ArchiveError: There are too many, or they are too large.
        """
        self.count += 1
        if self.count > MOST_FILES:
            raise ArchiveError(f"It holds more than {MOST_FILES:,} files.")
        if declared_bytes < 0 or self.total + declared_bytes > self.most_bytes:
            raise ArchiveError(f"Unpacked it would be more than {size_text(self.most_bytes)}.")

    def claim(self, path: PurePosixPath) -> Path:
        """The place of a new file or link, its folders made.

        Raises:
            ArchiveError: Something is there already.
        """
        key = str(path).casefold()
        if key in self.files or any(str(p).casefold() in self.files for p in path.parents):
            raise ArchiveError(f"It holds '{path}' twice.")
        place = self.root / path
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            raise ArchiveError(f"'{path}' lies below a file.") from error
        if place.is_dir():
            raise ArchiveError(f"'{path}' is a folder and a file.")
        self.files[key] = place
        return place

    def write(self, path: PurePosixPath, source: IO[bytes], *, executable: bool) -> None:
        """Unpack one file; its real size counts, whatever was declared."""
        place = self.claim(path)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        begin = b""
        with os.fdopen(os.open(place, flags, 0o644), "wb") as target:
            while block := source.read(_BLOCK):
                begin = begin or block[:4]
                self.total += len(block)
                if self.total > self.most_bytes:
                    raise ArchiveError(f"Unpacked it is more than {size_text(self.most_bytes)}.")
                target.write(block)
        if executable or begin.startswith(_PROGRAM):
            place.chmod(0o755)

    def link(self, path: PurePosixPath, target: str) -> None:
        """Remember a symbolic link; it is made when all files are there."""
        if len(target) > _MOST_LINK or target.startswith("/") or _FORBIDDEN.search(target):
            raise ArchiveError(f"The link '{path}' points out of the archive.")
        self.claim(path)
        self.links[path] = _inside(path, path.parent.joinpath(target))

    def make_links(self) -> None:
        """Make the links that were remembered.

        Raises:
            ArchiveError: One leads nowhere, or to something that is no file.
        """
        for path in self.links:
            end = self.end_of(path)
            place = self.root / path
            if sys.platform == "win32":  # links need rights there that few users have
                data = (self.root / end).read_bytes()
                self.enter(len(data))
                self.total += len(data)
                place.write_bytes(data)
            else:
                relative = os.path.relpath(self.root / self.links[path], place.parent)
                place.symlink_to(relative)

    def end_of(self, path: PurePosixPath) -> PurePosixPath:
        """The file at the end of a chain of links."""
        end = path
        for _ in range(40):
            if end not in self.links:
                break
            end = self.links[end]
        place = self.files.get(str(end).casefold())
        if end in self.links or place is None:
            raise ArchiveError(f"The link '{path}' leads to no file of the archive.")
        return end


def unpack(archive: Path, root: Path, *, most_bytes: int = MOST_BYTES) -> None:
    """Unpack `archive`, a `.zip` or a `.tar.gz`, into the empty folder `root`.

    Folders that wrap everything are left out. Programs become executable. What else the archive
    says of owners and rights is not believed.

    Raises:
        ArchiveError: It is damaged, or holds what could do harm; `root` may be half full.
        StoreError: It could not be read or written.
    """
    unpacking = _Unpacking(root, most_bytes)
    with _words(archive):
        if archive.name.lower().endswith(".zip"):
            _unpack_zip(archive, unpacking)
        else:
            _unpack_tar(archive, unpacking)
        unpacking.make_links()
        if not unpacking.files:
            raise ArchiveError("It is empty.")
        while _unwrap(root):
            pass


@contextmanager
def _words(archive: Path) -> Iterator[None]:
    """Name the archive in every failure."""
    way_out = "It was not used. Try again, or take another release."
    try:
        yield
    except ArchiveError as error:
        raise ArchiveError(
            f"{archive.name} is not unpacked: {error.message[0].lower()}{error.message[1:]}",
            way_out,
        ) from error
    except gzip.BadGzipFile as error:
        raise ArchiveError(f"{archive.name} is damaged: {error}.", way_out) from error
    except OSError as error:
        raise store_error(error, archive.parent) from error
    except (
        tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, ValueError, OverflowError,
        NotImplementedError, RuntimeError, MemoryError, IndexError, KeyError,
    ) as error:  # fmt: skip
        raise ArchiveError(
            f"{archive.name} is damaged or of an unknown kind.",
            way_out,
            details=f"{type(error).__name__}: {error}"[:500],
        ) from error


def _unpack_zip(archive: Path, unpacking: _Unpacking) -> None:
    with zipfile.ZipFile(archive) as source:
        for entry in source.infolist():
            unpacking.enter(entry.file_size)
            path = _path(entry.orig_filename.rstrip("/"))
            mode = entry.external_attr >> 16
            kind = stat.S_IFMT(mode)
            if entry.is_dir() or kind == stat.S_IFDIR:
                _make_folder(unpacking, path)
            elif kind == stat.S_IFLNK:
                with source.open(entry) as content:
                    unpacking.link(path, content.read(_MOST_LINK + 1).decode())
            elif kind in {0, stat.S_IFREG}:
                with source.open(entry) as content:
                    unpacking.write(path, content, executable=bool(mode & 0o111))
            else:
                raise ArchiveError(f"'{path}' is no file.")


def _unpack_tar(archive: Path, unpacking: _Unpacking) -> None:
    with gzip.open(archive) as plain:
        bounded: Any = _Bounded(plain, unpacking.most_bytes)
        with tarfile.open(fileobj=bounded, mode="r:") as source:
            for member in source:
                _unpack_member(source, member, unpacking)


def _unpack_member(source: tarfile.TarFile, member: tarfile.TarInfo, unpacking: _Unpacking) -> None:
    unpacking.enter(member.size)
    if member.isdir() and member.name in {"", ".", "./"}:
        return
    path = _path(member.name)
    if member.isdir():
        _make_folder(unpacking, path)
    elif member.issym():
        unpacking.link(path, member.linkname)
    elif member.islnk():
        unpacking.claim(path)
        unpacking.links[path] = _path(member.linkname)
    elif member.isreg() and not member.issparse():
        content = source.extractfile(member)
        if content is None:
            raise ArchiveError(f"'{path}' is no file.")
        unpacking.write(path, content, executable=bool(member.mode & 0o111))
    else:
        raise ArchiveError(f"'{path}' is no file.")


class _Bounded(io.RawIOBase):
    """Decompressed bytes, read forward, and no more than makes sense."""

    def __init__(self, source: gzip.GzipFile, most_bytes: int) -> None:
        self._source = source
        # headers and padding come on top of the files
        self._most = most_bytes + _MOST_HEADER + MOST_FILES * 3 * tarfile.BLOCKSIZE
        self._position = 0

    def read(self, size: int = -1) -> bytes:
        """The next bytes.

        Raises:
            ArchiveError: There are too many of them.
        """
        if not 0 <= size <= _MOST_HEADER:
            raise ArchiveError("It says too much about one file.")
        data = self._source.read(size)
        self._position += len(data)
        if self._position > self._most:
            raise ArchiveError("Unpacked it is too large.")
        return data

    def tell(self) -> int:
        """How many bytes were read."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Skip forward.

        Raises:
            ArchiveError: It is not forward, or too far.
        """
        if whence != os.SEEK_SET or offset < self._position or offset > self._most:
            raise ArchiveError("It is out of order.")
        while self._position < offset:
            if not self.read(min(_BLOCK, offset - self._position)):
                raise EOFError("the archive ends too early")
        return self._position

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Forward."""
        return True


def _make_folder(unpacking: _Unpacking, path: PurePosixPath) -> None:
    parents = [path, *path.parents]
    if any(str(parent).casefold() in unpacking.files for parent in parents):
        raise ArchiveError(f"'{path}' is a folder and a file.")
    (unpacking.root / path).mkdir(parents=True, exist_ok=True)


def _path(name: str) -> PurePosixPath:
    """A name of the archive as a path below the folder.

    Raises:
        ArchiveError: It leads elsewhere, or is no name on some system.
    """
    if not name or name.startswith("/") or _FORBIDDEN.search(name):
        raise ArchiveError(f"{name[:80]!a} is no name for a file.")
    parts = [part for part in name.split("/") if part not in {"", "."}]
    if not parts or len(parts) > _MOST_DEPTH:
        raise ArchiveError(f"{name[:80]!a} is no name for a file.")
    for part in parts:
        bad = part == ".." or part[-1] in ". " or _RESERVED.fullmatch(part)
        if bad or len(part.encode()) > _MOST_NAME:
            raise ArchiveError(f"{name[:80]!a} is no name for a file.")
    return PurePosixPath(*parts)


def _inside(path: PurePosixPath, target: PurePosixPath) -> PurePosixPath:
    """A link's target as a path below the folder; no folder is a link, so `..` is what it says.

    Raises:
        ArchiveError: It leads out.
    """
    parts: list[str] = []
    for part in target.parts:
        if part == "..":
            if not parts:
                raise ArchiveError(f"The link '{path}' points out of the archive.")
            parts.pop()
        else:
            parts.append(part)
    return _path("/".join(parts) or ".")


def _unwrap(root: Path) -> bool:
    """Move everything out of a folder that holds everything; false when there is none."""
    entries = list(root.iterdir())
    if len(entries) != 1 or entries[0].is_symlink() or not entries[0].is_dir():
        return False
    wrapper = entries[0].rename(root / WRAPPER)
    for entry in list(wrapper.iterdir()):
        entry.rename(root / entry.name)
    wrapper.rmdir()
    return True
