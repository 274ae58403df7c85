"""vLLM through the real supervisor: the split that is asked for, every failure, nothing left."""

import json
import os
import signal
import time
import urllib.request
from dataclasses import replace

import psutil
import pytest
from tests.services.engines.conftest import Watched
from tests.services.engines.processes import wait_for
from tests.services.engines.vllm_rig import UNEQUAL, VllmRig, rig

from splitrig.core.engine import EngineKind, EngineStatus, LaunchRequest, Phase
from splitrig.core.errors import EngineError
from splitrig.core.gpu import GpuInfo, Rig, Vendor
from splitrig.core.metrics import rates, read_counts
from splitrig.core.plan import PlanRequest
from splitrig.core.settings import EngineSettings
from splitrig.core.units import GIB
from splitrig.core.vllm import Cluster, VllmOptions
from splitrig.services.engines.engine import Order
from splitrig.services.engines.engines import DevicesFound, Engines
from splitrig.services.engines.vllm import Vllm
from splitrig.services.engines.vllm_program import find_vllm
from splitrig.services.mailbox import Mailbox

__all__ = ["rig"]


def below(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def role(process: psutil.Process) -> str:
    words = process.cmdline()
    return next((word for word in words if word in ("EngineCore", "Worker")), "")


def failed(watched: Watched) -> EngineStatus:
    deadline = time.monotonic() + 30
    while watched.supervisor.status.phase is not Phase.FAILED:
        assert time.monotonic() < deadline, watched.supervisor.status.phase
        time.sleep(0.01)
    return watched.supervisor.status


def test_two_equal_cards_share_every_layer(rig: VllmRig) -> None:
    started = rig.start()
    status = started.watched.wait(Phase.READY)
    assert (started.plan.layout.tp, started.plan.layout.pp) == (2, 1)
    assert status.served_model == "Llama-8B"
    assert status.build == "0.32.0"
    assert status.mismatches == ()
    assert set(status.step_seconds) == {"process", "weights", "context", "warmup"}
    assert started.watched.phases() == [Phase.STARTING, Phase.LOADING, Phase.READY]
    for card, name in zip(started.plan.cards, ("CUDA0", "CUDA1"), strict=True):
        carried = status.actual[name]
        assert carried.model_bytes == pytest.approx(card.weight_bytes, abs=0.01 * GIB)
        assert carried.kv_bytes == pytest.approx(card.kv_bytes, rel=0.1)
        assert carried.compute_bytes == pytest.approx(1.6 * GIB, abs=0.01 * GIB)
    words = " ".join(status.command)
    assert "CUDA_VISIBLE_DEVICES=0,1" in words
    assert "--tensor-parallel-size 2" in words
    assert status.api_key
    assert status.api_key not in words


def test_a_pipeline_gets_the_layers_of_the_split_bar(rig: VllmRig) -> None:
    started = rig.start(UNEQUAL, VllmOptions(pp=2, split=(3, 1), n_ctx=4096))
    status = started.watched.wait(Phase.READY)
    assert "VLLM_PP_LAYER_PARTITION=24,8" in status.command
    first, last = started.plan.cards
    ratio = (status.actual["CUDA0"].kv_bytes or 0) / (status.actual["CUDA1"].kv_bytes or 1)
    assert ratio == pytest.approx(3)
    assert (status.actual["CUDA0"].model_bytes or 0) == pytest.approx(
        first.weight_bytes, abs=0.01 * GIB
    )
    assert first.n_layer == 24
    assert last.n_layer == 8
    assert status.mismatches == ()


def test_the_engine_asks_for_its_key_and_counts_what_it_generates(rig: VllmRig) -> None:
    status = rig.start().watched.wait(Phase.READY)
    assert status.url is not None
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"{status.url}/v1/models")
    before = read_counts(text(f"{status.url}/metrics"), time.monotonic())
    body = {
        "model": status.served_model,
        "messages": [{"role": "user", "content": "Hello"}],
        "max_tokens": 12,
    }
    asked = urllib.request.Request(
        f"{status.url}/v1/chat/completions",
        json.dumps(body).encode(),
        {"Authorization": f"Bearer {status.api_key}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(asked) as answer:
        assert json.load(answer)["usage"]["completion_tokens"] == 12
    after = read_counts(text(f"{status.url}/metrics"), time.monotonic())
    seen = rates(before, after)
    assert seen.tok_s is not None
    assert seen.tok_s * (after.time_s - before.time_s) == pytest.approx(12)


def text(url: str) -> str:
    with urllib.request.urlopen(url) as answer:
        return str(answer.read().decode())


def test_stopping_ends_the_engine_core_and_every_worker(rig: VllmRig) -> None:
    watched = rig.start().watched
    status = watched.wait(Phase.READY)
    assert status.pid is not None
    children = below(status.pid)
    assert sorted(role(child) for child in children) == ["EngineCore", "Worker", "Worker"]
    begun_s = time.monotonic()
    watched.supervisor.stop()
    watched.wait(Phase.STOPPED)
    assert time.monotonic() - begun_s < 5
    assert not [child for child in children if child.is_running()]


def test_it_can_be_stopped_while_it_loads(rig: VllmRig) -> None:
    watched = rig.start(mode="silent").watched
    status = watched.wait(Phase.LOADING)
    assert status.pid is not None
    children = below(status.pid)
    watched.supervisor.stop()
    watched.wait(Phase.STOPPED)
    assert not [child for child in children if child.is_running()]


def test_one_that_is_deaf_is_killed_with_all_its_workers(rig: VllmRig) -> None:
    watched = rig.start(mode="stubborn").watched
    status = watched.wait(Phase.LOADING)
    assert status.pid is not None
    children = below(status.pid)
    watched.supervisor.stop()
    watched.wait(Phase.STOPPED, most_s=10)
    assert not [child for child in children if child.is_running()]


def test_kill_9_of_the_server_leaves_no_worker(rig: VllmRig) -> None:
    """The real one's EngineCore and workers run on (tests/recorded/vllm/killed_api_server.json)."""
    watched = rig.start().watched
    status = watched.wait(Phase.READY)
    assert status.pid is not None
    children = below(status.pid)
    assert len(children) == 3
    os.kill(status.pid, signal.SIGKILL)
    failure = failed(watched).failure
    assert failure is not None
    assert failure.exit_code == -9
    assert not [child for child in children if child.is_running()]


@pytest.mark.parametrize("victim", ["Worker", "EngineCore"])
def test_a_part_that_dies_ends_the_run_with_its_own_sentence(rig: VllmRig, victim: str) -> None:
    """The server then ends with exit code 0, as the recorded one does."""
    watched = rig.start().watched
    status = watched.wait(Phase.READY)
    assert status.pid is not None
    next(child for child in below(status.pid) if role(child) == victim).kill()
    failure = failed(watched).failure
    assert failure is not None
    assert failure.message == "A part of vLLM ended under it, so it cannot answer any more."
    assert failure.exit_code == 0


SENTENCES = {
    "truncated": "A weight file is incomplete or broken",
    "no_weights": "The model's folder has no weights.",
    "unknown_architecture": "This vLLM cannot run models of the kind 'NopeForCausalLM'.",
    "unknown_model_type": "This vLLM cannot run models of the kind 'nope'.",
    "quantization_refused": "vLLM stopped: Cannot find any of ['zero_point']",
    "ray_missing": "Several machines need Ray",
    "cuda_oom": "Out of memory: 2.00 GiB more did not fit on card 0, which had 1.11 GiB free.",
}


@pytest.mark.parametrize("mode", sorted(SENTENCES))
def test_a_failed_start_ends_in_its_own_sentence(rig: VllmRig, mode: str) -> None:
    failure = failed(rig.start(mode=mode).watched).failure
    assert failure is not None
    assert failure.message.startswith(SENTENCES[mode])
    assert failure.hint
    assert failure.exit_code == 1


def test_a_card_that_filled_up_since_the_plan_is_named(rig: VllmRig) -> None:
    started = rig.prepare()
    watched = rig.watch_it(started.env | {"FAKE_CARDS": "23/24,12/24"})
    watched.start(started.request, started.plan.as_plan())
    failure = failed(watched).failure
    assert failure is not None
    assert failure.message == (
        "11.50 of 24.00 GiB are free on card 1; a share of 0.92, 22.08 GiB, was wanted."
    )
    assert failure.hint == "Close what else uses the card, or lower the share of memory."


def test_a_context_that_does_not_fit_says_what_does(rig: VllmRig) -> None:
    started = rig.start(((18.0, 20.0),), VllmOptions(n_ctx=131072))
    failure = failed(started.watched).failure
    assert failure is not None
    assert failure.message.startswith("A context of 131,072 tokens needs 16.00 GiB of KV cache;")
    assert failure.hint.split()[0].replace(",", "").isdigit()
    assert not started.plan.fits


def test_another_port_is_tried_when_somebody_was_faster(rig: VllmRig) -> None:
    started = rig.prepare()
    import socket

    port = started.watched.supervisor.command_for(started.request)
    assert port == (), "it was not asked yet"
    with socket.socket() as other:
        other.bind(("127.0.0.1", started.watched.supervisor._preferred_port))
        other.listen()
        started.watched.start(started.request, started.plan.as_plan())
        status = started.watched.wait(Phase.READY)
        assert status.url != f"http://127.0.0.1:{other.getsockname()[1]}"


def test_a_vllm_that_was_not_asked_for_a_layout_makes_one_stage_a_card(rig: VllmRig) -> None:
    started = rig.prepare()
    request = LaunchRequest(
        model=started.request.model,
        engine=started.request.engine,
        devices=started.request.devices,
        plan=PlanRequest(split=(3, 1), n_ctx=2048),
    )
    watched = started.watched
    watched.start(request, started.plan.as_plan())
    status = watched.wait(Phase.READY)
    assert "VLLM_PP_LAYER_PARTITION=24,8" in status.command


def test_it_is_not_opened_to_the_network(rig: VllmRig) -> None:
    started = rig.prepare()
    watched = started.watched
    watched.start(replace(started.request, host="0.0.0.0"), started.plan.as_plan())
    status = failed(watched)
    assert status.failure is not None
    assert status.failure.message.startswith("vLLM's key guards only some of its paths")
    assert "reverse proxy" in status.failure.hint
    assert status.pid is None


def engine(rig: VllmRig) -> Vllm:
    rig.prepare()
    return Vllm(find_vllm(rig.folder / "env"))


def test_what_its_command_line_takes_is_told_to_the_window(rig: VllmRig) -> None:
    rig.prepare()
    mailbox = Mailbox()
    engines = Engines(mailbox, EngineSettings(vllm=rig.folder / "env"))
    engines.discover(EngineKind.VLLM, Rig(time_s=0.0), None)
    told: list[object] = []
    wait_for(lambda: told.extend(mailbox.drain()) or told)
    engines.close()
    (found,) = told
    assert isinstance(found, DevicesFound)
    assert found.options is not None
    assert found.options.find("--enforce-eager")
    assert found.options.find("--alias") is None


def card(number: int, pci: str | None, vendor: Vendor = Vendor.NVIDIA) -> GpuInfo:
    return GpuInfo(id=f"GPU-{number}", name=f"card {number}", vendor=vendor, pci=pci, source="test")


def test_cards_are_numbered_in_the_order_of_the_bus(rig: VllmRig) -> None:
    cards = [
        card(0, "0000:41:00.0"),
        card(1, "00000000:01:00.0"),
        card(2, "0000:02:00.0", Vendor.AMD),
        card(3, None),
        card(4, "0000:03:00.0", Vendor.INTEL),
    ]
    devices = {device.name: device.pci for device in engine(rig).list_devices(cards, None)}
    assert devices == {
        "CUDA0": "0000:01:00.0",
        "CUDA1": "0000:41:00.0",
        "ROCm0": "0000:02:00.0",
    }


def order(rig: VllmRig, names: tuple[str, ...] | None, options: VllmOptions) -> Order:
    request = LaunchRequest(model=rig.model(), plan=PlanRequest(), vllm=options)
    return Order(request=request, names=names, plan=None)


@pytest.mark.parametrize(
    ("names", "options", "words"),
    [
        (None, VllmOptions(), "vLLM needs a real card"),
        (("CUDA0", "ROCm0"), VllmOptions(), "NVIDIA and AMD together"),
        (("CUDA0", "CUDA1", "CUDA2"), VllmOptions(tp=3, pp=1), "32 heads cannot be shared"),
        (("CUDA0", "CUDA1"), VllmOptions(tp=2, pp=2), "2 × 2 cards are 4, but 2 are chosen"),
        (
            ("CUDA0",),
            VllmOptions(cluster=Cluster(host_ip="10.0.0.1", port=1)),
            "Several machines need Ray",
        ),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_started(
    rig: VllmRig, names: tuple[str, ...] | None, options: VllmOptions, words: str
) -> None:
    with pytest.raises(EngineError, match=words):
        engine(rig).open(order(rig, names, options), lambda _: None)


def test_the_preview_is_the_command_that_is_run(rig: VllmRig) -> None:
    started = rig.start(UNEQUAL, VllmOptions(pp=2, split=(3, 1), n_ctx=4096))
    status = started.watched.wait(Phase.READY)
    shown = started.watched.supervisor.command_for(started.request)
    assert shown == status.command
    asked = next(line for line in started.watched.lines if "non-default args" in line)
    assert "api_key" not in asked
