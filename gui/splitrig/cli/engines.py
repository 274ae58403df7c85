"""`splitrig engines`: which llama-servers there are, and official ones fetched and removed."""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from splitrig.cli.options import detected_rig, stored_settings
from splitrig.cli.table import table
from splitrig.core.engine import EngineDevice
from splitrig.core.engine_choice import Choice, choose_asset, newest_choice
from splitrig.core.engine_fit import Machine
from splitrig.core.engine_install import Progress, Step
from splitrig.core.engine_release import Asset, BuildBackend, Release
from splitrig.core.errors import EngineError, StoreError
from splitrig.core.units import MISSING, number_text, size_text
from splitrig.core.words import listed
from splitrig.services.engines import installed as store
from splitrig.services.engines.install import Outcome, install
from splitrig.services.engines.known import KnownEngine, Look, known_engines, look_at
from splitrig.services.engines.llama_server import find_llama_server
from splitrig.services.engines.machine import this_machine
from splitrig.services.engines.releases import API, Releases
from splitrig.services.store.settings import SettingsStore
from splitrig.services.telemetry.cuda import cuda_version

USUAL = "auto"
"""Goes back to the usual order: the newest one fetched, else the one that came along."""
_SHOWN = 10
"""Releases that `available` lists."""


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "engines", help="list llama-servers; fetch and remove official llama.cpp builds"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    listing = actions.add_parser("list", help="every llama-server and the one that is used")
    available = actions.add_parser("available", help="official builds for this machine")
    fetching = actions.add_parser("install", help="fetch, check and try an official build")
    using = actions.add_parser("use", help="choose the llama-server that is started from now on")
    removing = actions.add_parser("remove", help="remove a build that was fetched")
    for action in (listing, available, fetching, using, removing):
        action.add_argument(
            "--json", action="store_true", default=argparse.SUPPRESS, help="print JSON"
        )
    for action in (available, fetching):
        action.add_argument(
            "--releases-url", default=API, metavar="URL", help="a server that answers like GitHub's"
        )
        action.add_argument(
            "--backend", metavar="B",
            help=f"{', '.join(BuildBackend)}, or with a version as in cuda-12.4, "
            "instead of the best one",
        )  # fmt: skip
    fetching.add_argument(
        "build",
        nargs="?",
        metavar="BUILD",
        help="b11118, v0.5.0 or stable; the newest if not given",
    )
    fetching.add_argument(
        "--without-checksum", action="store_true",
        help="take files for which GitHub names no checksum",
    )  # fmt: skip
    using.add_argument(
        "id", metavar="ID", help=f"as listed, such as b11118-vulkan or bundled; {USUAL}: the newest"
    )
    removing.add_argument("id", metavar="ID", help="as listed, such as b11118-vulkan")


def run(options: argparse.Namespace) -> int:
    """Do what was asked for.

    Returns:
        0; `list` also when a llama-server does not start, 1 when there is none at all.

    Raises:
        SplitRigError: It could not be done.
    """
    actions: dict[str, Callable[[argparse.Namespace], int]] = {
        "list": _list, "available": _available, "install": _install, "use": _use,
        "remove": _remove,
    }  # fmt: skip
    return actions[options.action or "list"](options)


def _list(options: argparse.Namespace) -> int:
    chosen = stored_settings().engine.llama_server
    engines = [(engine, look_at(engine)) for engine in known_engines(chosen)]
    broken = store.damaged()
    if options.json:
        said = {"engines": [_engine_json(*pair) for pair in engines], "damaged": broken}
        print(json.dumps(said, indent=2))
    else:
        print(_engines_text(engines))
        for engine_id in broken:
            print(f"\n{engine_id} is damaged: 'splitrig engines remove {engine_id}' removes it.")
    return 0 if engines else 1


def _engine_json(engine: KnownEngine, look: Look) -> dict[str, Any]:
    return {
        "id": engine.id,
        "source": engine.source.value,
        "path": str(engine.path),
        "build": look.build,
        "chosen": engine.chosen,
        "used": engine.used,
        "devices": [asdict(device) for device in look.devices or ()],
        "error": None if look.error is None else look.error.message,
    }


def _engines_text(engines: list[tuple[KnownEngine, Look]]) -> str:
    if not engines:
        return "There is no llama-server. 'splitrig engines install' fetches one."
    rows = [
        (
            "*" if engine.used else "",
            _name(engine),
            look.build or MISSING,
            _devices_text(look.devices or ()) if look.error is None else look.error.message,
            str(engine.path),
        )
        for engine, look in engines
    ]
    way_out = " 'splitrig engines use ENGINE' chooses another." if len(engines) > 1 else ""
    return f"{table(('', 'Engine', 'Build', 'Cards', 'Path'), rows, left=5)}\n\n* is used.{way_out}"


def _devices_text(devices: tuple[EngineDevice, ...]) -> str:
    return ", ".join(f"{d.name} {d.description}" for d in devices) or "none"


def _machine() -> Machine:
    return this_machine(detected_rig().gpus, cuda=cuda_version())


def _available(options: argparse.Namespace) -> int:
    machine = _machine()
    newest = Releases(options.releases_url).newest()
    choice = newest_choice(newest, machine, options.backend)
    builds = [release for release in newest if release.build is not None][:_SHOWN]
    here = {engine.id for engine in store.installed()}
    if options.json:
        said = {
            "machine": _machine_json(machine),
            "choice": _choice_json(choice),
            "releases": [_release_json(release, machine, here) for release in builds],
        }
        print(json.dumps(said, indent=2))
        return 0
    print(_releases_text(builds, machine, here, options.backend))
    print(f"\n{choice.asset.id}, {size_text(choice.size_bytes)}: {choice.reason}")
    others = ", ".join(dict.fromkeys(asset.flavour for asset in choice.alternatives))
    if others:
        print(f"Others for {machine.place}: {others}.")
    return 0


def _machine_json(machine: Machine) -> dict[str, Any]:
    said = asdict(machine)
    said["cards"] = [card.name for card in machine.cards]
    return said


def _choice_json(choice: Choice) -> dict[str, Any]:
    return {
        "id": choice.asset.id,
        "build": choice.release.tag,
        "flavour": choice.asset.flavour,
        "size_bytes": choice.size_bytes,
        "files": [file.name for file in choice.files],
        "reason": choice.reason,
        "alternatives": [asset.flavour for asset in choice.alternatives],
    }


def _release_json(release: Release, machine: Machine, here: set[str]) -> dict[str, Any]:
    return {
        "build": release.tag,
        "published": release.published,
        "assets": [
            {
                "id": asset.id,
                "flavour": asset.flavour,
                "size_bytes": _size(release, asset),
                "installed": asset.id in here,
            }
            for asset in release.assets
            if (asset.os, asset.arch) == (machine.os, machine.arch)
        ],
    }


def _size(release: Release, asset: Asset) -> int:
    return asset.size_bytes + sum(file.size_bytes for file in release.companions(asset))


def _releases_text(
    releases: list[Release], machine: Machine, here: set[str], backend: str | None
) -> str:
    rows = []
    for release in releases:
        try:
            choice = choose_asset(release, machine, backend)
        except EngineError:
            rows.append((release.tag, _day(release), MISSING, MISSING, ""))
            continue
        rows.append(
            (
                release.tag,
                _day(release),
                choice.asset.flavour,
                size_text(choice.size_bytes),
                "installed" if choice.asset.id in here else "",
            )
        )
    return table(("Build", "Published", "For this machine", "Size", ""), rows, left=3)


def _day(release: Release) -> str:
    return (release.published or MISSING)[:10]


def _install(options: argparse.Namespace) -> int:
    machine = _machine()
    choice = Releases(options.releases_url).choose(machine, options.build, options.backend)
    print(f"{choice.asset.id}: {choice.reason}", file=sys.stderr)
    try:
        outcome = install(choice, on_progress=_Told(), unchecked=options.without_checksum)
    except KeyboardInterrupt:
        print("\nWhat was fetched is kept for a day; the same command goes on.", file=sys.stderr)
        raise
    chosen = stored_settings().engine.llama_server
    used = any(e.used and e.id == outcome.engine.id for e in known_engines(chosen))
    if options.json:
        print(json.dumps(_outcome_json(choice, outcome, used=used), indent=2))
    else:
        print(_outcome_text(outcome, used=used))
    if machine.cards and not outcome.devices:
        print(
            f"It starts, but sees none of the {len(machine.cards)} cards. "
            "Take another --backend, or look at 'splitrig doctor'.",
            file=sys.stderr,
        )
    return 0


def _outcome_json(choice: Choice, outcome: Outcome, *, used: bool) -> dict[str, Any]:
    engine = outcome.engine
    return {
        "installed": {**asdict(engine), "path": str(engine.path)},
        "fresh": outcome.fresh,
        "used": used,
        "devices": [asdict(device) for device in outcome.devices],
        "choice": _choice_json(choice),
    }


def _outcome_text(outcome: Outcome, *, used: bool) -> str:
    done = "is installed" if outcome.fresh else "was installed already"
    future = "It is used from now on." if used else (
        f"Another one is used; 'splitrig engines use {outcome.engine.id}' changes that."
    )  # fmt: skip
    unchecked = "" if outcome.engine.checked else "Its checksum could not be compared.\n"
    cards = _devices_text(outcome.devices)
    return f"{outcome.engine.id} {done}; cards it sees: {cards}.\n{unchecked}{future}"


class _Told:
    """Tells on standard error how far an installation is: one line that changes on a terminal."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._last: tuple[Step, str, int] | None = None

    def __call__(self, progress: Progress) -> None:
        """Tell it, unless that would say the same again."""
        percent = 100 * progress.done_bytes // max(progress.total_bytes, 1)
        tenth = percent if self._terminal else percent // 10
        now = (progress.step, progress.file, tenth)
        if now == self._last:
            return
        new_line = self._last is not None and self._last[:2] != now[:2]
        self._last = now
        match progress.step:
            case Step.DOWNLOAD:
                words = (
                    f"{progress.file}: {number_text(percent)} % of "
                    f"{size_text(progress.total_bytes)}"
                )
            case Step.UNPACK:
                words = f"{progress.file}: unpacking"
            case Step.TRY:
                words = f"{progress.id}: trying it"
        if self._terminal:
            head = "\n" if new_line else "\r"
            end = "\n" if progress.step is Step.TRY else ""
            print(f"{head}\033[K{words}", end=end, file=sys.stderr, flush=True)
        else:
            print(words, file=sys.stderr, flush=True)


def _name(engine: KnownEngine) -> str:
    """What it is listed as, and chosen by."""
    return engine.id or engine.source.value


def _use(options: argparse.Namespace) -> int:
    """Store which llama-server is started, as the Settings page does.

    Raises:
        EngineError: There is none of this name, or it does not start.
        StoreError: The settings cannot be read or written.
    """
    settings_store = SettingsStore()
    settings = settings_store.load()
    if settings_store.problem is not None:  # it is not for this command to write it anew
        raise StoreError(settings_store.problem.message, "Mend the file or move it away first.")
    chosen = None
    if options.id != USUAL:
        chosen = _known(options.id, settings.engine.llama_server).path
    engine_settings = settings.engine.model_copy(update={"llama_server": chosen})
    find_llama_server(chosen)  # says why there is none
    used = next(engine for engine in known_engines(chosen) if engine.used)
    look = look_at(used)
    if look.error is not None:
        raise look.error
    settings_store.save(settings.model_copy(update={"engine": engine_settings}))
    if options.json:
        print(json.dumps({"used": _engine_json(used, look)}, indent=2))
    else:
        cards = _devices_text(look.devices or ())
        print(f"{_name(used)} is used from now on; cards it sees: {cards}.")
    return 0


def _known(name: str, chosen: Path | None) -> KnownEngine:
    """The llama-server that is listed under this name.

    Raises:
        EngineError: There is none, or it is damaged.
    """
    engines = known_engines(chosen)
    for engine in engines:
        if _name(engine) == name:
            return engine
    if name in store.damaged():
        raise EngineError(
            f"{name} is damaged.",
            f"Remove it with 'splitrig engines remove {name}', fetch it anew.",
        )
    there = listed([_name(engine) for engine in engines]) or "none"
    raise EngineError(
        f"There is no llama-server '{name[:80]}' here.",
        f"Listed: {there}; 'splitrig engines install' fetches more.",
    )


def _remove(options: argparse.Namespace) -> int:
    chosen = stored_settings().engine.llama_server
    folder = store.engines_dir() / options.id
    if chosen is not None and chosen.absolute().is_relative_to(folder.absolute()):
        raise EngineError(
            f"{options.id} is the engine chosen in Settings.",
            "Choose another one there, or with 'splitrig engines use ID', first.",
        )
    store.remove(options.id, in_use=store.running())
    print(json.dumps({"removed": options.id}) if options.json else f"{options.id} was removed.")
    return 0
