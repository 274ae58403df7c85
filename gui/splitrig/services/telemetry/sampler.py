"""Reads all sources at their own pace and posts one rig at a steady one."""

import logging
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from splitrig.core.errors import TelemetryError
from splitrig.core.gpu import Rig
from splitrig.core.specs import parse_specs
from splitrig.services import clock
from splitrig.services.mailbox import Mailbox
from splitrig.services.store.resources import resource
from splitrig.services.telemetry.demo import DemoSource
from splitrig.services.telemetry.drm import DRM_ROOT
from splitrig.services.telemetry.merge import merge
from splitrig.services.telemetry.nvml import NvmlSource
from splitrig.services.telemetry.reader import REPROBE_S, Reader
from splitrig.services.telemetry.rocm_smi import RocmSmiSource
from splitrig.services.telemetry.source import Source

log = logging.getLogger(__name__)

SOURCE_NAMES = ("nvml", "sysfs", "amd-smi", "rocm-smi", "intel", "windows", "demo")
"""All names of the command line; `READY_NAMES` of them work."""
READY_NAMES = ("nvml", "rocm-smi", "demo")

_FIRST_S = 6.0
"""Longest wait for a first card before a rig without one is shown, seconds."""
_PATIENCE_S = 0.5
"""Longest wait for a cheap source within one tick, seconds."""
_PATIENCE_ONCE_S = 12.0
"""Longest wait for a single reading, seconds; more than the slowest source's own limit."""
_CLOSE_S = 0.8


def default_sources(
    *, demo: bool = False, only: str | None = None, drm_root: Path | None = None
) -> tuple[Source, ...]:
    """The sources of this machine, the most trusted first.

    Args:
        demo: The made-up rig and nothing else.
        only: Name of the one source to use.
        drm_root: Stands for /sys/class/drm.

    Raises:
        TelemetryError: `only` names no source that works.
    """
    if demo or only == "demo":
        return (DemoSource(),)
    if only is not None and only not in READY_NAMES:
        raise TelemetryError(
            f"The source '{only}' does not work yet.", f"Use one of {', '.join(READY_NAMES)}."
        )
    specs = parse_specs(resource("gpu_specs.csv").read_text(encoding="utf-8"))
    root = DRM_ROOT if drm_root is None else drm_root
    sources: list[Source] = []
    if only in (None, "nvml"):
        sources.append(NvmlSource(specs, drm_root=root))
    if only == "rocm-smi" or (only is None and sys.platform != "win32"):
        sources.append(RocmSmiSource(specs, drm_root=root))
    return tuple(sources)


class Sampler:
    """Posts a `Rig` to the mailbox at every interval, whatever the sources do.

    Each source has a thread of its own, so one that hangs in a driver delays nobody.

    Attributes:
        interval_s: Time between two rigs, seconds; may be changed while running.

    Args:
        mailbox: Where the rigs go.
        sources: What is read, the most trusted first; closed together with the sampler.
        interval_s: Time between two rigs, seconds.
        reprobe_s: Time between two looks for cards while a source has none or fails, seconds.
    """

    def __init__(
        self,
        mailbox: Mailbox,
        sources: Sequence[Source],
        interval_s: float = 1.0,
        *,
        reprobe_s: float = REPROBE_S,
    ) -> None:
        self.interval_s = interval_s
        self._mailbox = mailbox
        self._news = threading.Condition()
        self._readers = [Reader(source, self._news, reprobe_s) for source in sources]
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._latest: Rig | None = None
        self._thread = threading.Thread(target=self._run, name="telemetry")

    @property
    def latest(self) -> Rig | None:
        """The last rig posted; `None` before the first."""
        return self._latest

    def start(self) -> None:
        """Start reading; does not block."""
        for reader in self._readers:
            reader.start()
        self._thread.start()

    def refresh(self) -> None:
        """Look for cards from scratch, now; does not block."""
        for reader in self._readers:
            reader.refresh()
        self._wake.set()

    def close(self) -> None:
        """End all threads; takes at most a second, also when a driver hangs."""
        deadline_s = time.monotonic() + _CLOSE_S
        self._stopping.set()
        self._wake.set()
        for reader in self._readers:
            reader.stop()
        with self._news:
            self._news.notify_all()
        if self._thread.ident is not None:
            self._thread.join()
        for reader in self._readers:
            reader.join(deadline_s - time.monotonic())

    def _run(self) -> None:
        start_s = time.monotonic()
        shown = False
        while not self._stopping.is_set():
            tick_s = time.monotonic()
            try:
                self._read_cheap()
                now_s = time.monotonic()
                readings = [reader.reading(now_s) for reader in self._readers]
                rig = merge(readings, clock.now_s())
                answered = all(reader.answered for reader in self._readers)
                # An empty rig is a statement; before everyone has answered it would be a guess.
                shown = shown or bool(rig.gpus) or answered or tick_s - start_s > _FIRST_S
                if shown and not self._stopping.is_set():
                    self._latest = rig
                    self._mailbox.post(rig)
            except Exception:
                log.exception("A rig could not be put together")
            pause_s = self.interval_s if shown else 0.1
            self._wake.wait(max(tick_s + pause_s - time.monotonic(), 0.01))
            # Here and nowhere else: a request to end that comes later is still seen or still set.
            self._wake.clear()

    def _read_cheap(self) -> None:
        """Ask the cheap sources and give them a moment; a late one shows at the next tick."""
        cheap = [reader for reader in self._readers if reader.cheap]
        for reader in cheap:
            reader.ask()
        patience_s = min(_PATIENCE_S, self.interval_s / 2)
        with self._news:
            self._news.wait_for(
                lambda: self._stopping.is_set() or not any(reader.asked for reader in cheap),
                patience_s,
            )


def read_rig(
    sources: Sequence[Source],
    *,
    timeout_s: float = _PATIENCE_ONCE_S,
    cancelled: Callable[[], bool] = lambda: False,
) -> Rig:
    """Read every source once; blocks until the slowest has answered or the time is up.

    The sources are closed afterwards. A source that hangs is told of in the notes; so is one that
    was not waited for, because the caller cancelled.
    """
    news = threading.Condition()
    readers = [Reader(source, news) for source in sources]
    for reader in readers:
        reader.start()
        reader.ask()
    end_s = time.monotonic() + timeout_s
    with news:
        while not cancelled() and time.monotonic() < end_s:
            if news.wait_for(lambda: all(reader.answered for reader in readers), 0.1):
                break
    rig = merge([reader.only_reading(timeout_s) for reader in readers], clock.now_s())
    deadline_s = time.monotonic() + _CLOSE_S
    for reader in readers:
        reader.stop()
    for reader in readers:
        reader.join(deadline_s - time.monotonic())
    return rig
