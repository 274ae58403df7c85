"""Headers of models, drafts and projectors, read off the GUI thread."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot
from tests.support.tiny_models import write_projector

from splitrig.bridge.models import ModelsBridge
from splitrig.bridge.pump import Pump
from splitrig.core.companion import Projector
from splitrig.core.model import Model
from splitrig.core.settings import EngineSettings
from splitrig.services.engines.engines import Engines
from splitrig.services.mailbox import Mailbox
from splitrig.services.models.demo import demo_model
from splitrig.services.models.gguf import read_model

CLOSED = "http://127.0.0.1:1"


@pytest.fixture
def bridge(qtbot: QtBot) -> Iterator[ModelsBridge]:
    mailbox = Mailbox()
    pump = Pump(mailbox)
    bridge = ModelsBridge(pump, mailbox, Engines(mailbox, EngineSettings(ollama_url=CLOSED)))
    pump.start()
    yield bridge
    bridge.close()
    pump.stop()


def demo() -> Path:
    path = demo_model()
    assert path is not None
    return path


def test_a_model_is_read_with_the_projectors_beside_it(
    bridge: ModelsBridge, qtbot: QtBot, tmp_path: Path
) -> None:
    model = tmp_path / "model.gguf"
    model.symlink_to(demo())
    projector = tmp_path / "mmproj-f16.gguf"
    projector.touch()
    read: list[object] = []
    bridge.model_read.connect(lambda model, _name: read.append(model))
    with qtbot.waitSignal(bridge.projectors_found, timeout=5000) as found:
        bridge.read(model)
    assert found.args == [(projector,)]
    assert len(read) == 1


def test_a_model_that_cannot_be_read_is_told(
    bridge: ModelsBridge, qtbot: QtBot, tmp_path: Path
) -> None:
    with (
        qtbot.waitSignal(bridge.read_failed, timeout=5000) as failed,
        qtbot.assertNotEmitted(bridge.projectors_found),
    ):
        bridge.read(tmp_path / "none.gguf")
    assert failed.args[0] == tmp_path / "none.gguf"


def test_a_draft_model_is_read_or_refused(
    bridge: ModelsBridge, qtbot: QtBot, tmp_path: Path
) -> None:
    model = read_model(demo())
    with qtbot.waitSignal(bridge.draft_read, timeout=5000) as read:
        bridge.read_draft(demo(), model)
    assert isinstance(read.args[0], Model)
    with qtbot.waitSignal(bridge.draft_failed, timeout=5000) as failed:
        bridge.read_draft(tmp_path / "none.gguf", model)
    assert "There is no file" in failed.args[0].message


def test_a_projector_is_read_or_refused(bridge: ModelsBridge, qtbot: QtBot, tmp_path: Path) -> None:
    path = write_projector(tmp_path / "mmproj.gguf", 576)
    with qtbot.waitSignal(bridge.projector_read, timeout=5000) as read:
        bridge.read_projector(path)
    assert isinstance(read.args[0], Projector)
    with qtbot.waitSignal(bridge.projector_failed, timeout=5000) as failed:
        bridge.read_projector(demo())
    assert "is no projector" in failed.args[0].message


def test_only_the_answer_to_the_last_choice_is_shown(
    bridge: ModelsBridge, qtbot: QtBot, tmp_path: Path
) -> None:
    path = write_projector(tmp_path / "mmproj.gguf", 576)
    shown: list[object] = []
    bridge.projector_read.connect(shown.append)
    bridge.projector_failed.connect(shown.append)
    with qtbot.waitSignal(bridge.projector_read, timeout=5000):
        bridge.read_projector(tmp_path / "none.gguf")
        bridge.read_projector(path)
    qtbot.wait(100)
    assert len(shown) == 1


def test_ollamas_models_are_listed_from_the_disk_and_asked_for(
    bridge: ModelsBridge, qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path))
    manifest = tmp_path / "manifests" / "registry.ollama.ai" / "library" / "m" / "latest"
    manifest.parent.mkdir(parents=True)
    manifest.write_text("no manifest")
    with qtbot.waitSignal(bridge.store_listed) as stored:
        bridge.list_store()
    assert stored.args is not None
    listing = stored.args[0]
    assert [m.name for m in listing.models if m.store == tmp_path] == []
    assert any("Ollama's entry for m:latest is damaged" in note for note in listing.notes)
    with qtbot.waitSignal(bridge.served_listed) as served:
        bridge.list_served()
    assert served.args is not None
    assert served.args[0].url == CLOSED
    assert "Nothing answers" in served.args[0].error.message
