"""The running engine's page where the log tells of all cards together only."""

from dataclasses import replace
from pathlib import Path

from launch_samples import make_model, make_rig
from pytestqt.qtbot import QtBot

from splitrig.core.engine import Buffers, EngineStatus, LaunchRequest, Phase
from splitrig.core.engine_load import bytes_by_card
from splitrig.core.engine_log import ROWS, TOGETHER
from splitrig.core.engine_placement import (
    HOST,
)
from splitrig.core.plan import PlanRequest, make_plan
from splitrig.core.told_together import NOT_TOLD
from splitrig.core.units import GIB, size_text
from splitrig.views.launch.loading_panel import steps_of
from splitrig.views.launch.placement import NOT_REPORTED, placed_cards, placed_verdict
from splitrig.views.launch.planner import Planner
from splitrig.views.launch.running_view import RunningView
from splitrig.views.theme import Theme


def running(key: str = TOGETHER, mode: str = "tensor") -> EngineStatus:
    """A tensor split that is ready."""
    planner = Planner()
    planner.set_rig(make_rig())
    request = PlanRequest(split=(3.0, 1.0), split_mode=mode)
    plan = make_plan(make_model(), planner.devices, request)
    return EngineStatus(
        phase=Phase.READY,
        request=LaunchRequest(model=Path("m.gguf"), gpu_ids=("GPU-0", "GPU-1"), plan=request),
        plan=plan,
        device_names=("CUDA0", "CUDA1"),
        actual={
            "CUDA0": Buffers(),
            "CUDA1": Buffers(),
            key: Buffers(model_bytes=14 * GIB, kv_bytes=GIB),
            HOST: Buffers(model_bytes=GIB),
        },
        step_seconds={"process": 0.1, "weights": 2.0},
    )


def test_nothing_is_said_to_lie_otherwise_than_planned() -> None:
    for status in (running(), running(ROWS, "row")):
        as_planned, title, detail = placed_verdict(status)
        assert as_planned
        assert title == "Loaded, divided within the layers"
        assert detail == NOT_TOLD


def test_each_card_shows_its_plan_and_that_nothing_is_reported() -> None:
    status = running()
    assert [card.planned_layers for card in placed_cards(status)] == [
        "75 % of every layer", "25 % of every layer",
    ]  # fmt: skip
    for card in placed_cards(status):
        assert card.loaded_layers == NOT_REPORTED
        assert not card.drifted
        assert all(row.actual_bytes is None and not row.drifted for row in card.rows)
    # a row split tells of the cache, which the plan only estimates
    rows = running(ROWS, "row")
    told = replace(rows, actual={**rows.actual, "CUDA0": Buffers(model_bytes=5, kv_bytes=7)})
    assert not any(row.drifted for card in placed_cards(told) for row in card.rows)


def test_the_page_of_a_running_engine_takes_it(theme: Theme, qtbot: QtBot) -> None:
    view = RunningView(theme)
    qtbot.addWidget(view)
    view.show_status(running(), make_model(), {"GPU-0": 0, "GPU-1": 1})
    assert view.head.detail.text() == NOT_TOLD
    assert not view.grab().isNull()


def test_the_weights_loaded_are_those_of_the_plan() -> None:
    status = running()
    assert status.plan is not None
    whole = sum(d.model_bytes for d in status.plan.devices) + status.plan.host.model_bytes
    assert steps_of(status)[1].label == f"Weights loaded, {size_text(whole)}"


def test_the_demo_rig_holds_what_was_planned() -> None:
    status = running()
    assert status.plan is not None
    held = bytes_by_card(status)
    assert held["GPU-0"] == sum(
        n or 0
        for n in (
            status.plan.devices[0].model_bytes,
            status.plan.devices[0].kv_bytes,
            status.plan.devices[0].compute_bytes,
        )
    )
