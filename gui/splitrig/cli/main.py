"""The command line: which commands there are and how their failures are told."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from splitrig import __version__
from splitrig.cli import check, doctor, gpus, plan, serve
from splitrig.core.errors import SplitRigError

COMMANDS = (gpus, plan, serve, check, doctor)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the arguments; exits with 2 and one sentence when they make no sense."""
    parser = argparse.ArgumentParser(
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
    return parser.parse_args(arguments)


def run_command(options: argparse.Namespace) -> int:
    """Run a headless command; an expected failure is one sentence on stderr and exit code 1."""
    module = next(m for m in COMMANDS if m.__name__.rpartition(".")[2] == options.command)
    try:
        code: int = module.run(options)
        sys.stdout.flush()
    except SplitRigError as error:
        if getattr(options, "json", False):
            print(json.dumps({"error": {"message": error.message, "hint": error.hint}}))
        print(error, file=sys.stderr)
        return 1
    except BrokenPipeError:
        # The reader (head, say) is gone; Python would print a second error while closing.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code
