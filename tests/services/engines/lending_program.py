"""A small program that lends the processor; the tests kill it and look what is left.

Arguments: folder of the records, and a llama-server with a `ggml-rpc-server` beside it. Prints one
JSON line when it lends and its record has been brought up to date.
"""

import json
import sys
import time
from pathlib import Path

import psutil

from splitrig.core.lending import LendPhase, LendRequest
from splitrig.services.engines.helpers import Kept
from splitrig.services.engines.lender import Lender
from splitrig.services.engines.llama_server import LlamaServer
from splitrig.services.mailbox import Mailbox


def main() -> None:
    folder, server = Path(sys.argv[1]), LlamaServer(Path(sys.argv[2]))
    lender = Lender(Mailbox(), Kept(log_dir=folder.parent / "logs", records=folder))
    lender.start(server, LendRequest(devices=("CPU",), port=0, n_threads=1))
    while lender.status.phase is not LendPhase.LISTENING:
        time.sleep(0.05)
    time.sleep(0.7)
    pid = lender.status.pid
    assert pid is not None
    guard = psutil.Process(pid).parents()[1].pid
    lines = [lender.status.endpoint]
    print(json.dumps({"engine": pid, "guard": guard, "lines": lines}), flush=True)
    time.sleep(600)


if __name__ == "__main__":
    main()
