"""Pictures of every page on the demo rig, for the README and for whoever changes a page.

Run as `xvfb-run -a .venv/bin/python packaging/screenshots.py FOLDER [--theme dark|light]
[--size 1280x800] [--model FILE] [--seconds 40]`. A real engine answers; the settings of the user
are not touched. `--seconds` is how long the graphs run before the picture of the Rig page.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QEventLoop, QTimer

QUESTIONS = (
    "Write a short Python function that adds two numbers.",
    "Name three rivers in Europe and say one thing about each.",
    "Explain in two sentences what a GPU does.",
)


def spin(seconds: float) -> None:
    """Run the event loop for a while."""
    loop = QEventLoop()
    QTimer.singleShot(round(seconds * 1000), loop.quit)
    loop.exec()


def until(condition: Callable[[], object], most_s: float = 60) -> None:
    """Run the event loop until the condition holds."""
    end_s = time.monotonic() + most_s
    while not condition():
        if time.monotonic() > end_s:
            raise TimeoutError
        spin(0.05)


def main() -> None:
    """Take the pictures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--theme", choices=("dark", "light"), default="dark")
    parser.add_argument("--size", default="1280x800")
    parser.add_argument("--model", type=Path, help="planned on the Launch page; never loaded")
    parser.add_argument("--seconds", type=float, default=40)
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    options.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home:
        for name in ("CONFIG", "DATA", "STATE", "CACHE"):
            os.environ[f"XDG_{name}_HOME"] = str(Path(home) / name.lower())
        settings = Path(home) / "config" / "splitrig" / "settings.toml"
        settings.parent.mkdir(parents=True)
        settings.write_text(f'[appearance]\ntheme = "{options.theme}"\n', encoding="utf-8")
        take(options, width, height)


def take(options: argparse.Namespace, width: int, height: int) -> None:
    """Open the program, go through its pages, save a picture of each."""
    from splitrig.app import Desktop, make_application
    from splitrig.core.engine import Phase
    from splitrig.services.models.demo import demo_model

    desktop = Desktop(make_application(), demo=True, model=options.model or demo_model())
    window = desktop.window
    window.resize(width, height)
    desktop.show()

    def picture(name: str) -> None:
        spin(0.5)
        path = options.folder / f"{name}-{options.theme}-{options.size}.png"
        window.grab().save(str(path))
        print(path)

    desktop.complete()
    until(lambda: desktop.launch_page.plan is not None)
    for page in ("settings", "chat", "launch"):
        window.show_page(page)
        picture(page if page != "chat" else "chat-empty")
    if options.model is None:
        desktop.start_engine()
        until(lambda: desktop.engine.status.phase is Phase.READY)
        picture("running")
        window.show_page("chat")
        for number, question in enumerate(QUESTIONS):
            desktop.chat_page.ask(question)
            until(lambda n=number: desktop.answers_ended > n)
            spin(options.seconds / len(QUESTIONS))
        picture("chat")
        for page in ("rig", "logs"):
            window.show_page(page)
            picture(page)
    desktop.close()


if __name__ == "__main__":
    main()
