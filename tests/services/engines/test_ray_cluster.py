"""Ray: what a cluster holds is asked before vLLM waits for it, and its head ends with us."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.support.fake_vllm import make_environment

from splitrig.core.errors import EngineError
from splitrig.core.ray import RayNode, RayState, join_command
from splitrig.core.vllm import Cluster
from splitrig.services.engines.ports import answers, free_port
from splitrig.services.engines.ray_cluster import RayHead, check_cluster, read_ray
from splitrig.services.engines.vllm_program import VllmProgram, find_vllm


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_environment(tmp_path_factory.mktemp("vllm") / "env", ray=True)


@pytest.fixture
def port() -> Iterator[int]:
    """A port that somebody listens on, as a cluster's head would."""
    with socket.create_server(("127.0.0.1", 0)) as head:
        yield int(head.getsockname()[1])


def program(environment: Path, ray: str) -> VllmProgram:
    return find_vllm(environment, extra_env={"FAKE_RAY": ray})


def cluster(port: int, host: str = "127.0.0.1") -> Cluster:
    return Cluster(host_ip=host, port=port, n_cards=4)


def check(environment: Path, ray: str, port: int, n_cards: int) -> RayState:
    vllm = program(environment, ray)
    return check_cluster(vllm, vllm.capabilities(), cluster(port), n_cards)


def test_what_a_cluster_holds(environment: Path, port: int) -> None:
    state = read_ray(program(environment, "2@127.0.0.1,4@10.0.0.2/5"), f"127.0.0.1:{port}")
    assert state == RayState(
        nodes=(RayNode("127.0.0.1", 2, ("G",)), RayNode("10.0.0.2", 4, ("G",))),
        n_free=5,
        here="127.0.0.1",
    )


def test_this_machine_comes_first_and_the_others_in_the_order_of_the_stages(
    environment: Path, port: int
) -> None:
    state = read_ray(program(environment, "1@10.0.0.9,1@127.0.0.1,1@10.0.0.2"), f"127.0.0.1:{port}")
    assert [node.ip for node in state.nodes] == ["127.0.0.1", "10.0.0.2", "10.0.0.9"]


def test_enough_cards_with_one_here(environment: Path, port: int) -> None:
    assert check(environment, "2@127.0.0.1,2@10.0.0.2", port, 4).n_free == 4


def test_too_few_cards_say_what_is_there_and_how_to_add_more(environment: Path, port: int) -> None:
    with pytest.raises(EngineError) as caught:
        check(environment, "2@127.0.0.1,2@10.0.0.2/3", port, 4)
    assert caught.value.message == (
        "The Ray cluster has 3 free cards, and 4 are needed (2 on 127.0.0.1, 2 on 10.0.0.2)."
    )
    assert caught.value.hint == (
        f"On each other machine run: ray start --address=127.0.0.1:{port} --block"
    )
    assert join_command(cluster(port)) in caught.value.hint


@pytest.mark.parametrize("ray", ["4@10.0.0.2", "0@127.0.0.1,4@10.0.0.2"])
def test_a_cluster_without_a_card_here(environment: Path, port: int, ray: str) -> None:
    with pytest.raises(EngineError, match=r"no card on this machine \(127.0.0.1\)"):
        check(environment, ray, port, 4)


def test_a_cluster_that_refuses(environment: Path, port: int) -> None:
    with pytest.raises(EngineError) as caught:
        check(environment, "fails", port, 4)
    assert f"cannot be asked: Could not connect to 127.0.0.1:{port}." in caught.value.message
    assert "More words" not in caught.value.message


def test_nobody_there_is_said_at_once(environment: Path) -> None:
    begun_s = time.monotonic()
    with pytest.raises(EngineError, match=r"No Ray cluster answers at 127\.0\.0\.1:"):
        read_ray(program(environment, "2@127.0.0.1"), f"127.0.0.1:{free_port()}")
    assert time.monotonic() - begun_s < 10


def test_an_environment_without_ray(tmp_path: Path) -> None:
    vllm = find_vllm(make_environment(tmp_path / "env"))
    with pytest.raises(EngineError, match="Several machines need Ray, which is not installed"):
        check_cluster(vllm, vllm.capabilities(), cluster(1), 4)
    with pytest.raises(EngineError, match="Ray is not installed"):
        RayHead(vllm, cluster(0), lambda _: None)


def test_a_head_is_started_and_ends_with_all_below_it(environment: Path) -> None:
    lines: list[str] = []
    head = RayHead(program(environment, ""), cluster(0), lines.extend, devices=("CUDA0", "CUDA1"))
    try:
        address = f"127.0.0.1:{head.cluster.port}"
        assert head.cluster.port
        assert answers(address)
        assert head.poll() is None
        assert any("Anyone with network access" in line for line in lines)
        mine = psutil.Process().children(recursive=True)
        assert any("--num-gpus=2" in process.cmdline() for process in mine)
    finally:
        head.stop()
    assert not answers(address)
    assert not [process for process in mine if process.is_running()]


def test_a_head_that_does_not_start(environment: Path) -> None:
    lines: list[str] = []
    with pytest.raises(EngineError, match=r"Ray's head at 127.0.0.1:\d+ ended \(exit code 1\): V"):
        RayHead(program(environment, "fails"), cluster(0), lines.extend)
    assert any("worker_ports" in line for line in lines)
