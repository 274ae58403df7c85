"""Ray, which joins the cards of several machines for vLLM: its head here, and what it holds."""

import json
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from splitrig.core.errors import EngineError
from splitrig.core.orphan import RAY_HEAD, RunAbout
from splitrig.core.ray import RayNode, RayState, join_command, settled
from splitrig.core.vllm import Cluster, VllmOptions
from splitrig.services.engines.helpers import Kept, launch_helper
from splitrig.services.engines.ports import answers, free_port
from splitrig.services.engines.probe import (
    Cancelled,
    ProbeCancelledError,
    never,
    probe,
    wait_until,
)
from splitrig.services.engines.process import EngineProcess
from splitrig.services.engines.vllm_program import VllmCapabilities, VllmProgram

START_S = 30
ASK_S = 60
INSTALL = "Install it into the same environment: pip install ray"
_SAID = "splitrig-ray:"
_STARTED = "Ray runtime started"

_SCRIPT = """
import json, logging, sys
sys.path[:] = [p for p in sys.path if p]
import ray
try:
    ray.init(address=sys.argv[1], logging_level=logging.ERROR, log_to_driver=False,
             configure_logging=False)
    mine = ray.get_runtime_context().get_node_id()
    nodes = [{"ip": n["NodeManagerAddress"], "here": n["NodeID"] == mine, "alive": bool(n["Alive"]),
              "cards": int(n["Resources"].get("GPU", 0)),
              "labels": [r[17:] for r in n["Resources"] if r.startswith("accelerator_type:")]}
             for n in sorted(ray.nodes(), key=lambda n: (n["NodeID"] != mine, n["NodeID"]))]
    told = {"nodes": nodes, "free": int(ray.available_resources().get("GPU", 0))}
    ray.shutdown()
except Exception as error:
    told = {"error": str(error).strip().splitlines()[0] if str(error).strip() else repr(error)}
print("splitrig-ray:" + json.dumps(told))
"""
"""Ray lists its machines in any order; vLLM's stages begin on its own one and go on by their ids
(`get_bundles_sorted_by_node` in v1/executor/ray_utils.py)."""


def read_ray(program: VllmProgram, address: str, cancelled: Cancelled = never) -> RayState:
    """Ask a cluster what it holds; blocks for some seconds.

    Args:
        program: The vLLM whose Ray is asked.
        address: `host:port` of its head.
        cancelled: Asked meanwhile whether to give up.

    Raises:
        EngineError: Ray is not installed, or nothing answers there.
    """
    if program.capabilities(cancelled).ray is None:
        raise EngineError("Ray is not installed beside vLLM.", INSTALL)
    host, _, port = address.rpartition(":")
    if not answers(address):  # Ray itself tries for minutes
        raise EngineError(f"No Ray cluster answers at {address}.", _start_it(port))
    command = [str(program.python), "-c", _SCRIPT, address]
    _, text = probe(
        command,
        _environment(program, host),
        way_out="Look whether Ray works there: ray status",
        cancelled=cancelled,
        timeout_s=ASK_S,
    )
    line = next((line for line in text.splitlines() if line.startswith(_SAID)), "")
    try:
        said = json.loads(line.removeprefix(_SAID))
    except ValueError:
        said = {"error": "it said nothing that can be read"}
    if "error" in said:
        raise EngineError(
            f"The Ray cluster at {address} cannot be asked: {said['error'][:160]}.",
            _start_it(port),
        )
    alive = [n for n in said["nodes"] if n["alive"]]
    nodes = (RayNode(n["ip"], n["cards"], tuple(n["labels"])) for n in alive)
    here = next((n["ip"] for n in alive if n["here"]), "")
    return RayState(tuple(nodes), said["free"], here)


def _start_it(port: str) -> str:
    return f"Start its head (ray start --head --port={port}), or take the address out."


def check_cluster(
    program: VllmProgram,
    capabilities: VllmCapabilities,
    cluster: Cluster,
    n_cards: int,
    cancelled: Cancelled = never,
) -> RayState:
    """Make sure that a cluster has the cards a start needs, one of them on this machine.

    vLLM itself waits half an hour for cards that never come (ray_utils.py).

    Raises:
        EngineError: It has not, or it cannot be asked.
    """
    if capabilities.ray is None:
        raise EngineError("Several machines need Ray, which is not installed.", INSTALL)
    state = read_ray(program, f"{cluster.host_ip}:{cluster.port}", cancelled)
    if state.n_free < n_cards:
        there = ", ".join(f"{node.n_cards} on {node.ip}" for node in state.nodes) or "none"
        raise EngineError(
            f"The Ray cluster has {state.n_free} free cards, and {n_cards} are needed ({there}).",
            f"On each other machine run: {join_command(settled(cluster, state))}",
        )
    own = settled(cluster, state).host_ip
    if not any(node.n_cards for node in state.nodes if node.ip == own):
        raise EngineError(
            f"The Ray cluster has no card on this machine ({own}).",
            "vLLM answers from the machine it is started on, which needs a card of its own.",
        )
    return state


class RayHead:
    """The head of a cluster on this machine; it ends with this program.

    Attributes:
        cluster: With the port it listens on.
    """

    def __init__(
        self,
        program: VllmProgram,
        cluster: Cluster,
        on_lines: Callable[[list[str]], None],
        *,
        devices: tuple[str, ...] = (),
        cancelled: Cancelled = never,
        kept: Kept | None = None,
    ) -> None:
        """Start it and wait until it listens; blocks for some 5 s.

        Args:
            program: The vLLM whose Ray is used.
            cluster: Its address; a port of 0 stands for a free one.
            on_lines: Takes its output.
            devices: Cards of this machine that it hands out, by vLLM's names; empty for all.
            cancelled: Asked meanwhile whether to give up.
            kept: Where its log and its record lie; `None` for nowhere.

        Raises:
            EngineError: Ray is not installed, or it does not start.
        """
        if program.capabilities(cancelled).ray is None:
            raise EngineError("Ray is not installed beside vLLM.", INSTALL)
        port = cluster.port or free_port()
        self.cluster = replace(cluster, port=port)
        command = [str(program.python), "-m", "ray.scripts.scripts", "start", "--head", "--block"]
        command += [f"--node-ip-address={cluster.host_ip}", f"--port={port}"]
        command += ["--include-dashboard=false", "--disable-usage-stats"]
        if devices:
            command += [f"--num-gpus={len(devices)}"]
        env = _environment(program, cluster.host_ip, devices)
        started = threading.Event()
        self._last = ""

        def read(lines: list[str]) -> None:
            on_lines(lines)
            self._last = next((line for line in reversed(lines) if line.strip()), self._last)
            if any(_STARTED in line for line in lines):
                started.set()

        self._process: EngineProcess = launch_helper(
            command,
            env,
            read,
            about=RunAbout(kind=RAY_HEAD, port=port, cards=devices),
            log_name="ray-head",
            kept=kept,
        )
        try:
            self._wait(started, cancelled)
        except EngineError:
            self.stop()
            raise

    def _wait(self, started: threading.Event, cancelled: Cancelled) -> None:
        """Its port is open seconds before it can be joined; its log says when."""
        wait_until(self._process, lambda: started.is_set() or cancelled(), START_S)
        if started.is_set() and self._process.poll() is None:
            return
        if cancelled():
            raise ProbeCancelledError("Ray's head was not waited for.")
        code = self._process.poll()
        head = f"Ray's head at {self.cluster.host_ip}:{self.cluster.port}"
        if code is None:
            raise EngineError(
                f"{head} did not start within {START_S} s.", "Its last lines are in the log."
            )
        self._process.close()  # its last words may not have been read yet
        raise EngineError(
            f"{head} ended (exit code {code}): {self._last.strip()[:160] or 'no output'}",
            "Choose another port, or look at its last lines in the log.",
        )

    def poll(self) -> int | None:
        """Exit code; `None` while it runs."""
        return self._process.poll()

    def stop(self) -> None:
        """End it and all below it; blocks until it is gone."""
        self._process.stop()
        self._process.close()


def _environment(
    program: VllmProgram, host: str, devices: tuple[str, ...] = ()
) -> Mapping[str, str]:
    """As for vLLM, with Ray's own words on what it may do."""
    env = program.environment(VllmOptions(), devices)
    env["VLLM_HOST_IP"] = host
    env["RAY_USAGE_STATS_ENABLED"] = "0"
    folder = str(Path(program.python).parent)
    env["PATH"] = os.pathsep.join([folder, env.get("PATH", os.defpath)])
    return env
