"""`ray start --head --block`: prints the recorded lines, listens, has a child, and waits."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

options = dict(word.partition("=")[::2] for word in sys.argv[1:])
if os.environ.get("FAKE_RAY") == "fails":
    print("ValueError: Ray component worker_ports is trying to use a port that is used.")
    sys.exit(1)
with socket.create_server((options["--node-ip-address"], int(options["--port"]))):
    child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    recorded = Path(os.environ["FAKE_RAY_RECORDED"]).with_name("ray_head.log")
    for line in recorded.read_text(encoding="utf-8").splitlines():
        print(line.split("\t", 1)[1], flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    signal.pause()
