"""The engine on cards of RPC servers: names, bytes as planned, and servers that are lost."""

import http.client
import json
import os
import signal
import socket
import struct
import sys
import threading
import time
from pathlib import Path

import pytest
from tests.services.engines.conftest import Watch, Watched, model_file
from tests.services.engines.rpc_servers import RealServer, rpc_server, wait_for

from splitrig.core.engine import EngineStatus, LaunchRequest, Phase
from splitrig.core.errors import EngineError
from splitrig.core.footprint import Backend
from splitrig.core.plan import PlanDevice, PlanRequest, make_plan
from splitrig.core.remote import RemoteCard, RemoteEndpoint, engine_use
from splitrig.core.units import GIB, MIB
from splitrig.services.engines.llama_server import find_llama_server
from splitrig.services.engines.remote_devices import all_cards, remote_servers
from splitrig.services.engines.rpc_client import Command
from splitrig.services.models.gguf import read_model

if sys.platform == "win32":
    pytest.skip("the engine package is for Linux", allow_module_level=True)


def cards_of(*servers: RealServer) -> tuple[list[RemoteCard], tuple[str, ...], dict[str, str]]:
    """Their cards, their addresses for `--rpc`, and what the engine will call the cards."""
    endpoints = [RemoteEndpoint.parse(server.endpoint) for server in servers]
    seen = remote_servers(find_llama_server(), endpoints)
    cards = all_cards(seen)
    use = engine_use(cards, seen)
    return list(cards), use.rpc, dict(use.names)


def start(
    watched: Watched, cards: list[RemoteCard], rpc: tuple[str, ...], names: dict[str, str],
    split: tuple[float, ...], **options: object,
) -> None:  # fmt: skip
    request = PlanRequest(split=split)
    devices = [card.plan_device() for card in cards]
    plan = make_plan(read_model(model_file()), devices, request)
    watched.start(
        LaunchRequest(
            model=model_file(),
            gpu_ids=tuple(card.id for card in cards),
            devices=tuple(names[card.id] for card in cards),
            rpc=rpc,
            plan=request,
            n_threads=1,
            warmup=False,
            **options,  # type: ignore[arg-type]
        ),
        plan,
    )


def ask(status: EngineStatus, n_tokens: int, timeout_s: float = 60) -> str:
    """A completion, with the likeliest token each time."""
    assert status.url is not None
    host = status.url.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=timeout_s)
    try:
        body = {"prompt": "Once upon a time", "n_predict": n_tokens, "temperature": 0}
        head = {"Authorization": f"Bearer {status.api_key}", "Content-Type": "application/json"}
        connection.request("POST", "/completion", json.dumps(body), head)
        answer = connection.getresponse().read()
    finally:
        connection.close()
    return str(json.loads(answer)["content"])


def carried(status: EngineStatus, names: list[str]) -> list[tuple[int | None, float, float]]:
    """Layers, MiB of weights and MiB of KV cache of each device."""
    rows = []
    for name in names:
        has = status.actual[name]
        assert has.model_bytes is not None
        assert has.kv_bytes is not None
        rows.append((status.layers.get(name), round(has.model_bytes / MIB, 2), has.kv_bytes / MIB))
    return rows


@pytest.mark.engine
def test_two_servers_with_two_devices_each_carry_what_was_planned(watch: Watch) -> None:
    """The first devices of both are printed as RPC0; the addresses tell them apart."""
    with rpc_server(2) as one, rpc_server(2) as two:
        cards, rpc, names = cards_of(one, two)
        assert [names[card.id] for card in cards] == ["RPC0", "RPC1", "RPC2", "RPC3"]
        watched = watch()
        order = [cards[3], cards[0], cards[2], cards[1]]
        start(watched, order, rpc, names, (4, 1, 2, 1), log_layers=True)
        ready = watched.wait(Phase.READY)
        assert ready.mismatches == ()
        assert ready.device_names == ("RPC3", "RPC0", "RPC2", "RPC1")
        assert ready.plan is not None
        rows = carried(ready, ["RPC3", "RPC0", "RPC2", "RPC1"])
        assert [layers for layers, _, _ in rows] == [d.n_layers for d in ready.plan.devices]
        assert len({mib for _, mib, _ in rows}) == 4
        assert ask(ready, 4)
        watched.supervisor.stop()
        watched.wait(Phase.STOPPED)
        assert (one.process.poll(), two.process.poll()) == (None, None)
        assert all(server.usable for server in remote_servers(
            find_llama_server(), [RemoteEndpoint.parse(s.endpoint) for s in (one, two)]
        ))  # fmt: skip


@pytest.mark.engine
def test_one_device_of_each_of_two_servers_answers_as_one_server_does(watch: Watch) -> None:
    texts = []
    for sizes, split in (((1, 1), (24, 7)), ((2,), (24, 7))):
        with rpc_server(sizes[0]) as one, rpc_server(1) as two:
            servers = (one, two) if len(sizes) == 2 else (one,)
            cards, rpc, names = cards_of(*servers)
            watched = watch()
            start(watched, cards, rpc, names, split)
            ready = watched.wait(Phase.READY)
            assert ready.mismatches == ()
            assert carried(ready, ["RPC0", "RPC1"]) == [(24, 50.73, 72), (7, 41.37, 18)]
            texts.append(ask(ready, 12))
            watched.supervisor.stop()
            watched.wait(Phase.STOPPED)
    assert texts[0] == texts[1] != ""


@pytest.mark.engine
def test_a_card_here_and_one_there_share_a_model(watch: Watch) -> None:
    """The card here is software; the engine takes it for one."""
    env = {"GGML_VK_VISIBLE_DEVICES": "0"}
    with rpc_server(1) as one:
        cards, rpc, names = cards_of(one)
        own = PlanDevice(name="here", id="here", free_bytes=2 * GIB, backend=Backend.VULKAN)
        request = PlanRequest(split=(1, 1))
        plan = make_plan(read_model(model_file()), [own, cards[0].plan_device()], request)
        watched = watch(extra_env=env, start_timeout_s=150)
        watched.start(
            LaunchRequest(
                model=model_file(), gpu_ids=("here", cards[0].id),
                devices=("Vulkan0", names[cards[0].id]), rpc=rpc, plan=request, n_threads=1,
                warmup=False,
            ),
            plan,
        )  # fmt: skip
        ready = watched.wait(Phase.READY, most_s=150)
        assert ready.mismatches == ()
        assert carried(ready, ["Vulkan0", "RPC0"]) == [(16, 33.82, 48), (15, 58.28, 42)]
        watched.supervisor.stop()
        watched.wait(Phase.STOPPED)


@pytest.mark.engine
def test_a_server_whose_cards_carry_nothing_stays_free_for_the_engine(watch: Watch) -> None:
    with rpc_server(1) as one, rpc_server(1) as two:
        cards, rpc, names = cards_of(one, two)
        watched = watch()
        start(watched, cards, rpc, names, (1, 0))
        ready = watched.wait(Phase.READY)
        assert ready.mismatches == ()
        assert ask(ready, 3)
        watched.supervisor.stop()
        watched.wait(Phase.STOPPED)


def test_a_busy_server_is_told_of_before_the_engine_could_end_it(watch: Watch) -> None:
    with rpc_server(1) as one:
        cards, rpc, names = cards_of(one)
        with socket.create_connection(("127.0.0.1", one.port)) as held:
            held.sendall(bytes([Command.HELLO]) + struct.pack("<Q", 24) + bytes(24))
            assert len(held.recv(36, socket.MSG_WAITALL)) == 36
            watched = watch()
            start(watched, cards, rpc, names, (1,))
            wait_for(lambda: watched.supervisor.status.phase is Phase.FAILED)
            failure = watched.supervisor.status.failure
            assert failure is not None
            assert "it is busy" in failure.message
            assert failure.hint
            with pytest.raises(EngineError, match="does not answer"):
                cards_of(one)
        wait_for(lambda: one.visits() >= 5)
        assert one.process.poll() is None


@pytest.mark.engine
@pytest.mark.parametrize("idle", [True, False], ids=["idle", "in mid-answer"])
def test_a_server_that_ends_under_the_engine_is_one_sentence(watch: Watch, idle: bool) -> None:
    with rpc_server(1) as one, rpc_server(1) as two:
        cards, rpc, names = cards_of(one, two)
        watched = watch()
        start(watched, cards, rpc, names, (24, 7))
        ready = watched.wait(Phase.READY)
        asking = threading.Thread(target=lambda: _asked_in_vain(ready))
        if not idle:
            asking.start()
            time.sleep(0.5)
        else:
            time.sleep(0.5)
        os.kill(two.process.pid, signal.SIGKILL)
        wait_for(lambda: watched.supervisor.status.phase is Phase.FAILED, 10)
        if not idle:
            asking.join()
        failure = watched.supervisor.status.failure
        assert failure is not None
        assert "lends its" in failure.message, failure
        assert failure.hint
        assert watched.supervisor.status.pid is None
        assert one.process.poll() is None
        wait_for(lambda: _free(one))


def _asked_in_vain(status: EngineStatus) -> None:
    try:
        ask(status, 2000)
    except (OSError, http.client.HTTPException, ValueError):
        return


def _free(server: RealServer) -> bool:
    try:
        cards_of(server)
    except EngineError:
        return False
    return True


def test_an_engine_of_another_protocol_is_refused_before_the_start(tmp_path: Path) -> None:
    """The server is real, and the engine lists none of its devices, as b10068 does then."""
    script = tmp_path / "llama-server"
    script.write_text('#!/bin/sh\necho "Available devices:"\n')
    script.chmod(0o755)
    with rpc_server(1) as one:
        endpoints = [RemoteEndpoint.parse(one.endpoint)]
        with pytest.raises(EngineError, match=r"speaks RPC protocol \d+\.\d+\.\d+, but") as raised:
            remote_servers(find_llama_server(script), endpoints)
    assert raised.value.hint == "Use the same llama.cpp on both machines."
