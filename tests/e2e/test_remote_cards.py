"""Cards of other machines as a user adds them: real servers, real window, one engine over all."""

import sys
from collections.abc import Callable

import pytest
from pytestqt.qtbot import QtBot
from tests.e2e.pointer import Pointer, button
from tests.services.engines.rpc_servers import rpc_server

from splitrig.app import Desktop
from splitrig.core.chat import ChatOptions, Message, Role
from splitrig.core.engine import Phase
from splitrig.core.remote import RemoteState
from splitrig.services.models.demo import demo_model
from splitrig.services.store.settings import SettingsStore

if sys.platform == "win32":
    pytest.skip("the engine package is for Linux", allow_module_level=True)


@pytest.mark.e2e
@pytest.mark.timeout(240)
def test_one_engine_over_a_card_of_the_demo_rig_and_two_other_machines(
    start: Callable[..., Desktop], pointer: Pointer, qtbot: QtBot
) -> None:
    with rpc_server(1) as one, rpc_server(1) as two:
        desktop = start(demo=True, model=demo_model())
        qtbot.waitUntil(lambda: desktop.ready_to_start, timeout=20_000)
        page = desktop.launch_page
        part = page.editor.cards.remote
        pointer.click(button(desktop.window.rail, "Launch"))
        for server in (one, two):
            pointer.click(part.add)
            pointer.click(part.entry.field)
            pointer.type(server.endpoint)
            pointer.key("Return")
        qtbot.waitUntil(lambda: all(row.card_id for row in part.rows), timeout=20_000)
        assert SettingsStore().load().remote_endpoints == [one.endpoint, two.endpoint]
        for row in part.rows:
            page.editor._left.ensureWidgetVisible(row)
            pointer.click(row.switch)
        pointer.click(page.editor.cards.switches[1])
        assert page.plan is not None
        ids = [device.id for device in page.plan.devices]
        assert ids == ["demo-0", f"rpc-{one.endpoint}-0", f"rpc-{two.endpoint}-0"]
        page.planner.set_shares((1, 1, 2))
        page.remote.changed.emit()
        planned = [device.n_layers for device in page.plan.devices]

        pointer.click(page.editor.start)
        qtbot.waitUntil(lambda: desktop.engine.status.phase is Phase.READY, timeout=60_000)
        status = desktop.engine.status
        assert status.device_names == ("RPC0", "RPC1", "RPC2")
        assert [status.layers[name] for name in status.device_names] == planned
        assert min(planned) > 0
        assert status.mismatches == ()
        desktop.ask(
            [Message(role=Role.USER, content="Once upon a time")], ChatOptions(max_tokens=8)
        )
        qtbot.waitUntil(lambda: desktop.answers_ended == 1, timeout=60_000)
        assert desktop.last_answer is not None
        assert desktop.last_answer.stats.tokens

        looks = []
        desktop.remote.looked.connect(looks.append)
        page.remote.look_wanted.emit(page.planner.remote.endpoints)
        qtbot.wait(300)
        assert looks == []  # a server that serves is not asked

        desktop.engine.stop()
        qtbot.waitUntil(lambda: len(looks) == 2, timeout=20_000)
        assert [server.state for server in looks] == [RemoteState.FREE] * 2
        qtbot.waitUntil(lambda: page.can_start, timeout=10_000)
        assert page.planner.shares == (1, 1, 2)

        pointer.click(part.rows[0].remove)
        assert SettingsStore().load().remote_endpoints == [two.endpoint]
        two.process.kill()
        two.process.wait()
        pointer.click(part.look)
        qtbot.waitUntil(lambda: "Nothing answers at" in part.rows[0].trouble.text())
        assert page.plan is not None
        assert [device.id for device in page.plan.devices] == ["demo-0"]
