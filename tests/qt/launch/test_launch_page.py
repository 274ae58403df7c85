"""The Launch page as a user meets it; the engine is played by statuses."""

import time
from dataclasses import replace
from pathlib import Path

import pytest
from launch_samples import make_model, make_rig
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QLabel
from pytestqt.qtbot import QtBot

from splitrig.core.engine import Buffers, EngineStatus, Failure, LaunchRequest, Phase
from splitrig.core.errors import DevicesUnknownError, EngineError, ModelFileError
from splitrig.core.footprint import Backend
from splitrig.core.plan import Plan
from splitrig.core.units import GIB, MIB
from splitrig.services.models.demo import demo_model
from splitrig.services.models.gguf import read_model
from splitrig.views.launch.page import LaunchPage
from splitrig.views.launch.placement import placed_verdict
from splitrig.views.theme import Theme


def command_for(request: LaunchRequest) -> list[str]:
    split = ",".join(f"{share:g}" for share in request.plan.split or ())
    return ["llama-server", "-m", str(request.model), "-ts", split]


@pytest.fixture
def page(theme: Theme, qtbot: QtBot) -> LaunchPage:
    """Two cards and a model of 64 layers, in a window."""
    page = LaunchPage(theme, command_for=command_for)
    qtbot.addWidget(page)
    page.resize(1204, 752)
    page.show_rig(make_rig())
    page.show_model(make_model())
    page.show()
    qtbot.waitExposed(page)
    return page


def n_layers(page: LaunchPage) -> list[int]:
    assert page.plan is not None
    return [device.n_layers for device in page.plan.devices]


def running(page: LaunchPage, **changes: object) -> EngineStatus:
    """The engine the page would get, ready and exactly as planned."""
    request = page.planner.launch_request()
    assert page.plan is not None
    names = tuple(f"CUDA{i}" for i in range(len(page.plan.devices)))
    actual = {
        name: Buffers(
            model_bytes=device.model_bytes,
            kv_bytes=device.kv_bytes,
            compute_bytes=device.compute_bytes,
        )
        for name, device in zip(names, page.plan.devices, strict=True)
    }
    actual["host"] = Buffers(model_bytes=page.plan.host.model_bytes, kv_bytes=0, compute_bytes=0)
    status = EngineStatus(
        phase=Phase.READY,
        request=request,
        plan=page.plan,
        device_names=names,
        command=("llama-server", "-ts", "3,1"),
        pid=4711,
        url="http://127.0.0.1:8137",
        step_seconds={"process": 0.4, "weights": 8.6, "context": 0.9, "warmup": 1.3},
        actual=actual,
        layers={n: d.n_layers for n, d in zip(names, page.plan.devices, strict=True)},
        build="b10068",
    )
    return replace(status, **changes)


# The split


def test_dragging_a_handle_changes_text_and_plan(page: LaunchPage, qtbot: QtBot) -> None:
    bar = page.editor.split.bar
    handle = bar.handles[0]
    before = n_layers(page)
    centre = handle.rect().center()
    QTest.mousePress(handle, Qt.MouseButton.LeftButton, pos=centre)
    target = handle.mapFromParent(QPoint(round(bar.width() * 41 / 65), centre.y()))
    QTest.mouseMove(handle, target)
    QTest.mouseRelease(handle, Qt.MouseButton.LeftButton, pos=target)
    assert before != [41, 24]
    assert n_layers(page) == [41, 24]
    assert page.editor.split.field.text() == "41 : 24"
    assert not page.planner.auto
    assert page.editor.plan.table.texts(0)[0] == "RTX 4090"
    assert bar.handles[0].accessibleDescription().startswith("41 layers to 23 and output")


def test_keys_on_a_handle_move_layers(page: LaunchPage) -> None:
    before = n_layers(page)
    handle = page.editor.split.bar.handles[0]
    QTest.keyClick(handle, Qt.Key.Key_Right)
    assert n_layers(page) == [before[0] + 1, before[1] - 1]
    QTest.keyClick(handle, Qt.Key.Key_Return)
    assert page.editor.split.field.hasSelectedText()


def test_typing_a_split_moves_the_bar(page: LaunchPage) -> None:
    field = page.editor.split.field
    field.selectAll()
    QTest.keyClicks(field, "3,1")
    assert page.planner.shares == (3.0, 1.0)
    assert page.editor.split.bar.shares == (3.0, 1.0)
    QTest.keyClick(field, Qt.Key.Key_Return)
    assert field.text() == "3 : 1"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("12.4 :", "A split needs one number for each card; the second is missing."),
        ("0,0", "A split of 0,0 gives no card any layer."),
        ("1,x", "'x' is not a number."),
        ("1,2,3", "3 numbers for 2 cards"),
    ],
)
def test_an_invalid_split_is_told_in_a_sentence_and_the_plan_stays(
    page: LaunchPage, text: str, sentence: str
) -> None:
    page.editor.split.field.setText("3 : 1")
    page.editor.split.changed.emit((3.0, 1.0))
    valid = page.plan
    field = page.editor.split.field
    field.clear()
    field.setFocus()
    QTest.keyClicks(field, text)
    QTest.keyClick(field, Qt.Key.Key_Return)
    assert field.property("invalid") == "true"
    assert page.editor.split.error.isVisible()
    assert page.editor.split.error.text().startswith(sentence)
    if text != "1,2,3":  # '1,2' on the way there is a split of two cards
        assert page.plan == valid
    page.editor.split.even.click()
    assert field.property("invalid") == "false"
    assert not page.editor.split.error.isVisible()


def test_auto_follows_free_memory_and_even_does_not(page: LaunchPage) -> None:
    page.editor.split.even.click()
    assert page.planner.shares == (1.0, 1.0)
    page.show_rig(make_rig(used_gib=4))
    assert page.planner.shares == (1.0, 1.0)
    page.editor.split.auto.click()
    first = page.planner.shares
    page.show_rig(make_rig(used_gib=8))
    assert page.planner.auto
    assert page.planner.shares != first


def test_the_fit_track_matches_the_plans(page: LaunchPage) -> None:
    page.editor.knobs.context.setValue(32768)
    fit = page.planner.fit_range(0)
    assert fit is not None
    for left, fits in ((fit[0], True), (fit[1], True), (fit[0] - 1, False)):
        page.editor.split.changed.emit((float(left), float(65 - left)))
        assert page.plan is not None
        assert page.plan.fits is fits
    assert page.planner.fit_range(0) == fit


# Cards


def test_a_card_switched_off_takes_no_part(page: LaunchPage) -> None:
    page.editor.cards.switches[1].click()
    assert [card.name for card in page.planner.used_cards] == ["RTX 4090"]
    assert page.editor.split.bar.handles == ()
    request = page.planner.launch_request()
    assert request is not None
    assert request.gpu_ids == ("GPU-0",)
    page.editor.cards.switches[0].click()
    assert page.plan is None
    assert not page.editor.start.isEnabled()
    assert page.editor.words.text() == "Switch at least one card on."


def test_a_card_the_engine_cannot_use_says_why(page: LaunchPage) -> None:
    page.show_device_notes({"GPU-1": "the engine does not see this card"})
    assert not page.editor.cards.switches[1].isEnabled()
    assert page.editor.cards.switches[1].accessibleDescription() == (
        "the engine does not see this card"
    )
    assert [card.id for card in page.planner.used_cards] == ["GPU-0"]
    page.show_device_notes({})
    assert len(page.planner.used_cards) == 2


def test_a_lost_card_takes_no_part(page: LaunchPage) -> None:
    rig = make_rig()
    lost = replace(rig.samples["GPU-1"], lost=True, vram_used_bytes=None)
    page.show_rig(replace(rig, samples={**rig.samples, "GPU-1": lost}))
    assert [card.id for card in page.planner.used_cards] == ["GPU-0"]


def test_the_backend_of_a_card_decides_its_plan(page: LaunchPage) -> None:
    assert {device.backend for device in page.planner.devices} == {Backend.CUDA}
    page.show_backends({"GPU-0": Backend.VULKAN, "GPU-1": Backend.VULKAN})
    assert {device.backend for device in page.planner.devices} == {Backend.VULKAN}


# Verdict and ways out


def test_what_does_not_fit_is_said_with_numbers_and_can_be_mended(
    page: LaunchPage, qtbot: QtBot
) -> None:
    page.editor.knobs.context.setValue(32768)
    page.editor.split.changed.emit((1.0, 1.0))
    assert page.plan is not None
    assert not page.plan.fits
    assert page.editor.plan.head.title.text().startswith("Does not fit: RTX 3080 is ")
    assert page.editor.plan.property("panel") == "danger"
    assert not page.editor.start.isEnabled()
    assert page.editor.anyway.isVisible()
    assert page.editor.plan.table.texts(1)[-1].startswith("−")
    qtbot.waitUntil(lambda: len(page.editor.plan.fixes.fixes) >= 2, timeout=2000)
    fixes = page.editor.plan.fixes.fixes
    assert fixes[0].title.startswith("Move ")
    page.editor.plan.fixes.rows[0].apply.click()
    assert page.plan.fits
    assert page.editor.start.isEnabled()
    assert page.planner.knobs.n_ctx == 32768


def test_every_way_out_that_is_shown_fits(page: LaunchPage, qtbot: QtBot) -> None:
    for index in range(4):
        page.editor.knobs.show_model(make_model())
        page.editor.knobs.context.setValue(40960)
        page.editor.knobs.keys.setCurrentText("f16")
        page.editor.knobs.values.setCurrentText("f16")
        page.editor.split.changed.emit((1.0, 1.0))
        qtbot.wait(150)
        if index < len(page.editor.plan.fixes.fixes):
            page.editor.plan.fixes.rows[index].apply.click()
            assert page.plan is not None
            assert page.plan.fits


def test_rows_of_the_table_add_up_to_the_card(page: LaunchPage) -> None:
    for row, total in ((0, 24.0), (1, 10.0)):
        numbers = [float(t.replace("−", "-")) for t in page.editor.plan.table.texts(row)[1:]]
        assert sum(numbers) == pytest.approx(total, abs=0.001)


def test_warnings_and_the_command_follow(page: LaunchPage, qtbot: QtBot) -> None:
    page.editor.split.changed.emit((3.0, 1.0))
    qtbot.waitUntil(lambda: page.editor.plan.command.command[-1:] == ("3,1",), timeout=2000)
    titles = [notice.title for notice in page.editor.plan.notes.notices]
    assert any("14.0 GiB" in title for title in titles)


def test_a_context_beyond_the_training_is_told(page: LaunchPage, qtbot: QtBot) -> None:
    page.editor.knobs.context.setValue(50000)
    qtbot.wait(150)
    page.editor.plan.notes.more.setChecked(True)
    assert any("50,000 tokens" in notice.title for notice in page.editor.plan.notes.notices)


def test_a_quantised_value_cache_needs_flash_attention(page: LaunchPage) -> None:
    knobs = page.editor.knobs
    knobs.flash.click()
    assert not page.planner.knobs.flash_attention
    knobs.values.setCurrentText("q8_0")
    assert page.planner.knobs.flash_attention
    assert not knobs.flash.isEnabled()


def test_layers_can_stay_in_ram(page: LaunchPage) -> None:
    page.editor.knobs.layers.setValue(11)
    assert sum(n_layers(page)) == 11
    page.editor.knobs.layers.setValue(0)
    assert page.editor.plan.head.title.text() == "Runs on the processor"
    assert not any(handle.isVisible() for handle in page.editor.split.bar.handles)


def test_each_step_of_a_handle_takes_less_than_a_frame(theme: Theme, qtbot: QtBot) -> None:
    page = LaunchPage(theme)
    qtbot.addWidget(page)
    page.resize(1204, 752)
    page.show_rig(make_rig())
    page.show_model(make_model(80, 0.2))
    page.show()
    qtbot.wait(200)
    handle = page.editor.split.bar.handles[0]
    handle.setFocus()
    taken = []
    for turn in range(20):
        began = time.process_time()
        handle.stepped.emit(-1 if turn % 2 else 1)
        QApplication.processEvents()
        taken.append(time.process_time() - began)
    # processor time of the whole process: others of the machine do not count
    assert sorted(taken)[10] < 0.016


# Models


def drop(page: LaunchPage, path: Path) -> bool:
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(path))])
    actions, button = Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton
    none = Qt.KeyboardModifier.NoModifier
    enter = QDragEnterEvent(QPoint(50, 50), actions, mime, button, none)
    QApplication.sendEvent(page, enter)
    if not enter.isAccepted():
        return False
    QApplication.sendEvent(page, QDropEvent(QPointF(50, 50), actions, mime, button, none))
    return True


def test_a_dropped_file_is_asked_for(page: LaunchPage, tmp_path: Path, qtbot: QtBot) -> None:
    file = tmp_path / "other.gguf"
    file.write_bytes(b"GGUF")
    with qtbot.waitSignal(page.model_chosen, timeout=500) as chosen:
        assert drop(page, file)
    assert chosen.args == [file]


def test_a_dropped_folder_is_read_as_a_model_folder(page: LaunchPage, tmp_path: Path) -> None:
    chosen: list[Path] = []
    page.model_chosen.connect(chosen.append)
    assert drop(page, tmp_path)
    assert chosen == [tmp_path]


def test_a_broken_file_is_told_and_changes_nothing(page: LaunchPage) -> None:
    before = page.plan
    page.show_model_error(ModelFileError("notes.gguf is no GGUF file.", "Choose another one."))
    assert page.notice.isVisible()
    assert page.notice.title == "notes.gguf is no GGUF file."
    assert page.plan == before
    page.show_model(make_model())
    assert not page.notice.isVisible()


def test_the_menu_offers_files_used_before_and_the_demo_model(page: LaunchPage) -> None:
    demo, used = Path("/demo/demo.gguf"), Path("/models/used.gguf")
    page.set_demo_model(demo)
    page.show_recent([used, demo])
    actions = page.editor.model.fill_menu().actions()
    assert [a.data() for a in actions if a.data() is not None] == [used, demo]


def test_without_a_model_the_page_says_what_to_do(theme: Theme, qtbot: QtBot) -> None:
    page = LaunchPage(theme)
    qtbot.addWidget(page)
    page.set_demo_model(Path("/demo/demo.gguf"))
    page.show()
    assert not page.editor.start.isEnabled()
    assert page.editor.words.text() == "Choose a model first."
    assert page.editor.empty.isVisible()
    with qtbot.waitSignal(page.model_chosen, timeout=500) as chosen:
        page.editor.empty.second_button.click()
    assert chosen.args == [Path("/demo/demo.gguf")]


def test_the_demo_model_on_two_devices_is_planned_exactly(theme: Theme, qtbot: QtBot) -> None:
    path = demo_model()
    assert path is not None
    page = LaunchPage(theme)
    qtbot.addWidget(page)
    page.show_rig(make_rig(demo=True))
    page.show_model(read_model(path))
    page.editor.split.changed.emit((3.0, 1.0))
    assert page.plan is not None
    assert n_layers(page) == [24, 7]
    assert [round(d.model_bytes / MIB, 2) for d in page.plan.devices] == [50.73, 41.37]
    assert [d.kv_bytes / MIB for d in page.plan.devices] == [72, 18]
    assert [d.overhead_bytes for d in page.plan.devices] == [0, 0]


# Start, load, run, stop, fail


def test_start_asks_for_what_is_shown(page: LaunchPage, qtbot: QtBot) -> None:
    page.editor.split.changed.emit((3.0, 1.0))
    page.editor.knobs.context.setValue(8192)
    page.editor.knobs.keys.setCurrentText("q8_0")
    assert page.can_start
    with qtbot.waitSignal(page.start_requested, timeout=500) as asked:
        QTest.mouseClick(page.editor.start, Qt.MouseButton.LeftButton)
    request, plan = asked.args
    assert isinstance(request, LaunchRequest)
    assert isinstance(plan, Plan)
    assert request.model == Path("/models/Qwen3-32B-Q4_K_M.gguf")
    assert request.gpu_ids == ("GPU-0", "GPU-1")
    assert request.plan.split == (3.0, 1.0)
    assert (request.plan.n_ctx, request.plan.cache_type_k) == (8192, "q8_0")
    assert plan is page.plan


def test_loading_shows_steps_and_locks_the_settings(page: LaunchPage, qtbot: QtBot) -> None:
    ready = running(page)
    status = replace(
        ready,
        phase=Phase.LOADING,
        step="weights",
        step_since_s=time.monotonic(),
        step_seconds={"process": 0.4},
        progress=0.5,
    )
    page.show_status(status)
    assert page.editor.loading.isVisible()
    states = [step.state for step in page.editor.loading.steps.steps]
    assert states == ["done", "now", "todo", "todo"]
    assert " of " in page.editor.loading.steps.steps[1].note
    assert not page.editor.split.field.isEnabled()
    assert not page.can_start
    with qtbot.waitSignal(page.stop_requested, timeout=500):
        QTest.mouseClick(page.editor.stop, Qt.MouseButton.LeftButton)
    page.show_status(replace(status, phase=Phase.STOPPING, step=""))
    assert not page.editor.stop.isEnabled()
    page.show_status(EngineStatus())
    assert page.editor.split.field.isEnabled()
    assert page.editor.start.isVisible()


def test_ready_shows_planned_against_actual(page: LaunchPage, qtbot: QtBot) -> None:
    page.show_status(running(page))
    assert page.running.isVisible()
    assert page.running.head.title.text() == "Loaded as planned"
    assert [card.loaded_layers for card in page.running.table.cards] == [
        card.planned_layers for card in page.running.table.cards
    ]
    with qtbot.waitSignal(page.chat_requested, timeout=500):
        page.chat.click()
    with qtbot.waitSignal(page.log_requested, timeout=500):
        page.log.click()
    with qtbot.waitSignal(page.stop_requested, timeout=500):
        page.running.summary.stop.click()
    page.show_rate(33.1)
    assert page.running.speed._rate.text() == "33.1"
    page.show_status(EngineStatus())
    assert page.editor.isVisible()


def test_a_drift_is_told_and_marked(page: LaunchPage) -> None:
    ready = running(page)
    actual = dict(ready.actual)
    actual["CUDA0"] = replace(actual["CUDA0"], model_bytes=18 * GIB)
    sentence = "RTX 4090 (CUDA0) carries 18,432.00 MiB of weights, planned were 11,000.00 MiB."
    page.show_status(replace(ready, actual=actual, mismatches=(sentence,)))
    assert page.running.head.title.text() == "Loaded otherwise than planned"
    assert page.running.head.detail.text() == sentence
    drifted = [[row.drifted for row in card.rows] for card in page.running.table.cards]
    assert drifted == [[True, False, False, False], [False] * 4]


def test_free_memory_that_the_engine_takes_does_not_change_its_plan(page: LaunchPage) -> None:
    before = page.plan
    page.show_status(running(page))
    page.show_rig(make_rig(used_gib=9))
    assert page.plan == before


def test_a_failure_is_told_with_its_log_and_the_settings_stay(page: LaunchPage) -> None:
    page.editor.split.changed.emit((3.0, 1.0))
    failure = Failure(
        message="RTX 3080 ran out of memory; 412 MiB were missing.",
        hint="Move layers to the RTX 4090.",
        log_tail=("ggml_cuda: out of memory", "exit"),
    )
    page.show_status(running(page, phase=Phase.STARTING))
    page.show_status(running(page, phase=Phase.FAILED, failure=failure))
    assert page.notice.isVisible()
    assert page.notice.severity == "danger"
    assert page.notice.title == failure.message
    assert page.notice.detail == failure.hint
    assert page.planner.shares == (3.0, 1.0)
    assert page.editor.start.isEnabled()
    page.notice.hide()
    page.show_status(running(page, phase=Phase.FAILED, failure=failure))
    assert not page.notice.isVisible()


@pytest.mark.parametrize("size", [(968, 652), (1204, 752), (1844, 1000)])
@pytest.mark.parametrize("dark", [True, False])
def test_nothing_is_cut_at_any_size(
    page: LaunchPage, theme: Theme, size: tuple[int, int], dark: bool
) -> None:
    theme.set_dark(dark=dark)
    page.resize(*size)
    QApplication.processEvents()
    assert page.width() == size[0]
    inside = page.rect()
    for widget in (page.editor.start, page.editor.plan.head, page.editor.model.change):
        corner = widget.mapTo(page, widget.rect().bottomRight())
        assert inside.contains(corner)
    assert not page.grab().isNull()


# Without a card to plan for


def words(page: LaunchPage) -> str:
    return " ".join(w.text() for w in page.editor.no_card.findChildren(QLabel) if w.isVisible())


def test_a_model_without_any_card_leads_to_the_demo_rig(page: LaunchPage, qtbot: QtBot) -> None:
    page.show_rig(make_rig(0))
    assert page.editor.no_card.isVisible()
    assert "No card to plan for" in words(page)
    assert page.editor.words.text() == "No card was found."
    button = page.editor.no_card.action_button
    assert button is not None
    with qtbot.waitSignal(page.demo_requested, timeout=500):
        QTest.mouseClick(button, Qt.MouseButton.LeftButton)


def test_cards_the_engine_cannot_use_are_not_to_be_switched_on(page: LaunchPage) -> None:
    reason = "the engine sees no card at all"
    page.show_device_notes({gpu.id: reason for gpu in make_rig().gpus})
    assert "The engine can use none of the cards" in words(page)
    assert "The engine sees no card at all." in words(page)
    assert page.editor.words.text() == "None of the cards can be used."
    assert not any(switch.isEnabled() for switch in page.editor.cards.switches)


def test_cards_that_are_all_off_are_to_be_switched_on(page: LaunchPage) -> None:
    for switch in page.editor.cards.switches:
        switch.click()
    assert "No card takes part" in words(page)
    button = page.editor.no_card.action_button
    assert button is not None
    assert not button.isVisible()
    assert page.editor.words.text() == "Switch at least one card on."


def test_a_double_click_on_start_starts_one_engine_and_does_not_stop_it(
    page: LaunchPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    page.start_requested.connect(lambda *_: asked.append("start"))
    page.stop_requested.connect(lambda: asked.append("stop"))
    page.editor.start.click()
    page.editor.start.click()
    page.show_status(running(page, phase=Phase.STARTING))
    page.editor.stop.click()
    assert asked == ["start"]
    monkeypatch.setattr(page, "_pressed_s", time.monotonic() - 1)
    page.editor.stop.click()
    assert asked == ["start", "stop"]


def test_an_engine_that_came_back_after_a_crash_says_so_and_counts_anew(
    page: LaunchPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    page.show_status(running(page))
    now_s += 60
    crashed = "The engine was killed. It crashed; starting again in 2 s (1st of 3)."
    page.show_status(running(page, phase=Phase.STARTING, restart=crashed))
    assert page.notice.title == crashed
    page.show_status(running(page, restart=crashed))
    assert "runs now" in page.notice.title
    assert page._title.text() == "Running for 0 s"
    page.notice.hide()
    page.show_status(running(page, restart=crashed, pids=frozenset({4711, 4712})))
    assert page.notice.isHidden()


@pytest.mark.parametrize(("tolerance", "as_planned"), [(0.15, True), (0.0, False)])
def test_sizes_within_the_tolerance_of_a_plan_are_as_planned(
    page: LaunchPage, tolerance: float, *, as_planned: bool
) -> None:
    status = running(page)
    assert status.plan is not None
    actual = {
        name: replace(has, kv_bytes=round((has.kv_bytes or 0) * 0.94))
        for name, has in status.actual.items()
    }
    status = replace(status, plan=replace(status.plan, tolerance=tolerance), actual=actual)
    assert placed_verdict(status)[0] is as_planned


def test_a_restart_that_was_stopped_is_not_announced_any_more(page: LaunchPage) -> None:
    crashed = "The engine was killed. It crashed; starting again in 2 s (1st of 3)."
    page.show_status(running(page))
    page.show_status(running(page, phase=Phase.STARTING, restart=crashed))
    assert page.notice.title == crashed
    page.show_status(EngineStatus(phase=Phase.STOPPED))
    assert page.notice.isHidden()


# The command


def test_why_there_is_no_command_stands_in_its_place_and_goes_away_again(
    theme: Theme, qtbot: QtBot
) -> None:
    told: list[Exception] = []

    def tells(request: LaunchRequest) -> list[str]:
        if told:
            raise told[-1]
        return command_for(request)

    page = LaunchPage(theme, command_for=tells)
    qtbot.addWidget(page)
    page.resize(1204, 900)
    page.show_rig(make_rig())
    page.show_model(make_model())
    page.show()
    panel = page.editor.plan
    told.append(DevicesUnknownError("llama.cpp has not been asked yet.", "It is in a moment."))
    page._control.replan()
    sentence = "llama.cpp has not been asked yet. It is in a moment."
    qtbot.waitUntil(lambda: panel.no_command.text() == sentence)
    assert panel.no_command.isVisible()
    assert not panel.command.isVisible()
    told.append(EngineError("The card is gone.", "Switch it off."))
    page.show_status(EngineStatus())
    page._control.replan()
    qtbot.waitUntil(lambda: panel.no_command.text() == "The card is gone. Switch it off.")
    assert panel.no_command.property("role") == "danger"
    told.clear()
    page._control.replan()
    qtbot.waitUntil(panel.command.isVisible)
    assert not panel.no_command.isVisible()
    assert panel.command.command[0] == "llama-server"
