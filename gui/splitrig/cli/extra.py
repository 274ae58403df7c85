"""The arguments behind `--`, which go to the engine once checked."""

from collections.abc import Sequence

from splitrig.core.errors import EngineError
from splitrig.core.extra_arguments import CheckedArguments, check_arguments
from splitrig.core.server_options import Options
from splitrig.services.engines.engines import Engines
from splitrig.services.engines.probe import Cancelled, never

HELP = "What stands behind -- goes to the engine, once checked: %(prog)s … -- --alias mine"


def parted(arguments: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """What is ours, and what stands behind the first `--`."""
    if "--" not in arguments:
        return list(arguments), ()
    at = list(arguments).index("--")
    return list(arguments[:at]), tuple(arguments[at + 1 :])


def checked(
    extra: Sequence[str], engines: Engines, cancelled: Cancelled = never
) -> CheckedArguments:
    """Arguments for llama-server with what is to be said of them; blocks for some 200 ms.

    Raises:
        ArgumentError: One cannot be passed on.
    """
    found = check_arguments(extra, _options(engines, cancelled) if extra else Options())
    found.demand()
    return found


def _options(engines: Engines, cancelled: Cancelled) -> Options:
    """Those of the llama-server at hand; none without one, and a start says why there is none."""
    try:
        return engines.llama_server().capabilities(cancelled).options
    except EngineError:
        return Options()
