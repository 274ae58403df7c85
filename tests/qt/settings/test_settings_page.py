from pathlib import Path

from PySide6.QtWidgets import QApplication, QComboBox, QDoubleSpinBox, QLineEdit, QSpinBox, QWidget
from pytestqt.qtbot import QtBot

from splitrig.app import Desktop
from splitrig.core.settings import Appearance, Settings
from splitrig.services.store.settings import SettingsStore
from splitrig.views.settings.page import SettingsPage
from splitrig.views.theme import Theme
from splitrig.views.widgets.switch import Switch


def control(page: SettingsPage, name: str) -> QWidget:
    return next(w for w in page.findChildren(QWidget) if w.accessibleName() == name)


def test_every_change_is_told_with_the_whole_settings(theme: Theme, qtbot: QtBot) -> None:
    page = SettingsPage(theme, Settings().with_recent(Path("m.gguf")))
    qtbot.addWidget(page)
    box = control(page, "Theme")
    assert isinstance(box, QComboBox)
    with qtbot.waitSignal(page.changed) as told:
        box.setCurrentText("Light")
    settings = told.args[0]
    assert settings.appearance.theme is Appearance.LIGHT
    assert settings.recent_models == [Path("m.gguf")]
    spin = control(page, "Read the cards every")
    assert isinstance(spin, QDoubleSpinBox)
    assert (spin.minimum(), spin.maximum(), spin.suffix()) == (0.5, 10.0, " s")
    with qtbot.waitSignal(page.changed) as told:
        spin.setValue(2.5)
    assert told.args[0].telemetry.interval_s == 2.5
    assert told.args[0].appearance.theme is Appearance.LIGHT


def test_a_path_without_a_file_is_marked_and_not_taken(
    theme: Theme, qtbot: QtBot, tmp_path: Path
) -> None:
    page = SettingsPage(theme, Settings())
    qtbot.addWidget(page)
    edit = control(page, "llama-server").findChild(QLineEdit)
    assert edit is not None
    with qtbot.assertNotEmitted(page.changed):
        edit.setText(str(tmp_path / "none"))
        edit.editingFinished.emit()
    assert edit.property("invalid") == "true"
    there = tmp_path / "llama-server"
    there.touch()
    with qtbot.waitSignal(page.changed) as told:
        edit.setText(str(there))
        edit.editingFinished.emit()
    assert told.args[0].engine.llama_server == there


def test_what_is_on_or_off_is_a_switch(theme: Theme, qtbot: QtBot) -> None:
    page = SettingsPage(theme, Settings())
    qtbot.addWidget(page)
    switch = control(page, "Start again after a crash")
    assert isinstance(switch, Switch)
    assert not switch.isChecked()
    with qtbot.waitSignal(page.changed) as told:
        switch.click()
    assert told.args[0].engine.restart_on_crash is True
    tries = control(page, "Restarts in a row")
    assert isinstance(tries, QSpinBox)
    assert (tries.value(), tries.minimum(), tries.maximum()) == (5, 1, 20)


def test_a_line_of_text_is_taken_without_the_blanks_around_it(theme: Theme, qtbot: QtBot) -> None:
    page = SettingsPage(theme, Settings())
    qtbot.addWidget(page)
    edit = control(page, "Address of a running Ollama")
    assert isinstance(edit, QLineEdit)
    with qtbot.waitSignal(page.changed) as told:
        edit.setText(" 127.0.0.1:8888 ")
        edit.editingFinished.emit()
    assert told.args[0].engine.ollama_url == "127.0.0.1:8888"


def test_a_wrong_value_in_the_file_is_named_in_the_window_and_the_others_hold(
    qapp: QApplication,
) -> None:
    path = SettingsStore().path
    path.parent.mkdir(parents=True)
    path.write_text("[engine]\nrestart_tries = 99\nstart_timeout_s = 77\n", encoding="utf-8")
    desktop = Desktop(qapp, demo=True)
    notice = desktop.window.notice
    assert not notice.isHidden()
    assert notice.title.startswith("The setting engine.restart_tries has a wrong value")
    assert desktop.preferences.settings.engine.start_timeout_s == 77
    desktop.close()
    desktop.window.deleteLater()


def test_fields_of_text_are_as_wide_as_those_of_files(theme: Theme, qtbot: QtBot) -> None:
    page = SettingsPage(theme, Settings())
    qtbot.addWidget(page)
    page.resize(900, 700)
    page.show()
    qtbot.waitExposed(page)
    fields = [control(page, name) for name in ("ollama", "Address of a running Ollama", "vLLM")]
    assert len({(field.x(), field.width()) for field in fields}) == 1
