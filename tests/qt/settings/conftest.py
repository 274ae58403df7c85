"""A server with builds, and the page before it."""

import os
import sys
from collections.abc import Iterator

import pytest
from builds_window import BuildsWindow
from pytestqt.qtbot import QtBot
from tests.services.conftest import small_disk  # noqa: F401 - a fixture
from tests.services.engines.release_server import GitHub, name, script, tar_gz
from tests.services.net.file_server import serving

from splitrig.services.engines import llama_server
from splitrig.views.theme import Theme


@pytest.fixture
def github() -> Iterator[GitHub]:
    """A release with a small build for the processor and one for Vulkan."""
    with serving() as server:
        found = GitHub(server)
        weight = os.urandom(1_000_000)
        found.publish(
            "b7",
            {
                name(7, "cpu"): tar_gz(7, llama_server=script(7), weight=weight),
                name(7, "vulkan"): tar_gz(7, llama_server=script(7)),
            },
        )
        yield found


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which there is no llama-server."""
    monkeypatch.setattr(llama_server, "WHEEL", "no_such_package")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")


@pytest.fixture
def window(bare: None, theme: Theme, qtbot: QtBot, github: GitHub) -> Iterator[BuildsWindow]:
    """The Settings page on a machine without a llama-server."""
    if sys.platform == "win32":
        pytest.skip("the archives of these tests hold scripts for Linux")
    made = BuildsWindow(theme, qtbot, github)
    made.until(made.section.rows.empty.isVisible)
    yield made
    made.close()
