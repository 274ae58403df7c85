"""Choosing an engine: what it can do decides what can be set, and why not."""

from dataclasses import replace
from pathlib import Path

import pytest
from launch_samples import make_model, make_rig
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from pytestqt.qtbot import QtBot

from splitrig.core.config_files import config_files
from splitrig.core.engine import Buffers, EngineKind, EngineStatus, LaunchRequest, Phase
from splitrig.core.engine_log import Held, Holding, LoadLog, Placed, add_event
from splitrig.core.environment import inherited_notes
from splitrig.core.errors import EngineError, EngineMissingError
from splitrig.core.ollama import check_request
from splitrig.core.plan import Plan
from splitrig.core.units import GIB
from splitrig.views.launch.loading_panel import steps_of
from splitrig.views.launch.page import LaunchPage
from splitrig.views.launch.placement import placed_cards, placed_verdict
from splitrig.views.theme import Theme
from splitrig.views.widgets.state_pill import StatePill


@pytest.fixture
def page(theme: Theme, qtbot: QtBot) -> LaunchPage:
    """Two cards and a model of 64 layers, in a window."""
    page = LaunchPage(theme)
    qtbot.addWidget(page)
    page.resize(1204, 752)
    page.show_rig(make_rig())
    page.show_model(make_model())
    page.show()
    qtbot.waitExposed(page)
    return page


def choose(page: LaunchPage, kind: EngineKind) -> None:
    """Pick an engine in the menu."""
    row = page.editor.model.engine
    action = next(a for a in row.fill_menu().actions() if a.data() == kind.value)
    row.menu.triggered.emit(action)


def test_the_engine_chosen_is_asked_for_and_started(page: LaunchPage) -> None:
    wanted: list[EngineKind] = []
    started: list[LaunchRequest] = []
    page.engine_wanted.connect(wanted.append)
    page.start_requested.connect(lambda request, _plan: started.append(request))
    choose(page, EngineKind.LLAMA_CPP_PYTHON)
    choose(page, EngineKind.LLAMA_CPP_PYTHON)
    assert wanted == [EngineKind.LLAMA_CPP_PYTHON]
    row = page.editor.model.engine
    assert row.button.text() == "llama-cpp-python"
    assert "one request after the other" in row.notes.text()
    page.show_engine_found(EngineKind.LLAMA_CPP_PYTHON, "0.3.36", None)
    assert row.badge.text == "0.3.36"
    page.start()
    assert [request.engine for request in started] == [EngineKind.LLAMA_CPP_PYTHON]


def test_the_split_is_kept_where_the_engine_takes_one(page: LaunchPage) -> None:
    page.planner.set_shares((1.0, 1.0))
    choose(page, EngineKind.LLAMA_CPP_PYTHON)
    assert page.planner.shares == (1.0, 1.0)
    assert isinstance(page.plan, Plan)


def test_settings_it_does_not_take_are_closed_with_the_reason(page: LaunchPage) -> None:
    knobs = page.editor.knobs
    knobs.requests.setValue(4)
    choose(page, EngineKind.LLAMA_CPP_PYTHON)
    assert not knobs.requests.isEnabled()
    assert "one request after the other" in knobs.requests.toolTip()
    assert page.planner.knobs.n_parallel == 1
    choose(page, EngineKind.LLAMA_CPP)
    assert knobs.requests.isEnabled()
    assert "Requests served at the same time" in knobs.requests.toolTip()


def test_an_engine_with_one_type_for_the_cache_keeps_both_alike(page: LaunchPage) -> None:
    knobs = page.editor.knobs
    choose(page, EngineKind.OLLAMA)
    page.show_engine_found(EngineKind.OLLAMA, "0.12.3", None)
    knobs.keys.setCurrentText("q8_0")
    assert not knobs.values.isEnabled()
    assert (page.planner.knobs.cache_type_k, page.planner.knobs.cache_type_v) == ("q8_0", "q8_0")
    assert page.planner.knobs.flash_attention
    choose(page, EngineKind.LLAMA_CPP)
    assert knobs.values.isEnabled()


def test_an_engine_that_divides_by_itself_closes_the_split_and_says_why(page: LaunchPage) -> None:
    choose(page, EngineKind.OLLAMA)
    split = page.editor.split
    dead = (split.field, split.bar, split.auto, split.even)
    assert split.field.isEnabled()
    page.show_engine_found(EngineKind.OLLAMA, "0.12.3", None)
    assert not any(widget.isVisible() for widget in dead)
    assert split.hint == "the engine decides"
    assert split.why.isVisible()
    assert "only it knows the shares; 0.30 and newer take a ratio" in split.why.text()
    choose(page, EngineKind.LLAMA_CPP)
    assert split.field.isEnabled()
    assert all(widget.isVisible() for widget in dead)
    assert not split.why.isVisible()


def test_an_ollama_that_takes_no_ratio_is_started_on_two_cards_without_one(
    page: LaunchPage, qtbot: QtBot
) -> None:
    """Whatever was split before: that version would refuse any ratio."""
    started: list[tuple[LaunchRequest, Plan]] = []
    page.start_requested.connect(lambda *order: started.append(order))
    page.show_model(make_model(), "qwen3:32b")
    page.editor.split.changed.emit((3.0, 1.0))
    choose(page, EngineKind.OLLAMA)
    page.show_engine_found(EngineKind.OLLAMA, "0.24.0", None)
    notes = page.editor.plan.notes

    def told() -> bool:
        notes.more.setChecked(True)
        return any("Ollama 0.24.0 divides" in n.title for n in notes.notices)

    qtbot.waitUntil(told, timeout=2000)
    page.start()
    ((request, plan),) = started
    assert len(request.gpu_ids) == 2
    assert request.plan.split is None
    check_request(request, 2, "0.24.0")
    assert len(plan.devices) == 2
    choose(page, EngineKind.LLAMA_CPP)
    assert page.planner.shares == (3.0, 1.0)


def test_what_such_an_ollama_did_is_told_without_blame(page: LaunchPage) -> None:
    page.show_model(make_model(), "qwen3:32b")
    choose(page, EngineKind.OLLAMA)
    page.show_engine_found(EngineKind.OLLAMA, "0.24.0", None)
    request, plan = page.planner.launch_request(), page.plan
    assert plan is not None
    status = EngineStatus(
        phase=Phase.READY, request=request, plan=plan, build="0.24.0",
        device_names=("CUDA0", "CUDA1"), layers={"CUDA0": 60, "CUDA1": 5},
        actual={name: Buffers(model_bytes=GIB, kv_bytes=GIB) for name in ("CUDA0", "CUDA1")},
    )  # fmt: skip
    as_planned, title, detail = placed_verdict(status)
    assert as_planned
    assert title == "Loaded, divided by Ollama"
    assert "0.30 and newer take a ratio" in detail
    assert not any(
        card.drifted or any(r.drifted for r in card.rows) for card in placed_cards(status)
    )


def test_an_ollama_before_0_30_loads_models_of_its_store_only(page: LaunchPage) -> None:
    choose(page, EngineKind.OLLAMA)
    assert page.can_start
    page.show_engine_found(EngineKind.OLLAMA, "0.24.0", None)
    assert "loads models of its own store" in page.editor.words.text()


def test_an_engine_that_cannot_load_the_model_is_not_started(page: LaunchPage) -> None:
    started: list[object] = []
    page.start_requested.connect(lambda *order: started.append(order))
    choose(page, EngineKind.VLLM)
    assert not page.editor.start.isEnabled()
    assert "is one file" in page.editor.words.text()
    assert not page.can_start
    page.start()
    assert started == []


def test_an_engine_that_is_not_there_says_what_to_do(page: LaunchPage) -> None:
    choose(page, EngineKind.LLAMA_CPP_PYTHON)
    error = EngineError("It is not installed.", "Install it.")
    page.show_engine_found(EngineKind.LLAMA_CPP_PYTHON, None, error)
    row = page.editor.model.engine
    assert row.badge.text == "not usable"
    assert row.notes.text() == "It is not installed. Install it."
    assert page.editor.words.text() == "It is not installed."
    assert not page.editor.start.isEnabled()


def test_where_no_llama_cpp_is_there_is_a_way_to_one(page: LaunchPage, qtbot: QtBot) -> None:
    row = page.editor.model.engine
    assert not row.get.isVisible()
    missing = EngineMissingError("No llama-server was found.", "Get one.")
    page.show_engine_found(EngineKind.LLAMA_CPP, None, missing)
    assert row.get.isVisible()
    with qtbot.waitSignal(page.builds_requested):
        QTest.mouseClick(row.get, Qt.MouseButton.LeftButton)
    page.show_engine_found(EngineKind.LLAMA_CPP, None, EngineError("It does not start."))
    assert not row.get.isVisible()
    page.show_engine_found(EngineKind.LLAMA_CPP, "b11118", None)
    assert not row.get.isVisible()


def test_other_engines_are_not_got_there(page: LaunchPage) -> None:
    choose(page, EngineKind.OLLAMA)
    page.show_engine_found(EngineKind.OLLAMA, None, EngineMissingError("No ollama was found."))
    assert not page.editor.model.engine.get.isVisible()


def test_news_of_another_engine_change_nothing(page: LaunchPage) -> None:
    page.show_engine_found(EngineKind.OLLAMA, None, EngineError("It is not there."))
    assert page.editor.model.engine.button.text() == "llama.cpp"
    assert page.can_start


def test_the_demo_rig_is_for_engines_that_can_use_lent_cards(theme: Theme, qtbot: QtBot) -> None:
    page = LaunchPage(theme)
    qtbot.addWidget(page)
    page.show_rig(make_rig(demo=True))
    page.show_model(make_model())
    choose(page, EngineKind.VLLM)
    assert "cannot use the demo rig" in page.editor.words.text()


def test_what_the_environment_would_have_changed_is_told(page: LaunchPage, qtbot: QtBot) -> None:
    replaced, _ = inherited_notes({"CUDA_VISIBLE_DEVICES": "1"})
    page.show_environment(replaced, config_files({}, Path("/home/me"), windows=False))
    choose(page, EngineKind.LLAMA_CPP_PYTHON)
    more = page.editor.plan.notes.more

    def told() -> bool:
        more.setChecked(True)
        return any("CUDA_VISIBLE_DEVICES" in n.title for n in page.editor.plan.notes.notices)

    qtbot.waitUntil(told, timeout=2000)

    def names_the_file() -> bool:
        more.setChecked(True)
        return any("/etc/llama.cpp" in n.title for n in page.editor.plan.notes.notices)

    assert not names_the_file()
    choose(page, EngineKind.LLAMA_CPP)
    qtbot.waitUntil(names_the_file, timeout=2000)


def test_an_engine_that_could_not_be_used_can_be_looked_for_again(page: LaunchPage) -> None:
    wanted: list[EngineKind] = []
    page.engine_wanted.connect(wanted.append)
    choose(page, EngineKind.LLAMA_CPP_PYTHON)
    page.look_again()  # nothing is wrong with it
    page.show_engine_found(EngineKind.LLAMA_CPP_PYTHON, None, EngineError("It is not there.", ""))
    choose(page, EngineKind.LLAMA_CPP_PYTHON)
    page.look_again()
    assert wanted == [EngineKind.LLAMA_CPP_PYTHON] * 3
    page.show_engine_found(EngineKind.LLAMA_CPP_PYTHON, "0.3.36", None)
    assert page.editor.model.engine.badge.text == "0.3.36"
    page.look_again()
    assert len(wanted) == 3


def test_a_model_that_a_running_ollama_loads_has_its_name_and_one_step(page: LaunchPage) -> None:
    page.show_model(make_model(), "smollm2:latest")
    choose(page, EngineKind.OLLAMA_ATTACHED)
    status = EngineStatus(
        phase=Phase.STARTING, request=page.planner.launch_request(), step="process"
    )
    page.show_status(status)
    loading = page.editor.loading
    assert loading.head.title.text() == "Starting smollm2:latest"
    assert [step.label for step in steps_of(status)] == ["Ollama loads the model"]
    ready = replace(status, phase=Phase.READY, step=None, step_seconds={"process": 8.7})
    assert [(s.label, s.note) for s in steps_of(ready)] == [("Loaded by Ollama", "8.7 s")]


def test_while_another_program_is_asked_the_error_of_the_one_before_is_gone(
    page: LaunchPage,
) -> None:
    row = page.editor.model.engine
    page.show_engine_found(EngineKind.LLAMA_CPP, "b10068", None)
    page.forget_engine_error()
    assert row.badge.text == "b10068"
    page.show_engine_found(EngineKind.LLAMA_CPP, None, EngineError("/bin/ls is none.", ""))
    assert not page.can_start
    page.forget_engine_error()
    assert row.notes.isHidden()
    assert page.can_start


def test_an_ollama_that_lets_go_of_the_model_is_not_said_to_have_it(
    page: LaunchPage, theme: Theme, qtbot: QtBot
) -> None:
    page.show_model(make_model(), "smollm2:latest")
    choose(page, EngineKind.OLLAMA_ATTACHED)
    log = add_event(LoadLog(), Placed(total_bytes=GIB, on_cards_bytes=GIB))
    request = page.planner.launch_request()
    assert request is not None
    ready = EngineStatus(
        phase=Phase.READY, request=request, plan=page.plan, url="http://127.0.0.1:11434",
        log=add_event(log, Held(Holding.OURS)),
    )  # fmt: skip
    pill = StatePill(theme)
    qtbot.addWidget(pill)
    running = page.running
    for how, state, title, button in (
        (Holding.OURS, "Running · Ollama", "Loaded by Ollama", "Unload"),
        (Holding.BEFORE, "Running · Ollama", "Loaded by Ollama", "Release"),
        (Holding.GONE, "Not loaded · Ollama", "Not loaded any more", "Release"),
    ):
        status = replace(ready, log=add_event(ready.log, Held(how)))
        page.show_status(status)
        pill.show_status(status)
        assert pill.text == state
        assert running.head.title.text() == title
        assert running.summary.stop.text() == button
        assert running.summary.stop.toolTip()
    assert "the next question loads it again" in running.head.detail.text()
    page.show_status(replace(ready, request=replace(request, engine=EngineKind.OLLAMA)))
    assert running.summary.stop.text() == "Stop"
