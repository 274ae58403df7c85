"""What is imported after Qt is not read as text."""

import subprocess
import sys


def test_the_source_of_what_is_imported_after_qt_is_not_kept() -> None:
    """In a process of its own: here pytest has read sources for its own ends."""
    program = (
        "import linecache\n"
        "import splitrig.app, splitrig.views.launch.page, numpy\n"
        "from splitrig.bridge import qt_start\n"
        "assert qt_start.SKIPPED\n"
        "kept = [name for name in linecache.cache if 'splitrig' in name or 'numpy' in name]\n"
        "print(len(kept))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stderr == ""
    assert int(done.stdout) <= 1
