"""Looking at real RPC servers and lending with the real one, through the bridge."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot
from tests.services.engines.rpc_servers import rpc_server

from splitrig.bridge.pump import Pump
from splitrig.bridge.remote import RemoteBridge
from splitrig.core.engine import EngineStatus, LaunchRequest, Phase
from splitrig.core.lending import LendPhase, LendRequest, LendStatus
from splitrig.core.plan import PlanRequest
from splitrig.core.remote import RemoteEndpoint, RemoteServer, RemoteState
from splitrig.core.settings import EngineSettings, Settings
from splitrig.services.engines.engines import Engines
from splitrig.services.engines.ports import free_port
from splitrig.services.mailbox import Mailbox
from splitrig.views.settings.lend_panel import LendChoice
from splitrig.views.settings.page import SettingsPage
from splitrig.views.theme import Theme

if sys.platform == "win32":
    pytest.skip("the engine package is for Linux", allow_module_level=True)


class Fleet:
    """What runs, as the tests say."""

    def __init__(self) -> None:
        self.statuses: tuple[EngineStatus, ...] = ()

    def run(self, *rpc: str, device: str = "RPC0") -> None:
        request = LaunchRequest(model=Path("m.gguf"), plan=PlanRequest(), rpc=rpc)
        self.statuses = (EngineStatus(phase=Phase.READY, request=request, device_names=(device,)),)


class Setup:
    def __init__(self) -> None:
        mailbox = Mailbox()
        self.pump = Pump(mailbox)
        self.fleet = Fleet()
        self.bridge = RemoteBridge(
            self.pump,
            mailbox,
            self.fleet,  # type: ignore[arg-type]
            Engines(mailbox, EngineSettings()),
        )
        self.found: list[RemoteServer] = []
        self.looking: list[tuple[RemoteEndpoint, ...]] = []
        self.lent: list[LendStatus] = []
        self.bridge.looked.connect(self.found.append)
        self.bridge.looking.connect(self.looking.append)
        self.bridge.lend_changed.connect(self.lent.append)
        self.pump.start()


@pytest.fixture
def made(qtbot: QtBot) -> Iterator[Setup]:
    setup = Setup()
    yield setup
    setup.bridge.close()
    setup.pump.stop()


@pytest.mark.engine
def test_a_server_in_use_is_left_alone_and_looked_at_when_it_is_free(
    made: Setup, qtbot: QtBot
) -> None:
    with rpc_server(2) as server:
        endpoint = RemoteEndpoint.parse(server.endpoint)
        made.bridge.look([endpoint])
        qtbot.waitUntil(lambda: len(made.found) == 1, timeout=20_000)
        assert made.looking == [(endpoint,)]
        # its protocol was compared with that of this machine's engine: it is the same one
        assert (made.found[0].state, len(made.found[0].cards)) == (RemoteState.FREE, 2)
        visits = server.visits()
        made.fleet.run(server.endpoint)
        made.bridge.show_engines(made.fleet.statuses)
        made.bridge.look([endpoint])
        qtbot.wait(200)
        assert (len(made.looking), server.visits()) == (1, visits)
        made.fleet.statuses = ()
        made.bridge.show_engines(())
        qtbot.waitUntil(lambda: len(made.found) == 2, timeout=20_000)
        assert made.found[1].usable


@pytest.fixture
def page(made: Setup, theme: Theme, qtbot: QtBot) -> SettingsPage:
    """The settings page, joined with the bridge as the program does."""
    page = SettingsPage(theme, Settings(), addresses=lambda: ("203.0.113.7",))
    qtbot.addWidget(page)
    page.lend.lend_wanted.connect(made.bridge.lend)
    page.lend.stop_wanted.connect(made.bridge.stop_lending)
    made.bridge.lend_changed.connect(page.lend.show_status)
    made.bridge.lend_refused.connect(page.lend.show_error)
    page.resize(1000, 700)
    page.show()
    qtbot.waitExposed(page)
    return page


@pytest.mark.engine
def test_the_processor_is_lent_and_taken_back(
    made: Setup, page: SettingsPage, qtbot: QtBot
) -> None:
    lend, port = page.lend, free_port()
    assert list(lend.switches) == ["CPU"]
    lend.port.setValue(port)
    lend.start.click()
    qtbot.waitUntil(lambda: "listening at" in lend.state.text(), timeout=20_000)
    assert lend.state.text() == f"listening at 127.0.0.1:{port}"
    assert lend.start.text() == "Stop lending"
    assert not lend.port.isEnabled()
    assert not lend.switches["CPU"].isEnabled()
    made.bridge.look([RemoteEndpoint("127.0.0.1", port)])
    qtbot.waitUntil(lambda: len(made.found) == 1, timeout=20_000)
    assert made.found[0].usable
    lend.start.click()
    qtbot.waitUntil(lambda: lend.state.text() == "not lent", timeout=20_000)
    assert lend.start.text() == "Start lending"
    assert lend.port.isEnabled()
    assert made.bridge.lend_status.phase is LendPhase.STOPPED


@pytest.mark.engine
def test_a_port_that_is_taken_is_one_sentence(
    made: Setup, page: SettingsPage, qtbot: QtBot
) -> None:
    with rpc_server(1) as other:
        page.lend.port.setValue(other.port)
        page.lend.start.click()
        qtbot.waitUntil(lambda: page.lend.state.text() == "ended", timeout=20_000)
        assert "Address already in use. Choose another port" in page.lend.problem.text()
        assert page.lend.problem.isVisible()
        assert made.lent[-1].phase is LendPhase.FAILED
        assert page.lend.start.text() == "Start lending"


def test_a_card_that_an_engine_uses_is_not_lent(made: Setup, page: SettingsPage) -> None:
    made.fleet.run(device="CUDA0")
    page.lend.show_devices([LendChoice("CUDA0", "RTX 4090"), LendChoice("CUDA1", "RTX 3080")])
    page.lend.start.click()
    assert page.lend.problem.text().startswith("An engine of yours uses CUDA0")
    page.lend.switches["CUDA1"].setChecked(False)
    page.lend.switches["CUDA0"].setChecked(False)
    assert not page.lend.start.isEnabled()


def test_the_network_is_warned_of_before_it_is_lent_to(page: SettingsPage) -> None:
    lend = page.lend
    wanted: list[LendRequest] = []
    lend.lend_wanted.disconnect()
    lend.lend_wanted.connect(wanted.append)
    assert not lend.warning.isVisible()
    lend.start.click()
    lend.address.setCurrentIndex(1)
    assert lend.warning.isVisible()
    assert "no authentication" in lend.warning.text()
    lend.start.click()
    assert [(r.host, r.on_network) for r in wanted] == [
        ("127.0.0.1", False),
        ("203.0.113.7", True),
    ]
