"""The row above the log: levels with their counts, search, engines, wrapping."""

from collections.abc import Sequence

from PySide6.QtCore import Signal, Slot
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QWidget

from splitrig.core.log_lines import Level
from splitrig.core.log_ring import LogFilter, LogRing
from splitrig.core.units import number_text
from splitrig.views.logs.find_bar import FindBar
from splitrig.views.theme import Theme
from splitrig.views.widgets.segmented import Segmented
from splitrig.views.widgets.switch import Switch

ALL_ENGINES = "All engines"
LEVELS = (
    ("All", Level.DEBUG, "Every line"),
    ("Info", Level.PLAIN, "All lines but those for debugging"),
    ("Warnings", Level.WARNING, "Warnings and errors"),
    ("Errors", Level.ERROR, "Errors only"),
)


class LogTools(QWidget):
    """What of the log is shown, and how.

    Signals:
        filtered: Another level or engine was chosen.
        wrapped: Long lines are to be broken, or not.

    Attributes:
        search: What is looked for.
        engines: The choice of an engine; stands elsewhere, and only where there are several.
    """

    filtered = Signal()
    wrapped = Signal(bool)

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.levels = Segmented([name for name, _, _ in LEVELS])
        self.levels.setAccessibleName("Level")
        for index, (_, _, hint) in enumerate(LEVELS):
            self.levels.set_hint(index, hint)
        self.levels.chosen.connect(self.filtered)
        self.engines = QComboBox()
        self.engines.setAccessibleName("Engine")
        self.engines.setProperty("small", "true")
        self.engines.addItem(ALL_ENGINES)
        self.engines.activated.connect(self.filtered)
        self.engines.hide()
        self.search = FindBar(theme)
        self.wrap = Switch(theme, "Wrap")
        self.wrap.toggled.connect(self.wrapped)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(12)
        row.addWidget(self.levels)
        row.addWidget(self.search, 1)
        row.addWidget(self.wrap)

    @property
    def filter(self) -> LogFilter:
        """What was chosen."""
        engine = self.engines.currentText() if self.engines.currentIndex() > 0 else None
        return LogFilter(least=LEVELS[self.levels.current][1], source=engine)

    @Slot()
    def show_everything(self) -> None:
        """Choose all levels and all engines."""
        self.levels.set_current(0)
        self.engines.setCurrentIndex(0)
        self.filtered.emit()

    def show_counts(self, ring: LogRing) -> None:
        """How many lines each level would show."""
        source = self.filter.source
        for index, (name, least, _) in enumerate(LEVELS):
            n_lines = ring.count(LogFilter(least=least, source=source))
            self.levels.set_label(index, f"{name} {number_text(n_lines)}" if n_lines else name)

    def show_engines(self, names: Sequence[str]) -> None:
        """Offer these engines; nothing to choose from one."""
        there = [self.engines.itemText(index) for index in range(1, self.engines.count())]
        if there != list(names):
            chosen = self.filter.source
            self.engines.clear()
            self.engines.addItems([ALL_ENGINES, *names])
            if chosen is not None and chosen in names:
                self.engines.setCurrentText(chosen)
        self.engines.setVisible(len(names) > 1)
