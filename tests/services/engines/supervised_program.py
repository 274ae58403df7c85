"""A small program that runs an engine; the test that starts it kills it by force.

Prints the process ids of everything below it as one JSON line once the engine is in the phase
named by the first argument, then waits.
"""

import json
import sys
import time
from pathlib import Path

import psutil
from tests.services.engines.conftest import planned

from splitrig.core.engine import Phase
from splitrig.core.gpu import Rig
from splitrig.core.settings import EngineSettings
from splitrig.services.engines.engines import Engines
from splitrig.services.engines.supervisor import Supervisor
from splitrig.services.mailbox import Mailbox


def main() -> None:
    wanted = Phase(sys.argv[1])
    engines = Engines(Mailbox(), EngineSettings())
    supervisor = Supervisor(Mailbox(), engines, log_dir=Path(sys.argv[2]))
    request, plan = planned(3.0, 1.0)
    supervisor.start(request, plan, Rig(time_s=0))
    while supervisor.status.phase is not wanted:
        if supervisor.status.failure is not None:
            print(json.dumps({"failed": supervisor.status.failure.message}), flush=True)
            return
        time.sleep(0.001)
    below = psutil.Process().children(recursive=True)
    print(json.dumps({"below": {p.pid: p.name() for p in below}}), flush=True)
    time.sleep(60)


if __name__ == "__main__":
    main()
