"""The settings that only vLLM has: types, its share of the memory, captured graphs."""

from PySide6.QtCore import Signal, Slot
from PySide6.QtWidgets import QComboBox, QGridLayout, QHBoxLayout, QSpinBox, QVBoxLayout, QWidget

from splitrig.core.vllm import DTYPES, KV_BYTES
from splitrig.views.launch.vllm_choice import VllmKnobs
from splitrig.views.theme import Theme
from splitrig.views.widgets.switch import Switch
from splitrig.views.widgets.texts import pad_spin_box, text_label

FIELD_PX = 32
SHARE_TIP = "Share of every card's memory that vLLM takes; auto is what the fullest card allows"
EAGER_WORDS = "starts faster and takes less memory, answers more slowly"


class VllmPart(QWidget):
    """Four settings.

    Signals:
        changed: Any of them, by the user.

    Attributes:
        kv_dtype: Type of the KV cache.
        dtype: What weights of 16 bits are computed in.
        share: Per cent of the memory of every card; 0 for auto.
        eager: No captured graphs.
    """

    changed = Signal()

    def __init__(self, theme: Theme, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.kv_dtype, self.dtype = QComboBox(), QComboBox()
        for box, names in ((self.kv_dtype, tuple(KV_BYTES)), (self.dtype, DTYPES)):
            box.addItems(names)
            box.setFixedHeight(FIELD_PX)
            box.activated.connect(self.changed)
        self.share = QSpinBox()
        self.share.setRange(0, 100)
        self.share.setSpecialValueText("auto")
        self.share.setSuffix(" %")
        self.share.setToolTip(SHARE_TIP)
        self.share.setKeyboardTracking(False)
        pad_spin_box(self.share)
        self.share.valueChanged.connect(self._on_share)
        self.eager = Switch(theme, "Without captured graphs")
        self.eager.clicked.connect(self.changed)
        self.eager.setAccessibleDescription(EAGER_WORDS)
        fields = QGridLayout()
        fields.setHorizontalSpacing(12)
        fields.setVerticalSpacing(4)
        for column, (label, widget) in enumerate(
            (("KV cache", self.kv_dtype), ("Computes in", self.dtype), ("Memory", self.share))
        ):
            caption = text_label(theme, label, "note", role="muted")
            caption.setBuddy(widget)
            widget.setAccessibleName(f"{label}, vLLM")
            fields.addWidget(caption, 0, column)
            fields.addWidget(widget, 1, column)
            fields.setColumnStretch(column, 1)
        graphs = QHBoxLayout()
        graphs.setSpacing(10)
        graphs.addWidget(self.eager)
        words = text_label(theme, EAGER_WORDS, "note", role="muted")
        words.setWordWrap(True)
        graphs.addWidget(words, 1)
        column_ = QVBoxLayout(self)
        column_.setContentsMargins(0, 0, 0, 0)
        column_.setSpacing(8)
        column_.addLayout(fields)
        column_.addLayout(graphs)
        self._silent = False

    @property
    def knobs(self) -> VllmKnobs:
        """What is set."""
        percent = self.share.value()
        return VllmKnobs(
            dtype=self.dtype.currentText(),
            kv_dtype=self.kv_dtype.currentText(),
            fraction=percent / 100 if percent else None,
            eager=self.eager.isChecked(),
        )

    def show_knobs(self, knobs: VllmKnobs) -> None:
        """Set everything; emits nothing."""
        self._silent = True
        self.dtype.setCurrentText(knobs.dtype)
        self.kv_dtype.setCurrentText(knobs.kv_dtype)
        self.share.setValue(round((knobs.fraction or 0) * 100))
        self.eager.setChecked(knobs.eager)
        self._silent = False

    @Slot()
    def _on_share(self) -> None:
        if not self._silent:
            self.changed.emit()
