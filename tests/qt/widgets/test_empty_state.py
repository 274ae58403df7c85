"""What stands where nothing is yet."""

from PySide6.QtWidgets import QLabel
from pytestqt.qtbot import QtBot

from splitrig.views.theme import Theme
from splitrig.views.widgets.empty_state import TEXT_PX, EmptyState

SENTENCE = "The engine sees no card at all: its driver may be missing. Here is what can be done."


def test_its_sentence_is_never_wider_than_the_place_it_has(theme: Theme, qtbot: QtBot) -> None:
    state = EmptyState(theme, "cards", "Nothing yet", SENTENCE, action=("play", "Do it"))
    qtbot.addWidget(state)
    state.show()
    label = next(label for label in state.findChildren(QLabel) if label.text() == SENTENCE)
    for width, most in ((1200, TEXT_PX), (380, 340)):
        state.resize(width, 500)
        qtbot.waitUntil(lambda most=most: most - 4 <= label.width() <= most)
        left, right = label.x(), state.width() - label.x() - label.width()
        assert abs(left - right) <= 1
        assert label.height() >= label.heightForWidth(label.width())
