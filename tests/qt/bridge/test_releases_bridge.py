"""What the window hears of builds, in the order it hears it."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot
from tests.services.engines.release_server import GitHub, name, script, tar_gz
from tests.services.net.file_server import serving

from splitrig.bridge.pump import Pump
from splitrig.bridge.releases import ReleasesBridge
from splitrig.core.engine_build import Build, Job, JobKind, Ready, Source
from splitrig.core.engine_fit import Machine
from splitrig.core.engine_offer import Offers
from splitrig.core.errors import CancelledError, SplitRigError
from splitrig.core.gpu import GpuInfo, Rig, Vendor
from splitrig.services.engines import llama_server
from splitrig.services.engines.installed import engines_dir
from splitrig.services.mailbox import Mailbox

if sys.platform == "win32":
    pytest.skip("the archives of these tests hold scripts for Linux", allow_module_level=True)

CARD = GpuInfo(id="GPU-1", name="Intel Arc A770", vendor=Vendor.INTEL, source="test")
LINUX = Machine(os="linux", arch="x64", cards=(CARD,))


class Setup:
    def __init__(self, qtbot: QtBot, github: GitHub) -> None:
        self.qtbot = qtbot
        self.rig: Rig | None = None
        self.machine: Machine | None = LINUX
        mailbox = Mailbox()
        self.pump = Pump(mailbox, interval_ms=5)
        self.bridge = ReleasesBridge(
            self.pump,
            mailbox,
            rig=lambda: self.rig,
            api=github.api,
            machine=lambda: self.machine or LINUX,
        )
        self.heard: list[tuple[str, object]] = []
        self.lists: list[tuple[Build, ...]] = []
        bridge = self.bridge
        bridge.listed.connect(self.lists.append)
        bridge.job_changed.connect(lambda job: self.heard.append(("job", job)))
        bridge.offered.connect(lambda offers: self.heard.append(("offered", offers)))
        bridge.installed.connect(lambda ready: self.heard.append(("installed", ready)))
        bridge.removed.connect(lambda engine_id: self.heard.append(("removed", engine_id)))
        bridge.failed.connect(lambda job, error: self.heard.append(("failed", (job, error))))
        bridge.changed.connect(lambda: self.heard.append(("changed", None)))
        self.pump.start()

    def close(self) -> None:
        self.bridge.close()
        self.pump.stop()

    def wait(self, what: str) -> object:
        """The next news of this kind; what was heard before is forgotten."""
        self.qtbot.waitUntil(lambda: any(k == what for k, _ in self.heard), timeout=20_000)
        kinds = [kind for kind, _ in self.heard]
        return self.heard[kinds.index(what)][1]

    def names(self) -> list[str]:
        return [kind for kind, _ in self.heard]

    def offers(self) -> Offers:
        self.heard.clear()
        self.bridge.look()
        offers = self.wait("offered")
        assert isinstance(offers, Offers)
        return offers


@pytest.fixture
def github() -> Iterator[GitHub]:
    with serving() as server:
        found = GitHub(server)
        data = tar_gz(7, llama_server=script(7))
        found.publish("b7", {name(7, "vulkan"): data, name(7, "cpu"): data})
        yield found


@pytest.fixture
def setup(qtbot: QtBot, github: GitHub, monkeypatch: pytest.MonkeyPatch) -> Iterator[Setup]:
    monkeypatch.setattr(llama_server, "WHEEL", "no_such_package")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    made = Setup(qtbot, github)
    yield made
    made.close()


def test_a_job_begins_and_ends_and_then_its_news_come(setup: Setup) -> None:
    offers = setup.offers()
    look = Job(kind=JobKind.LOOK)
    assert setup.heard[:2] == [("job", look), ("job", None)]
    assert offers.best.choice.asset.id == "b7-vulkan"
    setup.heard.clear()
    setup.bridge.install(offers.best.choice)
    assert setup.bridge.job == Job(kind=JobKind.INSTALL, id="b7-vulkan")
    setup.wait("changed")
    assert setup.names() == ["job", "job", "installed", "changed"]
    ready = setup.wait("installed")
    assert isinstance(ready, Ready)
    assert (ready.id, ready.n_cards, ready.blind) == ("b7-vulkan", 1, False)
    assert ready.path == engines_dir() / "b7-vulkan" / "llama-server"
    setup.heard.clear()
    setup.bridge.remove("b7-vulkan")
    setup.wait("changed")
    assert setup.names() == ["job", "job", "removed", "changed"]
    setup.qtbot.waitUntil(lambda: setup.lists[-1] == ())


def test_a_second_job_is_refused_with_a_reason(setup: Setup, github: GitHub) -> None:
    offers = setup.offers()
    github.server.stall_after = 10
    setup.bridge.install(offers.best.choice)
    setup.heard.clear()
    setup.bridge.install(offers.kinds[0].choice)
    job, error = setup.wait("failed")  # type: ignore[misc]
    assert job == Job(kind=JobKind.INSTALL, id="b7-cpu")
    assert isinstance(error, SplitRigError)
    assert "Another engine is being fetched" in error.message
    assert setup.bridge.job == Job(kind=JobKind.INSTALL, id="b7-vulkan")
    setup.heard.clear()
    setup.bridge.cancel()
    job, error = setup.wait("failed")  # type: ignore[misc]
    assert isinstance(error, CancelledError)
    assert setup.bridge.job is None


def test_the_one_chosen_is_not_removed(setup: Setup) -> None:
    setup.bridge.install(setup.offers().best.choice)
    setup.wait("changed")
    setup.bridge.choose(engines_dir() / "b7-vulkan" / "llama-server")
    setup.heard.clear()
    setup.bridge.remove("b7-vulkan")
    job, error = setup.wait("failed")  # type: ignore[misc]
    assert job == Job(kind=JobKind.REMOVE, id="b7-vulkan")
    assert "is the one chosen" in error.message
    assert setup.names() == ["failed"]


def test_choosing_lists_anew_and_choosing_the_same_does_not(setup: Setup, tmp_path: Path) -> None:
    setup.bridge.choose(None)
    own = tmp_path / "llama-server"
    own.write_bytes(script(3))
    own.chmod(0o755)
    setup.bridge.choose(own)
    setup.qtbot.waitUntil(lambda: bool(setup.lists) and setup.lists[-1][0].asked)
    (build,) = setup.lists[-1]
    assert (build.path, build.source, build.chosen) == (own, Source.CHOSEN, True)
    assert len(setup.lists) == 2


def test_a_list_of_earlier_is_kept_while_the_cards_stay(setup: Setup, tmp_path: Path) -> None:
    log = tmp_path / "log"
    own = tmp_path / "llama-server"
    own.write_bytes(script(3, before=f'echo "$1" >> "{log}"'))
    own.chmod(0o755)

    def asked() -> int:
        setup.lists.clear()
        setup.bridge.refresh()
        setup.qtbot.waitUntil(lambda: bool(setup.lists) and setup.lists[-1][0].asked)
        return log.read_text().count("--list-devices")

    setup.bridge.choose(own)
    setup.qtbot.waitUntil(lambda: bool(setup.lists) and setup.lists[-1][0].asked)
    assert asked() == 1
    setup.rig = Rig(time_s=0, gpus=(CARD,))
    assert asked() == 2
    setup.rig = Rig(time_s=9, gpus=(CARD,))
    assert asked() == 2


def test_the_cards_are_those_of_the_rig_unless_they_are_made_up(setup: Setup) -> None:
    setup.bridge._find = None
    setup.rig = Rig(time_s=0, gpus=(CARD,))
    found = setup.bridge._machine_finder()(lambda: False)
    assert found.cards == (CARD,)
    # the demo rig's are not: this machine's are looked for
    demo = replace(CARD, id="demo-0", source="demo")
    setup.rig = Rig(time_s=0, gpus=(demo,), demo=True)
    find = setup.bridge._machine_finder()
    assert demo not in find(lambda: False).cards
    with pytest.raises(CancelledError):
        find(lambda: True)


def test_what_crashed_runs_left_is_swept_away(setup: Setup) -> None:
    left = engines_dir() / ".new-b6-cpu"
    left.mkdir(parents=True)
    setup.bridge.sweep()
    setup.qtbot.waitUntil(lambda: not left.exists())
