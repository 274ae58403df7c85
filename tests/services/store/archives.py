"""Makes archives, good and hostile, entry by entry."""

import gzip
import io
import stat
import tarfile
import zipfile
from pathlib import Path


def tar(path: Path, *members: tarfile.TarInfo | tuple[tarfile.TarInfo, bytes]) -> Path:
    """A .tar.gz of these members, which nobody checks."""
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as target:
        for member in members:
            info, data = member if isinstance(member, tuple) else (member, b"")
            target.addfile(info, io.BytesIO(data))
    return path


def file(name: str, data: bytes = b"data", mode: int = 0o644) -> tuple[tarfile.TarInfo, bytes]:
    """A file of a tar."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), mode
    return info, data


def entry(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    """Something else in a tar."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, target, 0o755
    return info


def folder(name: str) -> tarfile.TarInfo:
    return entry(name, tarfile.DIRTYPE)


def link(name: str, target: str) -> tarfile.TarInfo:
    return entry(name, tarfile.SYMTYPE, target)


def zipped(path: Path, *members: tuple[str, bytes] | tuple[str, bytes, int]) -> Path:
    """A .zip of these members: name, content and, if given, Unix mode with its kind."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for name, data, *mode in members:
            info = zipfile.ZipInfo("x")
            info.filename = name  # as it is: the constructor would mend it
            info.compress_type = zipfile.ZIP_DEFLATED
            if mode:
                info.create_system = 3
                info.external_attr = mode[0] << 16
            target.writestr(info, data)
    return path


ZIP_LINK = stat.S_IFLNK | 0o777
ZIP_FILE = stat.S_IFREG | 0o644
ZIP_PROGRAM = stat.S_IFREG | 0o755


def raw_tar(path: Path, plain: bytes) -> Path:
    """A .tar.gz of these very bytes."""
    path.write_bytes(gzip.compress(plain, 1))
    return path


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    """The header of a member that says it is this long."""
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)
