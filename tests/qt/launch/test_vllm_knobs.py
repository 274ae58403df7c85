"""The settings that only vLLM has, and its extra arguments, on the Launch page."""

import sys
from pathlib import Path

import pytest
from launch_samples import make_model, make_rig
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from pytestqt.qtbot import QtBot
from tests.unit.core.hf_samples import model as hf_model

from splitrig.core.config_files import ConfigFile
from splitrig.core.engine import EngineKind, LaunchRequest
from splitrig.core.environment import inherited_notes
from splitrig.core.server_options import options_named
from splitrig.core.vllm import VllmOptions, VllmPlan
from splitrig.views.launch.page import LaunchPage
from splitrig.views.launch.wording import request_rows
from splitrig.views.theme import Theme

if sys.platform == "win32":
    pytest.skip("vLLM runs on Linux only", allow_module_level=True)

RECORDED = Path(__file__).parents[2] / "recorded/vllm"
FLAGS = options_named((RECORDED / "flags.txt").read_text(encoding="utf-8").split())


@pytest.fixture
def page(theme: Theme, qtbot: QtBot) -> LaunchPage:
    """A 4090, a folder and a vLLM that has said what it takes; the section is open."""
    page = LaunchPage(theme)
    qtbot.addWidget(page)
    page.resize(1204, 900)
    page.show_rig(make_rig(1, used_gib=0.3))
    page.show()
    qtbot.waitExposed(page)
    page.editor.model.engine.chosen.emit(EngineKind.VLLM)
    page.show_engine_found(EngineKind.VLLM, "0.32.0", None, FLAGS)
    page.show_folder(hf_model())
    page.more.fold.click()
    return page


def request(page: LaunchPage) -> LaunchRequest:
    found = page.planner.launch_request()
    assert found is not None
    return found


def options(page: LaunchPage) -> VllmOptions:
    found = request(page).vllm
    assert found is not None
    return found


def made(page: LaunchPage) -> VllmPlan:
    plan = page.planner.vllm_plan
    assert plan is not None
    return plan


def typed(page: LaunchPage, text: str) -> str:
    """Type extra arguments; what is said of them."""
    page.more.extra.setFocus()
    page.more.extra.selectAll()
    QTest.keyClick(page.more.extra, Qt.Key.Key_Delete)
    QTest.keyClicks(page.more.extra, text)
    return page.more._extra_words.text()


def test_its_own_settings_reach_plan_and_request(page: LaunchPage) -> None:
    part = page.more.vllm
    assert part.isVisible()
    tokens = made(page).kv_tokens
    QTest.keyClick(part.kv_dtype, Qt.Key.Key_End)
    assert options(page).kv_dtype == "fp8_e5m2"
    assert made(page).kv_tokens > 1.9 * tokens
    QTest.keyClick(part.dtype, Qt.Key.Key_End)
    assert options(page).dtype == "float16"
    part.share.setValue(80)
    assert options(page).fraction == 0.8
    assert made(page).fraction_reason == "0.8 of every card, as chosen."
    before = made(page).kv_tokens
    part.eager.click()
    assert options(page).eager
    assert made(page).kv_tokens > before
    part.share.setValue(0)
    assert made(page).fraction == pytest.approx(0.92)
    page.more.fold.click()
    words = page.more._summary.text()
    assert words == "KV cache fp8_e5m2 · float16 · no captured graphs"


def test_they_are_kept_while_another_engine_is_looked_at(page: LaunchPage) -> None:
    page.more.vllm.share.setValue(80)
    page.more.vllm.eager.click()
    page.editor.model.engine.chosen.emit(EngineKind.LLAMA_CPP)
    assert not page.more.vllm.isVisible()
    page.show_model(make_model())
    page.more.fold.setChecked(False)
    assert "memory" not in page.more._summary.text()
    assert request(page).vllm is None
    page.editor.model.engine.chosen.emit(EngineKind.VLLM)
    page.show_folder(hf_model())
    assert (options(page).fraction, options(page).eager) == (0.8, True)


def test_extra_arguments_are_checked_against_this_vllm(page: LaunchPage, qtbot: QtBot) -> None:
    assert "for vLLM, such as --seed 7" in page.more._extra_words.text()
    typed(page, "--seed 7")
    assert request(page).extra_arguments == ("--seed", "7")
    assert page.can_start
    assert typed(page, "--host 0.0.0.0").startswith("--host cannot be set here")
    assert page.more.extra.property("invalid") == "true"
    assert not page.can_start
    assert "--host cannot be set here" in page.editor.words.text()
    assert "does not know --alias" in typed(page, "--alias mine")
    assert typed(page, "--cpu-offload-gb 4").startswith("With --cpu-offload-gb a part of")
    assert page.can_start
    notes = page.editor.plan.notes
    qtbot.waitUntil(lambda: any("--cpu-offload-gb" in n.title for n in notes.notices))


def test_what_it_does_not_have_is_closed_with_its_own_reason(page: LaunchPage) -> None:
    more, knobs = page.more, page.editor.knobs
    assert not more.modes.isVisible(), "the layout stands with the split"
    assert not more.draft.choose.isEnabled()
    assert "--speculative-config" in more.draft.note.text()
    assert "the model's own folder" in more.projector.note.text()
    assert not knobs.keys.isEnabled()
    assert "types of its own" in knobs.keys.toolTip()


def test_all_layers_of_a_folder_lie_on_the_cards(page: LaunchPage) -> None:
    knobs = page.editor.knobs
    assert knobs._on_cards.text() == knobs.layers.accessibleDescription() == "all 32"
    assert knobs.layers.value() == knobs.layers.maximum()
    assert not knobs.layers.isEnabled()
    page.show_model(make_model())
    assert knobs._on_cards.text() == "all 64 + output"


def test_the_settings_of_a_run_are_told(page: LaunchPage) -> None:
    page.more.vllm.eager.click()
    page.more.vllm.share.setValue(80)
    rows = dict(request_rows(request(page)))
    assert rows["Layout"] == "one card"
    assert rows["Memory"] == "80.0 % of each card"
    assert rows["Graphs"] == "not captured"
    assert "KV cache" not in rows


def test_inherited_variables_are_told_beside_a_folder(page: LaunchPage, qtbot: QtBot) -> None:
    inherited = {
        "CUDA_VISIBLE_DEVICES": "1",
        "VLLM_PP_LAYER_PARTITION": "8,24",
        "VLLM_API_KEY": "sk-mine",
        "VLLM_HOST_IP": "10.0.0.9",
        "RAY_ADDRESS": "10.0.0.9:6379",
        "OLLAMA_HOST": "0.0.0.0",
        "LLAMA_ARG_CTX_SIZE": "1",
    }
    replaced, _ = inherited_notes(inherited)
    page.show_environment(
        replaced, (ConfigFile(path=Path("/etc/llama.cpp/config.ini"), hidden=False),)
    )
    page.editor.split.even.click()
    page.show_rig(make_rig(2, used_gib=0.3))
    notes = page.editor.plan.notes

    def told() -> list[str]:
        return [n.title for n in notes.notices if "set in your environment" in n.title]

    qtbot.waitUntil(lambda: bool(told()))
    (title,) = told()
    for name in ("CUDA_VISIBLE_DEVICES", "RAY_ADDRESS", "VLLM_API_KEY", "VLLM_HOST_IP"):
        assert name in title
    assert "VLLM_PP_LAYER_PARTITION" in title
    assert "OLLAMA_HOST" not in title
    assert "LLAMA_ARG" not in title
    (detail,) = [n.detail for n in notes.notices if n.title == title]
    assert "sk-mine" not in detail
    assert "which cards it sees is chosen in SplitRig" in detail
    assert not any("config.ini" in n.title for n in notes.notices), "that is llama.cpp's"
