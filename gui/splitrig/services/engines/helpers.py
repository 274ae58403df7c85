"""Servers that run beside the engines: recorded and written down as those are."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from splitrig.core.orphan import RunAbout
from splitrig.services.engines.log_file import LogFile
from splitrig.services.engines.process import EngineProcess, launch
from splitrig.services.engines.records import launch_recorded

LENDER_NAME = "ggml-rpc-server"
RAY_NAME = "Ray head"
"""What the Logs page calls them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Where what is kept of a run lies.

    Attributes:
        log_dir: Gets a file a run.
        records: Folder of the records of what runs; `None` for the usual one.
    """

    log_dir: Path
    records: Path | None = None


def launch_helper(
    command: Sequence[str],
    env: Mapping[str, str],
    on_lines: Callable[[list[str]], None],
    *,
    about: RunAbout,
    log_name: str,
    kept: Kept | None,
) -> EngineProcess:
    """Start a server that ends with this program, however that ends.

    Args:
        command: Program and arguments.
        env: The whole environment of the child.
        on_lines: Called on a reader thread with whole lines of its output.
        about: What it is.
        log_name: Goes into the name of its log file.
        kept: Where log and record lie; `None` for a short look, of which nothing is kept.

    Raises:
        EngineError: It could not be started.
        StoreError: The log cannot be written.
    """
    if kept is None:
        return launch(command, env, on_lines)
    file = LogFile(kept.log_dir, log_name)
    try:
        return launch_recorded(command, env, on_lines, file, about=about, folder=kept.records)
    except BaseException:
        file.close()
        raise
