"""Remote cards over a real link: two network namespaces, and 5 ms each way between them."""

import http.client
import threading
import time
from collections.abc import Iterator

import pytest
from tests.services.engines.conftest import Watch, model_file
from tests.services.engines.far_machine import FarMachine, far_machine, why_not
from tests.services.engines.rpc_servers import RealServer, rpc_server, wait_for
from tests.services.engines.test_remote_engine import ask, cards_of, carried, start

from splitrig.core.engine import EngineStatus, Phase
from splitrig.core.plan import PlanRequest, make_plan
from splitrig.core.remote import Reach, RemoteEndpoint, RemoteState, reach_of
from splitrig.core.remote_cost import link_costs
from splitrig.services.engines import remote_watch
from splitrig.services.engines.rpc_probe import probe
from splitrig.services.models.gguf import read_model

REASON = why_not()
pytestmark = pytest.mark.skipif(bool(REASON), reason=REASON)
DELAY_MS = 5.0


@pytest.fixture
def far() -> Iterator[FarMachine]:
    with far_machine(DELAY_MS) as machine:
        yield machine


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A link counts as cut after 3 s instead of 20."""
    for name, value in (("IDLE_S", 1), ("EVERY_S", 1), ("TRIES", 2)):
        monkeypatch.setattr(remote_watch, name, value)


@pytest.fixture
def lent(far: FarMachine) -> Iterator[RealServer]:
    with rpc_server(1, host=far.address, port=50052, prefix=far.prefix) as server:
        yield server


def test_a_look_sees_the_round_trip(lent: RealServer) -> None:
    found = probe(RemoteEndpoint.parse(lent.endpoint))
    assert found.usable
    assert found.address is not None
    assert reach_of(found.address) is Reach.PRIVATE
    assert found.link.latency_ms is not None
    assert 2 * DELAY_MS <= found.link.latency_ms < 5 * DELAY_MS
    assert found.link.up_mb_s is not None
    assert found.link.down_mb_s is not None


def test_a_look_sees_what_the_link_carries() -> None:
    """10 MB/s: 8 MiB would take 0.84 s each way."""
    with (
        far_machine(DELAY_MS, 10) as far,
        rpc_server(1, host=far.address, port=50052, prefix=far.prefix) as server,
    ):
        begun = time.monotonic()
        found = probe(RemoteEndpoint.parse(server.endpoint))
        assert time.monotonic() - begun < 6
    assert found.link.up_mb_s is not None
    assert found.link.down_mb_s is not None
    assert 3 < found.link.up_mb_s < 12
    assert 3 < found.link.down_mb_s < 12


def test_a_machine_that_is_cut_off_is_silent(far: FarMachine, lent: RealServer) -> None:
    far.cut()
    begun = time.monotonic()
    found = probe(RemoteEndpoint.parse(lent.endpoint))
    assert time.monotonic() - begun < 6
    assert found.state is RemoteState.SILENT
    assert found.message == f"{lent.endpoint} does not answer."
    far.mend()
    wait_for(lambda: probe(RemoteEndpoint.parse(lent.endpoint), rates=False).usable)


def test_a_link_that_breaks_under_a_look_is_told_of(far: FarMachine, lent: RealServer) -> None:
    looked = []
    thread = threading.Thread(
        target=lambda: looked.append(probe(RemoteEndpoint.parse(lent.endpoint)))
    )
    thread.start()
    wait_for(lambda: any("Accepted" in line for line in lent.lines))
    time.sleep(0.05)
    far.cut()
    thread.join(20)
    (found,) = looked
    assert found.state in (RemoteState.SILENT, RemoteState.FOREIGN)
    assert "does not answer" in found.message or "stopped answering" in found.message
    assert lent.process.poll() is None


@pytest.mark.engine
def test_an_engine_here_uses_a_card_here_and_a_card_there(watch: Watch, lent: RealServer) -> None:
    with rpc_server(1) as local:
        cards, rpc, names = cards_of(local, lent)
        watched = watch()
        start(watched, cards, rpc, names, (24, 7))
        ready = watched.wait(Phase.READY)
        assert ready.mismatches == ()
        assert carried(ready, ["RPC0", "RPC1"]) == [(24, 50.73, 72), (7, 41.37, 18)]
        begun = time.monotonic()
        over_the_link = ask(ready, 12)
        seconds = time.monotonic() - begun
        watched.supervisor.stop()
        watched.wait(Phase.STOPPED)
        # twelve tokens, and no fewer round trips than the estimate says
        model = read_model(model_file())
        request = PlanRequest(split=(24, 7))
        plan = make_plan(model, [card.plan_device() for card in cards], request)
        costs = link_costs(model, plan, request, {card.id: card for card in cards})
        added_ms = sum(cost.token_ms or 0 for cost in costs)
        assert 2 * DELAY_MS <= added_ms < 8 * DELAY_MS
        assert seconds > 12 * 2 * DELAY_MS / 1000
        wait_for(lambda: probe(RemoteEndpoint.parse(lent.endpoint), rates=False).usable)
        start(watched, cards[:1], rpc[:1], names, (1,))
        alone = watched.wait(Phase.READY)
        assert ask(alone, 12) == over_the_link != ""
        watched.supervisor.stop()
        watched.wait(Phase.STOPPED)


@pytest.mark.engine
@pytest.mark.parametrize("idle", [False, True], ids=["in mid-answer", "idle"])
def test_a_link_that_is_cut_is_one_sentence_and_leaves_nothing(
    watch: Watch, far: FarMachine, lent: RealServer, impatient: None, idle: bool
) -> None:
    """The engine itself waits for ever then, and its /health goes on saying that all is well."""
    with rpc_server(1) as local:
        cards, rpc, names = cards_of(local, lent)
        watched = watch()
        start(watched, cards, rpc, names, (24, 7))
        ready = watched.wait(Phase.READY)
        asking = threading.Thread(target=_asked_in_vain, args=(ready,))
        if not idle:
            asking.start()
            time.sleep(1)
        else:
            time.sleep(0.5)
        begun = time.monotonic()
        far.cut()
        wait_for(lambda: watched.supervisor.status.phase is Phase.FAILED, 20)
        took = time.monotonic() - begun
        if not idle:
            asking.join(5)
            assert not asking.is_alive()
        status = watched.supervisor.status
        assert status.failure is not None
        assert status.failure.message == (
            f"The connection to {lent.endpoint} is lost: nothing comes back any more."
        )
        assert "launch the engine again" in status.failure.hint
        assert (status.pid, status.url) == (None, None)
        assert took < 10
        # the card here is free again at once; the one there when the link is back
        assert probe(RemoteEndpoint.parse(local.endpoint), rates=False).usable
        far.mend()
        assert lent.process.poll() is None


@pytest.mark.engine
def test_a_link_that_is_cut_during_the_load_is_one_sentence(watch: Watch, impatient: None) -> None:
    """At 5 MB/s the last layers and the output take some eight seconds."""
    with (
        rpc_server(1) as local,
        far_machine(DELAY_MS, 5) as far,
        rpc_server(1, host=far.address, port=50052, prefix=far.prefix) as lent,
    ):
        cards, rpc, names = cards_of(local, lent)
        watched = watch()
        start(watched, cards, rpc, names, (30, 1))
        wait_for(lambda: bool(watched.supervisor.status.actual.get("RPC1")), 30)
        time.sleep(1)
        assert watched.supervisor.status.phase is Phase.LOADING
        far.cut()
        wait_for(lambda: watched.supervisor.status.phase is Phase.FAILED, 20)
        failure = watched.supervisor.status.failure
        assert failure is not None
        assert "is lost" in failure.message


def _asked_in_vain(status: EngineStatus) -> None:
    try:
        ask(status, 2000)
    except (OSError, http.client.HTTPException, ValueError):
        return
