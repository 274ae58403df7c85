"""Cards of other machines on the Launch page; what looks find is played."""

from dataclasses import replace

import pytest
from launch_samples import make_model, make_rig
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot
from remote_samples import ATTIC, WORKSHOP, absent_server, free_server

from splitrig.core.engine import EngineKind, EngineStatus, Phase
from splitrig.core.footprint import Backend
from splitrig.core.model import Model
from splitrig.core.plan import Plan, PlanRequest
from splitrig.core.remote import RemoteLink, RemoteState
from splitrig.views.launch.page import LaunchPage
from splitrig.views.launch.remote_part import RemotePart
from splitrig.views.theme import Theme

CARD = f"rpc-{WORKSHOP}-0"


@pytest.fixture
def page(theme: Theme, qtbot: QtBot) -> LaunchPage:
    """Two cards whose names the engine told, and a model of 64 layers."""
    page = LaunchPage(theme)
    qtbot.addWidget(page)
    page.resize(1204, 752)
    page.show_rig(make_rig())
    page.show_device_names({"GPU-0": "CUDA0", "GPU-1": "CUDA1"})
    page.show_model(make_model())
    page.show()
    qtbot.waitExposed(page)
    return page


@pytest.fixture
def part(page: LaunchPage) -> RemotePart:
    return page.editor.cards.remote


def offer(page: LaunchPage, *free_gib: float) -> None:
    """The workshop's server is known and free."""
    page.remote.show_known([WORKSHOP])
    page.remote.show_server(free_server(WORKSHOP, *free_gib))


def enter(qtbot: QtBot, part: RemotePart, address: str) -> None:
    """Type an address into the line."""
    if part.entry.isHidden():
        part.add.click()
    part.entry.field.clear()
    qtbot.keyClicks(part.entry.field, address)
    qtbot.keyClick(part.entry.field, Qt.Key.Key_Return)


def test_a_machine_is_added_by_its_address(
    page: LaunchPage, part: RemotePart, qtbot: QtBot
) -> None:
    added, looks = [], []
    page.remote.added.connect(added.append)
    page.remote.look_wanted.connect(looks.append)
    enter(qtbot, part, "Workshop")
    assert (added, looks) == ([WORKSHOP], [(WORKSHOP,)])
    assert part.entry.isHidden()
    page.remote.show_looking([WORKSHOP])
    (row,) = part.rows
    assert (row.card_id, row.switch.isVisible()) == ("", False)
    page.remote.show_server(free_server())
    (row,) = part.rows
    assert row.card_id == CARD
    assert row.switch.isEnabled()
    assert not row.switch.isChecked()  # nobody's layers go over a network unasked
    assert page.plan is not None
    assert len(page.plan.devices) == 2


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("workshop:99999", "'workshop:99999' is no address of an RPC server. Write HOST:PORT"),
        ("", "'' is no address"),
        ("a b", "'a b' is no address"),
        ("[fe80::1]:50052", "over IPv4 only"),
        (str(WORKSHOP), "workshop:50052 stands in the list already."),
    ],
)
def test_a_wrong_address_is_one_sentence_below_the_line(
    page: LaunchPage, part: RemotePart, qtbot: QtBot, address: str, said: str
) -> None:
    offer(page)
    added: list[object] = []
    page.remote.added.connect(added.append)
    enter(qtbot, part, address)
    assert said in part.entry.error.text()
    assert part.entry.error.isVisible()
    assert added == []
    qtbot.keyClicks(part.entry.field, "x")
    assert not part.entry.error.isVisible()
    qtbot.keyClick(part.entry.field, Qt.Key.Key_Escape)
    assert part.entry.isHidden()


def test_a_card_that_is_switched_on_takes_its_share(
    page: LaunchPage, part: RemotePart, qtbot: QtBot
) -> None:
    offer(page, 22.9, 8.0)
    part.rows[0].switch.click()
    assert page.plan is not None
    assert [d.id for d in page.plan.devices] == ["GPU-0", "GPU-1", CARD]
    assert page.plan.devices[2].n_layers > page.plan.devices[1].n_layers > 0
    assert page.planner.devices[2].backend is Backend.RPC_PADDED
    assert [c.number for c in page.planner.used_cards] == [0, 1, 2]
    request = page.planner.launch_request()
    assert request is not None
    assert request.gpu_ids == ("GPU-0", "GPU-1", CARD)
    assert request.devices == ("CUDA0", "CUDA1", "RPC0")
    assert request.rpc == (str(WORKSHOP),)
    assert request.plan.split is not None
    assert len(request.plan.split) == 3
    assert page.can_start
    qtbot.waitUntil(lambda: "adds ~" in part.rows[0].words.text())
    notes = [note.message for note in page.planner.remote.notes(*what(page))]
    assert notes[0].startswith("workshop:50052 · card 0 adds ~")
    part.rows[0].switch.click()
    assert page.plan is not None
    assert len(page.plan.devices) == 2


def what(page: LaunchPage) -> tuple[Model, Plan, PlanRequest]:
    assert page.planner.model is not None
    assert page.plan is not None
    return page.planner.model, page.plan, page.planner.plan_request()


def test_the_second_card_of_a_server_keeps_its_number(page: LaunchPage, part: RemotePart) -> None:
    offer(page, 22.9, 8.0)
    part.rows[1].switch.click()
    request = page.planner.launch_request()
    assert request is not None
    assert request.devices == ("CUDA0", "CUDA1", "RPC1")


def test_the_network_is_warned_of_while_a_card_is_on(page: LaunchPage, part: RemotePart) -> None:
    offer(page)
    assert not part.warning.isVisible()
    part.rows[0].switch.click()
    assert part.warning.isVisible()
    assert "no authentication" in part.warning.text()
    page.remote.show_server(free_server(address="8.8.8.8"))
    assert "a public address of the internet" in part.warning.text()
    page.remote.show_server(free_server(address="127.0.0.1"))
    assert not part.warning.isVisible()


def test_a_server_that_cannot_be_used_says_why_and_comes_back(
    page: LaunchPage, part: RemotePart
) -> None:
    offer(page)
    part.rows[0].switch.click()
    free = free_server()
    busy = replace(
        free, state=RemoteState.BUSY, message="It serves somebody else.", hint="Wait for it."
    )
    page.remote.show_server(busy)
    (row,) = part.rows
    assert not row.switch.isEnabled()
    assert row.trouble.text() == "It serves somebody else. Wait for it."
    assert page.plan is not None
    assert len(page.plan.devices) == 2
    page.remote.show_looking([WORKSHOP])
    assert row.words.text().endswith("looking")
    page.remote.show_server(free)
    assert row.switch.isChecked()
    assert len(page.plan.devices) == 3


def test_a_start_waits_for_a_look_in_progress(page: LaunchPage, part: RemotePart) -> None:
    offer(page)
    part.rows[0].switch.click()
    page.remote.show_looking([WORKSHOP])
    assert not page.can_start
    assert page.editor.words.text() == "workshop:50052 is being looked at."
    page.remote.show_server(free_server())
    assert page.can_start


def test_a_start_waits_until_the_engine_named_this_machines_cards(
    page: LaunchPage, part: RemotePart
) -> None:
    page.show_device_names({})
    offer(page)
    part.rows[0].switch.click()
    assert not page.can_start
    assert page.planner.launch_request() is None
    page.show_device_names({"GPU-0": "Vulkan0", "GPU-1": "Vulkan1"})
    assert page.can_start


def test_two_names_of_one_server_are_told_of(page: LaunchPage, part: RemotePart) -> None:
    page.remote.show_known([WORKSHOP, ATTIC])
    for endpoint in (WORKSHOP, ATTIC):
        page.remote.show_server(free_server(endpoint))
    for row in part.rows:
        row.switch.click()
    assert not page.can_start
    assert "are the same server" in page.editor.words.text()


def test_a_machine_is_forgotten(page: LaunchPage, part: RemotePart) -> None:
    offer(page)
    part.rows[0].switch.click()
    removed = []
    page.remote.removed.connect(removed.append)
    part.rows[0].remove.click()
    assert removed == [WORKSHOP]
    assert part.rows == []
    page.remote.show_server(free_server())  # of a look that was under way
    assert part.rows == []
    assert page.plan is not None
    assert len(page.plan.devices) == 2
    page.remote.show_known([WORKSHOP])
    page.remote.show_server(free_server())
    assert not part.rows[0].switch.isChecked()


def test_all_are_looked_at_again(page: LaunchPage, part: RemotePart) -> None:
    page.remote.show_known([WORKSHOP, ATTIC])
    page.remote.show_server(absent_server())
    looks = []
    page.remote.look_wanted.connect(looks.append)
    part.look.click()
    assert looks == [(WORKSHOP, ATTIC)]
    assert "Nothing answers at" in part.rows[1].trouble.text()


@pytest.mark.parametrize("kind", [kind for kind in EngineKind if kind is not EngineKind.LLAMA_CPP])
def test_other_engines_say_why_they_use_none(
    page: LaunchPage, part: RemotePart, kind: EngineKind
) -> None:
    offer(page)
    part.rows[0].switch.click()
    page.editor.model.engine.chosen.emit(kind)
    assert not part.rows[0].isVisible()
    assert not part.add.isVisible()
    assert not part.warning.isVisible()
    if kind is not EngineKind.VLLM:  # there stands what joins its machines
        assert part.words.text() == page.planner.rules.no_remote != ""
    assert CARD not in [card.id for card in page.planner.used_cards]
    page.editor.model.engine.chosen.emit(EngineKind.LLAMA_CPP)
    assert part.rows[0].isVisible()
    assert part.rows[0].switch.isChecked()


def test_the_demo_rig_lends_beside_a_remote_card(page: LaunchPage, part: RemotePart) -> None:
    page.show_rig(make_rig(demo=True))
    page.show_device_names({})
    offer(page, 22.9, 8.0)
    part.rows[1].switch.click()
    request = page.planner.launch_request()
    assert request is not None
    # its own server is named first and has two devices
    assert request.devices == ("RPC0", "RPC1", "RPC3")
    assert request.gpu_ids == ("demo-0", "demo-1", f"rpc-{WORKSHOP}-1")
    page.planner.switch("demo-0", on=False)
    request = page.planner.launch_request()
    assert request is not None
    assert request.devices == ("RPC0", "RPC2")


def test_without_a_card_of_its_own_a_machine_can_use_others(
    page: LaunchPage, part: RemotePart
) -> None:
    page.show_rig(make_rig(0))
    offer(page)
    assert page.plan is None
    part.rows[0].switch.click()
    request = page.planner.launch_request()
    assert request is not None
    assert request.devices == ("RPC0",)
    assert page.can_start


def test_while_an_engine_runs_its_servers_take_no_other(page: LaunchPage, part: RemotePart) -> None:
    offer(page, 22.9, 8.0)
    part.rows[0].switch.click()
    page.planner.set_shares((1, 1, 2))
    status = EngineStatus(
        slot=1,
        phase=Phase.READY,
        request=page.planner.launch_request(),
        plan=page.plan,
        device_names=("CUDA0", "CUDA1", "RPC0"),
    )
    page.show_status(status)
    page.show_engines((status,))
    page.remote.show_server(replace(free_server(), state=RemoteState.IN_USE, message="In use."))
    assert page.planner.shares == (1, 1, 2)  # the split is there when it has ended
    page.show_status(EngineStatus(slot=0))  # the next start is chosen meanwhile
    assert not any(row.switch.isEnabled() for row in part.rows)
    assert "in use by engine 1" in part.rows[0].trouble.text()
    page.show_engines(())
    assert part.rows[0].switch.isChecked()


def test_lent_cards_are_marked(page: LaunchPage) -> None:
    page.show_lent(["GPU-1"])
    assert [card.note for card in page.planner.cards] == ["", "lent to other machines"]
    assert [card.id for card in page.planner.used_cards] == ["GPU-0"]
    page.show_lent([])
    assert len(page.planner.used_cards) == 2


def test_what_was_not_measured_is_not_shown(page: LaunchPage, part: RemotePart) -> None:
    page.remote.show_known([WORKSHOP])
    page.remote.show_server(free_server(link=RemoteLink()))
    assert not part.rows[0].words.isVisible()
