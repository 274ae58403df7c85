"""Settings that few touch, folded away: split mode, experts, files beside the model, arguments."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import QHBoxLayout, QLineEdit, QPushButton, QSlider, QVBoxLayout, QWidget

from splitrig.core.companion import Projector
from splitrig.core.engine import EngineKind
from splitrig.core.engine_rules import FOLDED, EngineRules, Knob
from splitrig.core.errors import SplitRigError
from splitrig.core.experts import ALL, expert_bytes, expert_layers
from splitrig.core.extra_arguments import CheckedArguments
from splitrig.core.model import Model
from splitrig.core.split_mode import LABELS, LAYER, MODES, SAYS, SplitChoice
from splitrig.views.launch.knobs import Knobs
from splitrig.views.launch.vllm_part import VllmPart
from splitrig.views.launch.wording import experts_text, folded_text
from splitrig.views.theme import Theme
from splitrig.views.widgets.file_field import FileField
from splitrig.views.widgets.segmented import Segmented
from splitrig.views.widgets.texts import ElidedLabel, IconButton, set_role, text_label

DRAFT_WORDS = "a small model of the same family that guesses ahead; the model checks"
PROJECTOR_WORDS = "lets the model see pictures, or hear"
EXTRA_WORDS = "for llama-server, such as --alias mine; checked as you type"
VLLM_EXTRA_WORDS = "for vLLM, such as --seed 7; checked as you type"


class MoreKnobs(QWidget):
    """A head that says what is set, and the settings below it once it is opened.

    Signals:
        changed: Any of the settings, by the user.
        draft_chosen: `Path, Model`: a file that is to draft for the model; answer with
            `show_draft` or `show_draft_error`.
        projector_chosen: `Path`; answer with `show_projector` or `show_projector_error`.

    Attributes:
        fold: Opens and closes.
        modes: The split modes, in the order of `MODES`.
        experts: Layers whose experts stay with the processor.
        draft: The draft model.
        projector: The projector.
        extra: The extra arguments.
        vllm: What only vLLM takes; hidden for the others.
    """

    changed = Signal()
    draft_chosen = Signal(object, object)
    projector_chosen = Signal(object)

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = theme
        self._model: Model | None = None
        self._knobs = Knobs()
        self._silent = False
        self._for_vllm = False
        self._found: Path | None = None
        self._make_fields()
        self.fold = IconButton(theme, "caret-right", "More", kind="quiet", small=True)
        self.fold.setProperty("fold", "true")
        self.fold.setCheckable(True)
        self.fold.toggled.connect(self._on_fold)
        self._summary = ElidedLabel(text_label(theme, "", "note", role="muted"))
        self._summary.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        head = QHBoxLayout()
        head.setSpacing(10)
        head.addWidget(self.fold)
        head.addWidget(self._summary, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(10)
        column.addLayout(head)
        column.addWidget(self._inside)
        self._inside.hide()
        self._show_head()

    def _make_fields(self) -> None:
        theme = self._theme
        self.modes = Segmented([LABELS[mode] for mode in MODES])
        self.modes.setAccessibleName("Split mode")
        self.modes.chosen.connect(self._on_changed)
        self._mode_words = text_label(theme, "", "note", role="muted")
        self._mode_words.setWordWrap(True)
        self.experts = QSlider(Qt.Orientation.Horizontal)
        self.experts.setAccessibleName("Layers whose experts stay with the processor")
        self.experts.setMinimumHeight(28)
        self.experts.valueChanged.connect(self._on_changed)
        self._experts_words = text_label(theme, "", "note")
        self.draft = FileField(theme, "Draft model", DRAFT_WORDS)
        self.draft.chosen.connect(self._on_draft)
        self.draft.cleared.connect(self._on_no_draft)
        self.projector = FileField(theme, "Projector", PROJECTOR_WORDS)
        self.projector.chosen.connect(self.projector_chosen)
        self.projector.cleared.connect(self._on_no_projector)
        self.offer = QPushButton()
        self.offer.setProperty("small", "true")
        self.offer.clicked.connect(self._on_offer)
        self.offer.hide()
        self.vllm = VllmPart(theme)
        self.vllm.changed.connect(self._on_changed)
        self.vllm.hide()
        self.extra = QLineEdit()
        self.extra.setFont(theme.font("note", mono=True))
        self.extra.setFixedHeight(32)
        self.extra.setAccessibleName("Extra arguments for the engine")
        self.extra.textEdited.connect(self._on_changed)
        self._extra_words = text_label(theme, EXTRA_WORDS, "note", role="muted")
        self._extra_words.setWordWrap(True)
        self._lay_out()

    def _lay_out(self) -> None:
        theme = self._theme
        self._inside = QWidget()
        column = QVBoxLayout(self._inside)
        column.setContentsMargins(0, 0, 0, 2)
        column.setSpacing(14)
        column.addWidget(self.vllm)
        self._modes_box = QWidget()
        modes = QVBoxLayout(self._modes_box)
        modes.setContentsMargins(0, 0, 0, 0)
        modes.setSpacing(4)
        modes.addWidget(text_label(theme, "Split mode", "note", role="muted"))
        modes.addWidget(self.modes, 0, Qt.AlignmentFlag.AlignLeft)
        modes.addWidget(self._mode_words)
        column.addWidget(self._modes_box)
        self._experts_box = QWidget()
        experts = QVBoxLayout(self._experts_box)
        experts.setContentsMargins(0, 0, 0, 0)
        experts.setSpacing(2)
        head = QHBoxLayout()
        label = text_label(theme, "Experts on the processor", "note", role="muted")
        label.setBuddy(self.experts)
        head.addWidget(label)
        head.addStretch(1)
        head.addWidget(self._experts_words)
        experts.addLayout(head)
        experts.addWidget(self.experts)
        column.addWidget(self._experts_box)
        column.addWidget(self.draft)
        files = QVBoxLayout()
        files.setSpacing(6)
        files.addWidget(self.projector)
        files.addWidget(self.offer, 0, Qt.AlignmentFlag.AlignLeft)
        column.addLayout(files)
        extra = QVBoxLayout()
        extra.setSpacing(4)
        caption = text_label(theme, "Extra arguments", "note", role="muted")
        caption.setBuddy(self.extra)
        extra.addWidget(caption)
        extra.addWidget(self.extra)
        extra.addWidget(self._extra_words)
        column.addLayout(extra)

    # What is set

    def taken(self, knobs: Knobs) -> Knobs:
        """These settings with what stands here in them."""
        every = self.experts.value() == self.experts.maximum()
        n_experts = ALL if every and self.experts.maximum() else self.experts.value()
        return replace(
            knobs,
            split_mode=MODES[self.modes.current],
            n_cpu_moe=n_experts,
            draft=self._knobs.draft,
            projector=self._knobs.projector,
            extra_line=self.extra.text(),
            vllm=self.vllm.knobs,
        )

    def show_model(self, model: Model | None) -> None:
        """Limits follow the model; `None` for one that is no GGUF file."""
        self._model = model
        if model is None:
            self._found = None
            return
        for field in (self.draft, self.projector):
            field.set_folder(model.path.parent)

    def show_knobs(self, knobs: Knobs) -> None:
        """Set everything; emits nothing."""
        self._knobs = knobs
        most = expert_layers(self._model, ALL) if self._model is not None else 0
        self._silent = True
        self.modes.set_current(MODES.index(knobs.split_mode))
        self.experts.setRange(0, most)
        self.experts.setValue(most if knobs.n_cpu_moe < 0 else knobs.n_cpu_moe)
        self._experts_box.setVisible(most > 0)
        self.draft.show_file(knobs.draft.path if knobs.draft is not None else None)
        self.projector.show_file(knobs.projector.path if knobs.projector is not None else None)
        if self.extra.text() != knobs.extra_line:
            self.extra.setText(knobs.extra_line)
        self.vllm.show_knobs(knobs.vllm)
        self._silent = False
        self._show_head()

    def show_rules(self, rules: EngineRules) -> None:
        """Close what the engine does not take, with the reason."""
        self._for_vllm = rules.kind is EngineKind.VLLM
        self.vllm.setVisible(self._for_vllm)
        self._modes_box.setVisible(bool(rules.split_modes))
        self.modes.setEnabled(Knob.SPLIT_MODE in rules.knobs)
        self.experts.setEnabled(Knob.EXPERTS in rules.knobs)
        self.experts.setToolTip(rules.refusal(Knob.EXPERTS))
        self.experts.setAccessibleDescription(rules.refusal(Knob.EXPERTS))
        self.draft.close_with(rules.refusal(Knob.DRAFT))
        self.projector.close_with(rules.refusal(Knob.PROJECTOR))
        refusal = rules.refusal(Knob.EXTRA)
        self.extra.setEnabled(not refusal)
        self.extra.setToolTip(refusal)
        self._extra_words.setText(refusal or self._about_extra)
        set_role(self._extra_words, "muted")
        nothing = not FOLDED & rules.knobs
        self.fold.setEnabled(not nothing)
        self.fold.setToolTip(rules.refusal(Knob.SPLIT_MODE) if nothing else "")
        if nothing:
            self.fold.setChecked(False)
        self._show_offer()

    @property
    def _about_extra(self) -> str:
        return VLLM_EXTRA_WORDS if self._for_vllm else EXTRA_WORDS

    def show_choices(self, choices: Sequence[SplitChoice]) -> None:
        """Offer these split modes; one that cannot be chosen says why."""
        reasons = {choice.mode: choice.reason for choice in choices}
        current = MODES[self.modes.current]
        for index, mode in enumerate(MODES):
            reason = reasons.get(mode, "")
            self.modes.set_choice_visible(index, visible=mode in reasons or mode == current)
            # the one in use stays open, or the way out of it would look closed too
            self.modes.set_choice_enabled(index, "" if mode == current else reason)
        words = reasons.get(current) or SAYS[current]
        self._mode_words.setText(words)
        set_role(self._mode_words, "danger" if reasons.get(current) else "muted")
        self.modes.setAccessibleDescription(words)

    def show_checked(self, checked: CheckedArguments) -> None:
        """Say what is to be said of the extra arguments."""
        if not self.extra.isEnabled():
            return
        set_role(self.extra, "true" if checked.refused else "false", "invalid")
        words, role = self._about_extra, "muted"
        if checked.refused:
            words, role = str(checked.refused[0]), "danger"
        elif checked.warnings:
            words, role = " ".join(map(str, checked.warnings)), "warning"
        self._extra_words.setText(words)
        set_role(self._extra_words, role)
        self.extra.setAccessibleDescription(words)

    # Files

    @Slot(object)
    def show_draft(self, draft: Model) -> None:
        """Take the draft model that was read."""
        self._take(replace(self._knobs, draft=draft))

    @Slot(object)
    def show_draft_error(self, error: SplitRigError) -> None:
        """Say why the file cannot draft."""
        self.draft.show_problem(str(error))

    @Slot(object)
    def show_projector(self, projector: Projector) -> None:
        """Take the projector that was read."""
        self._take(replace(self._knobs, projector=projector))

    @Slot(object)
    def show_projector_error(self, error: SplitRigError) -> None:
        """Say why the file is no projector."""
        self.projector.show_problem(str(error))

    @Slot(object)
    def show_projectors(self, found: Sequence[Path]) -> None:
        """Offer the first projector that lies beside the model."""
        self._found = next(iter(found), None)
        self._show_offer()

    def _show_offer(self) -> None:
        """Shown while there is something to offer and nothing chosen."""
        found = self._found
        wanted = found is not None and self._knobs.projector is None
        self.offer.setVisible(wanted and self.projector.choose.isEnabled())
        if found is not None:
            self.offer.setText(f"Use {found.name}")
            self.offer.setToolTip(f"{found} lies beside the model")

    @Slot(object)
    def _on_draft(self, path: Path) -> None:
        if self._model is not None:
            self.draft_chosen.emit(path, self._model)

    @Slot()
    def _on_no_draft(self) -> None:
        self._take(replace(self._knobs, draft=None))

    @Slot()
    def _on_no_projector(self) -> None:
        self._take(replace(self._knobs, projector=None))

    @Slot()
    def _on_offer(self) -> None:
        if self._found is not None:
            self.projector_chosen.emit(self._found)

    def _take(self, knobs: Knobs) -> None:
        """A file came or went."""
        self.show_knobs(knobs)
        self.changed.emit()

    # What the user does

    @Slot()
    def _on_changed(self) -> None:
        if not self._silent:
            self._knobs = self.taken(self._knobs)
            self._show_head()
            self.changed.emit()

    @Slot(bool)
    def _on_fold(self, open_: bool) -> None:  # noqa: FBT001 - the signal's own argument
        self._inside.setVisible(open_)
        self.fold.set_icon("caret-down" if open_ else "caret-right")
        self._show_head()

    def _show_head(self) -> None:
        """What is set, while it cannot be seen; and the words beside the slider."""
        self._show_offer()
        if self._model is not None and self.experts.maximum():
            n_layer, n_experts = self.experts.maximum(), self._knobs.n_cpu_moe
            text = experts_text(n_experts, n_layer, expert_bytes(self._model, n_experts))
            self._experts_words.setText(text)
            self.experts.setAccessibleDescription(text)
        summary = "" if self.fold.isChecked() else folded_text(self._knobs, vllm=self._for_vllm)
        self._summary.setText(summary)
        self._summary.setToolTip(summary)
        unusual = self._knobs.split_mode != LAYER or summary
        self.fold.setAccessibleDescription(summary if unusual else "")
