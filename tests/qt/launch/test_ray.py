"""Other machines for vLLM on the Launch page; what Ray says is played."""

import sys

import pytest
from launch_samples import make_rig
from PySide6.QtGui import QGuiApplication
from pytestqt.qtbot import QtBot
from tests.unit.core.hf_samples import model as hf_model

from splitrig.core.engine import EngineKind
from splitrig.core.errors import EngineError
from splitrig.core.ray import RayNode, RayState
from splitrig.core.vllm import Cluster
from splitrig.views.launch.page import LaunchPage
from splitrig.views.launch.ray_part import RayPart
from splitrig.views.theme import Theme

if sys.platform == "win32":
    pytest.skip("vLLM runs on Linux only", allow_module_level=True)

HERE = "192.168.1.5"
HEAD = Cluster(host_ip=HERE, port=6379)
TWO_MACHINES = RayState(nodes=(RayNode(HERE, 2), RayNode("192.168.1.7", 2)), n_free=4)


@pytest.fixture
def page(theme: Theme, qtbot: QtBot) -> LaunchPage:
    """Two cards and a folder for vLLM."""
    page = LaunchPage(theme)
    qtbot.addWidget(page)
    page.resize(1204, 752)
    page.show_rig(make_rig(used_gib=0.3))
    page.show()
    qtbot.waitExposed(page)
    page.editor.model.engine.chosen.emit(EngineKind.VLLM)
    page.show_device_names({"GPU-0": "CUDA0", "GPU-1": "CUDA1"})
    page.show_folder(hf_model())
    return page


@pytest.fixture
def part(page: LaunchPage) -> RayPart:
    part = page.editor.cards.remote.ray
    part.show_addresses([HERE])
    return part


def test_only_vllm_is_joined_by_ray(page: LaunchPage, part: RayPart) -> None:
    assert part.isVisible()
    assert not page.editor.cards.remote.add.isVisible()
    page.editor.model.engine.chosen.emit(EngineKind.LLAMA_CPP)
    assert not part.isVisible()
    assert page.editor.cards.remote.add.isVisible()


def test_the_head_is_looked_for_and_started_with_the_cards_chosen(
    page: LaunchPage, part: RayPart
) -> None:
    looks: list[Cluster] = []
    starts: list[tuple[Cluster, tuple[str, ...]]] = []
    page.ray.look_wanted.connect(looks.append)
    page.ray.start_wanted.connect(lambda cluster, names: starts.append((cluster, names)))
    part.look.click()
    assert looks == [HEAD]
    assert not part.start.isEnabled()
    page.ray.show_news(HEAD, None, EngineError("No Ray cluster answers.", "Start its head."), False)
    assert part.state.text() == "No Ray cluster answers. Start its head."
    page.planner.switch("GPU-1", on=False)
    part.start.click()
    assert starts == [(HEAD, ("CUDA0",))]


def test_a_head_without_others_gives_the_line_to_copy(page: LaunchPage, part: RayPart) -> None:
    alone = RayState(nodes=(RayNode(HERE, 2),), n_free=2)
    page.ray.show_news(HEAD, alone, None, True)
    assert part.join.text() == f"ray start --address={HERE}:6379 --block"
    part.copy.click()
    assert QGuiApplication.clipboard().text() == part.join.text()
    assert not part.use.isVisible()
    assert part.warning.isVisible()
    assert "network you trust" in part.warning.text()
    stops: list[bool] = []
    page.ray.stop_wanted.connect(lambda: stops.append(True))
    assert part.start.text() == "Stop Ray"
    part.start.click()
    assert stops == [True]


def test_cards_of_the_other_machines_take_part(page: LaunchPage, part: RayPart) -> None:
    page.ray.show_news(HEAD, TWO_MACHINES, None, False)
    assert part.state.text() == (f"4 cards on 2 machines, 4 free: 2 on {HERE}, 2 on 192.168.1.7")
    assert page.plan is not None
    assert len(page.plan.devices) == 2
    part.use.click()
    assert [device.name for device in page.plan.devices][2:] == [
        "192.168.1.7 · card 0",
        "192.168.1.7 · card 1",
    ]
    least = min(device.total_bytes or 0 for device in page.planner.devices[:2])
    assert [device.total_bytes for device in page.planner.devices[2:]] == [least, least]
    assert [note.id for note in page.planner.ray.notes()] == ["ray-memory"]
    request = page.planner.launch_request()
    assert request is not None
    assert request.gpu_ids == ("GPU-0", "GPU-1")
    assert request.vllm is not None
    cluster = request.vllm.cluster
    assert cluster is not None
    assert (cluster.n_cards, cluster.port) == (4, 6379)
    assert (request.vllm.tp or 0) * (request.vllm.pp or 0) == 4
    page.ray.show_news(HEAD, None, None, False)
    assert page.plan is not None
    assert len(page.plan.devices) == 2
    request = page.planner.launch_request()
    assert request is not None
    assert request.vllm is not None
    assert request.vllm.cluster is None
    assert page.planner.ray.notes() == []
