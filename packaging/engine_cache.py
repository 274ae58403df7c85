"""The folder in the user's cache where the engines of the tests are built, and how it is filled.

Everything lies in `splitrig-tests` below `$XDG_CACHE_HOME` (or `~/.cache`), one folder for each
thing and version. A folder with its final name is complete: it was made under another name first.
"""

import contextlib
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_UNFINISHED = ".unfinished-"


class UnavailableError(Exception):
    """An engine cannot be had on this machine; the message is one sentence that says why."""


def cache_folder() -> Path:
    """Where the engines lie; it need not exist."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "splitrig-tests"


def key_of(*parts: str) -> str:
    """A short name for what a folder depends on."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other checkouts from building in the same folder; waits for them."""
    import fcntl  # Linux only, like everything that is built here

    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for leftover in folder.glob(f"{_UNFINISHED}*"):
            shutil.rmtree(leftover)
        yield


def provide(folder: Path, make: Callable[[Path, Path], None]) -> Path:
    """Return `folder`; when it is not there, `make` fills a folder that then takes its name.

    `make` gets that folder and the file that takes down what its commands print.

    Raises:
        UnavailableError: It could not be made; nothing is left of the attempt but its log.
    """
    if folder.is_dir():
        return folder
    log = folder.with_name(f"{folder.name}.log")
    log.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix=_UNFINISHED, dir=folder.parent) as scratch:
        made = Path(scratch) / folder.name
        made.mkdir()
        make(made, log)
        made.rename(folder)
    return folder


def run_logged(
    command: list[str], failure: str, *, log: Path, env: Mapping[str, str] | None = None
) -> None:
    """Run a command; its output is added to the log.

    Raises:
        UnavailableError: It failed; `failure` and the last line it printed say why.
    """
    with log.open("ab") as output:
        done = subprocess.run(
            command, stdout=output, stderr=subprocess.STDOUT, env=env, cwd=log.parent, check=False
        )
    if done.returncode != 0:
        printed = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        last = printed[-1].strip() if printed else f"exit status {done.returncode}"
        raise UnavailableError(f"{failure}: {last} (all of it: {log})")


def said_by(command: list[str]) -> str | None:
    """First line that a program prints of itself; `None` when it is not installed."""
    if shutil.which(command[0]) is None:
        return None
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.partition("\n")[0].strip() or None
