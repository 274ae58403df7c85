"""A small program that runs an engine with a record; the tests kill it and look what is left.

Arguments: folder of the records, then the engine's command. Prints one JSON line when the record
has been brought up to date after the tree has grown, then goes on until it is killed.
"""

import json
import os
import sys
import time
from pathlib import Path

from splitrig.core.orphan import RunAbout
from splitrig.services.engines.records import launch_recorded


def main() -> None:
    folder, command = Path(sys.argv[1]), sys.argv[2:]
    about = RunAbout(kind="llama.cpp", port=8137, model="m.gguf", cards=("GPU-1",))
    lines: list[str] = []
    process = launch_recorded(command, os.environ, lines.extend, about=about, folder=folder)
    deadline = time.monotonic() + 0.7
    while time.monotonic() < deadline:
        process.poll()
        time.sleep(0.05)
    news = {"engine": process.pid, "guard": process.guard_pid, "lines": lines}
    print(json.dumps(news), flush=True)
    while process.poll() is None:
        time.sleep(0.05)
    process.close()


if __name__ == "__main__":
    main()
