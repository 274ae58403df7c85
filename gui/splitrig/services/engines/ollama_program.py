"""The `ollama` program: where it is, its version, the cards it sees, the llama-server below it."""

import os
import re
import shutil
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from splitrig.core.engine import EngineKind
from splitrig.core.errors import EngineError
from splitrig.core.ollama import OllamaDevice
from splitrig.core.ollama_log import all_devices_told, read_device
from splitrig.services.engines.environment import environment_for
from splitrig.services.engines.llama_server import LlamaServer
from splitrig.services.engines.ports import free_port
from splitrig.services.engines.probe import (
    Cancelled,
    ProbeCancelledError,
    never,
    probe,
    wait_until,
)
from splitrig.services.engines.process import launch
from splitrig.services.models.ollama_overlay import cache_folder

OTHER = "Choose another ollama in Settings."
LOOK_S = 100.0
"""Ollama gives every library 30 s to find cards, on Windows 90."""
QUIET_S = 0.5
CLOSED = "127.0.0.1:1"
"""Nobody listens on this port: the version asked for is the program's, not a server's."""
USUAL = ("/usr/local/bin/ollama", "/usr/bin/ollama", "/snap/bin/ollama", "/opt/ollama/bin/ollama")
_VERSION = re.compile(r"(?:client version is|ollama version is) v?(\d[\w.+-]*)")


class OllamaProgram:
    """One `ollama`; what it says of itself is read once."""

    def __init__(self, path: Path, *, extra_env: Mapping[str, str] | None = None) -> None:
        self.path = path
        self._extra_env = dict(extra_env or {})
        self._lock = threading.Lock()
        self._version: str | None = None

    @property
    def known_version(self) -> str | None:
        """Its version if it was asked before; never blocks."""
        return self._version

    def environment(self, settings: Mapping[str, str]) -> dict[str, str]:
        """The whole environment of a server with these settings."""
        ours = {**settings, **self._extra_env}
        return dict(environment_for(EngineKind.OLLAMA, ours).variables)

    def version(self, cancelled: Cancelled = never) -> str:
        """Its version; blocks for some 50 ms the first time.

        Raises:
            EngineError: It does not start, or is no Ollama.
        """
        while not self._lock.acquire(timeout=0.05):
            if cancelled():
                raise ProbeCancelledError(f"{self.path.name} was not waited for.")
        try:
            if self._version is None:
                env = self.environment({"OLLAMA_HOST": CLOSED})
                command = [str(self.path), "--version"]
                _, text = probe(command, env, way_out=OTHER, cancelled=cancelled)
                found = _VERSION.findall(text)
                if not found:
                    raise EngineError(f"{self.path} is no ollama.", OTHER)
                self._version = found[-1]
            return self._version
        finally:
            self._lock.release()

    def look_for_cards(self, cancelled: Cancelled = never) -> tuple[OllamaDevice, ...]:
        """The cards it sees, from a short run of its server without a model; 1 s or some more.

        Raises:
            EngineError: It does not start.
        """
        home = cache_folder() / "look"
        try:
            (home / "models").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EngineError(
                f"{home} cannot be made: {error.strerror}.", "Make that folder writable."
            ) from error
        settings = {
            "OLLAMA_HOST": f"127.0.0.1:{free_port()}",
            "OLLAMA_MODELS": str(home / "models"),
            "OLLAMA_NO_CLOUD": "1",
            "OLLAMA_NOPRUNE": "1",
            "GIN_MODE": "release",
            # The first start of a server makes a key there; looking should leave nothing behind.
            "USERPROFILE" if sys.platform == "win32" else "HOME": str(home),
        }
        found: list[OllamaDevice] = []
        lines: list[str] = []
        done = threading.Event()
        told_s = time.monotonic()

        def read(news: list[str]) -> None:
            nonlocal told_s
            told_s = time.monotonic()
            lines.extend(news)
            for line in news:
                device = read_device(line)
                if device is not None:
                    found.append(device)
                if all_devices_told(line):
                    done.set()

        def enough() -> bool:
            # some versions say nothing after the last card
            quiet = bool(found) and time.monotonic() - told_s > QUIET_S
            return done.is_set() or quiet or cancelled()

        process = launch([str(self.path), "serve"], self.environment(settings), read)
        try:
            wait_until(process, enough, LOOK_S)
            ended = process.poll()
        finally:
            process.stop()
            process.close()
        if ended is not None and not found and not done.is_set():
            last = next((line for line in reversed(lines) if line.strip()), "no output").strip()
            raise EngineError(f"{self.path} does not start: {last[:200]}.", OTHER)
        return _named(found)

    def llama_server(self) -> LlamaServer | None:
        """The llama-server it starts; `None` before version 0.30."""
        program = self.path.resolve()
        name = "llama-server.exe" if sys.platform == "win32" else "llama-server"
        for folder in (
            program.parent.parent / "lib" / "ollama",
            program.parent / "lib" / "ollama",
            program.parent,
        ):
            if (folder / name).is_file():
                return LlamaServer(folder / name, library_dir=folder)
        return None


def _named(found: list[OllamaDevice]) -> tuple[OllamaDevice, ...]:
    """With llama.cpp's names, which old versions do not tell, in the order of these names."""
    counts: dict[str, int] = {}
    named = []
    for device in found:
        number = counts.get(device.library, 0)
        counts[device.library] = number + 1
        uuid = device.id if device.id.startswith("GPU-") else None
        name = device.name or f"{device.library}{number}"
        named.append(replace(device, name=name, uuid=uuid))
    return tuple(sorted(named, key=lambda device: (device.library, len(device.name), device.name)))


def find_ollama(
    chosen: Path | None = None, *, extra_env: Mapping[str, str] | None = None
) -> OllamaProgram:
    """The chosen program, else the one on PATH, else one in a usual place.

    Raises:
        EngineError: There is none, or the chosen file does not exist.
    """
    if chosen is not None:
        if not chosen.is_file():
            raise EngineError(f"There is no ollama at {chosen}.", OTHER)
        return OllamaProgram(chosen.absolute(), extra_env=extra_env)
    on_path = shutil.which("ollama")
    candidates = [Path(on_path)] if on_path else []
    candidates += _usual_places()
    for path in candidates:
        if path.is_file() and os.access(path, os.X_OK):
            return OllamaProgram(path, extra_env=extra_env)
    raise EngineError(
        "Ollama is not installed here.",
        "Install it from ollama.com, put it on PATH, or choose it in Settings.",
    )


def _usual_places() -> list[Path]:
    if sys.platform == "win32":
        folders = (os.environ.get("LOCALAPPDATA"), os.environ.get("PROGRAMFILES"))
        local, programs = (Path(folder) if folder else None for folder in folders)
        places = [local / "Programs" / "Ollama"] if local is not None else []
        places += [programs / "Ollama"] if programs is not None else []
        return [place / "ollama.exe" for place in places]
    else:  # noqa: RET505 - mypy calls the line unreachable on Windows otherwise
        return [*map(Path, USUAL), Path.home() / ".local" / "bin" / "ollama"]
