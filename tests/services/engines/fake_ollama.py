"""Stands for an Ollama on cards this machine lacks: prints what it was recorded to print.

`FAKE_CARDS` names the file with its lines about cards, `FAKE_SEEN` the one that gets its
environment. The lines are those of real ones (see tests/unit/core/test_ollama_log.py).
"""

import json
import os
import sys
import time
from pathlib import Path

if "--version" in sys.argv:
    print("Warning: could not connect to a running Ollama instance")
    print(f"Warning: client version is {os.environ.get('FAKE_VERSION', '0.32.15')}")
else:
    Path(os.environ["FAKE_SEEN"]).write_text(json.dumps(dict(os.environ)))
    print('time=x level=INFO msg="Listening on 127.0.0.1:1 (version 0.32.15)"', flush=True)
    print(Path(os.environ["FAKE_CARDS"]).read_text(), flush=True)
    time.sleep(60)
