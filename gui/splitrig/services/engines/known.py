"""Every llama-server this machine is known to have, and which of them is used."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from splitrig.core.engine import EngineDevice
from splitrig.core.engine_build import Source
from splitrig.core.errors import EngineError
from splitrig.services.engines.installed import installed
from splitrig.services.engines.llama_server import LlamaServer, bundled, find_llama_server
from splitrig.services.engines.probe import Cancelled, ProbeCancelledError, never


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownEngine:
    """One llama-server.

    Attributes:
        path: The binary.
        source: Where it comes from; `chosen` only when it is none of the others.
        id: Name of a downloaded one, `b11118-vulkan`.
        chosen: It is the one named in the settings.
        used: It is the one that would be started.
    """

    path: Path
    source: Source
    id: str | None = None
    chosen: bool = False
    used: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a llama-server said when it was asked.

    Attributes:
        build: Its build; `None` when it did not start.
        devices: The cards it sees; `None` when it was not asked for them.
        error: Why it did not start.
    """

    build: str | None = None
    devices: tuple[EngineDevice, ...] | None = ()
    error: EngineError | None = None


def known_engines(chosen: Path | None = None) -> tuple[KnownEngine, ...]:
    """Every llama-server, in the order in which they are looked for; starts none of them."""
    candidates: list[tuple[Path | None, Source, str | None]] = [
        *((engine.path, Source.DOWNLOADED, engine.id) for engine in installed()),
        (bundled(), Source.BUNDLED, None),
        (_on_path(), Source.PATH, None),
        (chosen, Source.CHOSEN, None),
    ]
    try:
        used = find_llama_server(chosen).path
    except EngineError:
        used = None
    found: dict[Path, KnownEngine] = {}
    for path, source, engine_id in candidates:
        if path is None or _same(path) in found:
            continue
        found[_same(path)] = KnownEngine(
            path=path.absolute(),
            source=source,
            id=engine_id,
            chosen=chosen is not None and _same(chosen) == _same(path),
            used=used is not None and _same(used) == _same(path),
        )
    return tuple(sorted(found.values(), key=lambda engine: not engine.chosen))


def look_at(engine: KnownEngine, *, for_devices: bool = True, cancelled: Cancelled = never) -> Look:
    """Ask it what it is and which cards it sees; blocks for 0.2 to 3 s.

    Args:
        engine: Which.
        for_devices: Ask for the cards as well, which takes some memory on each of them.
        cancelled: Asked meanwhile whether to give up.

    Raises:
        ProbeCancelledError: It was given up.
    """
    server = LlamaServer(
        engine.path,
        library_dir=engine.path.parent if engine.source is not Source.PATH else None,
    )
    try:
        build = server.capabilities(cancelled).build
        devices = server.list_devices(cancelled=cancelled) if for_devices else None
        return Look(build=build, devices=devices)
    except ProbeCancelledError:
        raise
    except EngineError as error:
        return Look(error=error)


def _on_path() -> Path | None:
    found = shutil.which("llama-server")
    return None if found is None else Path(found)


def _same(path: Path) -> Path:
    """What tells two names of one file."""
    return path.absolute().resolve()
