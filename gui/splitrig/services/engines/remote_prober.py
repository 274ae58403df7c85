"""Looks at RPC servers in the background, one after the other, for a window that must not wait."""

import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from splitrig.core.errors import SplitRigError
from splitrig.core.remote import Protocol, RemoteEndpoint, RemoteServer
from splitrig.core.remote_words import judged
from splitrig.services.engines.lender import engine_protocol
from splitrig.services.engines.llama_server import LlamaServer
from splitrig.services.engines.probe import ProbeCancelledError
from splitrig.services.engines.rpc_probe import probe
from splitrig.services.mailbox import Mailbox


@dataclass(frozen=True, slots=True)
class RemoteLooked:
    """A server was looked at; with the cards of the last good look where this one was none."""

    server: RemoteServer


class RemoteProber:
    """Posts `RemoteLooked` for every server it was asked to look at."""

    def __init__(
        self,
        mailbox: Mailbox,
        in_use: Callable[[], Collection[str]] = tuple,
        engine: Callable[[], LlamaServer] | None = None,
    ) -> None:
        """Look at nothing yet.

        Args:
            mailbox: Where news goes.
            in_use: Tells which addresses engines of ours use, as they stand in `--rpc`; asked
                before every look, on the prober's thread.
            engine: Gives the engine that is to use the servers, whose protocol is then compared
                with theirs; may raise `SplitRigError` where there is none.
        """
        self._mailbox = mailbox
        self._in_use = in_use
        self._engine = engine
        self._speaks: dict[LlamaServer, Protocol | None] = {}
        self._lock = threading.Lock()
        self._waiting: list[RemoteEndpoint] = []
        self._seen: dict[RemoteEndpoint, RemoteServer] = {}
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def look(self, endpoints: Sequence[RemoteEndpoint]) -> None:
        """Look at these as soon as those before them are done; never blocks."""
        with self._lock:
            self._waiting += [e for e in endpoints if e not in self._waiting]
            if self._thread is None and self._waiting and not self._closing.is_set():
                self._thread = threading.Thread(target=self._run, name="remote prober")
                self._thread.start()

    def forget(self, endpoint: RemoteEndpoint) -> None:
        """Drop what is known of a server."""
        with self._lock:
            self._seen.pop(endpoint, None)
            self._waiting = [e for e in self._waiting if e != endpoint]

    def close(self) -> None:
        """Give up; blocks until the look in progress has ended, for some 3 s at most."""
        self._closing.set()
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._waiting or self._closing.is_set():
                    self._thread = None
                    return
                endpoint = self._waiting.pop(0)
            try:
                found = probe(endpoint, in_use=self._in_use(), cancelled=self._closing.is_set)
            except ProbeCancelledError:
                continue
            if found.usable:
                found = judged(found, self._own_protocol())
            with self._lock:
                found = found.after(self._seen.get(endpoint))
                self._seen[endpoint] = found
            self._mailbox.post(RemoteLooked(found))

    def _own_protocol(self) -> Protocol | None:
        """What the engine speaks, asked once; `None` where there is none or it does not say."""
        if self._engine is None:
            return None
        try:
            server = self._engine()
            if server not in self._speaks:
                self._speaks[server] = engine_protocol(server, self._closing.is_set)
        except SplitRigError:
            return None  # a start says why
        return self._speaks[server]
