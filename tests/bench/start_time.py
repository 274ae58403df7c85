"""Start to healthy: the bare engine by hand against the supervisor, on the same two devices."""

import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from splitrig.core.engine import LaunchRequest, Phase
from splitrig.core.footprint import Backend
from splitrig.core.gpu import Rig
from splitrig.core.plan import PlanDevice, PlanRequest, make_plan
from splitrig.core.settings import EngineSettings
from splitrig.core.units import GIB
from splitrig.services.engines.engines import Engines
from splitrig.services.engines.llama_server import find_llama_server
from splitrig.services.engines.ports import accepts, free_port
from splitrig.services.engines.supervisor import Supervisor
from splitrig.services.mailbox import Mailbox
from splitrig.services.models.gguf import read_model

REQUEST = PlanRequest(split=(3.0, 1.0), n_ctx=4096)


def healthy(port: int) -> bool:
    """Whether /health answers 200."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def raw_start_s(model: Path) -> float:
    """Seconds from starting rpc-server and llama-server by hand to health, polled every 10 ms."""
    server = find_llama_server()
    rpc_port, port = free_port(), free_port()
    assert server.rpc_server is not None
    request = LaunchRequest(model=model, plan=REQUEST, rpc=(f"127.0.0.1:{rpc_port}",), n_threads=1)
    command = server.command(request, ("RPC0", "RPC1"), port)
    helper = [str(server.rpc_server), "-H", "127.0.0.1", "-p", str(rpc_port), "-t", "1"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    start = time.monotonic()
    with subprocess.Popen([*helper, "-d", "CPU,CPU"], env=server.environment(), **quiet) as lender:
        while not accepts(rpc_port):
            time.sleep(0.005)
        with subprocess.Popen(command, env=server.environment(), **quiet) as engine:
            while not healthy(port):
                time.sleep(0.01)
            seconds = time.monotonic() - start
            engine.terminate()
        lender.terminate()
    return seconds


def splitrig_start_s(model: Path) -> float:
    """Seconds from pressing Start to READY, through the supervisor."""
    with tempfile.TemporaryDirectory() as folder:
        engines = Engines(Mailbox(), EngineSettings())
        supervisor = Supervisor(Mailbox(), engines, log_dir=Path(folder))
        devices = [
            PlanDevice(name=f"RPC{n}", id=f"demo-{n}", free_bytes=8 * GIB, backend=Backend.RPC)
            for n in range(2)
        ]
        request = LaunchRequest(model=model, gpu_ids=("demo-0", "demo-1"), plan=REQUEST)
        plan = make_plan(read_model(model), devices, REQUEST)
        engines.llama_server().capabilities()  # the window has asked for them before
        start = time.monotonic()
        supervisor.start(request, plan, Rig(time_s=0, demo=True))
        while supervisor.status.phase is not Phase.READY:
            assert supervisor.status.failure is None, supervisor.status.failure
            time.sleep(0.005)
        seconds = time.monotonic() - start
        supervisor.close()
    return seconds
