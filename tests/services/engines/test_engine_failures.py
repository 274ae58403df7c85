"""What goes wrong with a real llama-server, each in its own sentence, and nothing left of it."""

import re
from dataclasses import replace

import psutil
import pytest
from tests.services.engines.conftest import Watch, Watched, planned

from splitrig.core.engine import Failure, LaunchRequest, Phase
from splitrig.core.footprint import Backend
from splitrig.core.plan import Plan
from splitrig.services.engines.ports import free_port

pytestmark = pytest.mark.engine


def failure_of(watched: Watched, request: LaunchRequest, plan: Plan) -> Failure:
    watched.start(request, plan)
    failed = watched.wait(Phase.FAILED, most_s=240)
    assert failed.failure is not None
    assert failed.failure.hint
    assert psutil.Process().children(recursive=True) == []
    assert (failed.pid, failed.url, failed.api_key) == (None, None, None)
    return failed.failure


def test_a_context_that_does_not_fit_a_card_of_2_gib(watch: Watch) -> None:
    watched = watch(extra_env={"GGML_VK_VISIBLE_DEVICES": "0,0"}, start_timeout_s=240)
    request, plan = planned(3.0, 1.0, backend=Backend.VULKAN, names=("Vulkan0", "Vulkan1"))
    knobs = replace(request.plan, n_ctx=400_000)
    failure = failure_of(watched, replace(request, plan=knobs, warmup=False), plan)
    assert re.fullmatch(
        r"Out of memory: [\d,.]+ MiB (do|more did) not fit on card 0, which had 2,048 MiB free\.",
        failure.message,
    )
    assert "Shorten the context" in failure.hint
    # and the next start is none the worse for it
    watched.statuses.clear()
    watched.start(*planned(1.0, 1.0))
    watched.wait(Phase.READY)


def test_a_server_of_another_machine_that_is_not_there(watch: Watch) -> None:
    request, plan = planned(1.0, names=("RPC0",))
    endpoint = f"127.0.0.1:{free_port()}"
    failure = failure_of(watch(), replace(request, rpc=(endpoint,)), plan)
    assert failure.message == f"Nothing answers at {endpoint}."


def test_a_device_that_is_not_there(watch: Watch) -> None:
    request, plan = planned(1.0, names=("CUDA7",))
    failure = failure_of(watch(), request, plan)
    assert failure.message == "The engine has no device CUDA7."
