"""Ray in the background for the window, and an engine over a cluster; Ray is the recorded one."""

import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.services.engines.rpc_servers import wait_for
from tests.services.engines.vllm_rig import VllmRig, rig
from tests.support.fake_vllm import make_environment

from splitrig.core.engine import Phase
from splitrig.core.orphan import RAY_HEAD
from splitrig.core.ray import RayNode
from splitrig.core.vllm import Cluster, VllmOptions
from splitrig.services.engines.helpers import RAY_NAME, Kept
from splitrig.services.engines.line_feed import EngineLogLines
from splitrig.services.engines.ports import answers, free_port
from splitrig.services.engines.ray_jobs import RayJobs, RayNews
from splitrig.services.engines.records import read
from splitrig.services.engines.vllm_program import find_vllm
from splitrig.services.mailbox import Mailbox

__all__ = ["rig"]

TWO_MACHINES = "1@127.0.0.1,1@10.0.0.2"


class Setup:
    """Jobs over the fake Ray, and what they posted."""

    def __init__(self, folder: Path, ray: str) -> None:
        self.mailbox = Mailbox()
        self.jobs = RayJobs(self.mailbox, lambda: find_vllm(folder, extra_env={"FAKE_RAY": ray}))
        self.news: list[RayNews] = []

    def wait(self, count: int) -> RayNews:
        def there() -> bool:
            self.news += [item for item in self.mailbox.drain() if isinstance(item, RayNews)]
            return len(self.news) >= count

        wait_for(there)
        return self.news[count - 1]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_environment(tmp_path_factory.mktemp("vllm") / "env", ray=True)


@pytest.fixture
def setup(environment: Path, request: pytest.FixtureRequest) -> Iterator[Setup]:
    made = Setup(environment, getattr(request, "param", TWO_MACHINES))
    yield made
    made.jobs.close()


@pytest.fixture
def port() -> Iterator[int]:
    """A port that somebody listens on, as a cluster's head would."""
    with socket.create_server(("127.0.0.1", 0)) as head:
        yield int(head.getsockname()[1])


def cluster(port: int) -> Cluster:
    return Cluster(host_ip="127.0.0.1", port=port)


def test_a_cluster_is_looked_at(setup: Setup, port: int) -> None:
    setup.jobs.look(cluster(port))
    news = setup.wait(1)
    assert news.state is not None
    assert news.state.others("127.0.0.1") == (RayNode("10.0.0.2", 1, ("G",)),)
    assert (news.has_head, news.error) == (False, None)


def test_no_cluster_is_one_sentence(setup: Setup) -> None:
    setup.jobs.look(cluster(free_port()))
    news = setup.wait(1)
    assert news.state is None
    assert news.error is not None
    assert news.error.message.startswith("No Ray cluster answers at 127.0.0.1:")


def test_a_head_runs_until_it_is_to_end(setup: Setup) -> None:
    wanted = cluster(free_port())
    setup.jobs.start_head(wanted, ("CUDA0",))
    news = setup.wait(1)
    assert (news.has_head, news.error) == (True, None)
    address = f"127.0.0.1:{news.cluster.port}"
    assert answers(address)
    setup.jobs.start_head(wanted, ("CUDA0",))  # there is one
    setup.jobs.stop_head()
    news = setup.wait(2)
    assert (news.has_head, news.state, news.error) == (False, None, None)
    assert not answers(address)


def test_what_a_head_prints_is_told_and_kept_and_its_record_ends_with_it(
    environment: Path, tmp_path: Path
) -> None:
    mailbox, records = Mailbox(), tmp_path / "running"
    program = find_vllm(environment, extra_env={"FAKE_RAY": TWO_MACHINES})
    jobs = RayJobs(mailbox, lambda: program, Kept(log_dir=tmp_path / "logs", records=records))
    news: list[object] = []
    try:
        jobs.start_head(cluster(free_port()), ("CUDA0",))
        wait_for(lambda: news.extend(mailbox.drain()) or any(isinstance(n, RayNews) for n in news))
        (path,) = records.glob("*.json")
        record = read(path)
        assert record is not None
        assert (record.about.kind, record.name) == (RAY_HEAD, "ray")
    finally:
        jobs.close()
    assert list(records.iterdir()) == []
    lines = [n for n in news if isinstance(n, EngineLogLines)]
    assert {n.source for n in lines} == {RAY_NAME}
    said = "Anyone with network access"
    assert any(said in line for n in lines for line in n.lines)
    (log,) = (tmp_path / "logs").iterdir()
    assert log.name.startswith("ray-head_")
    assert said in log.read_text(encoding="utf-8")


def test_a_head_that_dies_is_told_of(setup: Setup) -> None:
    setup.jobs.start_head(cluster(free_port()), ())
    setup.wait(1)
    heads = [p for p in psutil.Process().children(recursive=True) if "--head" in p.cmdline()]
    max(heads, key=lambda process: process.create_time()).kill()  # those above it guard it
    news = setup.wait(2)
    assert news.error is not None
    assert news.error.message.startswith("Ray's head here ended")


@pytest.mark.parametrize("setup", ["fails"], indirect=True)
def test_a_head_that_does_not_start_is_told_of(setup: Setup) -> None:
    setup.jobs.start_head(cluster(free_port()), ())
    news = setup.wait(1)
    assert news.error is not None
    assert "ended (exit code 1)" in news.error.message
    assert not news.has_head


def test_closing_ends_the_head(setup: Setup) -> None:
    setup.jobs.start_head(cluster(free_port()), ())
    address = f"127.0.0.1:{setup.wait(1).cluster.port}"
    setup.jobs.close()
    assert not answers(address)


def test_an_engine_starts_over_two_machines(rig: VllmRig, port: int) -> None:
    make_environment(rig.folder / "env", ray=True)
    options = VllmOptions(tp=1, pp=2, split=(1, 1), n_ctx=4096, cluster=cluster(port))
    started = rig.prepare(options=options, FAKE_RAY=TWO_MACHINES)
    plan = started.plan.as_plan()
    assert len(plan.devices) == 2
    request = started.request.__class__(
        model=started.request.model,
        engine=started.request.engine,
        devices=("CUDA0",),  # the other card is handed out by Ray
        plan=started.request.plan,
        vllm=started.request.vllm,
    )
    started.watched.start(request, plan)
    status = started.watched.wait(Phase.READY)
    command = " ".join(status.command)
    assert "--distributed-executor-backend ray" in command
    assert f"RAY_ADDRESS=127.0.0.1:{port}" in command
    assert status.device_names == ("CUDA0",)
    # one log tells of the cards of both machines: nothing is claimed of either
    assert (status.mismatches, dict(status.actual), dict(status.layers)) == ((), {}, {})
