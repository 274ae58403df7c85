"""An Ollama before 0.30 on two cards: it takes no ratio, is asked for none, and is believed."""

import json
import sys
from pathlib import Path

import pytest
from tests.services.engines.conftest import Watch, Watched, model_file
from tests.services.engines.processes import wait_for
from tests.services.engines.test_ollama_cards import BIG, LAST, LINES, OLD, RIG
from tests.support.ollama_old import old_ollama
from tests.support.ollama_store import add_model

from splitrig.core.engine import EngineKind, EngineStatus, LaunchRequest, Phase
from splitrig.core.engine_placement import (
    divides_by_itself,
)
from splitrig.core.engine_rules import divided_by_engine, rules_of
from splitrig.core.plan import Plan, PlanDevice, PlanRequest, make_plan
from splitrig.core.settings import EngineSettings
from splitrig.core.units import GIB, MIB
from splitrig.services.models.gguf import read_model
from splitrig.services.models.ollama_store import find_model

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a shell script")


@pytest.fixture
def old(watch: Watch, tmp_path: Path) -> Watched:
    """Version 0.24.0 that sees three cards."""
    cards = "\n".join((*LINES, LAST))
    program, env = old_ollama(tmp_path, cards, [str(BIG.pci), str(OLD.pci)])
    return watch(extra_env=env, settings=EngineSettings(ollama=program))


def order(tmp_path: Path, split: tuple[float, ...] | None) -> tuple[LaunchRequest, Plan]:
    """A model of the store on the two cards, as the window and the command line ask for it."""
    stored = find_model(add_model(tmp_path / "store", model_file(), "m"), [tmp_path / "store"])
    request = LaunchRequest(
        model=stored.path,
        model_name=stored.name,
        gpu_ids=(BIG.id, OLD.id),
        plan=PlanRequest(split=split),
        engine=EngineKind.OLLAMA,
    )
    devices = [PlanDevice(name=c.name, id=c.id, free_bytes=8 * GIB) for c in (BIG, OLD)]
    plan = make_plan(read_model(model_file()), devices, request.plan)
    return request, divided_by_engine(plan, rules_of(EngineKind.OLLAMA, "0.24.0"))


def ready(old: Watched, request: LaunchRequest, plan: Plan) -> EngineStatus:
    old.supervisor.start(request, plan, RIG)
    return old.wait(Phase.READY)


def carried(old: Watched) -> list[float]:
    """MiB of weights on each card."""
    actual = old.supervisor.status.actual
    return [round((actual[name].model_bytes or 0) / MIB, 1) for name in ("CUDA0", "CUDA1")]


def test_two_cards_are_started_without_a_ratio_and_what_it_did_is_no_fault(
    old: Watched, tmp_path: Path
) -> None:
    request, plan = order(tmp_path, None)
    assert plan.notes[0].startswith("Ollama 0.24.0 divides a model by itself, and only it knows")
    status = ready(old, request, plan)
    assert status.build == "0.24.0"
    assert status.device_names == ("CUDA0", "CUDA1")
    wait_for(lambda: carried(old) == [60.0, 32.1])  # such a version's log ends with no mark
    assert old.supervisor.status.mismatches == ()
    assert divides_by_itself(status)
    environment = json.loads((tmp_path / "seen").read_text())
    assert environment["CUDA_VISIBLE_DEVICES"] == "GPU-bbbb,GPU-aaaa"
    assert environment["OLLAMA_SCHED_SPREAD"] == "1"
    assert not [name for name in environment if name.startswith("LLAMA_ARG_")]


def test_a_ratio_that_was_asked_for_is_refused_before_anything_runs(
    old: Watched, tmp_path: Path
) -> None:
    request, plan = order(tmp_path, (3.0, 1.0))
    old.supervisor.start(request, plan, RIG)
    failed = old.wait(Phase.FAILED)
    assert failed.failure is not None
    assert failed.failure.message == (
        "Ollama 0.24.0 divides a model by itself; it does not take 3 : 1 as a ratio."
    )
    assert "leave the ratio out" in failed.failure.hint
