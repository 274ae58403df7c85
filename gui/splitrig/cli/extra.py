"""What only llama.cpp takes, and the arguments behind `--`, which go to it once checked."""

import argparse
from collections.abc import Sequence

from splitrig.core.engine import EngineKind
from splitrig.core.engine_rules import RULES, Knob, closed, mode_refused, stay_home
from splitrig.core.errors import EngineError
from splitrig.core.extra_arguments import CheckedArguments, check_arguments
from splitrig.core.server_options import Options
from splitrig.core.share import LOOPBACK
from splitrig.core.split_mode import LAYER
from splitrig.services.engines.engines import Engines
from splitrig.services.engines.probe import Cancelled, never

HELP = "What stands behind -- goes to llama-server, once checked: %(prog)s … -- --alias mine"


def parted(arguments: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """What is ours, and what stands behind the first `--`."""
    if "--" not in arguments:
        return list(arguments), ()
    at = list(arguments).index("--")
    return list(arguments[:at]), tuple(arguments[at + 1 :])


def check_taken(options: argparse.Namespace, kind: EngineKind) -> None:
    """Refuse options that an engine would leave out in silence, before any file is read.

    Raises:
        EngineError: It has nothing like that, or is not safe on the network it is to be opened to.
    """
    asked = {
        Knob.EXPERTS: options.n_cpu_moe != 0,
        Knob.DRAFT: options.model_draft is not None,
        Knob.PROJECTOR: options.mmproj is not None,
        Knob.EXTRA: bool(options.extra),
        Knob.SPLIT_MODE: options.split_mode != LAYER,
    }
    rules = RULES[kind]
    stay_home(rules, getattr(options, "host", LOOPBACK))
    if why := closed(rules, asked) or mode_refused(rules, options.split_mode):
        raise EngineError(why, "Choose llama.cpp for it, or leave it out.")


def checked(
    extra: Sequence[str], engines: Engines, cancelled: Cancelled = never
) -> CheckedArguments:
    """The arguments with what is to be said of them; blocks for some 200 ms.

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
