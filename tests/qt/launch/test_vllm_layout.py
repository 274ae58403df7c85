"""How vLLM uses several cards, picked on the Launch page."""

import sys
from dataclasses import replace

import pytest
from launch_samples import make_model, make_rig
from PySide6.QtCore import Qt
from PySide6.QtGui import QStandardItemModel
from PySide6.QtTest import QTest
from pytestqt.qtbot import QtBot
from tests.unit.core.hf_samples import LLAMA_8B
from tests.unit.core.hf_samples import model as hf_model

from splitrig.core.engine import EngineKind
from splitrig.core.vllm import VllmPlan
from splitrig.views.launch.layout_choice import LayoutChoice
from splitrig.views.launch.page import LaunchPage
from splitrig.views.theme import Theme

if sys.platform == "win32":
    pytest.skip("vLLM runs on Linux only", allow_module_level=True)

AUTO, TP4, TP2_PP2, PP4 = range(4)


@pytest.fixture
def page(theme: Theme, qtbot: QtBot) -> LaunchPage:
    """Four cards and a folder for vLLM."""
    page = LaunchPage(theme)
    qtbot.addWidget(page)
    page.resize(1204, 752)
    page.show_rig(make_rig(4, used_gib=0.3))
    page.show()
    qtbot.waitExposed(page)
    page.editor.model.engine.chosen.emit(EngineKind.VLLM)
    page.show_folder(hf_model())
    return page


@pytest.fixture
def choice(page: LaunchPage) -> LayoutChoice:
    return page.editor.split.layouts


def texts(choice: LayoutChoice) -> list[str]:
    return [choice.box.itemText(index) for index in range(choice.box.count())]


def pick(choice: LayoutChoice, index: int) -> None:
    choice.box.setCurrentIndex(index)
    choice.box.activated.emit(index)


def made(page: LaunchPage) -> VllmPlan:
    plan = page.planner.vllm_plan
    assert plan is not None
    return plan


def sizes(page: LaunchPage) -> tuple[int, int]:
    return made(page).layout.tp, made(page).layout.pp


def test_every_layout_of_four_cards_can_be_picked(page: LaunchPage, choice: LayoutChoice) -> None:
    assert texts(choice) == [
        f"Auto: {made(page).layout.words}",
        "TP 4 · tensor parallel over 4 cards",
        "TP 2 × PP 2 · pipeline of 2 stages, 2 cards each",
        "PP 4 · pipeline of 4 cards",
    ]
    for index, wanted in ((TP4, (4, 1)), (TP2_PP2, (2, 2)), (PP4, (1, 4))):
        pick(choice, index)
        assert sizes(page) == wanted
        assert choice.box.currentIndex() == index
        request = page.planner.launch_request()
        assert request is not None
        assert request.vllm is not None
        assert (request.vllm.tp, request.vllm.pp) == wanted
        assert page.editor.split.hint == made(page).layout.words
    assert texts(choice)[AUTO] == "Auto"
    pick(choice, AUTO)
    assert page.planner.vllm.layout is None
    assert texts(choice)[AUTO].startswith("Auto: ")


def test_the_keyboard_picks_one(page: LaunchPage, choice: LayoutChoice) -> None:
    choice.box.setFocus()
    QTest.keyClick(choice.box, Qt.Key.Key_Down)
    assert sizes(page) == (4, 1)
    QTest.keyClick(choice.box, Qt.Key.Key_End)
    assert sizes(page) == (1, 4)


def test_one_that_cannot_be_is_closed_and_says_why(page: LaunchPage, choice: LayoutChoice) -> None:
    page.editor.cards.switched.emit("GPU-3", False)
    why = "32 heads cannot be shared by 3 cards; 2 or 4 can, or use pipeline."
    assert texts(choice)[1:] == [why, "PP 3 · pipeline of 3 cards"]
    items = choice.box.model()
    assert isinstance(items, QStandardItemModel)
    assert [items.item(i).isEnabled() for i in range(3)] == [True, False, True]
    choice.box.setFocus()
    QTest.keyClick(choice.box, Qt.Key.Key_Down)
    assert sizes(page) == (1, 3)
    assert choice.box.currentIndex() == 2, "the closed one is passed over"


def test_why_there_is_no_tensor_parallel_stands_beside_the_pipeline(
    page: LaunchPage, qtbot: QtBot
) -> None:
    page.editor.cards.switched.emit("GPU-3", False)
    words = "32 heads cannot be shared by 3 cards; 2 or 4 can, or use pipeline."

    def told() -> list[str]:
        return [notice.title for notice in page.editor.plan.notes.notices]

    qtbot.waitUntil(lambda: f"{words} Here it is a pipeline of 3 cards." in told())


def test_tensor_parallel_leaves_nothing_to_split(page: LaunchPage, choice: LayoutChoice) -> None:
    page.editor.split.changed.emit((4.0, 2.0, 1.0, 1.0))
    assert sizes(page) == (1, 4)
    pick(choice, TP4)
    split = page.editor.split
    assert not split.field.isEnabled()
    assert split.field.text() == "1 : 1 : 1 : 1"
    assert "gives every card the same" in split.bar.accessibleDescription()
    pick(choice, PP4)
    assert split.field.isEnabled()
    assert split.field.text() == "4 : 2 : 1 : 1"
    assert made(page).layers == (16, 8, 4, 4)


def test_only_stages_have_handles_between_them(page: LaunchPage, choice: LayoutChoice) -> None:
    pick(choice, TP2_PP2)
    page.editor.split.even.click()
    bar = page.editor.split.bar
    assert [handle.isVisible() for handle in bar.handles] == [False, True, False]
    assert bar.counts == (16, 16, 16, 16)
    bar.handles[1].setFocus()
    QTest.keyClick(bar.handles[1], Qt.Key.Key_Right)
    assert made(page).layers == (17, 15)
    assert bar.counts == (17, 17, 15, 15)
    QTest.keyClick(bar.handles[1], Qt.Key.Key_Left)
    assert made(page).layers == (16, 16)
    pick(choice, PP4)
    assert all(handle.isVisible() for handle in bar.handles)


@pytest.mark.parametrize(("index", "handle"), [(PP4, 0), (PP4, 1), (TP2_PP2, 1)])
def test_where_a_handle_may_stand_is_where_vllm_has_room(
    page: LaunchPage, choice: LayoutChoice, index: int, handle: int
) -> None:
    page.planner.knobs = replace(page.planner.knobs, n_ctx=60_000)
    pick(choice, index)
    page.editor.split.even.click()
    split, tp = page.editor.split, made(page).layout.tp
    split.bar.handles[handle].setFocus()
    assert split.bar._fit_known
    fit = split.bar._fit
    assert fit == page.planner.fit_range(handle)
    assert fit is not None
    stage, layers = handle // tp, made(page).layers
    pair = layers[stage] + layers[stage + 1]
    fitting = []
    for left in range(1, pair):
        moved = (*layers[:stage], left, pair - left, *layers[stage + 2 :])
        split.changed.emit(tuple(float(n) for n in moved for _ in range(tp)))
        assert made(page).layers == moved
        assert page.planner.fit_range(handle) == fit
        if made(page).fits:
            fitting.append(left)
    assert fit == (fitting[0], fitting[-1])
    assert len(fitting) < pair - 1, "or the test shows nothing"


def test_with_tensor_parallel_nothing_is_said_of_where_a_handle_fits(
    page: LaunchPage, choice: LayoutChoice
) -> None:
    pick(choice, TP4)
    assert not page.editor.split.bar._fit_known


def test_what_was_picked_outlives_a_change_of_engine_and_of_cards(
    page: LaunchPage, choice: LayoutChoice
) -> None:
    pick(choice, TP2_PP2)
    page.editor.model.engine.chosen.emit(EngineKind.LLAMA_CPP)
    assert not choice.isVisible()
    page.show_model(make_model())
    assert not choice.isVisible()
    assert all(handle.isVisible() for handle in page.editor.split.bar.handles)
    page.editor.model.engine.chosen.emit(EngineKind.VLLM)
    page.show_folder(hf_model())
    assert choice.isVisible()
    assert sizes(page) == (2, 2)
    page.editor.cards.switched.emit("GPU-3", False)
    assert choice.box.currentIndex() == AUTO
    page.editor.cards.switched.emit("GPU-3", True)
    assert sizes(page) == (2, 2)
    page.show_folder(replace(hf_model(), config=replace(LLAMA_8B, n_head=33, n_head_kv=33)))
    assert choice.box.currentIndex() == AUTO
    assert sizes(page) == (1, 4)


def test_one_card_has_no_layout(page: LaunchPage, choice: LayoutChoice) -> None:
    for gpu_id in ("GPU-1", "GPU-2", "GPU-3"):
        page.editor.cards.switched.emit(gpu_id, False)
    assert not choice.isVisible()


def test_a_long_reason_does_not_widen_the_column(
    page: LaunchPage, choice: LayoutChoice, qtbot: QtBot
) -> None:
    page.editor.cards.switched.emit("GPU-3", False)
    page.resize(968, 652)
    split, left = page.editor.split, page.editor._left
    qtbot.waitUntil(lambda: split.minimumSizeHint().width() <= left.viewport().width())
    assert choice.box.view().minimumWidth() > choice.box.width()
