"""tok/s through the window against curl, on the same engine, turn by turn; run it as
`tokens_splitrig.py MODEL ENGINE TURNS TOKENS`, with `--demo` behind for the demo rig.

The question goes through the chat page, which draws the answer; curl asks with the same body. Both
are measured where the answer arrives: tokens after the first news of it by the seconds until the
last. For the window that is what reaches its pages, for curl each line.
"""

import json
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

from PySide6.QtCore import QEventLoop, QTimer

from splitrig.app import Desktop, make_application
from splitrig.core.chat import Answer
from splitrig.core.engine import Dialect, EngineKind, EngineStatus, Phase

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
        raise TimeoutError(desktop.engine.status.failure or "it did not come so far in time")


def body_for(status: EngineStatus, tokens: int) -> dict[str, object]:
    """What the chat sends, for curl."""
    messages = [{"role": "user", "content": QUESTION}]
    if status.dialect is Dialect.OLLAMA:
        options = {"temperature": 0.0, "num_predict": tokens}
        return {"model": status.served_model, "messages": messages, "options": options}
    body: dict[str, object] = {
        "messages": messages,
        "max_tokens": tokens,
        "temperature": 0.0,
        "stream": True,
        "timings_per_token": True,
        "return_progress": True,
        "stream_options": {"include_usage": True},
    }
    return body


def by_curl(status: EngineStatus, tokens: int) -> float:
    """tok/s of one streamed answer, read line by line from curl."""
    ollama = status.dialect is Dialect.OLLAMA
    path = "/api/chat" if ollama else "/v1/chat/completions"
    command = [
        "curl",
        "-sN",
        f"{status.url}{path}",
        "-H",
        f"Authorization: Bearer {status.api_key}",
    ]
    command += ["-H", "Content-Type: application/json", "-d", json.dumps(body_for(status, tokens))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as curl:
        assert curl.stdout is not None
        # a chunk has a token, but for the first one, which names the speaker, and the last
        times = [
            time.monotonic()
            for line in curl.stdout
            if re.search(r'"content": ?"[^"]', line) and (ollama or line.startswith("data: {"))
        ]
    return (len(times) - 1) / (times[-1] - times[0])


def by_window(desktop: Desktop, tokens: int) -> float:
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
    assert last > tokens * 0.9, news[-1]
    return (last - first) / (end_s - start_s)


def measure(desktop: Desktop, engine: EngineKind, turns: int, tokens: int) -> dict[str, object]:
    """Start the engine, ask it by both ways in turn, and stop it."""
    wait(desktop, lambda: desktop.card_count > 0, 20)
    if engine is not EngineKind.LLAMA_CPP:
        row = desktop.launch_page.editor.model.engine
        row.chosen.emit(engine)
        wait(desktop, lambda: desktop.launch_page.planner.engine_build is not None, 60)
    wait(desktop, lambda: desktop.ready_to_start, 60)
    desktop.start_engine()
    ends = (Phase.READY, Phase.FAILED)
    wait(desktop, lambda: desktop.engine.status.phase in ends, 280)
    assert desktop.engine.status.phase is Phase.READY, desktop.engine.status.failure
    desktop.window.show_page("chat")
    options = desktop.chat_page.composer.popup
    options.temperature.setValue(0)
    options.max_tokens.setValue(tokens)
    status = desktop.engine.status
    by_curl(status, 20)
    window, curl = [], []
    for turn in range(turns):
        # the order changes, so that a machine that slows down slows both
        for ours in (turn % 2 == 0, turn % 2 == 1):
            if ours:
                window.append(by_window(desktop, tokens))
            else:
                curl.append(by_curl(status, tokens))
    begun_s = time.monotonic()
    desktop.engine.stop()
    wait(desktop, lambda: desktop.engine.status.phase is Phase.STOPPED, 10)
    ratios = [a / b for a, b in zip(window, curl, strict=True)]
    return {
        "window": statistics.median(window),
        "curl": statistics.median(curl),
        "ratio": statistics.median(ratios),
        "ratios": ratios,
        "stop_s": time.monotonic() - begun_s,
    }


def main() -> int:
    app = make_application()
    desktop = Desktop(app, demo="--demo" in sys.argv, model=Path(sys.argv[1]))
    desktop.show()
    engine, turns, tokens = EngineKind(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    try:
        print(json.dumps(measure(desktop, engine, turns, tokens)))
    finally:
        desktop.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
