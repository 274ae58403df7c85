"""Looks at a Ray cluster and runs its head in the background, for a window that must not wait."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from splitrig.core.errors import EngineError, SplitRigError
from splitrig.core.ray import RayState, settled
from splitrig.core.vllm import Cluster
from splitrig.services.engines.helpers import RAY_NAME, Kept
from splitrig.services.engines.line_feed import LineFeed
from splitrig.services.engines.probe import ProbeCancelledError
from splitrig.services.engines.ray_cluster import RayHead, read_ray
from splitrig.services.engines.vllm_program import VllmProgram
from splitrig.services.mailbox import Mailbox

WATCH_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class RayNews:
    """A cluster was looked at, or its head on this machine started or ended.

    Attributes:
        cluster: Which.
        state: What it holds; `None` where it could not be asked.
        has_head: Its head was started here and runs.
        error: Why it could not be asked, or does not run any more.
    """

    cluster: Cluster
    state: RayState | None = None
    has_head: bool = False
    error: SplitRigError | None = None


class RayJobs:
    """Each job on a thread of its own; posts `RayNews`, and the head's `EngineLogLines`."""

    def __init__(
        self, mailbox: Mailbox, program: Callable[[], VllmProgram], kept: Kept | None = None
    ) -> None:
        """Do nothing yet.

        Args:
            mailbox: Where news goes.
            program: Gives the vLLM whose Ray is used; may raise `SplitRigError`.
            kept: Where the head's log and record lie; `None` for nowhere.
        """
        self._mailbox = mailbox
        self._kept = kept
        self._program = program
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._stopping = threading.Event()
        self._head_begun = False
        self._threads: list[threading.Thread] = []

    def look(self, cluster: Cluster) -> None:
        """Ask a cluster what it holds; returns at once."""
        self._spawn(lambda: self._look(cluster), "ray look")

    def start_head(self, cluster: Cluster, devices: tuple[str, ...]) -> None:
        """Start the head of a cluster here, with these of the engine's devices; returns at once.

        Does nothing while one runs.
        """
        with self._lock:
            if self._head_begun:
                return
            self._head_begun = True
        self._stopping.clear()
        self._spawn(lambda: self._run_head(cluster, devices), "ray head")

    def stop_head(self) -> None:
        """End the head that runs here; returns at once, does nothing without one."""
        self._stopping.set()

    def close(self) -> None:
        """End the head and give up every look; blocks until they are gone."""
        self._closing.set()
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _spawn(self, work: Callable[[], None], name: str) -> None:
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        if not self._closing.is_set():
            thread = threading.Thread(target=work, name=name)
            self._threads.append(thread)
            thread.start()

    def _given_up(self) -> bool:
        return self._closing.is_set() or self._stopping.is_set()

    def _look(self, cluster: Cluster) -> None:
        with self._lock:
            has_head = self._head_begun
        try:
            state = self._ask(cluster, self._closing.is_set)
            found = settled(cluster, state)
            self._mailbox.post(RayNews(cluster=found, state=state, has_head=has_head))
        except ProbeCancelledError:
            return
        except SplitRigError as error:
            self._mailbox.post(RayNews(cluster=cluster, error=error, has_head=has_head))

    def _ask(self, cluster: Cluster, cancelled: Callable[[], bool]) -> RayState:
        return read_ray(self._program(), f"{cluster.host_ip}:{cluster.port}", cancelled)

    def _run_head(self, cluster: Cluster, devices: tuple[str, ...]) -> None:
        """Start the head, tell what it holds, and watch it until it ends or is to end."""
        error: SplitRigError | None = None
        try:
            error = self._with_head(cluster, devices)
        except ProbeCancelledError:
            error = None
        except SplitRigError as caught:
            error = caught
        with self._lock:
            self._head_begun = False
        self._mailbox.post(RayNews(cluster=cluster, error=error))

    def _with_head(self, cluster: Cluster, devices: tuple[str, ...]) -> SplitRigError | None:
        """Blocks while the head runs.

        Returns:
            Why it ended; `None` where that was wanted.

        Raises:
            SplitRigError: It did not start, or cannot be asked.
        """
        feed = LineFeed(0, source=RAY_NAME)

        def tell(lines: list[str]) -> None:
            feed.add(lines)
            if (news := feed.take()) is not None:
                self._mailbox.post(news)

        head = RayHead(
            self._program(),
            cluster,
            tell,
            devices=devices,
            cancelled=self._given_up,
            kept=self._kept,
        )
        try:
            state = self._ask(head.cluster, self._given_up)
            found = settled(head.cluster, state)
            self._mailbox.post(RayNews(cluster=found, state=state, has_head=True))
            while not self._stopping.wait(WATCH_S):
                code = head.poll()
                if code is not None:
                    return EngineError(
                        f"Ray's head here ended (exit code {code}).", "Start it again."
                    )
            return None
        finally:
            head.stop()
