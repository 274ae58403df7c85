"""The peer, a window with one pyqtgraph plot: prints the ms from its spawn to its first paint."""

import os
import sys
import time

from PySide6.QtCore import QEvent, QObject, QTimer
from PySide6.QtWidgets import QApplication, QMainWindow


class FirstPaint(QObject):
    """Ends the program after the first paint of the watched widget."""

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Paint:
            watched.removeEventFilter(self)
            QTimer.singleShot(0, self.tell)
        return False

    def tell(self) -> None:
        print(1000 * (time.monotonic() - float(os.environ["SPAWNED_AT"])), flush=True)
        QApplication.quit()


def main() -> int:
    app = QApplication(sys.argv)
    import pyqtgraph as pg

    window = QMainWindow()
    plot = pg.PlotWidget()
    plot.plot(list(range(600)), [i % 7 for i in range(600)])
    window.setCentralWidget(plot)
    window.resize(1280, 800)
    watcher = FirstPaint()
    plot.viewport().installEventFilter(watcher)
    window.show()
    return app.exec()


if __name__ == "__main__":
    sys.exit(main())
