"""Several engines on the Launch page: tabs, and cards that are taken."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from launch_samples import make_model, make_rig
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QLabel
from pytestqt.qtbot import QtBot

from splitrig.core.engine import EngineStatus, Failure, Phase
from splitrig.core.plan import PlanRequest
from splitrig.views.launch.engine_tabs import DRAFT
from splitrig.views.launch.page import LaunchPage
from splitrig.views.theme import Theme


@pytest.fixture
def page(theme: Theme, qtbot: QtBot) -> LaunchPage:
    """Three cards and a model of 64 layers, in a window."""
    page = LaunchPage(theme)
    qtbot.addWidget(page)
    page.resize(1204, 752)
    page.show_rig(make_rig(3))
    page.show_model(make_model())
    page.show()
    qtbot.waitExposed(page)
    return page


@pytest.fixture
def started(page: LaunchPage) -> Callable[..., EngineStatus]:
    """An engine on some of the cards."""

    def start(slot: int, *cards: int, phase: Phase = Phase.LOADING) -> EngineStatus:
        request = page.planner.launch_request()
        assert request is not None
        ids = tuple(page.planner.cards[number].id for number in cards)
        return EngineStatus(slot=slot, phase=phase, request=replace(request, gpu_ids=ids))

    return start


def used(page: LaunchPage) -> list[bool]:
    return [card.used for card in page.planner.cards]


def test_without_an_engine_there_are_no_tabs(page: LaunchPage) -> None:
    assert not page.tabs.isVisible()


def test_the_engine_shown_keeps_its_cards_and_others_mark_theirs(
    page: LaunchPage, started: Callable[..., EngineStatus]
) -> None:
    first = started(1, 0)
    page.show_status(first)
    page.show_engines((first,))
    assert page.tabs.isVisible()
    assert page.tabs.tabs[1].isChecked()
    assert used(page) == [True, True, True]

    page.show_status(EngineStatus())  # the user turns to the next start
    assert page.tabs.new.isChecked()
    assert used(page) == [False, True, True]
    assert page.planner.cards[0].note == "in use by engine 1"
    assert page.can_start
    request = page.planner.launch_request()
    assert request is not None
    assert len(request.gpu_ids) == 2

    page.planner.switch(page.planner.cards[0].id, on=True)
    assert used(page) == [True, True, True]

    page.show_engines(())
    assert not page.tabs.isVisible()
    assert page.planner.cards[0].note != "in use by engine 1"


def test_a_card_that_two_engines_use_names_both(
    page: LaunchPage, started: Callable[..., EngineStatus]
) -> None:
    page.show_engines((started(1, 0, 1), started(2, 1)))
    assert [card.note for card in page.planner.cards[:2]] == [
        "in use by engine 1",
        "in use by engines 1 and 2",
    ]
    assert used(page) == [False, False, True]


def test_tabs_are_chosen_by_mouse_and_keyboard(
    page: LaunchPage, started: Callable[..., EngineStatus], qtbot: QtBot
) -> None:
    first, second = started(1, 0, phase=Phase.READY), started(2, 1)
    page.show_status(second)
    page.show_engines((first, second))
    chosen: list[int] = []
    page.engine_chosen.connect(chosen.append)
    QTest.mouseClick(page.tabs.tabs[1], Qt.MouseButton.LeftButton)
    QTest.mouseClick(page.tabs.tabs[1], Qt.MouseButton.LeftButton)
    assert chosen == [1]
    QTest.mouseClick(page.tabs.new, Qt.MouseButton.LeftButton)
    assert chosen == [1, DRAFT]
    tab = page.tabs.tabs[2]
    tab.setFocus()
    QTest.keyClick(tab, Qt.Key.Key_Space)
    assert chosen == [1, DRAFT, 2]
    assert "model" in tab.toolTip() or tab.toolTip()
    assert tab.accessibleName().startswith("Engine 2")


def test_a_slot_that_ends_takes_its_tab_along(
    page: LaunchPage, started: Callable[..., EngineStatus]
) -> None:
    first, second = started(1, 0), started(2, 1)
    page.show_status(second)
    page.show_engines((first, second))
    assert list(page.tabs.tabs) == [1, 2]
    page.show_engines((first,))
    page.show_status(replace(second, phase=Phase.STOPPED))
    assert list(page.tabs.tabs) == [1]
    assert page.tabs.new.isChecked()


def test_a_row_that_only_the_other_engine_has_goes(
    page: LaunchPage, started: Callable[..., EngineStatus], qtbot: QtBot
) -> None:
    both = started(1, 0, 1, phase=Phase.READY)
    page.show_status(both)
    page.show_engines((both,))
    summary = page.running.summary
    labels = {w.accessibleName(): w for w in summary.findChildren(QLabel) if w.accessibleName()}
    assert labels["Split"].isVisible()
    alone = started(2, 2, phase=Phase.READY)
    assert alone.request is not None
    one = replace(alone, request=replace(alone.request, plan=PlanRequest()))
    page.show_status(one)
    assert not labels["Split"].isVisible()
    assert labels["Context"].text() == "4,096 tokens"


def test_a_failure_beside_other_engines_says_whose_it_is(
    page: LaunchPage, started: Callable[..., EngineStatus]
) -> None:
    first, second = started(1, 0, phase=Phase.READY), started(2, 1)
    page.show_engines((first, second))
    page.show_status(second)
    page.show_engines((first,))
    failure = Failure(message="The engine was killed.", hint="Start it again.")
    page.show_status(replace(second, phase=Phase.FAILED, failure=failure))
    assert page.notice.title.startswith("Engine 2 (")
    assert page.notice.title.endswith("): The engine was killed.")
