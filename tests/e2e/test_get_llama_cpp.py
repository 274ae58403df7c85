"""A machine without llama.cpp: the window leads to an official build, fetches it and starts it."""

from collections.abc import Callable, Iterator

import pytest
from pytestqt.qtbot import QtBot
from tests.e2e.pointer import Pointer, button, texts
from tests.services.engines.release_server import GitHub, name, wheel_archive
from tests.services.net.file_server import serving

from splitrig.app import Desktop
from splitrig.core.engine import Phase
from splitrig.core.engine_fit import Machine
from splitrig.services.engines import llama_server
from splitrig.services.engines.installed import engines_dir, installed
from splitrig.services.models.demo import demo_model


@pytest.fixture
def github() -> Iterator[GitHub]:
    """A release whose build is the engine of the tests."""
    with serving() as server:
        found = GitHub(server)
        found.publish("b10068", {name(10068, "cpu"): wheel_archive(10068)})
        yield found


@pytest.mark.e2e
@pytest.mark.timeout(240)
def test_from_no_engine_to_one_that_runs(
    start: Callable[..., Desktop],
    pointer: Pointer,
    qtbot: QtBot,
    github: GitHub,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(llama_server, "WHEEL", "no_such_package")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    left = engines_dir() / ".new-b6-cpu"
    left.mkdir(parents=True)
    desktop = start(demo=True, model=demo_model())
    qtbot.waitUntil(lambda: desktop.card_count == 2, timeout=20_000)
    window, builds = desktop.window, desktop.settings_page.builds
    qtbot.waitUntil(lambda: not left.exists(), timeout=5000)  # of a crash

    # the notice above every page leads there, and so does Launch
    qtbot.waitUntil(window.notice.isVisible, timeout=20_000)
    assert window.notice.title == "No llama-server was found."
    pointer.click(button(window.rail, "Launch"))
    page = desktop.launch_page
    qtbot.waitUntil(lambda: bool(texts(page, "No llama-server was found.")), timeout=20_000)
    assert not desktop.ready_to_start
    pointer.click(button(page, "Get llama.cpp"))
    qtbot.waitUntil(lambda: window.current_page == "settings")
    qtbot.waitUntil(lambda: bool(texts(builds, "There is no llama-server on this machine yet.")))
    assert github.server.requests == []

    # GitHub is played by a server on loopback, and the machine is one of known kind
    desktop.builds._jobs._api = github.api
    desktop.builds._find = lambda: Machine(os="linux", arch="x64")
    pointer.click(button(builds, "Look for official builds"))
    qtbot.waitUntil(lambda: bool(builds.offers.rows), timeout=20_000)
    pointer.click(builds.offers.rows[0].download)
    qtbot.waitUntil(lambda: bool(texts(builds, "is installed")), timeout=60_000)
    assert [engine.id for engine in installed()] == ["b10068-cpu"]

    # it is found at once, and it runs
    qtbot.waitUntil(lambda: not window.notice.isVisible(), timeout=20_000)
    qtbot.waitUntil(lambda: desktop.ready_to_start, timeout=20_000)
    pointer.click(button(window.rail, "Launch"))
    pointer.click(page.editor.start)
    qtbot.waitUntil(lambda: desktop.engine.status.phase is Phase.READY, timeout=60_000)
    command = desktop.engine.status.command
    assert command is not None
    assert command[0] == str(engines_dir() / "b10068-cpu" / "llama-server")

    # while it does it stays
    pointer.click(button(window.rail, "Settings"))
    row = builds.rows.row("b10068-cpu")
    assert row is not None
    pointer.click(row.remove)
    pointer.click(row.sure)
    qtbot.waitUntil(lambda: bool(texts(builds, "b10068-cpu is in use.")), timeout=10_000)
    assert installed()
