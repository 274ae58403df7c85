"""Lends the processor as two or more devices, so that a split can be tried without a GPU."""

import time
from collections.abc import Callable, Mapping, Sequence

import psutil

from splitrig.core.engine import Failure
from splitrig.core.errors import EngineError
from splitrig.core.plan import Plan
from splitrig.core.units import gib_text
from splitrig.services.engines.llama_server import LlamaServer
from splitrig.services.engines.ports import accepts, free_port
from splitrig.services.engines.probe import Cancelled, ProbeCancelledError, never
from splitrig.services.engines.process import launch

START_S = 10


class RpcServer:
    """A server on loopback that lends several processor devices over llama.cpp's RPC.

    It serves one client at a time; a second one hangs until the first is gone.

    Attributes:
        endpoint: `host:port` for `--rpc`.
        device_names: What the engine will call the devices.
    """

    def __init__(
        self,
        command: Callable[[int], Sequence[str]],
        env: Mapping[str, str],
        n_devices: int,
        on_lines: Callable[[list[str]], None],
        cancelled: Cancelled = never,
    ) -> None:
        """Start it and wait until it listens; blocks for some 50 ms.

        Args:
            command: Program and arguments for a port.
            env: The whole environment of the child.
            n_devices: How many devices that command lends.
            on_lines: Takes its output.
            cancelled: Asked meanwhile whether to give up.

        Raises:
            EngineError: It does not start.
        """
        port = free_port()
        self.endpoint = f"127.0.0.1:{port}"
        self.device_names = tuple(f"RPC{number}" for number in range(n_devices))
        self._process = launch(command(port), env, on_lines)
        deadline = time.monotonic() + START_S
        while not accepts(port):
            if cancelled():
                self.stop()
                raise ProbeCancelledError("The server that lends the processor was stopped.")
            if self._process.poll() is not None or time.monotonic() > deadline:
                code = self._process.poll()
                self.stop()
                raise EngineError(
                    f"The server that lends the processor did not start (exit code {code}).",
                    "The engine's log has its last lines.",
                )
            time.sleep(0.01)

    def poll(self) -> int | None:
        """Exit code; `None` while it runs."""
        return self._process.poll()

    def stop(self) -> None:
        """End it; blocks until it is gone."""
        self._process.stop()
        self._process.close()


def lend_with(
    server: LlamaServer,
    n_devices: int,
    on_lines: Callable[[list[str]], None],
    cancelled: Cancelled = never,
) -> RpcServer:
    """Lend the processor with the `ggml-rpc-server` beside a llama-server; blocks for some 50 ms.

    Raises:
        EngineError: There is none beside the engine, or it does not start.
    """
    path = server.rpc_server
    if path is None:
        raise EngineError(
            f"There is no ggml-rpc-server beside {server.path.name}, which the demo rig needs.",
            "Choose the llama-server that came with SplitRig in Settings.",
        )
    devices = ",".join(["CPU"] * n_devices)

    def command(port: int) -> list[str]:
        return [str(path), "-H", "127.0.0.1", "-p", str(port), "-t", "1", "-d", devices]

    return RpcServer(command, server.environment(), n_devices, on_lines, cancelled)


def lender_failure(lender: RpcServer | None, tail: Sequence[str]) -> Failure | None:
    """Why a run cannot go on: the server that lends the processor ended."""
    code = lender.poll() if lender is not None else None
    if code is None:
        return None
    how = f"was ended by signal {-code}" if code < 0 else f"ended (exit code {code})"
    return Failure(
        message=f"The server that lends the processor {how}.",
        hint="Launch the engine again.",
        log_tail=tuple(tail)[-20:],
        exit_code=code,
    )


def check_lendable(plan: Plan | None, n_lent: int | None = None) -> None:
    """Make sure that the computer has the memory it is to lend as cards.

    Args:
        plan: What is to lie where.
        n_lent: So many cards of the plan, the first ones, are lent; `None` for all.

    Raises:
        EngineError: It has less; loading would make it swap, or end other programs.
    """
    needed = sum(d.used_bytes for d in plan.devices[:n_lent]) if plan is not None else 0
    there = psutil.virtual_memory().available
    if needed > there:
        raise EngineError(
            f"The demo rig's cards are this computer's memory: {gib_text(needed)} GiB are needed, "
            f"{gib_text(there)} are free.",
            "Choose a smaller model or a shorter context; the demo model fits everywhere.",
        )
