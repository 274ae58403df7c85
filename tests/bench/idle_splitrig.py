"""SplitRig with live graphs, left alone: prints its share of a core and its resident memory.

Arguments: page to show, seconds to settle, seconds to measure.
"""

import json
import sys

import psutil
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication

from splitrig.app import Desktop, make_application


def main() -> int:
    page, settle_s, measure_s = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
    app = make_application()
    desktop = Desktop(app)
    desktop.show()
    desktop.window.show_page(page)
    process = psutil.Process()
    readings = []

    def read() -> None:
        times = process.cpu_times()
        readings.append(times.user + times.system)
        if len(readings) == 1:
            QTimer.singleShot(round(1000 * measure_s), read)
        else:
            QApplication.quit()

    QTimer.singleShot(round(1000 * settle_s), read)
    QApplication.exec()
    result = {
        "cpu_pct": 100 * (readings[1] - readings[0]) / measure_s,
        "rss_mb": process.memory_info().rss / 1e6,
        "cards": desktop.card_count,
    }
    print(json.dumps(result), flush=True)
    desktop.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
