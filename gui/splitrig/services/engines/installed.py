"""The llama.cpp builds that were downloaded: where they lie, which are there, and how one goes.

Each has a folder `engines/llama.cpp/BUILD-FLAVOUR` in the program's data, with a manifest. Folders
whose name begins with a dot are being made or removed.
"""

import json
import re
import shutil
import sys
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from splitrig.core.errors import EngineError, StoreError
from splitrig.services.store.disk import store_error
from splitrig.services.store.lock import FolderLock
from splitrig.services.store.settings import data_dir

MANIFEST = "manifest.json"
DOWNLOADS = ".downloads"
NEW, OLD = ".new-", ".old-"
KEEP_PARTS_S = 24 * 3600.0
"""How long a part of a broken download is kept, so that it can go on."""
_ID = re.compile(r"b(\d{1,9})-[a-z0-9][a-z0-9.-]{0,60}")
_LAYOUT = 1
_RENAME_S = 5.0 if sys.platform == "win32" else 0.0
"""How long a new folder may resist: a virus scanner on Windows looks at programs that are new."""
SERVER = "llama-server.exe" if sys.platform == "win32" else "llama-server"


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """A build that was downloaded.

    Attributes:
        id: Its name: `b11118-cuda-13.4`.
        build: Number of the build.
        flavour: `vulkan`, `cuda-13.4`, …
        path: Its llama-server.
        files: Checksum (SHA-256) of each archive it came from, by name.
        checked: The checksums were compared with those that GitHub names.
        installed_at: When, ISO 8601 in UTC.
    """

    id: str
    build: int
    flavour: str
    path: Path
    files: Mapping[str, str]
    checked: bool
    installed_at: str


def engines_dir() -> Path:
    """Where downloaded llama.cpp builds lie."""
    return data_dir() / "engines" / "llama.cpp"


def installed(root: Path | None = None) -> tuple[Installed, ...]:
    """Every downloaded build that is whole, the newest first; never blocks for long."""
    found = (read_manifest(folder) for folder in _folders(root or engines_dir()))
    whole = [engine for engine in found if engine is not None]
    return tuple(sorted(whole, key=lambda e: (e.build, e.installed_at), reverse=True))


def damaged(root: Path | None = None) -> tuple[str, ...]:
    """Ids of folders that are no whole build; they can only be removed."""
    folders = _folders(root or engines_dir())
    return tuple(sorted(folder.name for folder in folders if read_manifest(folder) is None))


def read_manifest(folder: Path) -> Installed | None:
    """The build in this folder; `None` when it is not whole."""
    try:
        said = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        engine = Installed(
            id=folder.name,
            build=int(said["build"]),
            flavour=str(said["flavour"]),
            path=folder / Path(str(said["server"])),
            files={str(name): str(checksum) for name, checksum in said["files"].items()},
            checked=bool(said["checked"]),
            installed_at=str(said["installed_at"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    inside = engine.path.is_relative_to(folder) and ".." not in engine.path.parts
    return engine if inside and engine.path.is_file() else None


def write_manifest(folder: Path, engine: Installed) -> None:
    """Note in `folder` what it holds.

    Raises:
        OSError: It cannot be written.
    """
    said = {"layout": _LAYOUT, **asdict(engine)}
    said["server"] = engine.path.relative_to(folder).as_posix()
    del said["path"], said["id"]
    (folder / MANIFEST).write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")


def size_bytes(folder: Path) -> int:
    """Room that a build takes on the disk, bytes; links count nothing."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):
            if not path.is_symlink() and path.is_file():
                total += path.stat().st_size
    return total


def now() -> str:
    """The time, as manifests write it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def lock(root: Path) -> FolderLock:
    """Held while something is installed or removed."""
    return FolderLock(root / ".lock", "Another SplitRig is installing or removing an engine.")


def remove(engine_id: str, *, in_use: Collection[Path] = (), root: Path | None = None) -> None:
    """Remove a downloaded build.

    Args:
        engine_id: Its name, such as `b11118-vulkan`.
        in_use: Files that must stay: engines that run, the one chosen in the settings.
        root: The folder of all builds.

    Raises:
        EngineError: There is none of this name, or it is in use.
        StoreError: It cannot be removed, or another program is at it.
    """
    root = root or engines_dir()
    folder = root / engine_id
    if not _ID.fullmatch(engine_id) or not folder.is_dir():
        names = ", ".join(e.id for e in installed(root)) or "none"
        raise EngineError(
            f"'{engine_id[:80]}' is no downloaded engine.", f"Those that are here: {names}."
        )
    place = folder.resolve()
    if any(path.resolve().is_relative_to(place) for path in in_use):
        raise EngineError(f"{engine_id} is in use.", "Stop the engine, then remove it.")
    with lock(root):
        try:
            # One step makes it unknown; what is slow or fails comes after it.
            gone = free_name(root, OLD + engine_id)
            folder.rename(gone)
            shutil.rmtree(gone)
        except OSError as error:
            raise store_error(error, root) from error


def clean(root: Path | None = None, *, keep_parts_s: float = KEEP_PARTS_S) -> None:
    """Remove what crashes and broken downloads left; does nothing while another program is at it.

    Args:
        root: The folder of all builds.
        keep_parts_s: Parts of broken downloads younger than this stay, seconds.
    """
    root = root or engines_dir()
    if not root.is_dir():
        return
    with suppress(StoreError), lock(root):
        sweep(root, keep_parts_s)


def sweep(root: Path, keep_parts_s: float = KEEP_PARTS_S) -> None:
    """`clean`, for whoever holds the lock."""
    for folder in root.iterdir():
        if folder.name.startswith((NEW, OLD)):
            shutil.rmtree(folder, ignore_errors=True)
    oldest = time.time() - keep_parts_s
    with suppress(FileNotFoundError):
        for path in (root / DOWNLOADS).iterdir():
            with suppress(OSError):
                if path.stat().st_mtime <= oldest:
                    path.unlink()


def running(root: Path | None = None) -> tuple[Path, ...]:
    """Programs of downloaded builds that run now, whoever started them."""
    import psutil

    place = (root or engines_dir()).resolve()
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            path = Path(process.exe())
            if path.is_relative_to(place):
                found.append(path)
    return tuple(found)


def publish(folder: Path, target: Path) -> None:
    """Give a finished folder its name.

    Raises:
        OSError: It is taken, or cannot be given.
    """
    deadline = time.monotonic() + _RENAME_S
    while True:
        try:
            folder.rename(target)
        except PermissionError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.1)
        else:
            return


def free_name(root: Path, name: str) -> Path:
    """A path in `root` that nothing has yet."""
    paths = (root / f"{name}{number or ''}" for number in range(1000))
    return next(path for path in paths if not path.exists())


def _folders(root: Path) -> Iterator[Path]:
    """The folders that are named like builds."""
    with suppress(FileNotFoundError, NotADirectoryError):
        yield from (path for path in root.iterdir() if _ID.fullmatch(path.name) and path.is_dir())
