from PySide6.QtGui import QGuiApplication
from pytestqt.qtbot import QtBot

from splitrig.core.engine import EngineStatus, Failure, Phase
from splitrig.views.logs.page import LogsPage
from splitrig.views.theme import Theme


def page(theme: Theme, qtbot: QtBot) -> LogsPage:
    made = LogsPage(theme)
    qtbot.addWidget(made)
    made.resize(900, 500)
    made.show()
    return made


def test_lines_are_bounded_and_the_end_is_followed(theme: Theme, qtbot: QtBot) -> None:
    made = page(theme, qtbot)
    for start in range(0, 8000, 500):
        made.add_lines([f"line {n}" for n in range(start, start + 500)])
    assert made._text.blockCount() == 5000
    assert made._text.toPlainText().endswith("line 7999")
    bar = made._text.verticalScrollBar()
    assert bar.value() == bar.maximum()


def test_a_reader_who_scrolled_up_is_left_alone(theme: Theme, qtbot: QtBot) -> None:
    made = page(theme, qtbot)
    made.add_lines([f"line {n}" for n in range(1000)])
    bar = made._text.verticalScrollBar()
    bar.setValue(10)
    made.add_lines(["one more"])
    assert bar.value() == 10


def test_searching_finds_upwards_and_marks_a_miss(theme: Theme, qtbot: QtBot) -> None:
    made = page(theme, qtbot)
    made.add_lines(["alpha", "beta buffer", "gamma buffer"])
    made._search.setText("buffer")
    assert made._text.textCursor().block().text() == "gamma buffer"
    made._search.returnPressed.emit()
    assert made._text.textCursor().block().text() == "beta buffer"
    made._search.setText("nowhere")
    assert made._search.property("invalid") == "true"


def test_the_report_has_the_command_and_the_failure(theme: Theme, qtbot: QtBot) -> None:
    made = page(theme, qtbot)
    made.add_lines(["last words"])
    made.show_status(
        EngineStatus(
            phase=Phase.FAILED,
            command=("llama-server", "-m", "x.gguf"),
            api_key="secret",
            failure=Failure(message="It broke.", hint="Mend it."),
        )
    )
    made._copy.click()
    text = QGuiApplication.clipboard().text()
    assert "llama-server -m x.gguf" in text
    assert "It broke. Mend it." in text
    assert "last words" in text
    assert "secret" not in text
