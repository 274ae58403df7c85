"""A flood of log lines through the window: how long it blocks, what memory it takes.

A real child writes; its lines go the way of an engine's: reader, file, understanding, feed,
mailbox, pump, page. Arguments: page in front, MB to warm up with, MB to measure with.
"""

import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
from PySide6.QtCore import QEventLoop, Qt, QTimer

from splitrig.app import Desktop, make_application
from splitrig.core.engine_log import read_line
from splitrig.services.engines.line_feed import LineFeed
from splitrig.services.engines.log_file import LogFile
from splitrig.services.engines.process import launch

POST_S = 0.03
"""As often as a supervisor posts while an engine loads, the most it does."""
QUIET_S = 5.0
WRITER = Path(__file__).with_name("flood_writer.py")


class Heartbeat:
    """Beats every ms on the thread of the window, and remembers the longest pause."""

    def __init__(self) -> None:
        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.setInterval(1)
        self._timer.timeout.connect(self._beat)
        self._timer.start()
        self.reset()

    def reset(self) -> None:
        """Begin anew."""
        self._last = time.perf_counter()
        self.gaps_ms: list[float] = []

    def _beat(self) -> None:
        now = time.perf_counter()
        self.gaps_ms.append(1000 * (now - self._last))
        self._last = now


def spin(condition: Callable[[], bool], most_s: float = 300) -> None:
    """Run the event loop until the condition holds."""
    loop = QEventLoop()
    timer = QTimer()
    timer.setInterval(20)
    end = time.monotonic() + most_s
    timer.timeout.connect(lambda: (condition() or time.monotonic() > end) and loop.quit())
    timer.start()
    loop.exec()
    if not condition():
        raise TimeoutError


def flood(desktop: Desktop, megabytes: int, folder: Path) -> dict[str, float]:
    """One run of the writer, to the last line in the window; gives what the writer says."""
    feed = LineFeed()
    ended = threading.Event()

    def understand(lines: list[str]) -> None:
        feed.add(lines)
        for line in lines:
            read_line(line)

    def supervise() -> None:
        said = folder / "said.json"
        log = LogFile(folder / "logs", "flood")
        command = [sys.executable, str(WRITER), str(megabytes), str(said)]
        process = launch(command, dict(os.environ), understand, log)
        while process.poll() is None:
            time.sleep(POST_S)
            if (news := feed.take()) is not None:
                desktop.mailbox.post(news)
        process.close()
        if (news := feed.take()) is not None:
            desktop.mailbox.post(news)
        ended.set()

    before = desktop.logs_page.n_lines
    supervisor = threading.Thread(target=supervise)
    supervisor.start()
    spin(ended.is_set)
    supervisor.join()
    said: dict[str, float] = json.loads((folder / "said.json").read_text())
    spin(lambda: desktop.logs_page.n_lines > before and not desktop.logs_page.n_queued)
    return said


def main() -> int:
    page, warm_mb, measured_mb = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    desktop = Desktop(make_application(), demo=True)
    desktop.show()
    desktop.complete()
    desktop.window.show_page(page)
    process = psutil.Process()
    heart = Heartbeat()
    with tempfile.TemporaryDirectory() as name:
        flood(desktop, warm_mb, Path(name))
        heart.reset()
        begun = time.monotonic()
        spin(lambda: time.monotonic() - begun > QUIET_S)
        quiet = heart.gaps_ms
        rss_before = process.memory_info().rss
        peak = [rss_before]
        sampler = QTimer()
        sampler.setInterval(100)
        sampler.timeout.connect(lambda: peak.append(process.memory_info().rss))
        sampler.start()
        heart.reset()
        said = flood(desktop, measured_mb, Path(name))
        gaps = sorted(heart.gaps_ms)
    print(
        json.dumps(
            {
                "longest_block_ms": gaps[-1],
                "blocks_over_50_ms": sum(gap > 50 for gap in gaps),
                "p999_block_ms": gaps[int(len(gaps) * 0.999)],
                "quiet_block_ms": max(quiet),
                "growth_mb": (max(peak) - rss_before) / 1e6,
                "rss_mb": max(peak) / 1e6,
                "lines_told": desktop.logs_page.n_lines,
                "writer": said,
            }
        ),
        flush=True,
    )
    desktop.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
