"""The real Ray, as vLLM's environment has it, on two machines that are network namespaces.

.venv/bin/python packaging/build_vllm_cpu.py
sudo .venv/bin/python -m pytest -m vllm tests/services/engines/test_ray_real.py
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from tests.fakes.nvml import fake_nvml
from tests.services.cli.run_cli import environment
from tests.support.ray_machines import Machines, two_machines
from tests.support.vllm_server import vllm_cpu, with_ray

from splitrig.core.errors import EngineError
from splitrig.core.ray import RayNode, RayState, join_command, settled
from splitrig.core.vllm import Cluster
from splitrig.services.engines.ray_cluster import RayHead, check_cluster, read_ray
from splitrig.services.engines.vllm_program import VllmProgram, find_vllm

pytestmark = [pytest.mark.engine, pytest.mark.vllm, pytest.mark.timeout(300)]
PORT = 6379
CARDS = ("CUDA0", "CUDA1")
GONE_S = 2.0
AGENTS_S = 120
"""Where Ray on the other machine had to find out that its head is gone, two of its helpers stay on
for a minute."""


@pytest.fixture(scope="module")
def env_folder() -> Path:
    return with_ray(vllm_cpu())


@pytest.fixture(scope="module")
def program(env_folder: Path) -> VllmProgram:
    return find_vllm(env_folder)


@pytest.fixture
def machines() -> Iterator[Machines]:
    with two_machines() as both:
        yield both
        ours = psutil.Process().children(recursive=True)
        left = [*rays(machines=both), *[p for p in ours if p.pid != both.holder]]
        for process in left:
            process.kill()
        assert not left, "a test has left something"


def cluster(host: str) -> Cluster:
    return Cluster(host_ip=host, port=PORT)


def rays(machines: Machines, pid: int | None = None) -> list[psutil.Process]:
    """What of Ray runs on the second machine, or on that of a process."""
    found = []
    for process in machines.processes(pid):
        try:
            words = " ".join(process.cmdline())
            if re.search(r"\bray::|/ray/|\bray\.|bin/ray ", words):
                found.append(process)
        except psutil.Error:
            continue
    return found


def gone(processes: list[psutil.Process], most_s: float) -> bool:
    """Whether all of them end in time."""
    _, alive = psutil.wait_procs(processes, most_s)
    return not [p for p in alive if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


@contextmanager
def joined(
    machines: Machines, env_folder: Path, line: str, n_cards: int
) -> Iterator[subprocess.Popen[bytes]]:
    """The second machine runs the line that the window shows, and says how many cards it has."""
    ray, *words = line.split()
    command = [str(env_folder / "bin" / ray), *words, f"--num-gpus={n_cards}"]
    with subprocess.Popen(
        machines.on_the_other(command),
        env=os.environ | {"RAY_USAGE_STATS_ENABLED": "0"},
        stdout=subprocess.DEVNULL,
    ) as process:
        try:
            yield process
        finally:
            left = rays(machines)
            process.terminate()
            process.wait(60)
            assert gone(left, AGENTS_S)


def wait_for_nodes(program: VllmProgram, host: str, n_nodes: int) -> RayState:
    """What a cluster holds once so many machines are in it."""
    deadline = time.monotonic() + 60
    while True:
        state = read_ray(program, f"{host}:{PORT}")
        if len(state.nodes) == n_nodes:
            return state
        assert time.monotonic() < deadline, state
        time.sleep(0.5)


def test_two_machines_and_nothing_left(
    machines: Machines, program: VllmProgram, env_folder: Path
) -> None:
    lines: list[str] = []
    head = RayHead(program, cluster(machines.here), lines.extend, devices=CARDS)
    try:
        alone = RayState((RayNode(machines.here, 2),), n_free=2, here=machines.here)
        assert read_ray(program, f"{machines.here}:{PORT}") == alone
        with joined(machines, env_folder, join_command(head.cluster), 3):
            state = wait_for_nodes(program, machines.here, 2)
            assert state.nodes == (RayNode(machines.here, 2), RayNode(machines.there, 3))
            assert state.n_free == 5
            found = program.capabilities()
            assert check_cluster(program, found, head.cluster, 5).n_free == 5
            with pytest.raises(EngineError, match="has 5 free cards, and 6 are needed"):
                check_cluster(program, found, head.cluster, 6)
        # the other machine has left
        assert wait_for_nodes(program, machines.here, 1).n_free == 2
        with pytest.raises(EngineError, match=r"ended \(exit code 1\): .*already running"):
            RayHead(program, cluster(machines.here), lambda _: None)
        assert head.poll() is None
    finally:
        below = psutil.Process().children(recursive=True)
        begun_s = time.monotonic()
        head.stop()
        took_s = time.monotonic() - begun_s
    assert took_s < GONE_S
    assert len([p for p in below if p.pid != machines.holder]) > 5
    assert not [p for p in below if p.is_running() and p.pid != machines.holder]
    assert any("Ray runtime started" in line for line in lines)


def test_the_other_machine_ends_its_part_when_the_head_is_gone(
    machines: Machines, program: VllmProgram, env_folder: Path
) -> None:
    head = RayHead(program, cluster(machines.here), lambda _: None, devices=CARDS)
    try:
        with joined(machines, env_folder, join_command(head.cluster), 1) as other:
            wait_for_nodes(program, machines.here, 2)
            head.stop()
            other.wait(120)  # 61 s were seen
    finally:
        head.stop()


def test_a_loopback_address_becomes_that_of_the_network(
    machines: Machines, program: VllmProgram
) -> None:
    subprocess.run(["ip", "route", "add", "default", "via", machines.there], check=True)
    head = RayHead(program, cluster("127.0.0.1"), lambda _: None, devices=CARDS)
    try:
        state = check_cluster(program, program.capabilities(), head.cluster, 2)
        assert state.here == machines.here
        assert settled(head.cluster, state).host_ip == machines.here
    finally:
        head.stop()


@contextmanager
def serving(env_folder: Path, tmp_path: Path, *more: str) -> Iterator[subprocess.Popen[str]]:
    """`splitrig serve` beside two cards."""
    command = [sys.executable, "-m", "splitrig", "serve", "--engine", "vllm", "--json"]
    command += ["--vllm", str(env_folder), "--model", str(env_folder.parent / "tiny")]
    nvml = fake_nvml.environment(tmp_path / "nvml", fake_nvml.MIXED)
    with subprocess.Popen(
        [*command, "--ctx", "256", *more],
        env=environment(**nvml),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        if process.poll() is None:
            process.kill()


def test_a_cluster_that_was_there_before_is_used_and_left(
    machines: Machines, program: VllmProgram, env_folder: Path, tmp_path: Path
) -> None:
    """So far it comes: vLLM for the processor then refuses Ray itself (ray_on_cpu.log)."""
    command = [str(env_folder / "bin/ray"), "start", "--head", "--block", f"--port={PORT}"]
    command += [f"--node-ip-address={machines.here}", "--num-gpus=2", "--include-dashboard=false"]
    head = subprocess.Popen(command, env=os.environ | {"RAY_USAGE_STATS_ENABLED": "0"},
                            stdout=subprocess.PIPE, text=True)  # fmt: skip
    try:
        assert head.stdout is not None
        assert any("Ray runtime started" in line for line in head.stdout)
        with serving(env_folder, tmp_path, "--ray", machines.here) as process:
            said = [json.loads(line) for line in process.stdout or ()]
            assert process.wait(10) == 1
        assert said[0]["event"] == "ray"
        assert (said[0]["started"], said[0]["cards"]) == (False, 2)
        assert said[-1]["message"] == "This vLLM is built for 'cpu', where it does not use Ray."
        assert head.poll() is None
        assert read_ray(program, f"{machines.here}:{PORT}").n_free == 2
    finally:
        below = psutil.Process(head.pid).children(recursive=True)
        head.terminate()
        head.communicate(timeout=60)
        assert gone(below, 10)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_however_serve_ends_its_head_goes_too(
    machines: Machines, env_folder: Path, tmp_path: Path, number: signal.Signals
) -> None:
    with serving(env_folder, tmp_path, "--ray", machines.here, "--ray-start", "3") as process:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        assert (told["event"], told["cards"], told["wanted"]) == ("ray", 2, 3)
        there = rays(machines, process.pid)
        assert len(there) > 5
        process.send_signal(number)
        assert gone(there, GONE_S)
        assert process.wait(10) == (0 if number is signal.SIGTERM else -9)
