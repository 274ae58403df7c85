"""The whole program, wired: what the cards' driver shows after a start reaches the Launch page."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot
from tests.fakes.nvml import fake_nvml
from tests.services.telemetry.conftest import driver

from splitrig.app import Desktop
from splitrig.core.engine import LaunchRequest, Phase
from splitrig.core.plan import DevicePlan, HostPlan, Plan, PlanRequest
from splitrig.core.settings import EngineSettings, Settings, TelemetrySettings
from splitrig.core.units import GIB
from splitrig.services.store.settings import SettingsStore

__all__ = ["driver"]

if sys.platform == "win32":
    pytest.skip("the fake engine is a shell script", allow_module_level=True)

FAKE = Path(__file__).parents[1] / "services" / "engines" / "fake_llama_server.py"
DEVICES = (
    "  CUDA0: NVIDIA GeForce RTX 4090 (24564 MiB, 24000 MiB free)\n"
    "  CUDA1: NVIDIA GeForce RTX 3080 (10240 MiB, 10000 MiB free)"
)
EMPTY = "Only RTX 4090 is loaded; RTX 3080 stayed empty."


def loaded(big_mib: int, small_mib: int) -> str:
    """The mixed rig with so much in use on its cards."""
    text = fake_nvml.changed(1, used_mib=small_mib)
    return text.replace("used_mib 420", f"used_mib {big_mib}")


def planned(desktop: Desktop) -> Plan:
    """Some 5 GiB on each card."""
    rig = desktop.rig.rig
    assert rig is not None
    devices = tuple(
        DevicePlan(
            name=gpu.short_name,
            id=gpu.id,
            first_layer=10 * number,
            n_blocks=10,
            has_output=False,
            model_bytes=5 * GIB,
            kv_bytes=0,
            compute_bytes=0,
            overhead_bytes=0,
            free_bytes=9 * GIB,
        )
        for number, gpu in enumerate(rig.gpus)
    )
    host = HostPlan(model_bytes=0, kv_bytes=0, compute_bytes=None)
    return Plan(devices=devices, host=host, split=(1, 1), fits=True)


@pytest.fixture
def desktop(
    qapp: QApplication, qtbot: QtBot, tmp_path: Path, driver: Callable[[str], None]
) -> Iterator[Desktop]:
    """The program over two cards of the fake driver, with a fake llama-server."""
    server = tmp_path / "llama-server"
    server.write_text(
        f"#!/bin/sh\nexport FAKE_DEVICES='{DEVICES}' FAKE_SEEN='{tmp_path / 'seen'}'\n"
        f'exec "{sys.executable}" "{FAKE}" "$@"\n'
    )
    server.chmod(0o755)
    SettingsStore().save(
        Settings(
            engine=EngineSettings(llama_server=server), telemetry=TelemetrySettings(interval_s=0.5)
        )
    )
    made = Desktop(qapp)
    made.complete()
    qtbot.waitUntil(lambda: made.card_count == 2, timeout=20_000)
    yield made
    made.close()
    made.window.deleteLater()


def start(desktop: Desktop, qtbot: QtBot) -> None:
    """Start the engine on both cards, and wait until it is ready."""
    plan = planned(desktop)
    request = LaunchRequest(
        model=Path("m.gguf"),
        gpu_ids=tuple(device.id for device in plan.devices),
        plan=PlanRequest(split=(1, 1)),
    )
    assert desktop.rig.rig is not None
    desktop.engine.start(request, plan, desktop.rig.rig)
    qtbot.waitUntil(lambda: desktop.engine.status.phase is Phase.READY, timeout=20_000)


def told(desktop: Desktop) -> list[str]:
    """Titles of the notes of the running engine."""
    return [notice.title for notice in desktop.launch_page.running.notes.notices]


def used_mib(desktop: Desktop) -> list[int]:
    """What the last reading shows in use on each card."""
    rig = desktop.rig.rig
    assert rig is not None
    return [(rig.samples[gpu.id].vram_used_bytes or 0) >> 20 for gpu in rig.gpus]


def test_a_card_that_stayed_empty_after_the_start_is_told_on_the_launch_page(
    desktop: Desktop, qtbot: QtBot, driver: Callable[[str], None]
) -> None:
    start(desktop, qtbot)
    driver(loaded(420 + 5600, 210))
    qtbot.waitUntil(lambda: EMPTY in told(desktop), timeout=10_000)
    desktop.engine.stop()
    qtbot.waitUntil(lambda: not desktop.engine.running, timeout=10_000)
    driver(loaded(420, 210))
    qtbot.waitUntil(lambda: max(used_mib(desktop)) < 1000, timeout=10_000)
    start(desktop, qtbot)
    driver(loaded(420 + 5600, 210 + 5600))
    qtbot.waitUntil(lambda: min(used_mib(desktop)) > 5600, timeout=10_000)
    qtbot.wait(2000)  # the third reading after it was ready is the one that counts
    assert EMPTY not in told(desktop)
