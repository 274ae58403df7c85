"""The folded settings on the real llama-server, with two devices lent by the processor.

What an engine does is read from its own log and answers. Some run on a second, newer build as
well, where `./test` has made one.
"""

import json
import signal
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.services.engines.conftest import Watch, Watched, model_file
from tests.services.engines.processes import wait_for
from tests.support.provisioned import llama_cpp_python_install
from tests.support.tiny_models import (
    EXPERT_TENSOR_BYTES,
    N_LAYER,
    write_mixture,
    write_projector,
)

from splitrig.core.companion import Projector
from splitrig.core.engine import EngineKind, EngineStatus, LaunchRequest, Phase
from splitrig.core.engine_failure import LAYERS_INSTEAD
from splitrig.core.engine_log import TOGETHER
from splitrig.core.footprint import Backend
from splitrig.core.gpu import Rig
from splitrig.core.plan import Plan, PlanDevice, PlanRequest, make_plan
from splitrig.core.settings import EngineSettings
from splitrig.core.units import GIB, MIB
from splitrig.core.verify import verify
from splitrig.services.engines.llama_server import LlamaServer, find_llama_server
from splitrig.services.models.companions import read_projector
from splitrig.services.models.gguf import read_model

pytestmark = pytest.mark.engine
NEAR = 0.011 * MIB
"""The log rounds to 0.01 MiB."""


@pytest.fixture(scope="session")
def mixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small mixture of experts, tokens of the demo model."""
    return write_mixture(tmp_path_factory.mktemp("moe") / "mixture.gguf", model_file())


@pytest.fixture(scope="session")
def olmoe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that llama.cpp does not divide within its layers."""
    path = tmp_path_factory.mktemp("olmoe") / "olmoe.gguf"
    return write_mixture(path, model_file(), "olmoe")


@pytest.fixture(params=["bundled", "newer"])
def binary(request: pytest.FixtureRequest) -> Path | None:
    """The llama-server that comes along, and the one built from llama-cpp-python's source."""
    return None if request.param == "bundled" else llama_cpp_python_install().llama_server


def asked(
    model: Path, *shares: float, extra: tuple[str, ...] = (), **plan: Any
) -> tuple[LaunchRequest, Plan]:
    """A model on lent devices."""
    request = PlanRequest(split=shares or (3.0, 1.0), **plan)
    devices = [
        PlanDevice(name=f"card {n}", id=f"demo-{n}", free_bytes=8 * GIB, backend=Backend.RPC)
        for n in range(len(request.split or ()))
    ]
    launch = LaunchRequest(
        model=model,
        gpu_ids=tuple(device.id for device in devices),
        plan=request,
        n_threads=1,
        extra_arguments=extra,
    )
    return launch, make_plan(read_model(model), devices, request)


def get(status: EngineStatus, path: str, body: object | None = None) -> Any:
    """What the engine answers."""
    request = urllib.request.Request(
        f"{status.url}{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {status.api_key}"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


def question(status: EngineStatus, n: int | None = 12) -> Any:
    """A short answer, always with the likeliest token; `None`: as long as the engine likes."""
    body = {
        "messages": [{"role": "user", "content": "Count from one to five."}],
        "temperature": 0,
        **({} if n is None else {"max_tokens": n}),
    }
    return get(status, "/v1/chat/completions", body)


def carried(status: EngineStatus, kind: str) -> list[int]:
    """Bytes of one kind on each device."""
    return [getattr(status.actual[name], f"{kind}_bytes") for name in status.device_names]


Start = Callable[..., tuple[Watched, EngineStatus]]


@pytest.fixture
def start(watch: Watch, binary: Path | None) -> Start:
    """Start an engine and wait until it is ready."""

    def run(request: LaunchRequest, plan: Plan) -> tuple[Watched, EngineStatus]:
        watched = watch(binary)
        watched.start(request, plan)
        return watched, watched.wait(Phase.READY)

    return run


# Experts


def test_experts_of_the_first_layers_lie_in_ram_as_planned(start: Start, mixture: Path) -> None:
    _, before = start(*asked(mixture, 3, 1))
    watched, after = start(*asked(mixture, 3, 1, n_cpu_moe=2))
    moved = 2 * 3 * EXPERT_TENSOR_BYTES
    first, last = carried(before, "model"), carried(after, "model")
    assert first[0] - last[0] == pytest.approx(moved, abs=2 * NEAR)
    assert first[1] == last[1]
    assert after.mismatches == before.mismatches == ()
    # the engine tells of the stretch of the file that it maps, from the first to the last of them
    host = after.actual["host"].model_bytes
    assert host is not None
    assert host - (before.actual["host"].model_bytes or 0) >= moved - NEAR
    assert any("tensor overrides to CPU" in line for line in watched.lines)
    assert question(after)["choices"][0]["message"]["content"]


def test_all_experts_can_lie_in_ram(start: Start, mixture: Path) -> None:
    _, status = start(*asked(mixture, 3, 1, n_cpu_moe=-1))
    assert status.plan is not None
    assert status.plan.host.expert_layers == N_LAYER
    assert status.mismatches == ()
    assert "-cmoe" in status.command
    assert carried(status, "model")[0] < MIB


# Draft model


def test_a_draft_model_drafts_and_lies_where_it_was_planned(start: Start) -> None:
    draft = read_model(model_file())
    _, status = start(*asked(model_file(), 3, 1, draft=draft))
    assert status.mismatches == ()
    assert status.log.drafting
    assert [round(n / MIB, 2) for n in carried(status, "model")] == [101.46, 82.74]
    assert [n / MIB for n in carried(status, "kv")] == [144, 36]
    timings = question(status)["timings"]
    assert timings["draft_n"] > 0
    assert timings["draft_n_accepted"] > 0


def test_a_draft_model_can_stay_in_ram(start: Start) -> None:
    draft = read_model(model_file())
    _, status = start(*asked(model_file(), 3, 1, draft=draft, draft_layers=0))
    assert status.mismatches == ()
    assert [round(n / MIB, 2) for n in carried(status, "model")] == [50.73, 41.37]
    assert question(status)["timings"]["draft_n"] > 0


def test_a_draft_model_that_is_never_asked_is_told_of(start: Start, tmp_path: Path) -> None:
    other = write_mixture(tmp_path / "other.gguf", model_file(), most_tokens=40_000)
    watched, status = start(*asked(model_file(), 3, 1, draft=read_model(other)))
    watched.drain()
    notes = verify(watched.supervisor.status, None, Rig(time_s=0.0))
    assert [note.id for note in notes] == ["draft-unused"]
    assert "draft_n" not in question(status)["timings"]


# Projector


def test_a_projector_lies_on_the_first_card_of_the_split(start: Start, tmp_path: Path) -> None:
    path = write_projector(tmp_path / "mmproj.gguf", 576)
    launch, plan = asked(model_file(), 3, 1, projector=read_projector(path))
    watched, status = start(launch, plan)
    assert status.mismatches == ()
    assert any("CLIP using RPC0[" in line for line in watched.lines)
    assert get(status, "/props")["modalities"]["vision"] is True


def test_the_first_card_need_not_be_the_engines_first(watch: Watch, tmp_path: Path) -> None:
    """Builds without an option for it take their own first card, unless a variable tells them."""
    path = write_projector(tmp_path / "mmproj.gguf", 576)
    watched = watch(extra_env={"GGML_VK_VISIBLE_DEVICES": "0,0"})
    launch, plan = asked(model_file(), 3, 1, projector=read_projector(path))
    launch = replace(launch, gpu_ids=(), devices=("Vulkan1", "Vulkan0"), warmup=False)
    watched.start(launch, plan)
    watched.wait(Phase.READY, most_s=120)
    assert any("CLIP using Vulkan1 backend" in line for line in watched.lines)


@pytest.mark.parametrize("width", [128, None])
def test_a_projector_that_does_not_fit_is_one_sentence(
    watch: Watch, binary: Path | None, tmp_path: Path, width: int | None
) -> None:
    path = tmp_path / "mmproj.gguf"
    if width is not None:
        write_projector(path, width)
    watched = watch(binary)
    watched.start(*asked(model_file(), 3, 1, projector=Projector(path=path, n_bytes=1)))
    failed = watched.wait(Phase.FAILED)
    assert failed.failure is not None
    words = "this one is 576 elements wide" if width else "load the projector mmproj.gguf"
    assert words in failed.failure.message
    assert failed.failure.hint


# Split modes


def test_a_tensor_split_carries_at_most_what_was_planned(start: Start) -> None:
    launch, plan = asked(model_file(), 3, 1, split_mode="tensor")
    watched, status = start(launch, plan)
    assert status.mismatches == ()
    together = status.actual[TOGETHER]
    fullest = plan.devices[0]
    assert together.model_bytes == pytest.approx(fullest.model_bytes, abs=NEAR)
    assert together.kv_bytes == fullest.kv_bytes
    assert any("creating a Meta device with 2 devices" in line for line in watched.lines)
    notes = verify(watched.supervisor.status, None, Rig(time_s=0.0))
    assert "told-together" in [note.id for note in notes]
    assert question(status)["choices"][0]["message"]["content"]


@pytest.mark.parametrize(
    ("shares", "changes"),
    [
        ((1.0, 1.0), {}),
        ((1.0, 0.0), {}),
        ((5.0, 3.0, 1.0), {"cache_type_k": "q8_0", "cache_type_v": "q4_0"}),
        ((1.0,) * 8, {}),
        ((3.0, 1.0), {"n_gpu_layers": 10}),
        ((3.0, 1.0), {"n_parallel": 4}),
    ],
)
def test_the_arithmetic_of_a_tensor_split_is_the_engines(
    watch: Watch, shares: tuple[float, ...], changes: dict[str, Any]
) -> None:
    launch, plan = asked(model_file(), *shares, split_mode="tensor", **changes)
    watched = watch()
    watched.start(replace(launch, warmup=False), plan)
    together = watched.wait(Phase.READY).actual[TOGETHER]
    most = max(device.model_bytes for device in plan.devices)
    assert together.model_bytes == pytest.approx(most, abs=NEAR)
    cache = max(device.kv_bytes for device in plan.devices)
    assert together.kv_bytes == pytest.approx(cache, abs=2 * NEAR)


def test_a_mixture_is_divided_with_its_experts(watch: Watch, mixture: Path) -> None:
    launch, plan = asked(mixture, 3, 1, split_mode="tensor", n_cpu_moe=2)
    watched = watch()
    watched.start(launch, plan)
    together = watched.wait(Phase.READY).actual[TOGETHER]
    assert together.model_bytes == pytest.approx(plan.devices[0].model_bytes, abs=NEAR)


def test_two_software_vulkan_cards_are_divided_too(watch: Watch) -> None:
    watched = watch(extra_env={"GGML_VK_VISIBLE_DEVICES": "0,0"})
    launch, plan = asked(model_file(), 3, 1, split_mode="tensor")
    launch = replace(launch, gpu_ids=(), devices=("Vulkan0", "Vulkan1"), warmup=False)
    watched.start(launch, plan)
    together = watched.wait(Phase.READY, most_s=120).actual[TOGETHER]
    assert together.model_bytes == pytest.approx(plan.devices[0].model_bytes, abs=NEAR)


def test_a_refused_tensor_split_offers_layers_and_these_work(
    watch: Watch, binary: Path | None, olmoe: Path
) -> None:
    launch, plan = asked(olmoe, 3, 1, split_mode="tensor")
    watched = watch(binary)
    watched.start(launch, plan)
    failed = watched.wait(Phase.FAILED)
    assert failed.failure is not None
    assert "models of the kind 'olmoe'" in failed.failure.message
    fallback = failed.failure.fallback
    assert fallback is LAYERS_INSTEAD
    again = fallback.applied(launch)
    _, plan = asked(olmoe, 3, 1)
    watched.start(again, plan)
    watched.wait(Phase.STARTING, Phase.LOADING)
    ready = watched.wait(Phase.READY)
    assert ready.mismatches == ()
    assert question(ready)["choices"][0]["message"]["content"]


@pytest.mark.parametrize(
    ("mode", "changes", "words"),
    [
        ("tensor", {"flash_attention": False}, "needs flash attention"),
        ("row", {}, "RPC0 can take no part in a row split"),
    ],
)
def test_every_way_a_split_is_refused_is_one_sentence(
    watch: Watch, binary: Path | None, mode: str, changes: dict[str, Any], words: str
) -> None:
    """The window closes these before; this is what the engine itself makes of them."""
    watched = watch(binary)
    watched.start(*asked(model_file(), 3, 1, split_mode=mode, **changes))
    failed = watched.wait(Phase.FAILED)
    assert failed.failure is not None
    # A build may crash on its own refusal before the thread that writes its log has come to it.
    crashed = mode == "tensor" and failed.failure.exit_code == -signal.SIGSEGV
    assert words in failed.failure.message or (crashed and "signal 11" in failed.failure.message)
    assert failed.failure.fallback is LAYERS_INSTEAD
    watched.supervisor.close()
    assert psutil.Process().children(recursive=True) == []


def test_a_split_that_the_engine_gives_up_on_is_one_sentence(watch: Watch) -> None:
    watched = watch()
    watched.start(*asked(model_file(), 3, 1, split_mode="tensor", extra=("-nkvo",)))
    failed = watched.wait(Phase.FAILED)
    assert failed.failure is not None
    assert "gave up on dividing this model" in failed.failure.message
    assert failed.failure.fallback is LAYERS_INSTEAD


def test_none_keeps_everything_on_the_first_device(start: Start) -> None:
    _, status = start(*asked(model_file(), 1, 1, split_mode="none"))
    assert status.mismatches == ()
    assert [round(n / MIB, 2) for n in carried(status, "model")] == [92.1, 0]


# Extra arguments


def test_an_extra_argument_has_its_effect(start: Start) -> None:
    _, status = start(*asked(model_file(), 3, 1, extra=("--alias", "my model", "-n", "3")))
    assert [m["id"] for m in get(status, "/v1/models")["data"]] == ["my model"]
    assert question(status, None)["usage"]["completion_tokens"] == 3
    assert status.command[-4:] == ("--alias", "my model", "-n", "3")


@pytest.mark.parametrize("extra", [("--host", "0.0.0.0"), ("--tools", "all"), ("--alais", "x")])
def test_a_refused_argument_starts_nothing(
    watch: Watch, binary: Path | None, extra: tuple[str, ...]
) -> None:
    watched = watch(binary)
    watched.start(*asked(model_file(), 3, 1, extra=extra))
    failed = watched.wait(Phase.FAILED)
    assert failed.failure is not None
    assert extra[0] in failed.failure.message
    assert failed.failure.hint
    watched.supervisor.close()
    assert psutil.Process().children(recursive=True) == []


def test_another_engine_refuses_what_it_would_leave_out(watch: Watch) -> None:
    env = llama_cpp_python_install()
    watched = watch(extra_env=env.environment, settings=EngineSettings(python=env.python))
    launch, plan = asked(model_file(), 3, 1, split_mode="tensor")
    watched.start(replace(launch, engine=EngineKind.LLAMA_CPP_PYTHON), plan)
    failed = watched.wait(Phase.FAILED)
    assert failed.failure is not None
    assert "knows no split mode tensor" in failed.failure.message


# What a binary says of itself


def test_both_builds_say_what_they_can(binary: Path | None) -> None:
    server = find_llama_server() if binary is None else LlamaServer(binary)
    options = server.capabilities().options
    assert options.split_modes == ("none", "layer", "row", "tensor")
    assert {"f16", "q8_0", "q4_0"} <= set(options.cache_types)
    assert options.find("--tensor-split") is options.find("-ts")


def test_the_window_hears_what_the_binary_takes(watch: Watch, binary: Path | None) -> None:
    watched = watch(binary)
    watched.discover(Rig(time_s=0.0))
    wait_for(lambda: (watched.drain(), watched.found)[1])
    (found,) = watched.found
    assert found.options is not None
    assert "tensor" in found.options.split_modes
