"""tok/s through the window against curl, on the same engine, turn by turn.

The question goes through the chat page, which draws the answer; curl asks with the same body. Both
are measured where the answer arrives: tokens after the first news of it by the seconds until the
last. For the window that is what reaches its pages, for curl each line.
"""

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from PySide6.QtCore import QEventLoop, QTimer

from splitrig.app import Desktop, make_application
from splitrig.core.chat import Answer
from splitrig.core.engine import Phase

TOKENS = 300
TURNS = 21
"""Many short turns side by side: a machine's speed wanders by 10 % within seconds."""
QUESTION = "Write a long story about a lighthouse keeper, her dog and the sea."


def wait(desktop: Desktop, condition, timeout_s: float) -> None:
    """Run the event loop until `condition` holds."""
    loop = QEventLoop()
    timer = QTimer()
    timer.setInterval(5)
    timer.timeout.connect(lambda: condition() and loop.quit())
    timer.start()
    QTimer.singleShot(round(timeout_s * 1000), loop.quit)
    if not condition():
        loop.exec()
    if not condition():
        raise TimeoutError(desktop.engine.status.failure or "the engine did not answer in time")


def by_curl(url: str, key: str, body: dict[str, object]) -> float:
    """tok/s of one streamed answer, read line by line from curl."""
    command = ["curl", "-sN", f"{url}/v1/chat/completions", "-H", f"Authorization: Bearer {key}"]
    command += ["-H", "Content-Type: application/json", "-d", json.dumps(body)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as curl:
        assert curl.stdout is not None
        times = [
            time.monotonic()
            for line in curl.stdout
            if line.startswith("data: {") and '"content":"' in line
        ]
    return (len(times) - 1) / (times[-1] - times[0])


def by_window(desktop: Desktop) -> float:
    """tok/s of one answer asked on the chat page and drawn there."""
    page = desktop.chat_page
    page.clear()
    news: list[tuple[float, int]] = []

    def take(answer: Answer) -> None:
        if answer.stats.tokens:
            news.append((time.monotonic(), answer.stats.tokens))

    before = desktop.answers_ended
    desktop.chat.answer_changed.connect(take)
    page.ask(QUESTION)
    wait(desktop, lambda: desktop.answers_ended > before, 120)
    desktop.chat.answer_changed.disconnect(take)
    assert desktop.last_answer is not None
    assert page.answers[-1].text == desktop.last_answer.text
    (start_s, first), (end_s, last) = news[0], news[-1]
    assert last > TOKENS * 0.9, news[-1]
    return (last - first) / (end_s - start_s)


def main() -> int:
    app = make_application()
    desktop = Desktop(app, demo=True, model=Path(sys.argv[1]))
    desktop.show()
    wait(desktop, lambda: desktop.ready_to_start, 20)
    desktop.start_engine()
    wait(desktop, lambda: desktop.engine.status.phase is Phase.READY, 60)
    desktop.window.show_page("chat")
    options = desktop.chat_page.composer.popup
    options.temperature.setValue(0)
    options.max_tokens.setValue(TOKENS)
    status = desktop.engine.status
    assert status.url
    assert status.api_key
    body = {
        "messages": [{"role": "user", "content": QUESTION}],
        "max_tokens": TOKENS,
        "temperature": 0.0,
        "stream": True,
        "timings_per_token": True,
        "return_progress": True,
        "stream_options": {"include_usage": True},
    }
    by_curl(status.url, status.api_key, {**body, "max_tokens": 20})
    window, curl = [], []
    for turn in range(TURNS):
        # the order changes, so that a machine that slows down slows both
        for ours in (turn % 2 == 0, turn % 2 == 1):
            if ours:
                window.append(by_window(desktop))
            else:
                curl.append(by_curl(status.url, status.api_key, body))
    ratios = [a / b for a, b in zip(window, curl, strict=True)]
    figures = {
        "window": statistics.median(window),
        "curl": statistics.median(curl),
        "ratio": statistics.median(ratios),
        "ratios": ratios,
    }
    print(json.dumps(figures))
    desktop.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
