"""Downloads, checks, unpacks and tries a llama.cpp build, then makes it known, or leaves nothing.

Until everything is done it lies in a folder that nobody looks into; its name comes last.
"""

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from splitrig.core.engine import EngineDevice
from splitrig.core.engine_choice import Choice
from splitrig.core.engine_install import Progress, Step
from splitrig.core.engine_release import Asset
from splitrig.core.errors import ArchiveError, CancelledError, EngineError
from splitrig.services.engines import installed as store
from splitrig.services.engines.installed import Installed
from splitrig.services.engines.llama_server import LlamaServer
from splitrig.services.engines.probe import ProbeCancelledError
from splitrig.services.net.download import WAITS_S, Wanted, discard, download
from splitrig.services.net.http import Cancelled, never
from splitrig.services.store.disk import check_space, store_error

UNPACKED_RATIO = 4
"""Room to ask for: unpacked builds are two to three times as large as their archives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What an installation led to.

    Attributes:
        engine: The build, ready for use.
        devices: The cards it sees.
        fresh: It was installed just now; else it was there already.
    """

    engine: Installed
    devices: tuple[EngineDevice, ...]
    fresh: bool


def install(
    choice: Choice,
    *,
    root: Path | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
    cancelled: Cancelled = never,
    unchecked: bool = False,
    waits_s: Sequence[float] = WAITS_S,
) -> Outcome:
    """Install a build; blocks until it is there, minutes on a slow line.

    Args:
        choice: What to install.
        root: The folder of all builds.
        on_progress: Called on this thread, often.
        cancelled: Asked while it works. What was fetched is kept for a day, so that it can go on.
        unchecked: Take files for which GitHub names no checksum as well.
        waits_s: Pauses before new attempts after a break, seconds.

    Raises:
        EngineError: A file has no checksum, or the build does not start here.
        NetError: It could not be fetched, or is not what GitHub says it is.
        StoreError: It could not be written or unpacked.
        CancelledError: It was given up.
    """
    job = _Job(choice, root or store.engines_dir(), on_progress, cancelled)
    job.demand_checksums(unchecked=unchecked)
    with store.lock(job.root):
        try:
            return job.run(waits_s)
        except OSError as error:
            raise store_error(error, job.root) from error


class _Job:
    def __init__(
        self,
        choice: Choice,
        root: Path,
        on_progress: Callable[[Progress], None],
        cancelled: Cancelled,
    ) -> None:
        self.root = root
        self._choice = choice
        self._id = choice.asset.id
        self._on_progress = on_progress
        self._cancelled = cancelled
        self._staging = root / f"{store.NEW}{self._id}"
        self._done_bytes = 0
        self._fetched_bytes = 0

    def demand_checksums(self, *, unchecked: bool) -> None:
        """Refuse what cannot be checked.

        Raises:
            EngineError: A file has no checksum.
        """
        bare = [file.name for file in self._choice.files if file.sha256 is None]
        if bare and not unchecked:
            raise EngineError(
                f"GitHub names no checksum for {bare[0]}, so it cannot be checked.",
                "Take a newer release, or allow it with --without-checksum.",
            )

    def run(self, waits_s: Sequence[float]) -> Outcome:
        """Do all of it; the lock is held."""
        store.sweep(self.root)
        target = self.root / self._id
        known = store.read_manifest(target)
        if known is not None:
            devices = _devices(known.path, self._cancelled)
            return Outcome(engine=known, devices=devices, fresh=False)
        self._demand_room()
        archives = self._fetch(waits_s)
        try:
            self._unpack(archives)
            server = self._find_server()
            devices = self._try(server)
            store.write_manifest(self._staging, self._manifest(server, archives))
            if target.exists():  # what is left of one that was damaged
                target.rename(store.free_name(self.root, store.OLD + self._id))
            store.publish(self._staging, target)
        except (ArchiveError, EngineError):
            self._forget(archives)  # they would be no better the next time
            raise
        finally:
            shutil.rmtree(self._staging, ignore_errors=True)
        self._forget(archives)
        store.sweep(self.root)
        engine = store.read_manifest(target)
        assert engine is not None  # noqa: S101 - it was written just now
        return Outcome(engine=engine, devices=devices, fresh=True)

    def _demand_room(self) -> None:
        """Make sure that archives and build fit, less what is here already."""
        folder = self.root / store.DOWNLOADS
        folder.mkdir(parents=True, exist_ok=True)
        here = sum(path.stat().st_size for path in folder.iterdir())
        check_space(folder, self._choice.size_bytes * (1 + UNPACKED_RATIO) - here)

    def _fetch(self, waits_s: Sequence[float]) -> dict[Path, tuple[Asset, str]]:
        """Fetch every archive; their files and checksums by path."""
        archives = {}
        for file in self._choice.files:
            path = self.root / store.DOWNLOADS / file.name
            before = self._done_bytes

            def on_start(n_bytes: int, before: int = before) -> None:
                self._done_bytes = before + n_bytes

            def on_bytes(n_bytes: int, before: int = before, name: str = file.name) -> None:
                self._fetched_bytes += before + n_bytes - self._done_bytes
                self._done_bytes = before + n_bytes
                self._tell(Step.DOWNLOAD, name)

            self._tell(Step.DOWNLOAD, file.name)
            checksum = download(
                Wanted(url=file.url, size_bytes=file.size_bytes, sha256=file.sha256),
                path,
                on_start=on_start,
                on_bytes=on_bytes,
                cancelled=self._cancelled,
                waits_s=waits_s,
            )
            self._done_bytes = before + file.size_bytes
            self._tell(Step.DOWNLOAD, file.name)
            archives[path] = (file, checksum)
        return archives

    def _unpack(self, archives: dict[Path, tuple[Asset, str]]) -> None:
        """Unpack the build, then lay its companions beside its llama-server."""
        from splitrig.services.store.archive import unpack  # late: the window starts without it

        self._staging.mkdir(mode=0o755)
        for number, (path, (file, _)) in enumerate(archives.items()):
            self._give_up_if_wanted()
            self._tell(Step.UNPACK, file.name)
            if number == 0:
                unpack(path, self._staging)
                continue
            beside = self._staging / store.NEW
            beside.mkdir()
            unpack(path, beside)
            _lay_beside(beside, self._find_server().parent)

    def _find_server(self) -> Path:
        """The llama-server of what was unpacked.

        Raises:
            EngineError: There is none.
        """
        found = sorted(self._staging.rglob(store.SERVER), key=lambda path: len(path.parts))
        server = next((path for path in found if path.is_file()), None)
        if server is None:
            raise EngineError(
                f"{self._choice.asset.name} holds no {store.SERVER}.", "Take another release."
            )
        return server

    def _try(self, server: Path) -> tuple[EngineDevice, ...]:
        """Run it, and see which cards it sees.

        Raises:
            EngineError: It does not start here.
        """
        self._give_up_if_wanted()
        self._tell(Step.TRY)
        try:
            return _devices(server, self._cancelled)
        except EngineError as error:
            others = ", ".join(other.flavour for other in self._choice.alternatives)
            raise EngineError(
                f"{self._id} does not run on this machine and was removed: "
                f"{error.message.replace(str(server), server.name)}",
                f"Take another kind: {others}." if others else "Take another release.",
                details=error.message,
            ) from error

    def _manifest(self, server: Path, archives: dict[Path, tuple[Asset, str]]) -> Installed:
        return Installed(
            id=self._id,
            build=self._choice.asset.build,
            flavour=self._choice.asset.flavour,
            path=server,
            files={file.name: checksum for file, checksum in archives.values()},
            checked=all(file.sha256 is not None for file, _ in archives.values()),
            installed_at=store.now(),
        )

    def _forget(self, archives: dict[Path, tuple[Asset, str]]) -> None:
        for path in archives:
            path.unlink(missing_ok=True)
            discard(path)

    def _give_up_if_wanted(self) -> None:
        if self._cancelled():
            raise CancelledError

    def _tell(self, step: Step, file: str = "") -> None:
        self._on_progress(
            Progress(
                id=self._id,
                step=step,
                file=file,
                done_bytes=self._done_bytes,
                total_bytes=self._choice.size_bytes,
                fetched_bytes=self._fetched_bytes,
            )
        )


def _devices(server: Path, cancelled: Cancelled) -> tuple[EngineDevice, ...]:
    """The cards a llama-server sees.

    Raises:
        EngineError: It does not start.
        CancelledError: It was not waited for.
    """
    engine = LlamaServer(server, library_dir=server.parent)
    try:
        engine.capabilities(cancelled)
        return engine.list_devices(cancelled=cancelled)
    except ProbeCancelledError as error:
        raise CancelledError from error


def _lay_beside(source: Path, target: Path) -> None:
    """Move the content of `source` into `target`; what is there already stays as it is."""
    for path in source.iterdir():
        place = target / path.name
        if not os.path.lexists(place):
            path.rename(place)
    shutil.rmtree(source)
