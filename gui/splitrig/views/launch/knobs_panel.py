"""Context, KV cache, requests, layers on the cards, flash attention; the rest folded away."""

from collections.abc import Collection
from dataclasses import replace

from PySide6.QtCore import QLocale, Qt, Signal, Slot
from PySide6.QtGui import QStandardItemModel
from PySide6.QtWidgets import (
    QComboBox,
    QGridLayout,
    QHBoxLayout,
    QSlider,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from splitrig.core.engine import EngineKind
from splitrig.core.engine_rules import RULES, EngineRules, Knob
from splitrig.core.ggml_types import BY_NAME
from splitrig.core.hf_model import HfModel
from splitrig.core.model import Model
from splitrig.views.launch.knobs import DEFAULT_CTX, Knobs
from splitrig.views.launch.more_knobs import MoreKnobs
from splitrig.views.launch.wording import on_cards_text
from splitrig.views.theme import Theme
from splitrig.views.widgets.switch import Switch
from splitrig.views.widgets.texts import Panel, pad_spin_box, text_label

CACHE_TYPES = ("f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0")
NO_TYPE = "This llama-server has no KV cache of this type."
LEAST_CTX = 256
CTX_STEP = 1024
MOST_CTX = 16_777_216
MOST_REQUESTS = 64


class KnobsPanel(Panel):
    """The settings below the split.

    Signals:
        changed: `Knobs`, on every change by the user.

    Attributes:
        more: The settings that few touch.
    """

    changed = Signal(object)

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent=parent)
        self._theme = theme
        self._knobs = Knobs()
        self._model: Model | None = None
        self._folder: HfModel | None = None
        self._silent = False
        self._rules = RULES[EngineKind.LLAMA_CPP]
        self._make_fields()
        self._fields = [
            self._field("Context", self.context),
            self._field("KV cache, keys", self.keys),
            self._field("KV cache, values", self.values),
            self._field("Requests", self.requests),
        ]
        self._grid = QGridLayout()
        self._grid.setHorizontalSpacing(12)
        self._grid.setVerticalSpacing(10)
        self.body.addLayout(self._grid)
        head = QHBoxLayout()
        head.addWidget(text_label(theme, "Layers on the cards", "note", role="muted"))
        head.addStretch(1)
        self._on_cards = text_label(theme, "", "note")
        head.addWidget(self._on_cards)
        self.body.addSpacing(2)
        self.body.addLayout(head)
        self.body.addWidget(self.layers)
        flash = QHBoxLayout()
        flash.setSpacing(10)
        flash.addWidget(self.flash)
        self._flash_note = text_label(theme, "", "note", role="muted")
        flash.addWidget(self._flash_note)
        flash.addStretch(1)
        self.body.addLayout(flash)
        self.more = MoreKnobs(theme)
        self.more.changed.connect(self._on_changed)
        self.body.addWidget(self.more)
        self._columns = 0
        self.set_narrow(narrow=False)

    def _make_fields(self) -> None:
        self.context = QSpinBox()
        self.context.setLocale(QLocale(QLocale.Language.English, QLocale.Country.UnitedStates))
        self.context.setGroupSeparatorShown(True)
        self.context.setRange(LEAST_CTX, MOST_CTX)
        self.context.setSingleStep(CTX_STEP)
        self.context.setSuffix(" tokens")
        self.context.setKeyboardTracking(False)
        self.context.valueChanged.connect(self._on_changed)
        self.keys, self.values = QComboBox(), QComboBox()
        for box in (self.keys, self.values):
            box.addItems(CACHE_TYPES)
            box.currentIndexChanged.connect(self._on_changed)
        self.requests = QSpinBox()
        self.requests.setRange(1, MOST_REQUESTS)
        self.requests.setToolTip("Requests served at the same time; they share the context")
        self.requests.valueChanged.connect(self._on_changed)
        self.layers = QSlider(Qt.Orientation.Horizontal)
        self.layers.setAccessibleName("Layers on the cards")
        self.layers.setMinimumHeight(28)
        self.layers.valueChanged.connect(self._on_changed)
        self.flash = Switch(self._theme, "Flash attention")
        self.flash.toggled.connect(self._on_changed)

        self._widgets: dict[Knob, QWidget] = {
            Knob.CONTEXT: self.context,
            Knob.KEYS: self.keys,
            Knob.VALUES: self.values,
            Knob.REQUESTS: self.requests,
            Knob.LAYERS: self.layers,
            Knob.FLASH: self.flash,
        }
        self._tips = {Knob.REQUESTS: self.requests.toolTip()}

    def _field(self, label: str, widget: QWidget) -> QWidget:
        box = QWidget()
        layout = QVBoxLayout(box)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        caption = text_label(self._theme, label, "note", role="muted")
        caption.setBuddy(widget)
        widget.setAccessibleName(label)
        if isinstance(widget, QSpinBox):
            pad_spin_box(widget)
        else:
            widget.setFixedHeight(32)
        layout.addWidget(caption)
        layout.addWidget(widget)
        return box

    def set_narrow(self, *, narrow: bool) -> None:
        """Two fields a row instead of four."""
        columns = 2 if narrow else 4
        if columns == self._columns:
            return
        self._columns = columns
        for index, field in enumerate(self._fields):
            self._grid.removeWidget(field)
            self._grid.addWidget(field, index // columns, index % columns)
        for column, stretch in enumerate((15, 11, 11, 8) if columns == 4 else (1, 1, 0, 0)):
            self._grid.setColumnStretch(column, stretch)

    @property
    def knobs(self) -> Knobs:
        """What is set."""
        return self._knobs

    def show_model(self, model: Model) -> None:
        """Limits follow the model; the context of another model starts at the default."""
        other = self._model is None or self._model.path != model.path
        self._model, self._folder = model, None
        knobs = self._knobs
        if other:
            wanted = min(DEFAULT_CTX, model.n_ctx_train) if model.n_ctx_train else DEFAULT_CTX
            knobs = replace(
                knobs, n_gpu_layers=-1, n_ctx=wanted, n_cpu_moe=0, draft=None, projector=None
            )
        self.more.show_model(model)
        self._tips[Knob.CONTEXT] = f"The model was trained for up to {model.n_ctx_train:,} tokens"
        self.context.setToolTip(self._tips[Knob.CONTEXT])
        self.show_knobs(knobs)

    def show_folder(self, model: HfModel) -> None:
        """Limits follow a Hugging Face folder, whose layers all lie on the cards."""
        self._model, self._folder = None, model
        config = model.config
        wanted = min(DEFAULT_CTX, config.n_ctx) if config.n_ctx else DEFAULT_CTX
        trained = f"The model was made for up to {config.n_ctx:,} tokens" if config.n_ctx else ""
        self._tips[Knob.CONTEXT] = trained
        self.context.setToolTip(trained)
        self.more.show_model(None)
        knobs = replace(self._knobs, n_cpu_moe=0, draft=None, projector=None)
        self.show_knobs(replace(knobs, n_gpu_layers=-1, n_ctx=wanted))

    def show_served(self) -> None:
        """Limits of a model of which only the name is known: none."""
        self._model = self._folder = None
        self._tips[Knob.CONTEXT] = ""
        self.context.setToolTip("")
        self.more.show_model(None)
        knobs = replace(self._knobs, n_cpu_moe=0, draft=None, projector=None)
        self.show_knobs(replace(knobs, n_gpu_layers=-1))

    def show_knobs(self, knobs: Knobs) -> None:
        """Set everything; emits nothing."""
        n_slots = self._n_slots
        self._silent = True
        self._knobs = knobs
        self.context.setValue(knobs.n_ctx)
        self.keys.setCurrentText(knobs.cache_type_k)
        self.values.setCurrentText(knobs.cache_type_v)
        self.requests.setValue(knobs.n_parallel)
        # without a header nobody knows how many there are
        self.layers.setEnabled(n_slots > 1 and Knob.LAYERS in self._rules.knobs)
        self.layers.setRange(0, n_slots)
        every = not 0 <= knobs.n_gpu_layers < n_slots
        self.layers.setValue(n_slots if every else knobs.n_gpu_layers)
        self.flash.setChecked(knobs.flash_attention)
        self._silent = False
        self.more.show_knobs(knobs)
        self._refresh()

    @property
    def _n_slots(self) -> int:
        """Layers that can lie on the cards; the output counts as one in GGUF files alone."""
        if self._folder is not None:
            return self._folder.config.n_layer
        return self._model.n_layer + 1 if self._model is not None else 1

    def show_rules(self, rules: EngineRules) -> None:
        """Close what the engine does not take, with the reason; emits nothing."""
        self._rules = rules
        for knob, widget in self._widgets.items():
            reason = rules.refusal(knob)
            widget.setEnabled(knob in rules.knobs)
            widget.setToolTip(reason or self._tips.get(knob, ""))
            widget.setAccessibleDescription(reason)
        self.more.show_rules(rules)
        self.show_knobs(self._allowed(self._knobs))

    def show_cache_types(self, known: Collection[str]) -> None:
        """Offer only these types of the KV cache; all of them where none is known."""
        for items in map(QComboBox.model, (self.keys, self.values)):
            assert isinstance(items, QStandardItemModel)  # noqa: S101 - a combo box's own
            for index, name in enumerate(CACHE_TYPES):
                lacks = bool(known) and name not in known
                items.item(index).setEnabled(not lacks)
                items.item(index).setToolTip(NO_TYPE if lacks else "")

    def _allowed(self, knobs: Knobs) -> Knobs:
        """What the engine would make of these: its own defaults where it takes no other value."""
        rules = self._rules
        start = Knobs()
        kept = {knob.value: getattr(start, knob.value) for knob in Knob if knob not in rules.knobs}
        knobs = replace(knobs, **kept)
        if knobs.split_mode not in rules.split_modes:
            knobs = replace(knobs, split_mode=start.split_mode)
        return replace(knobs, cache_type_v=knobs.cache_type_k) if rules.one_cache_type else knobs

    @Slot()
    def _on_changed(self) -> None:
        if self._silent:
            return
        needs_flash = BY_NAME[self.values.currentText()].quantized
        at_end = self.layers.value() == self.layers.maximum()
        own = Knobs(
            n_ctx=self.context.value(),
            cache_type_k=self.keys.currentText(),
            cache_type_v=self.values.currentText(),
            n_parallel=self.requests.value(),
            n_gpu_layers=-1 if at_end else self.layers.value(),
            flash_attention=self.flash.isChecked() or needs_flash,
        )
        self._knobs = self._allowed(self.more.taken(own))
        self._refresh()
        self.changed.emit(self._knobs)

    def _refresh(self) -> None:
        """Words beside the slider and the switch."""
        text = on_cards_text(self._knobs.n_gpu_layers, self._n_slots - 1)
        if self._folder is not None:
            text = f"all {self._n_slots}"  # vLLM leaves none out
        self._on_cards.setText(text)
        self.layers.setAccessibleDescription(text)
        needs_flash = BY_NAME[self._knobs.cache_type_v].quantized
        self._silent = True
        self.flash.setChecked(self._knobs.flash_attention)
        self._silent = False
        self.flash.setEnabled(not needs_flash and Knob.FLASH in self._rules.knobs)
        if self._rules.one_cache_type:
            self._silent = True
            self.values.setCurrentText(self._knobs.cache_type_v)
            self._silent = False
            self.values.setEnabled(False)
            self.values.setToolTip("The same as the keys: this engine has one type for both.")
        note = "needed for a quantised KV cache" if needs_flash else "less memory, faster"
        self._flash_note.setText(note)
