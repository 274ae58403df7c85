"""The real program up to the middle of an answer; the test that starts it then kills it.

Prints one JSON line with the engine's process id and its helpers as soon as text arrives.
"""

import json
import sys
from pathlib import Path

import psutil
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication

from splitrig.app import Desktop, make_application
from splitrig.core.chat import ChatOptions, Message, Role
from splitrig.core.engine import EngineStatus, Phase


def main() -> int:
    app = make_application()
    desktop = Desktop(app, demo=True, model=Path(sys.argv[1]))
    desktop.show()
    told = []

    def start_when_possible() -> None:
        if desktop.ready_to_start:
            waiting.stop()
            desktop.start_engine()

    def ask(status: EngineStatus) -> None:
        if status.phase is Phase.READY:
            question = "Tell me a very long story about the sea and its people."
            options = ChatOptions(temperature=0, max_tokens=1500)
            desktop.ask([Message(Role.USER, question)], options)
        elif status.phase is Phase.FAILED:
            print(json.dumps({"failed": str(status.failure)}), flush=True)

    def tell(*_news: object) -> None:
        answer = desktop.last_answer
        if answer is not None and answer.stats.tokens >= 3 and not told:
            told.append(True)
            children = psutil.Process().children(recursive=True)
            names = {p.pid: p.name() for p in children}
            print(json.dumps({"engine": desktop.engine.status.pid, "below": names}), flush=True)

    waiting = QTimer()
    waiting.timeout.connect(start_when_possible)
    waiting.start(20)

    def listen() -> None:
        desktop.engine.status_changed.connect(ask)
        desktop.chat.answer_changed.connect(tell)

    desktop.completed.connect(listen)
    return QApplication.exec()


if __name__ == "__main__":
    sys.exit(main())
