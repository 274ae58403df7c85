"""Port and network before a start, address and key after it."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from launch_samples import make_model, make_rig
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QLineEdit
from pytestqt.qtbot import QtBot

from splitrig.core.engine import EngineKind, EngineStatus, LaunchRequest, Phase
from splitrig.core.engine_rules import RULES
from splitrig.core.plan import PlanRequest
from splitrig.core.share import EVERYWHERE, LOOPBACK
from splitrig.views.launch.page import LaunchPage
from splitrig.views.launch.share_popup import SharePopup
from splitrig.views.theme import Theme

READY = EngineStatus(
    phase=Phase.READY,
    request=LaunchRequest(model=Path("SmolLM2.gguf"), plan=PlanRequest()),
    url="http://127.0.0.1:8137",
    api_key="sk-secret",
)


@pytest.fixture
def page(theme: Theme, qtbot: QtBot) -> LaunchPage:
    page = LaunchPage(theme)
    qtbot.addWidget(page)
    page.show_rig(make_rig())
    page.show_model(make_model())
    return page


@pytest.fixture
def popup(theme: Theme, page: LaunchPage) -> SharePopup:
    popup = SharePopup(theme, page)
    popup.show_status(READY)
    return popup


def test_port_and_network_reach_the_request(page: LaunchPage) -> None:
    request = page.planner.launch_request()
    assert request is not None
    assert (request.port, request.host) == (0, LOOPBACK)
    page.editor.address.set_port(8137)
    page.editor.address.network.click()
    request = page.planner.launch_request()
    assert request is not None
    assert (request.port, request.host) == (8137, EVERYWHERE)
    assert "has the key" in page.editor.address.network.accessibleDescription()


def test_an_engine_without_a_key_stays_off_the_network(page: LaunchPage) -> None:
    address = page.editor.address
    address.network.click()
    address.show_rules(RULES[EngineKind.OLLAMA])
    assert not address.network.isEnabled()
    assert address.host == LOOPBACK
    assert "knows no key" in address.network.accessibleDescription()
    address.show_rules(RULES[EngineKind.LLAMA_CPP])
    assert address.network.isEnabled()


@pytest.mark.skipif(sys.platform == "win32", reason="vLLM runs on Linux only")
def test_vllm_whose_key_guards_only_a_part_stays_off_the_network(page: LaunchPage) -> None:
    address = page.editor.address
    address.network.click()
    assert page.planner.host == EVERYWHERE
    page.editor.model.engine.chosen.emit(EngineKind.VLLM)
    assert not address.network.isEnabled()
    assert page.planner.host == LOOPBACK
    words = address.network.accessibleDescription()
    assert "guards only some of its paths" in words
    assert "reverse proxy" in words


def test_the_key_is_hidden_until_it_is_asked_for(popup: SharePopup) -> None:
    assert popup.address.text() == "http://127.0.0.1:8137/v1"
    assert popup.key.echoMode() is QLineEdit.EchoMode.Password
    popup.reveal.click()
    assert popup.key.echoMode() is QLineEdit.EchoMode.Normal
    assert popup.key.text() == "sk-secret"
    popup.show_status(replace(READY, api_key="sk-other"))
    assert popup.key.echoMode() is QLineEdit.EchoMode.Password


def test_lines_follow_the_way_and_are_copied_whole(popup: SharePopup) -> None:
    assert popup.code.code.startswith("curl http://127.0.0.1:8137/v1/chat/completions")
    popup.ways.set_current(1)
    popup.ways.chosen.emit(1)
    assert "from openai import OpenAI" in popup.code.code
    popup.ways.set_current(2)
    popup.ways.chosen.emit(2)
    assert "OPENAI_API_KEY" in popup.code.code
    popup.code._on_copy()
    assert "sk-secret" in QGuiApplication.clipboard().text()


def test_on_the_network_the_lines_name_the_address_others_see(popup: SharePopup) -> None:
    popup.show_status(replace(READY, network_urls=("http://192.168.1.5:8137",)))
    assert "curl http://192.168.1.5:8137/v1" in popup.code.code
    assert "192.168.1.5" in popup.where.text()


def test_an_engine_without_a_key_says_so(popup: SharePopup) -> None:
    popup.show_status(replace(READY, api_key=None))
    assert not popup.key.isEnabled()
    assert "takes no key" in popup.where.text()
    assert "Authorization" not in popup.code.code


def test_an_engine_without_a_key_has_none_to_copy(popup: SharePopup) -> None:
    assert popup.copies["Key"].isEnabled()
    popup.show_status(replace(READY, api_key=None))
    assert not popup.copies["Key"].isEnabled()
    assert popup.copies["Address"].isEnabled()


def test_the_popup_is_as_high_as_what_is_in_it(
    popup: SharePopup, page: LaunchPage, qtbot: QtBot
) -> None:
    popup.setParent(page, Qt.WindowType.Widget)  # offscreen no popup can grab the keyboard
    page.show()
    for key in ("sk-secret", None, "sk-secret"):
        popup.show_status(replace(READY, api_key=key))  # without one curl has a line less
        popup.open_below(page)
        qtbot.waitUntil(lambda: popup.height() == popup.heightForWidth(popup.width()))
        popup.hide()


def test_an_ollama_that_ran_before_is_not_said_to_be_this_computers(popup: SharePopup) -> None:
    request = LaunchRequest(
        model=Path("m"), model_name="m", plan=PlanRequest(), engine=EngineKind.OLLAMA_ATTACHED
    )
    far = EngineStatus(phase=Phase.READY, request=request, url="http://192.168.1.7:11434")
    popup.show_status(far)
    assert popup.where.text().startswith("It runs at 192.168.1.7 and takes no key")
    assert "this computer" not in popup.where.text()
    popup.show_status(replace(far, url="http://127.0.0.1:11434"))
    assert "other machines where it was started for them" in popup.where.text()
