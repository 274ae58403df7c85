"""Models that are no GGUF file: Hugging Face folders for vLLM, Ollama's own by name."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from launch_samples import make_model, make_rig
from pytestqt.qtbot import QtBot
from tests.unit.core.hf_samples import model as hf_model

from splitrig.core.engine import EngineKind, LaunchRequest
from splitrig.core.errors import EngineError
from splitrig.core.ollama_model import OllamaModel, ServedListing, ServedModel, StoreListing
from splitrig.core.plan import Plan
from splitrig.views.launch.page import LaunchPage
from splitrig.views.theme import Theme

STORED = OllamaModel(
    name="qwen3:32b",
    store=Path("/models"),
    path=Path("/models/blobs/sha256-1"),
    n_bytes=9,
    layers=(),
)


@pytest.fixture
def page(theme: Theme, qtbot: QtBot) -> LaunchPage:
    """A 4090 and a 3080, no model yet."""
    page = LaunchPage(theme)
    qtbot.addWidget(page)
    page.resize(1204, 752)
    page.show_rig(make_rig(used_gib=0.3))
    page.show()
    qtbot.waitExposed(page)
    return page


@pytest.fixture
def asked(page: LaunchPage) -> list[tuple[LaunchRequest, Plan]]:
    started: list[tuple[LaunchRequest, Plan]] = []
    page.start_requested.connect(lambda request, plan: started.append((request, plan)))
    return started


def choose(page: LaunchPage, kind: EngineKind) -> None:
    row = page.editor.model.engine
    action = next(a for a in row.fill_menu().actions() if a.data() == kind.value)
    row.menu.triggered.emit(action)


needs_linux = pytest.mark.skipif(sys.platform == "win32", reason="vLLM runs on Linux only")


@needs_linux
def test_a_folder_is_planned_for_vllm_with_what_stays_unused(
    page: LaunchPage, asked: list[tuple[LaunchRequest, Plan]], qtbot: QtBot
) -> None:
    choose(page, EngineKind.VLLM)
    page.show_folder(hf_model())
    plan = page.planner.vllm_plan
    assert plan is not None
    assert page.plan is not None
    assert page.editor.split.hint == plan.layout.words
    qtbot.waitUntil(lambda: bool(page.editor.plan.notes.notices), timeout=2000)
    page.start()
    if page.plan.fits:
        ((request, _),) = asked
        assert request.vllm == plan.decided(page.planner.vllm_options())
        assert request.engine is EngineKind.VLLM
        assert request.model == hf_model().path


@needs_linux
def test_moving_the_handle_makes_a_pipeline_with_layers_by_the_split(page: LaunchPage) -> None:
    choose(page, EngineKind.VLLM)
    page.show_folder(hf_model())
    page.editor.split.changed.emit((3.0, 1.0))
    plan = page.planner.vllm_plan
    assert plan is not None
    assert (plan.layout.tp, plan.layout.pp) == (1, 2)
    assert plan.layers == (24, 8)
    assert page.editor.split.hint == "pipeline of 2 cards"
    request = page.planner.launch_request()
    assert request is not None
    assert request.vllm is not None
    assert request.vllm.layers == (24, 8)


@needs_linux
def test_heads_that_three_cards_cannot_share_are_a_sentence_not_a_crash(
    theme: Theme, qtbot: QtBot
) -> None:
    page = LaunchPage(theme)
    qtbot.addWidget(page)
    page.show_rig(make_rig(3))
    choose(page, EngineKind.VLLM)
    page.show_folder(hf_model())
    plan = page.planner.vllm_plan
    assert plan is not None
    assert plan.layout.tp == 1, "32 heads are not shared by three; a pipeline is taken"


def test_a_folder_is_for_vllm_only_and_the_page_says_so(page: LaunchPage) -> None:
    page.show_folder(hf_model())
    assert not page.can_start
    assert "loads one GGUF file" in page.editor.words.text()
    page.show_model(make_model())
    assert page.can_start


def test_ollamas_models_are_offered_and_keep_their_name(
    page: LaunchPage, asked: list[tuple[LaunchRequest, Plan]]
) -> None:
    panel = page.editor.model
    panel.offer_stored(StoreListing((STORED,)))
    (submenu,) = [a.menu() for a in panel.fill_menu().actions() if a.menu() is not None]
    (action,) = submenu.actions()
    assert action.text().startswith("qwen3:32b")
    chosen: list[OllamaModel] = []
    page.stored_chosen.connect(chosen.append)
    panel.menu.triggered.emit(action)
    assert chosen == [STORED]
    choose(page, EngineKind.OLLAMA)
    page.show_model(make_model(), "qwen3:32b")
    page.start()
    ((request, _),) = asked
    assert (request.engine, request.model_name) == (EngineKind.OLLAMA, "qwen3:32b")


def test_an_attached_ollama_loads_only_its_own(page: LaunchPage) -> None:
    choose(page, EngineKind.OLLAMA_ATTACHED)
    page.show_model(make_model())
    assert "loads models of its own store" in page.editor.words.text()
    page.show_model(make_model(), "qwen3:32b")
    assert page.can_start


def test_nothing_is_planned_for_an_ollama_that_runs_already(
    page: LaunchPage, asked: list[tuple[LaunchRequest, Plan]]
) -> None:
    choose(page, EngineKind.OLLAMA_ATTACHED)
    page.show_model(make_model(), "qwen3:32b")
    page.start()
    ((request, plan),) = asked
    assert request.gpu_ids == ()
    assert plan.devices == ()


SERVED = ServedModel(
    name="qwen2.5:7b", n_bytes=4_683_087_332, family="qwen2", parameters="7.6B",
    quantization="Q4_K_M",
)  # fmt: skip


def test_models_of_a_running_ollama_are_offered_with_size_and_quantisation(
    page: LaunchPage, asked: list[tuple[LaunchRequest, Plan]], qtbot: QtBot
) -> None:
    """No file of it has to be on this machine."""
    page.resize(1204, 752)
    panel = page.editor.model
    choose(page, EngineKind.OLLAMA_ATTACHED)
    assert "Asking the running Ollama" in panel.fill_menu().actions()[0].text()
    panel.offer_served(ServedListing("http://127.0.0.1:11434", (SERVED,)))
    head, action, *_ = panel.fill_menu().actions()
    assert (head.text(), head.isEnabled()) == ("Ollama at 127.0.0.1:11434", False)
    assert action.text() == "qwen2.5:7b  ·  4.4 GiB  ·  Q4_K_M"
    panel.menu.triggered.emit(action)
    assert panel.head._name.text() == "qwen2.5:7b"
    assert panel.head._facts.text() == "4.4 GiB · 7.6B parameters · qwen2"
    assert not page.editor.knobs.layers.isEnabled()  # nobody knows how many it has
    assert page.can_start
    page.start()
    ((request, plan),) = asked
    assert (request.model_name, request.engine) == ("qwen2.5:7b", EngineKind.OLLAMA_ATTACHED)
    assert (request.gpu_ids, request.plan.split, plan.devices) == ((), None, ())


def test_a_model_that_only_a_running_ollama_knows_is_no_other_engines(page: LaunchPage) -> None:
    choose(page, EngineKind.OLLAMA_ATTACHED)
    page.show_served(SERVED)
    assert page.can_start
    choose(page, EngineKind.LLAMA_CPP)
    assert not page.can_start
    assert page.editor.words.text() == "Only the running Ollama knows qwen2.5:7b; choose a model."
    page.show_model(make_model())
    assert page.can_start
    choose(page, EngineKind.OLLAMA_ATTACHED)
    assert not page.can_start  # the file has taken the other's place


@pytest.mark.qt_log_ignore("plugin does not support (raise|grabbing)", extend=True)
def test_a_running_ollama_is_asked_again_and_an_open_menu_follows(
    page: LaunchPage, qtbot: QtBot
) -> None:
    panel = page.editor.model
    wanted: list[None] = []
    panel.list_wanted.connect(lambda: wanted.append(None))
    choose(page, EngineKind.OLLAMA_ATTACHED)
    error = EngineError("Nothing answers there: no Ollama is running.", "Start it.")
    panel.offer_served(ServedListing("http://127.0.0.1:1", error=error))
    panel.open_menu()
    assert len(wanted) == 1
    first, *_, again = panel.menu.actions()
    assert first.toolTip() == "Nothing answers there: no Ollama is running. Start it."
    assert again.text() == "Ask again"
    panel.offer_served(ServedListing("http://127.0.0.1:1", (SERVED,)))
    assert "qwen2.5:7b" in panel.menu.actions()[1].text()
    panel.menu.actions()[-1].trigger()
    assert len(wanted) == 2
    panel.offer_served(ServedListing("http://127.0.0.1:1"))
    assert panel.menu.actions()[0].text() == "Ollama at 127.0.0.1:1 has no model yet"
    panel.menu.close()


def test_what_of_ollamas_store_cannot_be_read_is_told_in_the_menu(page: LaunchPage) -> None:
    panel = page.editor.model
    notes = tuple(f"model-{n} cannot be planned: it is no GGUF file. {'x' * 80}" for n in range(7))
    panel.offer_stored(StoreListing((), notes))
    (submenu,) = [a.menu() for a in panel.fill_menu().actions() if a.menu() is not None]
    actions = submenu.actions()
    assert [action.isEnabled() for action in actions] == [False] * 6
    assert actions[0].toolTip() == notes[0]
    assert actions[0].text().endswith("…")
    assert actions[-1].text() == "and 2 more"


def test_a_running_ollama_leaves_no_dead_switches(page: LaunchPage) -> None:
    cards, split = page.editor.cards, page.editor.split
    page.show_model(make_model())
    assert all(switch.isVisible() for switch in cards.switches)
    choose(page, EngineKind.OLLAMA_ATTACHED)
    assert cards.isEnabled()
    assert not any(switch.isVisible() for switch in cards.switches)
    assert not cards.remote.isVisible()
    assert cards._hint.text() == "chosen where Ollama was started"
    assert not split.bar.isVisible()
    assert not split.field.isVisible()
    assert "started by somebody else" in split.why.text()
    choose(page, EngineKind.LLAMA_CPP)
    assert all(switch.isVisible() for switch in cards.switches)
    assert cards.remote.isVisible()
    assert cards._hint.text() == "2 of 2 take part"


@needs_linux
def test_an_engine_that_cannot_load_the_model_shows_no_fit_and_no_command(
    theme: Theme, qtbot: QtBot
) -> None:
    page = LaunchPage(theme, command_for=lambda _request: ("vllm", "serve"))
    qtbot.addWidget(page)
    page.show_rig(make_rig(used_gib=0.3))
    page.show_model(make_model())
    plan = page.editor.plan
    assert plan.head.title.text() == "Fits"
    qtbot.waitUntil(lambda: plan.command.command == ("vllm", "serve"))
    choose(page, EngineKind.VLLM)
    assert plan.head.title.text() == "vLLM cannot load it here"
    qtbot.waitUntil(lambda: plan.command.command == ())
    choose(page, EngineKind.LLAMA_CPP)
    assert plan.head.title.text() == "Fits"


@pytest.mark.parametrize("kind", list(EngineKind))
def test_no_choice_is_wider_than_the_column_of_a_small_window(
    page: LaunchPage, kind: EngineKind
) -> None:
    page.resize(968, 652)
    page.show_model(make_model())
    choose(page, kind)
    column = page.editor._left.viewport().width()
    panels = (page.editor.model, page.editor.cards, page.editor.split, page.editor.address)
    for panel in (*panels, page.editor.knobs):
        assert panel.minimumSizeHint().width() <= column, type(panel).__name__


@needs_linux
def test_the_split_bar_shows_the_stages_that_vllm_gets(page: LaunchPage) -> None:
    choose(page, EngineKind.VLLM)
    page.show_folder(hf_model())
    bar = page.editor.split.bar
    for shares in ((3.0, 1.0), (1.0, 1.0), (5.0, 2.0)):
        page.editor.split.changed.emit(shares)
        plan = page.planner.vllm_plan
        assert plan is not None
        assert bar.counts == tuple(card.n_layer for card in plan.cards) == plan.layers
        assert sum(bar.counts) == hf_model().config.n_layer
    assert bar._fit_known
    page.show_model(make_model())
    choose(page, EngineKind.LLAMA_CPP)
    assert sum(bar.counts) == make_model().n_layer + 1
    assert bar._fit_known


@needs_linux
def test_a_context_that_the_kv_cache_cannot_hold_is_the_reason_told(page: LaunchPage) -> None:
    choose(page, EngineKind.VLLM)
    page.show_folder(hf_model())
    page.planner.knobs = replace(page.planner.knobs, n_ctx=131072)
    page.editor.split.changed.emit((1.0, 1.0))
    assert page.plan is not None
    assert not page.plan.fits
    assert min(device.free_bytes for device in page.plan.devices) >= 0
    head = page.editor.plan.head
    assert head.title.text() == "Does not fit"
    assert "tokens" in head.detail.text()
