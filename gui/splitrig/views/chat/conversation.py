"""The column of turns: scrolls along with an answer as long as the reader is at its end."""

from PySide6.QtCore import QEvent, QObject, Signal, Slot
from PySide6.QtWidgets import QFrame, QHBoxLayout, QScrollArea, QVBoxLayout, QWidget

from splitrig.views.chat.turns import quiet_button
from splitrig.views.theme import Theme

COLUMN_PX = 720
AT_END_PX = 24


class Conversation(QScrollArea):
    """Turns, one below the other, in a column that is never wider than one can read.

    Signals:
        followed: Whether the view moves along with what is added.
    """

    followed = Signal(bool)

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._following = True
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setAccessibleName("Conversation")
        column = QWidget()
        column.setMaximumWidth(COLUMN_PX)
        self._column = QVBoxLayout(column)
        self._column.setContentsMargins(0, 20, 0, 16)
        self._column.setSpacing(16)
        self._column.addStretch(1)
        body = QWidget()
        body.setProperty("clear", "true")
        row = QHBoxLayout(body)
        row.setContentsMargins(24, 0, 24, 0)
        row.addStretch(1)
        row.addWidget(column, 1000)
        row.addStretch(1)
        self.setWidget(body)
        bar = self.verticalScrollBar()
        bar.setSingleStep(30)
        bar.rangeChanged.connect(self._on_range)
        bar.valueChanged.connect(self._on_value)
        self._theme = theme
        self._to_end = quiet_button(theme, "arrow-down", "", "Go to the newest words")
        self._to_end.setParent(self)
        self._to_end.setProperty("kind", "")
        self._to_end.setStyleSheet(
            "QPushButton { padding: 0; border-radius: 14px; }"
            "QPushButton:focus { padding: 0; border-radius: 14px; }"
        )
        self._to_end.hide()
        self._to_end.clicked.connect(self.follow)
        self.viewport().installEventFilter(self)
        theme.changed.connect(self._on_theme)

    @property
    def following(self) -> bool:
        """The view moves along with what is added."""
        return self._following

    def add(self, turn: QWidget) -> None:
        """Put a turn at the end."""
        self._column.insertWidget(self._column.count() - 1, turn)

    def remove(self, turn: QWidget) -> None:
        """Take a turn out for good."""
        self._column.removeWidget(turn)
        turn.hide()
        turn.deleteLater()

    @Slot()
    def follow(self) -> None:
        """Go to the end and stay there."""
        self._set_following(following=True)
        bar = self.verticalScrollBar()
        bar.setValue(bar.maximum())

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Keep the button in its place when the view changes its size."""
        if event.type() == QEvent.Type.Resize:
            view = self.viewport()
            self._to_end.move(
                view.width() // 2 - self._to_end.width() // 2,
                view.height() - self._to_end.height() - 8,
            )
        return super().eventFilter(watched, event)

    def _set_following(self, *, following: bool) -> None:
        self._to_end.setVisible(not following)
        self._to_end.raise_()
        if following != self._following:
            self._following = following
            self.followed.emit(following)

    @Slot(int, int)
    def _on_range(self, _low: int, high: int) -> None:
        if self._following:
            self.verticalScrollBar().setValue(high)
        elif high <= AT_END_PX:
            self._set_following(following=True)

    @Slot(int)
    def _on_value(self, value: int) -> None:
        self._set_following(following=value >= self.verticalScrollBar().maximum() - AT_END_PX)

    @Slot()
    def _on_theme(self) -> None:
        self._to_end.setIcon(self._theme.icon("arrow-down", "muted"))
