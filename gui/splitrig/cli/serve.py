"""`splitrig serve`: start the engine as the window would, and run until stopped."""

import argparse
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from splitrig.cli.extra import HELP as EXTRA_HELP
from splitrig.cli.ollama_options import add_ollama_options, chosen_kind
from splitrig.cli.options import (
    add_gpus_option,
    add_plan_options,
    detected_rig,
    stored_settings,
    whole,
)
from splitrig.cli.proof import Proof
from splitrig.cli.ray_cards import add_ray_options, check_ray
from splitrig.cli.serve_news import News
from splitrig.cli.start_notes import before_start
from splitrig.cli.taken import check_options
from splitrig.cli.vllm_options import add_vllm_options
from splitrig.cli.wanted import Surroundings, wanted_request, wanted_settings
from splitrig.core.engine import EngineKind, EngineStatus, Failure, Phase
from splitrig.core.errors import SplitRigError
from splitrig.core.gpu import Rig
from splitrig.core.restart import policy_of
from splitrig.core.share import LOOPBACK
from splitrig.services.engines.engines import Engines
from splitrig.services.engines.probe import ProbeCancelledError
from splitrig.services.engines.supervisor import Supervisor
from splitrig.services.mailbox import Mailbox
from splitrig.services.store.settings import log_dir

ENGINES = (
    EngineKind.LLAMA_CPP.value,
    EngineKind.LLAMA_CPP_PYTHON.value,
    EngineKind.OLLAMA.value,
    EngineKind.VLLM.value,
)


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "serve", help="start the engine and run it until stopped", epilog=EXTRA_HELP
    )
    add_plan_options(parser)
    add_gpus_option(parser)
    parser.add_argument("--engine", choices=ENGINES, default=ENGINES[0])
    parser.add_argument("--llama-server", type=Path, metavar="FILE", help="the binary to use")
    add_ollama_options(parser)
    parser.add_argument("--vllm", type=Path, metavar="FILE", help="the vllm or its environment")
    add_vllm_options(parser)
    add_ray_options(parser)
    parser.add_argument("--rpc", metavar="HOST:PORT,…", help="servers that lend their devices")
    parser.add_argument(
        "--local-cards",
        action="store_true",
        help="with --rpc: this machine's cards as well, before those lent",
    )
    parser.add_argument("--port", type=whole(0, 65_535), default=0, help="0: a free one")
    parser.add_argument(
        "--host",
        default=LOOPBACK,
        metavar="ADDRESS",
        help="0.0.0.0 opens it to the network, with the key; not Ollama and vLLM",
    )
    parser.add_argument(
        "--share", action="store_true", help="print lines to copy for curl, Python and others"
    )
    parser.add_argument("--demo", action="store_true", help="lend the processor as two cards")


def run(options: argparse.Namespace) -> int:
    """Run until Ctrl-C, SIGTERM, or the end of the engine; 1 if it failed."""
    news = News(as_json=options.json, share=options.share)
    kind = chosen_kind(options)
    settings = wanted_settings(options, stored_settings().engine)
    engines = Engines(Mailbox(), settings)
    supervisor = Supervisor(
        Mailbox(),
        engines,
        log_dir=log_dir(),
        start_timeout_s=settings.start_timeout_s,
    )
    supervisor.restart = policy_of(settings)
    with stop_on_signals() as stopped, ExitStack() as helpers:
        try:
            check_options(options, kind)
            check_ray(options)
            rig = detected_rig(demo=options.demo, cancelled=lambda: bool(stopped))
            about = Surroundings(
                engines=engines, rig=rig, stopped=stopped, helpers=helpers, news=news
            )
            request, plan = wanted_request(options, kind, about)
            news.notes("before", before_start(request, rig))
            supervisor.start(request, plan, rig)
            return _watch(supervisor, news, rig, stopped)
        except ProbeCancelledError:
            news.status(EngineStatus(phase=Phase.STOPPED))
            return 0
        except SplitRigError as error:
            if not options.json:
                raise
            failure = Failure(message=error.message, hint=error.hint)
            news.status(EngineStatus(phase=Phase.FAILED, failure=failure))
            return 1
        finally:
            supervisor.close()


@contextmanager
def stop_on_signals() -> Iterator[list[int]]:
    """Collect Ctrl-C and SIGTERM instead of ending at once."""
    received: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda n, _frame: received.append(n)) for number in numbers]
    try:
        yield received
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _watch(supervisor: Supervisor, news: News, rig: Rig, stopped: list[int]) -> int:
    """Tell each change until the end; an engine that ends by itself is a failure.

    Args:
        supervisor: What runs.
        news: Tells it.
        rig: The cards before the start.
        stopped: Gets an entry when the user wants to stop.
    """
    proof = Proof(rig, lambda: bool(stopped) or supervisor.status.phase is not Phase.READY)
    told: tuple[Phase, str] | None = None
    while True:
        status = supervisor.status
        if (status.phase, status.restart) != told:
            told = (status.phase, status.restart)
            news.status(status)
        if status.phase is Phase.FAILED:
            return 1
        if status.phase is Phase.STOPPED:
            return 0
        if stopped:
            supervisor.stop()
        elif (findings := proof.follow(status)) is not None:
            news.verified(findings)
        time.sleep(0.05)
