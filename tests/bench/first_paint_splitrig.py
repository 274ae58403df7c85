"""SplitRig itself: prints the ms from the parent's spawn to the first paint of its window."""

import sys

from PySide6.QtWidgets import QApplication
from tests.bench.first_paint_bare import FirstPaint

from splitrig.app import Desktop, make_application


def main() -> int:
    app = make_application()
    desktop = Desktop(app)
    watcher = FirstPaint()
    desktop.show()
    # after the program's own filter: the last one is asked first, and the rest of the program is
    # built in a timer that the other filter starts
    desktop.window.installEventFilter(watcher)
    code = QApplication.exec()
    desktop.close()
    return code


if __name__ == "__main__":
    sys.exit(main())
