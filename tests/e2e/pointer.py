"""A real pointer and keyboard on the X server, for a window in this process."""

import subprocess

from PySide6.QtCore import QPoint
from PySide6.QtWidgets import QAbstractButton, QLabel, QWidget
from pytestqt.qtbot import QtBot


class Pointer:
    """Moves the X pointer with xdotool; Qt gets the events the way it gets a user's."""

    def __init__(self, qtbot: QtBot) -> None:
        self._qtbot = qtbot

    def _xdotool(self, *arguments: str) -> None:
        with subprocess.Popen(["xdotool", *arguments]) as process:
            self._qtbot.waitUntil(lambda: process.poll() is not None, timeout=10_000)
        assert process.returncode == 0
        self._qtbot.wait(30)

    def click(self, widget: QWidget, at: QPoint | None = None) -> None:
        """Press and release the left button on a visible, enabled widget."""
        self._qtbot.waitUntil(lambda: widget.isVisible() and widget.isEnabled(), timeout=10_000)
        self._wait_still(widget)
        point = widget.mapToGlobal(at if at is not None else widget.rect().center())
        self._xdotool("mousemove", "--sync", str(point.x()), str(point.y()), "click", "1")

    def _wait_still(self, widget: QWidget) -> None:
        """Wait until the layout no longer moves a widget, as a user does without thinking."""
        before = None
        while before != (before := widget.mapToGlobal(widget.rect().center())):
            self._qtbot.wait(100)

    def drag(self, widget: QWidget, start: QPoint, end: QPoint, steps: int = 12) -> None:
        """Press at `start`, move to `end` in steps, release."""
        a, b = widget.mapToGlobal(start), widget.mapToGlobal(end)
        self._xdotool("mousemove", "--sync", str(a.x()), str(a.y()), "mousedown", "1")
        for step in range(1, steps + 1):
            x = a.x() + (b.x() - a.x()) * step // steps
            y = a.y() + (b.y() - a.y()) * step // steps
            self._xdotool("mousemove", "--sync", str(x), str(y))
        self._xdotool("mouseup", "1")

    def type(self, text: str) -> None:
        """Type on the keyboard into whatever has the focus."""
        self._xdotool("type", "--delay", "12", text)

    def key(self, name: str) -> None:
        """Press one key, such as `Return`."""
        self._xdotool("key", name)


def button(parent: QWidget, text: str) -> QAbstractButton:
    """The visible button with this text or accessible name."""
    found = [
        b
        for b in parent.findChildren(QAbstractButton)
        if b.isVisible() and text in (b.text(), b.accessibleName())
    ]
    assert len(found) == 1, (text, [b.text() for b in parent.findChildren(QAbstractButton)])
    return found[0]


def texts(parent: QWidget, part: str) -> list[str]:
    """Texts of visible labels that contain `part`."""
    labels = parent.findChildren(QLabel)
    return [w.text() for w in labels if w.isVisible() and part in w.text()]
