"""The main job as a user does it: real window, real clicks, real engine on two devices."""

from collections.abc import Callable

import psutil
import pytest
from PySide6.QtCore import QPoint
from PySide6.QtWidgets import QPlainTextEdit
from pytestqt.qtbot import QtBot
from tests.e2e.pointer import Pointer, button, texts

from splitrig.app import Desktop
from splitrig.core.engine import Phase
from splitrig.core.history import Rate
from splitrig.core.units import MIB
from splitrig.views.widgets.split_bar import SplitBar


def below() -> list[str]:
    """Names of all processes below this one, without the tools of the test."""
    names = []
    for process in psutil.Process().children(recursive=True):
        try:
            if process.name() != "xdotool" and process.status() != psutil.STATUS_ZOMBIE:
                names.append(process.name())
        except psutil.NoSuchProcess:
            continue
    return names


def choose_a_sure_answer(desktop: Desktop, *, longest: int) -> None:
    """Always the likeliest token: a dice roll may end a small model's answer at the first word."""
    popup = desktop.chat_page.composer.popup
    popup.temperature.setValue(0)
    popup.max_tokens.setValue(longest)


@pytest.mark.e2e
@pytest.mark.timeout(240)
def test_from_the_first_start_to_an_answer_and_back(
    start: Callable[..., Desktop], pointer: Pointer, qtbot: QtBot
) -> None:
    desktop = start()
    window = desktop.window
    qtbot.waitUntil(
        lambda: bool(texts(desktop.rig_page, "No usable graphics card")), timeout=20_000
    )
    pointer.click(button(desktop.rig_page, "Open the demo rig"))
    qtbot.waitUntil(lambda: desktop.card_count == 2, timeout=5000)
    pointer.click(button(window.rail, "Launch"))
    qtbot.waitUntil(lambda: window.current_page == "launch")
    page = desktop.launch_page

    # the demo model, from the menu
    reads = []
    desktop.models.model_read.connect(lambda model, _name: reads.append(model))
    pointer.click(button(page, "Change"))
    menu = page.editor.model.menu
    qtbot.waitUntil(menu.isVisible, timeout=3000)
    demo = next(a for a in menu.actions() if a.text().startswith("Demo model"))
    pointer.click(menu, menu.actionGeometry(demo).center())
    qtbot.waitUntil(lambda: len(reads) == 1, timeout=5000)
    assert texts(page, "SmolLM2-135M-Instruct")

    # drag the handle until the first card has 24 of the 31 layers
    bar = page.findChild(SplitBar)
    assert bar is not None
    handle = bar.handles[0]
    qtbot.waitUntil(handle.isVisible)
    before = bar.counts
    here = handle.geometry().center()
    there = QPoint(here.x() + round((24 - before[0]) * bar.width() / 31), here.y())
    pointer.drag(bar, here, there)
    qtbot.waitUntil(lambda: bar.counts == (24, 7), timeout=3000)
    assert page.plan is not None
    assert [d.n_layers for d in page.plan.devices] == [24, 7]

    pointer.click(button(page, "Start"))
    status = desktop.engine
    qtbot.waitUntil(lambda: status.status.phase in (Phase.READY, Phase.FAILED), timeout=60_000)
    assert status.status.failure is None
    ready = status.status
    assert ready.mismatches == ()
    assert [round((ready.actual[n].model_bytes or 0) / MIB, 2) for n in ("RPC0", "RPC1")] == [
        50.73,
        41.37,
    ]
    assert [(ready.actual[n].kv_bytes or 0) / MIB for n in ("RPC0", "RPC1")] == [72, 18]
    assert "llama-server" in " ".join(below())
    # planned and actual stand side by side, in words and numbers
    assert texts(page, "Loaded as planned")
    for number in ("50.73", "41.37", "72.00", "18.00"):
        assert texts(page.running.table, number) == [number, number]

    pointer.click(button(page, "Open chat"))
    qtbot.waitUntil(lambda: window.current_page == "chat")
    field = next(w for w in desktop.chat_page.findChildren(QPlainTextEdit) if w.isVisible())
    choose_a_sure_answer(desktop, longest=200)
    pointer.click(field)
    pointer.type("Tell me a very long story about the sea and its people.")
    lengths: list[int] = []
    desktop.chat.answer_changed.connect(lambda answer: lengths.append(len(answer.text)))
    pointer.key("Return")
    qtbot.waitUntil(lambda: desktop.answers_ended == 1, timeout=60_000)
    answer = desktop.last_answer
    assert answer is not None
    assert answer.error is None
    assert answer.text.strip()
    assert answer.stats.tokens == 200
    assert answer.stats.tok_s is not None
    assert len(set(lengths)) > 2, "the answer did not grow before the user's eyes"
    shown = desktop.chat_page.answers[0]
    assert shown.isVisible()
    assert shown.text == answer.text
    assert f"{answer.stats.tok_s:.1f}" in shown.figures_text

    # the curves got it: beside the chat, and on the rig page on one axis with the cards
    history = desktop.rig.history
    qtbot.waitUntil(
        lambda: bool((history.window(60).rate(Rate.GENERATION) > 0).any()), timeout=5000
    )
    qtbot.waitUntil(lambda: desktop.side.curve.top > 10, timeout=3000)
    pointer.click(button(window.rail, "Rig"))
    frame = desktop.rig_page.body.history.frame
    qtbot.waitUntil(lambda: "Answer: 0.0 tok/s" in frame.accessibleDescription(), timeout=5000)
    assert "VRAM: RTX 4090" in frame.accessibleDescription()

    pointer.click(button(window.rail, "Launch"))
    pointer.click(button(page, "Stop"))
    qtbot.waitUntil(lambda: status.status.phase is Phase.STOPPED, timeout=5000)
    qtbot.waitUntil(lambda: not below(), timeout=3000)


@pytest.mark.e2e
@pytest.mark.timeout(120)
def test_an_engine_killed_in_mid_answer_leaves_the_text_and_a_note(
    desktop: Desktop, pointer: Pointer, qtbot: QtBot
) -> None:
    desktop.window.show_page("launch")
    desktop.start_engine()
    qtbot.waitUntil(lambda: desktop.engine.status.phase is Phase.READY, timeout=60_000)
    desktop.window.show_page("chat")
    choose_a_sure_answer(desktop, longest=1500)
    desktop.chat_page.ask("Tell me a very long story about the sea and its people.")
    qtbot.waitUntil(
        lambda: desktop.last_answer is not None and desktop.last_answer.stats.tokens > 5,
        timeout=30_000,
    )
    pid = desktop.engine.status.pid
    assert pid is not None
    psutil.Process(pid).kill()
    qtbot.waitUntil(lambda: desktop.answers_ended == 1, timeout=10_000)
    assert desktop.last_answer is not None
    assert desktop.last_answer.text.strip()
    assert desktop.last_answer.error is not None
    qtbot.waitUntil(lambda: desktop.engine.status.phase is Phase.FAILED, timeout=5000)
    failure = desktop.engine.status.failure
    assert failure is not None
    assert "killed" in failure.message
    qtbot.waitUntil(lambda: not below(), timeout=3000)
