"""The folded settings as a user meets them, and what follows from them on the page."""

from dataclasses import replace
from pathlib import Path

import pytest
from launch_samples import make_model, make_rig
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QFileDialog, QWidget
from pytestqt.qtbot import QtBot
from tests.unit.core.hf_samples import model as hf_model

from splitrig.core.companion import Projector
from splitrig.core.engine import EngineKind, EngineStatus, Failure, LaunchRequest, Phase
from splitrig.core.engine_failure import LAYERS_INSTEAD
from splitrig.core.errors import EngineError, ModelFileError
from splitrig.core.footprint import Backend
from splitrig.core.model import Model, Tensor
from splitrig.core.plan import PlanRequest
from splitrig.core.server_options import Options, parse_help
from splitrig.core.split_mode import MODES
from splitrig.core.units import GIB, MIB
from splitrig.views.launch.fixes import ways_to_fit
from splitrig.views.launch.knobs_panel import CACHE_TYPES
from splitrig.views.launch.more_knobs import EXTRA_WORDS, MoreKnobs
from splitrig.views.launch.page import LaunchPage
from splitrig.views.launch.planner import Planner
from splitrig.views.launch.wording import folded_text, more_remarks, request_rows
from splitrig.views.theme import Theme

HELP = Path(__file__).parents[2] / "recorded" / "llama_server_help" / "571d0d5.txt"
OPTIONS = parse_help(HELP.read_text(encoding="utf-8"))
DRAFT = replace(make_model(4, 0.01), path=Path("/models/Qwen3-0.6B-Q8_0.gguf"), quantization="Q8_0")
PROJECTOR = Projector(path=Path("/models/mmproj-F16.gguf"), n_bytes=700 * MIB)


def make_mixture(n_layer: int = 40, expert_gib: float = 1.0) -> Model:
    """Some 44 GiB, of which 40 are experts."""
    plain = make_model(n_layer, 0.1)
    n_bytes = round(expert_gib * GIB) // 256 * 256
    experts = tuple(
        Tensor(f"blk.{i}.ffn_up_exps.weight", (5120, 1), "f16", n_bytes) for i in range(n_layer)
    )
    return replace(
        plain, tensors=plain.tensors + experts, n_expert=8, n_expert_used=2, n_ff_expert=512,
        architecture="qwen3moe", path=Path("/models/Mixture-Q4_K_M.gguf"),
    )  # fmt: skip


@pytest.fixture
def page(theme: Theme, qtbot: QtBot) -> LaunchPage:
    """Two cards, a model and an engine that has said what it takes; the section is open."""
    page = LaunchPage(theme)
    qtbot.addWidget(page)
    page.resize(1204, 752)
    page.show_rig(make_rig())
    page.show_model(make_model())
    page.show_engine_found(EngineKind.LLAMA_CPP, "b10434", None, OPTIONS)
    page.show()
    qtbot.waitExposed(page)
    page.more.fold.click()
    return page


def choose(page: LaunchPage, mode: str) -> None:
    """Click a split mode."""
    button(page, mode).click()


def button(page: LaunchPage, mode: str) -> QWidget:
    return page.more.modes._group.button(MODES.index(mode))


def request(page: LaunchPage) -> LaunchRequest:
    found = page.planner.launch_request()
    assert found is not None
    return found


def typed(page: LaunchPage, text: str) -> str:
    """Type extra arguments; returns the words under them."""
    page.more.extra.selectAll()
    QTest.keyClick(page.more.extra, Qt.Key.Key_Delete)
    QTest.keyClicks(page.more.extra, text)
    return page.more._extra_words.text()


# The fold


def test_the_section_is_folded_at_first_and_tells_what_is_set_in_it(page: LaunchPage) -> None:
    more = page.more
    choose(page, "tensor")
    assert more.extra.isVisible()
    assert more._summary.text() == ""
    more.fold.click()
    assert not more.extra.isVisible()
    assert more._summary.text() == "tensor split"
    assert more.fold.accessibleDescription() == "tensor split"


def test_the_keyboard_opens_it_and_reaches_every_setting(page: LaunchPage) -> None:
    more = page.more
    more.fold.click()
    more.fold.setFocus()
    QTest.keyClick(more.fold, Qt.Key.Key_Space)
    assert more.fold.isChecked()
    seen = set()
    for _ in range(20):
        widget = QApplication.focusWidget()
        seen.add(widget)
        QTest.keyClick(widget, Qt.Key.Key_Tab)
    assert {more.draft.choose, more.projector.choose, more.extra} <= seen
    assert any(widget in seen for widget in map(more.modes._group.button, range(len(MODES))))


def test_everything_has_a_name_for_screen_readers(page: LaunchPage) -> None:
    more = page.more
    for widget in (
        more.fold, more.modes, more.experts, more.extra, more.draft.name, more.draft.choose,
        more.draft.clear, more.projector.name, more.projector.choose, more.projector.clear,
    ):  # fmt: skip
        assert widget.accessibleName(), widget


@pytest.mark.parametrize("size", [(968, 652), (1204, 752), (1844, 1000)])
@pytest.mark.parametrize("dark", [True, False])
def test_nothing_is_cut_when_it_is_open(
    page: LaunchPage, theme: Theme, size: tuple[int, int], dark: bool
) -> None:
    theme.set_dark(dark=dark)
    page.show_model(make_mixture())
    page.more.show_draft(DRAFT)
    page.resize(*size)
    QApplication.processEvents()
    left = page.editor._left
    content = left.widget()
    assert content is not None
    assert content.width() <= left.viewport().width()
    for widget in (page.more.extra, page.more.draft.clear, page.more.experts):
        corner = widget.mapTo(content, widget.rect().topRight())
        assert corner.x() <= left.viewport().width()


# Split modes


def test_a_split_mode_changes_plan_bar_and_request(page: LaunchPage) -> None:
    page.editor.split.changed.emit((3.0, 1.0))
    choose(page, "tensor")
    assert page.plan is not None
    assert [d.share for d in page.plan.devices] == [0.75, 0.25]
    assert request(page).plan.split_mode == "tensor"
    assert page.editor.split._hint.text() == "share of every layer"
    assert page.editor.split.bar._within
    handle = page.editor.split.bar.handles[0]
    assert handle.accessibleDescription().startswith("75 % to 25 %")
    assert not page.grab().isNull()
    assert "all work at once" in page.more._mode_words.text()
    choose(page, "layer")
    assert page.plan.devices[0].share is None
    assert not page.editor.split.bar._within


def test_none_closes_the_split_and_puts_all_on_the_first_card(page: LaunchPage) -> None:
    page.show_model(make_model(8))
    choose(page, "none")
    assert page.plan is not None
    assert [d.n_layers for d in page.plan.devices] == [9, 0]
    assert not page.editor.split.field.isEnabled()
    assert page.editor.split._hint.text() == "everything lies on the first card"
    choose(page, "layer")
    assert page.editor.split.field.isEnabled()


def test_a_mode_that_cannot_be_used_is_closed_with_its_reason(page: LaunchPage) -> None:
    page.show_backends({"GPU-0": Backend.VULKAN, "GPU-1": Backend.VULKAN})
    row = button(page, "row")
    assert not row.isEnabled()
    assert "not on Vulkan" in row.toolTip()
    assert button(page, "tensor").isEnabled()
    page.editor.knobs.flash.click()
    assert not button(page, "tensor").isEnabled()
    assert button(page, "tensor").toolTip() == "Tensor split needs flash attention."


def test_row_is_shown_only_where_the_binary_has_it(page: LaunchPage) -> None:
    assert button(page, "row").isVisible()
    without = parse_help("-sm, --split-mode {none,layer}\n")
    page.show_engine_found(EngineKind.LLAMA_CPP, "b1", None, without)
    assert not button(page, "row").isVisible()
    assert "has no tensor split" in button(page, "tensor").toolTip()
    page.show_engine_found(EngineKind.LLAMA_CPP, "b1", None)
    assert not button(page, "row").isVisible()
    assert button(page, "tensor").isEnabled()


def test_a_mode_in_use_that_becomes_impossible_keeps_from_starting(page: LaunchPage) -> None:
    choose(page, "tensor")
    assert page.can_start
    page.editor.cards.switches[1].click()
    assert not page.can_start
    assert page.editor.words.text() == "Tensor split needs two cards or more."
    assert page.more._mode_words.text() == "Tensor split needs two cards or more."
    assert page.more._mode_words.property("role") == "danger"
    assert button(page, "tensor").isEnabled()
    choose(page, "layer")
    assert page.can_start


# Experts


def test_only_a_mixture_has_experts_to_keep(page: LaunchPage) -> None:
    assert not page.more.experts.isVisible()
    page.show_model(make_mixture())
    assert page.more.experts.isVisible()
    assert page.more._experts_words.text() == "none"


def test_the_slider_of_the_experts_goes_from_none_to_all(page: LaunchPage) -> None:
    page.show_model(make_mixture())
    slider = page.more.experts
    before = page.plan
    slider.setValue(12)
    assert page.more._experts_words.text() == "of 12 of 40 layers, 12.0 GiB in RAM"
    assert request(page).plan.n_cpu_moe == 12
    assert page.plan is not None
    assert before is not None
    assert page.plan.host.model_bytes - before.host.model_bytes == pytest.approx(12 * GIB, rel=1e-3)
    slider.setValue(40)
    assert request(page).plan.n_cpu_moe == -1
    assert page.more._experts_words.text() == "of all 40 layers, 40.0 GiB in RAM"
    assert slider.accessibleDescription() == page.more._experts_words.text()
    page.show_model(make_model())
    assert request(page).plan.n_cpu_moe == 0


def test_keeping_experts_in_ram_is_a_way_to_fit(page: LaunchPage, qtbot: QtBot) -> None:
    page.show_model(make_mixture())
    assert page.plan is not None
    assert not page.plan.fits
    qtbot.waitUntil(lambda: bool(page.editor.plan.fixes.fixes), timeout=2000)
    fixes = page.editor.plan.fixes.fixes
    (index,) = [i for i, fix in enumerate(fixes) if "experts of" in fix.title]
    page.editor.plan.fixes.rows[index].apply.click()
    assert page.plan.fits
    assert page.more.experts.value() == page.planner.knobs.n_cpu_moe > 0
    # one layer fewer would not fit
    fewer = replace(page.planner.plan_request(), n_cpu_moe=page.planner.knobs.n_cpu_moe - 1)
    ways = ways_to_fit(make_mixture(), page.planner.devices, fewer, with_experts=True)
    assert any("experts of" in way.title for way in ways)


def test_an_engine_that_cannot_keep_experts_is_not_asked_to(page: LaunchPage) -> None:
    devices = page.planner.devices
    ways = ways_to_fit(make_mixture(), devices, PlanRequest(split=(1.0, 1.0)))
    assert not any("experts" in way.title for way in ways)
    dense = ways_to_fit(make_model(200), devices, PlanRequest(split=(1.0, 1.0)), with_experts=True)
    assert not any("experts" in way.title for way in dense)


def test_spreading_is_the_way_to_fit_for_what_lies_on_one_card() -> None:
    planner = Planner()
    planner.set_rig(make_rig())
    devices = planner.devices
    ways = ways_to_fit(make_model(), devices, PlanRequest(split_mode="none", n_ctx=32768))
    assert ways[0].title.startswith("Spread the layers over all cards")
    assert ways[0].request.split_mode == "layer"
    within = PlanRequest(split_mode="tensor", split=(1.0, 1.0), n_ctx=32768)
    assert ways_to_fit(make_model(), devices, within)[0].title.startswith("Another split")


# Files


def test_a_draft_model_is_read_before_it_is_taken(page: LaunchPage, qtbot: QtBot) -> None:
    with qtbot.waitSignal(page.more.draft_chosen, timeout=500) as asked:
        page.more.draft.chosen.emit(DRAFT.path)
    assert asked.args == [DRAFT.path, page.planner.model]
    assert page.more.draft.name.text() == ""
    before = page.plan
    page.more.show_draft(DRAFT)
    assert page.more.draft.name.text() == DRAFT.path.name
    assert request(page).plan.draft is DRAFT
    assert page.plan is not None
    assert before is not None
    assert page.plan.devices[0].model_bytes > before.devices[0].model_bytes
    page.more.draft.clear.click()
    assert request(page).plan.draft is None
    assert not page.more.draft.clear.isVisible()


def test_a_file_that_cannot_draft_is_told_and_the_one_in_use_stays(page: LaunchPage) -> None:
    page.more.show_draft(DRAFT)
    page.more.show_draft_error(ModelFileError("x.gguf cannot draft.", "Choose another."))
    assert page.more.draft.note.text() == "x.gguf cannot draft. Choose another."
    assert page.more.draft.note.property("role") == "danger"
    assert request(page).plan.draft is DRAFT
    page.more.show_draft(DRAFT)
    assert page.more.draft.note.property("role") == "muted"


def test_a_projector_beside_the_model_is_offered(page: LaunchPage, qtbot: QtBot) -> None:
    more = page.more
    assert not more.offer.isVisible()
    more.show_projectors((PROJECTOR.path,))
    assert more.offer.isVisible()
    assert more.offer.text() == "Use mmproj-F16.gguf"
    with qtbot.waitSignal(more.projector_chosen, timeout=500) as asked:
        more.offer.click()
    assert asked.args == [PROJECTOR.path]
    more.show_projector(PROJECTOR)
    assert not more.offer.isVisible()
    assert request(page).plan.projector is PROJECTOR
    more.projector.clear.click()
    assert more.offer.isVisible()
    more.show_projector_error(ModelFileError("It is no projector.", ""))
    assert more.projector.note.text() == "It is no projector."
    more.show_projectors(())
    assert not more.offer.isVisible()


def test_files_of_another_model_are_forgotten(page: LaunchPage) -> None:
    page.more.show_draft(DRAFT)
    page.more.show_projector(PROJECTOR)
    page.show_model(make_model())
    assert request(page).plan.draft is DRAFT
    page.show_model(make_mixture())
    assert request(page).plan.draft is None
    assert request(page).plan.projector is None


def test_a_dialog_opens_beside_the_model(
    page: LaunchPage, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders: list[str] = []

    def pick(_parent: object, _title: str, folder: str, _filter: str) -> tuple[str, str]:
        folders.append(folder)
        return "/models/x.gguf", ""

    monkeypatch.setattr(QFileDialog, "getOpenFileName", pick)
    with qtbot.waitSignal(page.more.projector_chosen, timeout=500) as asked:
        page.more.projector.choose.click()
    assert asked.args == [Path("/models/x.gguf")]
    assert folders == ["/models"]
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: ("", ""))
    with qtbot.assertNotEmitted(page.more.projector_chosen):
        page.more.projector.choose.click()


def test_a_draft_needs_a_model(theme: Theme, qtbot: QtBot) -> None:
    more = MoreKnobs(theme)
    qtbot.addWidget(more)
    with qtbot.assertNotEmitted(more.draft_chosen):
        more.draft.chosen.emit(DRAFT.path)


# Extra arguments


def test_extra_arguments_are_checked_as_they_are_typed(page: LaunchPage) -> None:
    assert typed(page, "--alias mine") == EXTRA_WORDS
    assert request(page).extra_arguments == ("--alias", "mine")
    assert page.can_start
    assert "is not taken" in typed(page, "--host 0.0.0.0")
    assert page.more.extra.property("invalid") == "true"
    assert not page.can_start
    assert page.editor.words.text().startswith("--host is not taken")
    words = typed(page, "--mlock")
    assert words.startswith("With --mlock")
    assert page.more._extra_words.property("role") == "warning"
    assert page.more.extra.property("invalid") == "false"
    assert page.can_start
    assert "quotation mark" in typed(page, "--alias 'x")
    assert typed(page, "") == EXTRA_WORDS


def test_what_an_argument_changes_stands_beside_the_plan(page: LaunchPage, qtbot: QtBot) -> None:
    typed(page, "--swa-full")
    page.editor.plan.notes.more.setChecked(True)
    qtbot.waitUntil(
        lambda: any("--swa-full" in n.title for n in page.editor.plan.notes.notices), timeout=2000
    )


# Engines


def test_an_engine_that_takes_little_closes_the_rest_with_its_reason(page: LaunchPage) -> None:
    more = page.more
    choose(page, "tensor")
    more.show_draft(DRAFT)
    typed(page, "--alias x")
    page.editor.model.engine.chosen.emit(EngineKind.LLAMA_CPP_PYTHON)
    assert request(page).plan == replace(
        request(page).plan, split_mode="layer", draft=None, projector=None
    )
    assert request(page).extra_arguments == ()
    assert "has no setting for it" in more.draft.note.text()
    assert not more.draft.choose.isEnabled()
    assert not more.extra.isEnabled()
    assert "has no setting for it" in more._extra_words.text()
    assert not button(page, "tensor").isVisible()
    assert button(page, "none").isEnabled()
    assert "has no setting for it" in page.editor.model.engine.notes.text()
    page.editor.model.engine.chosen.emit(EngineKind.LLAMA_CPP)
    assert more.draft.choose.isEnabled()
    assert more.extra.isEnabled()


def test_an_engine_that_takes_nothing_of_it_keeps_the_section_folded(page: LaunchPage) -> None:
    page.editor.model.engine.chosen.emit(EngineKind.OLLAMA_ATTACHED)
    assert not page.more.fold.isEnabled()
    assert not page.more.extra.isVisible()
    assert "Ollama has no setting" in page.more.fold.toolTip()


def test_ollama_splits_by_layers_or_not_at_all(page: LaunchPage) -> None:
    page.editor.model.engine.chosen.emit(EngineKind.OLLAMA)
    page.more.fold.click()
    assert button(page, "none").isEnabled()
    assert not button(page, "tensor").isVisible()
    assert not page.more.extra.isEnabled()
    choose(page, "none")
    assert request(page).plan.split_mode == "none"


def test_an_error_of_the_engine_leaves_its_options_unknown(page: LaunchPage) -> None:
    page.show_engine_found(EngineKind.LLAMA_CPP, None, EngineError("It does not start.", ""))
    assert page.planner.options == Options()
    # judged by the known names alone
    assert "is not taken" in typed(page, "--host 0.0.0.0")
    assert typed(page, "--brand-new") == EXTRA_WORDS


# What the binary lacks

OLD_HELP = """-m, --model FNAME
-sm, --split-mode {none,layer,row}
-ctk, --cache-type-k TYPE   of the keys
      allowed values: f16, q8_0 (default: f16)
"""


def test_what_a_binary_lacks_is_not_offered(page: LaunchPage) -> None:
    page.show_model(make_mixture())
    page.show_engine_found(EngineKind.LLAMA_CPP, "b3000", None, parse_help(OLD_HELP))
    for closed in (page.more.experts, page.more.draft.choose, page.more.projector.choose):
        assert not closed.isEnabled()
    assert page.more.draft.note.text().startswith("This llama-server takes no draft model.")
    assert page.more.experts.toolTip().startswith("This llama-server cannot keep experts")
    keys = page.editor.knobs.keys.model()
    flags = [keys.flags(keys.index(row, 0)) for row in range(keys.rowCount())]
    offered = [bool(flag & Qt.ItemFlag.ItemIsEnabled) for flag in flags]
    assert offered == [name in ("f16", "q8_0") for name in CACHE_TYPES]
    page.show_engine_found(EngineKind.LLAMA_CPP, "b10434", None, OPTIONS)
    assert all(
        keys.flags(keys.index(r, 0)) & Qt.ItemFlag.ItemIsEnabled for r in range(len(offered))
    )
    assert page.more.draft.choose.isEnabled()


def test_a_cache_type_in_use_that_the_binary_lacks_keeps_from_starting(page: LaunchPage) -> None:
    page.editor.knobs.values.setCurrentText("q4_0")
    page.editor.knobs.keys.setCurrentText("q4_0")
    assert page.can_start
    page.show_engine_found(EngineKind.LLAMA_CPP, "b3000", None, parse_help(OLD_HELP))
    assert not page.can_start
    assert "no KV cache of type q4_0; it has f16 and q8_0." in page.editor.words.text()
    page.editor.knobs.values.setCurrentText("q8_0")
    page.editor.knobs.keys.setCurrentText("q8_0")
    assert page.can_start
    assert "KV cache of type" not in page.editor.words.text()


def test_a_file_that_another_binary_does_not_take_is_told_as_lost(page: LaunchPage) -> None:
    page.more.show_draft(DRAFT)
    row = page.editor.model.engine
    page.show_engine_found(EngineKind.LLAMA_CPP, "b3000", None, parse_help(OLD_HELP))
    assert request(page).plan.draft is None
    assert row.notes.text().startswith("Draft model: This llama-server takes no draft model.")
    page.show_engine_found(EngineKind.LLAMA_CPP, "b3000", None, parse_help(OLD_HELP))
    assert not row.notes.isHidden(), "the same said again"
    page.show_engine_found(EngineKind.LLAMA_CPP, "b10434", None, OPTIONS)
    assert row.notes.isHidden()


# After a failure


def failed(page: LaunchPage, failure: Failure) -> None:
    status = EngineStatus(phase=Phase.FAILED, request=request(page), failure=failure)
    page.show_status(replace(status, phase=Phase.STARTING, failure=None))
    page.show_status(status)


def test_a_refused_split_can_be_started_with_layers_at_once(page: LaunchPage, qtbot: QtBot) -> None:
    choose(page, "tensor")
    failed(page, Failure(message="It cannot.", hint="Layers.", fallback=LAYERS_INSTEAD))
    action = page.notice._action
    assert action.isVisible()
    assert action.text() == "Start with layer split instead"
    with qtbot.waitSignal(page.start_requested, timeout=500) as asked:
        action.click()
    launched, plan = asked.args
    assert launched.plan.split_mode == "layer"
    assert plan.split_mode == "layer"
    assert page.more.modes.current_label == "Layer"
    assert not page.notice.isVisible()


def test_layers_that_do_not_fit_are_shown_and_not_started(page: LaunchPage, qtbot: QtBot) -> None:
    choose(page, "tensor")
    failed(page, Failure(message="It cannot.", fallback=LAYERS_INSTEAD))
    page.editor.split.changed.emit((1.0, 9.0))
    with qtbot.assertNotEmitted(page.start_requested):
        page.notice._action.click()
    assert page.plan is not None
    assert page.plan.split_mode == "layer"
    assert not page.plan.fits


def test_another_failure_has_no_such_button(page: LaunchPage, qtbot: QtBot) -> None:
    failed(page, Failure(message="It cannot.", hint="x"))
    assert not page.notice._action.isVisible()
    with qtbot.assertNotEmitted(page.start_requested):
        page.notice.action_triggered.emit()


# Words


def test_the_summary_names_what_is_not_as_it_comes(page: LaunchPage) -> None:
    assert folded_text(page.planner.knobs) == ""
    knobs = replace(
        page.planner.knobs, split_mode="none", n_cpu_moe=3, draft=DRAFT, projector=PROJECTOR,
        extra_line="--x",
    )  # fmt: skip
    assert folded_text(knobs) == (
        "no split · experts of 3 layers in RAM · draft Qwen3-0.6B · projector · extra arguments"
    )
    assert "all layers" in folded_text(replace(knobs, n_cpu_moe=-1))


def test_a_running_engine_shows_what_it_was_given() -> None:
    plan = PlanRequest(split_mode="tensor", n_cpu_moe=-1, draft=DRAFT, projector=PROJECTOR)
    rows = dict(
        request_rows(
            LaunchRequest(model=Path("m"), plan=plan, extra_arguments=("--alias", "two words"))
        )
    )
    assert rows["Split mode"] == "tensor"
    assert rows["Experts in RAM"] == "all layers"
    assert rows["Draft model"] == "Qwen3-0.6B"
    assert rows["Projector"] == "mmproj-F16"
    assert rows["Extra"] == "--alias 'two words'"
    assert "Split mode" not in dict(
        request_rows(LaunchRequest(model=Path("m"), plan=PlanRequest()))
    )


def test_a_doubt_about_the_architecture_is_told(page: LaunchPage) -> None:
    choose(page, "tensor")
    olmoe = replace(make_model(), architecture="olmoe")
    (note,) = more_remarks(page.planner.knobs, olmoe, page.planner.extra)
    assert "olmoe" in note.message
    assert "layer split instead" in note.detail


def test_a_folder_keeps_nothing_that_belongs_to_a_gguf_file(page: LaunchPage) -> None:
    asked: list[Path] = []
    page.more.draft_chosen.connect(lambda path, _model: asked.append(path))
    page.show_model(make_mixture())
    page.more.show_draft(DRAFT)
    page.more.show_projector(PROJECTOR)
    page.more.experts.setValue(8)
    page.show_folder(hf_model())
    knobs = page.planner.knobs
    assert (knobs.n_cpu_moe, knobs.draft, knobs.projector) == (0, None, None)
    assert not page.more.experts.isVisible()
    page.more.draft.chosen.emit(DRAFT.path)
    assert asked == []
