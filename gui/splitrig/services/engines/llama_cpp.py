"""llama.cpp through its own server, as one of the engines."""

import http.client
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from splitrig.core.engine import Dialect, EngineDevice, EngineKind, Failure, LaunchRequest
from splitrig.core.engine_log import BufferKind, BufferSeen, LogEvent, endpoint_of, read_line
from splitrig.core.gpu import GpuInfo
from splitrig.core.llama_arguments import projector_device
from splitrig.core.remote import RemoteEndpoint
from splitrig.core.share import LOOPBACK, own_address
from splitrig.services.engines.engine import OnLines, Order, Starter
from splitrig.services.engines.llama_server import LlamaServer
from splitrig.services.engines.probe import Cancelled, never
from splitrig.services.engines.process import EngineProcess
from splitrig.services.engines.remote_watch import RemoteWatch
from splitrig.services.engines.rpc_probe import require_free
from splitrig.services.engines.rpc_server import (
    RpcServer,
    check_lendable,
    lend_with,
    lender_failure,
)

ANSWER_S = 0.8
"""Longest wait for one answer; Stop waits for it too, and has 2 s altogether."""


class LlamaCpp:
    """llama-server, with devices lent by the processor where there is no card."""

    kind = EngineKind.LLAMA_CPP

    def __init__(self, server: LlamaServer) -> None:
        self.server = server

    @property
    def build(self) -> str | None:
        """Its build, if it was asked before; never blocks."""
        known = self.server.known_capabilities
        return known.build if known is not None else None

    def check(self, cancelled: Cancelled = never) -> str:
        """Its build; blocks for some 200 ms the first time.

        Raises:
            EngineError: It does not start or is no llama-server.
        """
        return self.server.capabilities(cancelled).build

    def list_devices(
        self, gpus: Sequence[GpuInfo], model: Path | None, cancelled: Cancelled = never
    ) -> tuple[EngineDevice, ...]:
        """Its devices, with PCI addresses if a model is given; blocks for 0.1 to some seconds.

        Raises:
            EngineError: It does not start.
        """
        if not gpus:
            return ()
        if model is not None:
            return self.server.identify_devices(model, cancelled)
        return self.server.list_devices(cancelled=cancelled)

    def preview(
        self, request: LaunchRequest, names: Sequence[str] | None, port: int
    ) -> tuple[str, ...]:
        """The command that a start would run; empty until it was checked."""
        if self.server.known_capabilities is None:
            return ()
        if names is None:
            names = tuple(f"RPC{n}" for n in range(max(len(request.gpu_ids), 1)))
            request = _lent(request, "127.0.0.1:PORT")
        elif _lent_beside(request):
            request = _lent(request, "127.0.0.1:PORT", *request.rpc)
        return self.server.command(request, names, port)

    def open(self, order: Order, on_lines: OnLines, cancelled: Cancelled = never) -> "LlamaCppRun":
        """Start the server that lends the processor, if one is needed; blocks for some 50 ms.

        Raises:
            EngineError: There is none, the computer lacks the memory, or a server on another
                machine is not there or serves somebody else.
        """
        request, names, lender = order.request, order.names, None
        if names is not None:
            for endpoint in request.rpc:
                # a second client can end a server that serves somebody else
                require_free(RemoteEndpoint.parse(endpoint), cancelled)
        if names is None or _lent_beside(request):
            n_lent = _lent_beside(request) or max(len(request.gpu_ids), 1)
            check_lendable(order.plan, n_lent)
            lender = lend_with(self.server, n_lent, on_lines, cancelled)
            others = request.rpc if names is not None else ()
            names = names or lender.device_names
            request = _lent(request, lender.endpoint, *others)
        if order.plan is not None and order.plan.split and request.plan.split is None:
            # the shares of the plan, where the request left them to free memory
            request = replace(request, plan=replace(request.plan, split=order.plan.split))
        return LlamaCppRun(self.server, request, names, lender)


class LlamaCppRun:
    """One start of llama-server."""

    log_name = "llama-server"
    says_when_bound = True
    says_when_loaded = True
    takes_key = True
    has_metrics = True
    dialect = Dialect.OPENAI
    served_model: str | None = None

    def __init__(
        self,
        server: LlamaServer,
        request: LaunchRequest,
        names: tuple[str, ...],
        lender: RpcServer | None,
    ) -> None:
        self._server = server
        self._lender = lender
        self._held: set[str] = set()
        self._watches: dict[str, RemoteWatch] = {}
        self.request = request
        self.device_names = names

    def command(self, port: int) -> tuple[str, ...]:
        """The command line; there is no key in it."""
        return self._server.command(self.request, self.device_names, port)

    def url(self, port: int) -> str:
        """Base address."""
        return f"http://{own_address(self.request.host)}:{port}"

    def start(self, port: int, key: str, starter: Starter) -> EngineProcess:
        """Start the process."""
        options = self._server.capabilities().options
        more = projector_device(self.request.plan, options, self.device_names)
        return starter.launch(self.command(port), self._server.environment(key, more))

    def answers(self, port: int, key: str) -> bool:
        """Whether `/health` answers 200."""
        del key  # health is free of it
        return healthy(port, host=own_address(self.request.host))

    def read_line(self, line: str) -> LogEvent | None:
        """What a line of its log says."""
        event = read_line(line)
        if isinstance(event, BufferSeen) and event.kind is BufferKind.MODEL:
            endpoint = endpoint_of(event.device)
            own = self._lender.endpoint if self._lender is not None else None
            if endpoint in self.request.rpc and endpoint != own:
                self._held.add(endpoint)  # from its first buffer on the engine stays connected
        return event

    def helper_failure(self, tail: Sequence[str]) -> Failure | None:
        """The server that lends the processor ended, or one on another machine was lost."""
        for endpoint in tuple(self._held):
            if endpoint not in self._watches:
                self._watches[endpoint] = RemoteWatch(endpoint)
            lost = self._watches[endpoint].lost
            if lost is not None:
                return replace(lost, log_tail=tuple(tail)[-20:])
        return lender_failure(self._lender, tail)

    def close(self) -> None:
        """End the server that lends the processor, and let go of those on other machines."""
        for watch in self._watches.values():
            watch.close()
        if self._lender is not None:
            self._lender.stop()


def healthy(
    port: int,
    path: str = "/health",
    *,
    headers: Mapping[str, str] | None = None,
    host: str = LOOPBACK,
    timeout_s: float = ANSWER_S,
) -> bool:
    """Whether a server of this machine answers 200; a refused or broken connection is a no."""
    connection = http.client.HTTPConnection(host, port, timeout=timeout_s)
    try:
        with suppress(OSError, http.client.HTTPException):
            connection.request("GET", path, headers=dict(headers or {}))
            return connection.getresponse().status == http.client.OK
        return False
    finally:
        connection.close()


def _lent(request: LaunchRequest, *endpoints: str) -> LaunchRequest:
    """With the devices of a server that lends the processor, which then computes for both."""
    return replace(request, rpc=endpoints, n_threads=request.n_threads or 1)


def _lent_beside(request: LaunchRequest) -> int:
    """Cards of the demo rig beside those of other machines; named before them, they come first."""
    if not request.devices or not request.rpc:
        return 0
    return sum(gpu_id.startswith("demo-") for gpu_id in request.gpu_ids)
