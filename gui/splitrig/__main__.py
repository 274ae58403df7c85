"""`splitrig`: a subcommand runs headless, anything else opens the window."""

import signal
import sys
from collections.abc import Sequence

INTERRUPTED = 128 + signal.SIGINT


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the program; returns the exit code."""
    try:
        # Imported here so that a headless command never touches Qt and the window never argparse.
        from splitrig.cli.main import parse, run_command

        options = parse(sys.argv[1:] if arguments is None else arguments)
        if options.command is not None:
            return run_command(options)
    except KeyboardInterrupt:
        return INTERRUPTED
    # Ctrl-C while Qt is imported would abort it; so early it may end the process as it is.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from splitrig.app import run_window

    return run_window(demo=options.demo, model=options.model_file)


if __name__ == "__main__":
    sys.exit(main())
