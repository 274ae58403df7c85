"""The command line: which commands there are and how their failures are told."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from splitrig import __version__
from splitrig.cli import check, doctor, engines, gpus, lend, models, orphans, plan, remote, serve
from splitrig.cli.extra import parted
from splitrig.cli.options import joined_split
from splitrig.cli.taken import given
from splitrig.core.errors import SplitRigError

COMMANDS = (gpus, plan, serve, check, engines, models, remote, lend, doctor, orphans)
WITH_EXTRA = ("serve", "plan")
"""Commands that take arguments for the engine behind `--`."""
USAGE = 2
"""Exit code for arguments that make no sense."""


class UsageError(SplitRigError):
    """The arguments make no sense."""


class _Parser(argparse.ArgumentParser):
    """Raises one sentence instead of printing a page."""

    def error(self, message: str) -> NoReturn:
        """Raise what is wrong."""
        words = message.removeprefix("argument ")
        raise UsageError(f"{words[:1].upper()}{words[1:]}.", f"'{self.prog} --help' lists them.")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the arguments; exits with 2 and one sentence when they make no sense."""
    prepare_output()
    parser = _Parser(
        prog="splitrig",
        description="Runs large language models on several GPUs: opens the window, or runs one "
        "command without it.",
    )
    parser.add_argument("--version", action="version", version=f"splitrig {__version__}")
    parser.add_argument("--demo", action="store_true", help="open the demo rig")
    parser.add_argument("--model-file", type=Path, metavar="FILE", help="open with this model")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for module in COMMANDS:
        module.add_parser(commands)
    ours, extra = parted(arguments)
    ours = joined_split(ours)
    try:
        options = parser.parse_args(ours)
        if extra and options.command not in WITH_EXTRA:
            parser.error(f"only {' and '.join(WITH_EXTRA)} take arguments behind --")
        options.extra, options.given = extra, given(ours)
        return options  # noqa: TRY300 - an error above is told below
    except UsageError as error:
        _tell(error, as_json="--json" in arguments, command=next(iter(arguments), ""))
        sys.exit(USAGE)


def prepare_output() -> None:
    """Make standard output and error fit for any text, and there at all.

    A console may not know a character, and a closed descriptor leaves `None` in the stream's
    place.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def run_command(options: argparse.Namespace) -> int:
    """Run a headless command; an expected failure is one sentence on stderr and exit code 1."""
    module = next(m for m in COMMANDS if m.__name__.rpartition(".")[2] == options.command)
    try:
        try:
            code: int = module.run(options)
        except SplitRigError as error:
            _tell(error, as_json=getattr(options, "json", False), command=options.command)
            code = 1
        sys.stdout.flush()
    except OSError as error:
        return _unwritable(error)
    return code


def _tell(error: SplitRigError, *, as_json: bool, command: str) -> None:
    """The sentence on stderr, and the same as JSON for whoever reads that."""
    if as_json:
        said = {"message": error.message, "hint": error.hint}
        news = {"event": "failed", **said} if command in ("serve", "lend") else {"error": said}
        print(json.dumps(news), flush=True)
    print(error, file=sys.stderr)


def _unwritable(error: OSError) -> int:
    """Standard output is gone (head, say) or full; Python must not try it again at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if not isinstance(error, BrokenPipeError):
        print(f"The output could not be written: {error.strerror}.", file=sys.stderr)
    return 1
