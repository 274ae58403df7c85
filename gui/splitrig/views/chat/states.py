"""What stands in place of the conversation as long as there is none."""

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QLabel, QPushButton, QVBoxLayout, QWidget

from splitrig.core.engine import EngineStatus, Phase
from splitrig.core.engine_words import model_stem
from splitrig.views.theme import Theme
from splitrig.views.widgets.empty_state import LineDrawing
from splitrig.views.widgets.texts import IconButton

IDEAS = (
    "Explain in five sentences how a model is split over two cards.",
    "Write a Python function that adds up the lines of a file.",
    "Compare GDDR6X and HBM3 in a small table.",
)

IDEA_PX = 420


def model_name(status: EngineStatus) -> str:
    """The model as its owner knows it: the file without its ending."""
    return model_stem(status) or "the model"


def blocked_reason(status: EngineStatus) -> str:
    """Why no question can be sent now; empty when one can."""
    match status.phase:
        case Phase.READY:
            return "" if status.url else "The engine has no address yet."
        case Phase.STARTING:
            return "The engine is starting."
        case Phase.LOADING:
            share = "" if status.progress is None else f": {status.progress * 100:.0f} %"
            return f"{model_name(status)} is loading{share}"
        case Phase.STOPPING:
            return "The engine is stopping."
        case Phase.FAILED:
            return "The engine is not running."
        case _:
            return "No engine is running."


class EmptyChat(QWidget):
    """Drawing, sentence, and either the way to an engine or three questions to begin with.

    Signals:
        launch_requested: Take me to where an engine is launched.
        asked: A question to send as it is.
    """

    launch_requested = Signal()
    asked = Signal(str)

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        drawing = LineDrawing(theme, "chat")
        self.title = QLabel()
        self.title.setFont(theme.font("title", 600))
        self.sentence = QLabel()
        self.sentence.setProperty("role", "muted")
        for label in (self.title, self.sentence):
            label.setAlignment(Qt.AlignmentFlag.AlignHCenter)
            label.setWordWrap(True)
            label.setTextFormat(Qt.TextFormat.PlainText)
        self.launch = IconButton(theme, "rocket-launch", "Launch an engine", kind="primary")
        self.launch.setStyleSheet("min-height: 38px;")
        self.launch.clicked.connect(self.launch_requested)
        self.ideas: list[QPushButton] = []
        column = QVBoxLayout(self)
        column.setContentsMargins(32, 24, 32, 24)
        column.setSpacing(8)
        column.addStretch(2)
        column.addWidget(drawing, 0, Qt.AlignmentFlag.AlignHCenter)
        column.addSpacing(12)
        column.addWidget(self.title)
        column.addWidget(self.sentence)
        column.addSpacing(12)
        column.addWidget(self.launch, 0, Qt.AlignmentFlag.AlignHCenter)
        for idea in IDEAS:
            button = QPushButton(idea)
            button.setStyleSheet("text-align: left;")
            button.setMinimumWidth(IDEA_PX)
            button.clicked.connect(lambda _=False, text=idea: self.asked.emit(text))
            self.ideas.append(button)
            column.addWidget(button, 0, Qt.AlignmentFlag.AlignHCenter)
        column.addStretch(3)
        self.show_engine(EngineStatus())

    def show_engine(self, status: EngineStatus) -> None:
        """Say what can be done now."""
        ready = not blocked_reason(status)
        self.launch.setVisible(not status.phase.active)
        for button in self.ideas:
            button.setVisible(ready)
        if ready:
            self.title.setText(f"Ask {model_name(status)}")
            self.sentence.setText("Nothing leaves this machine. Or begin with one of these:")
        elif status.phase is Phase.FAILED and status.failure is not None:
            self.title.setText("The engine is not running")
            self.sentence.setText(f"{status.failure.message} {status.failure.hint}".strip())
        elif status.phase.active:
            self.title.setText(blocked_reason(status).removesuffix("."))
            self.sentence.setText("Questions can be sent as soon as it is ready.")
        else:
            self.title.setText("No engine is running")
            self.sentence.setText("Choose a model and a split, start it, then ask it here.")
