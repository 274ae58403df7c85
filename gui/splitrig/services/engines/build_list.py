"""Lists every llama-server of this machine for the window, and asks each what it is."""

import re
import threading
from dataclasses import dataclass, replace
from pathlib import Path

from splitrig.core.engine_build import Build, Source
from splitrig.services.engines import installed as store
from splitrig.services.engines.known import KnownEngine, Look, known_engines, look_at
from splitrig.services.engines.probe import Cancelled, ProbeCancelledError
from splitrig.services.mailbox import Mailbox

_Key = tuple[Path, int, int, tuple[str, ...]]
"""What an answer holds for: the file, its size and time, and the cards that are there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildsListed:
    """Every llama-server of this machine; posted anew as soon as one of them has answered."""

    builds: tuple[Build, ...]


class BuildList:
    """Lists on a thread; no method blocks but `close`.

    Posts `BuildsListed`: first what is known from files, then with what each build said of itself.
    What one said is asked again only when its file or the cards have changed.
    """

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._number = 0
        self._looks: dict[_Key, Look] = {}
        self._threads: list[threading.Thread] = []

    def refresh(
        self, chosen: Path | None, *, cards: tuple[str, ...] = (), for_devices: bool = True
    ) -> None:
        """List anew; a list that is still being made is given up.

        Args:
            chosen: The llama-server named in the settings.
            cards: Ids of the cards that are there.
            for_devices: Ask for the cards each one sees; not while an engine has them.
        """
        with self._lock:
            self._number += 1
            self._threads = [t for t in self._threads if t.is_alive()]
            thread = threading.Thread(
                target=self._list,
                args=(self._number, chosen, cards),
                kwargs={"for_devices": for_devices},
                name="engine-list",
            )
            self._threads.append(thread)
            thread.start()

    def close(self) -> None:
        """Give up what is asked; blocks until it is gone."""
        self._closing.set()
        for thread in self._threads:
            thread.join()

    def _list(
        self, number: int, chosen: Path | None, cards: tuple[str, ...], *, for_devices: bool
    ) -> None:
        def outdated() -> bool:
            return self._closing.is_set() or number != self._number

        # the one chosen does not jump to the top when it is chosen
        engines = sorted(known_engines(chosen), key=_place)
        builds = [_build(engine) for engine in engines]
        broken = _damaged()
        self._post(number, [*builds, *broken])
        for place, engine in enumerate(engines):
            try:
                look = self._look(engine, cards, outdated, for_devices=for_devices)
            except ProbeCancelledError:
                return
            builds[place] = _with_look(builds[place], look)
            self._post(number, [*builds, *broken])

    def _look(
        self,
        engine: KnownEngine,
        cards: tuple[str, ...],
        cancelled: Cancelled,
        *,
        for_devices: bool,
    ) -> Look:
        """Ask it, unless it has answered before.

        Raises:
            ProbeCancelledError: Nobody wants to know any more.
        """
        try:
            facts = engine.path.stat()
        except OSError:
            return look_at(engine, for_devices=for_devices, cancelled=cancelled)
        key = (engine.path, facts.st_mtime_ns, facts.st_size, cards)
        look = self._looks.get(key)
        if look is None or (for_devices and look.devices is None):
            look = look_at(engine, for_devices=for_devices, cancelled=cancelled)
            self._looks[key] = look
        return look

    def _post(self, number: int, builds: list[Build]) -> None:
        with self._lock:
            if number == self._number:
                self._mailbox.post(BuildsListed(builds=tuple(builds)))


def _with_look(build: Build, look: Look) -> Build:
    """A build with what it said; the number of its release stands where it has one."""
    return replace(
        build,
        asked=True,
        build=build.build or look.build,
        devices=None if look.error is not None else look.devices,
        error=look.error,
    )


_ORDER = (Source.DOWNLOADED, Source.BUNDLED, Source.PATH, Source.CHOSEN)


def _place(engine: KnownEngine) -> tuple[int, int]:
    """Downloaded ones first, the newest first."""
    number = re.match(r"b(\d+)", engine.id or "")
    return _ORDER.index(engine.source), -int(number[1]) if number else 0


def _build(engine: KnownEngine) -> Build:
    """What is known of it without running it."""
    build = Build(
        path=engine.path,
        source=engine.source,
        id=engine.id,
        chosen=engine.chosen,
        used=engine.used,
    )
    download = None
    if engine.id is not None:
        download = store.read_manifest(store.engines_dir() / engine.id)
    if download is None:
        return build
    return replace(
        build,
        build=f"b{download.build}",
        flavour=download.flavour,
        checked=download.checked,
        size_bytes=store.size_bytes(store.engines_dir() / download.id),
    )


def _damaged() -> list[Build]:
    """Downloads that are not whole."""
    root = store.engines_dir()
    return [
        Build(
            path=root / name,
            source=Source.DOWNLOADED,
            id=name,
            size_bytes=store.size_bytes(root / name),
            damaged=True,
        )
        for name in store.damaged()
    ]
