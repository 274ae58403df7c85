"""The Settings page as the program wires it, before a real server that answers like GitHub's."""

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QObject, QPoint, Qt, Slot
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QLabel, QPushButton, QWidget
from pytestqt.qtbot import QtBot
from tests.services.engines.release_server import GitHub

from splitrig.bridge.pump import Pump
from splitrig.bridge.releases import ReleasesBridge
from splitrig.core.engine_fit import Machine
from splitrig.core.settings import Settings
from splitrig.services.engines.engines import Engines
from splitrig.services.engines.installed import installed
from splitrig.services.engines.llama_server import LlamaServer
from splitrig.services.mailbox import Mailbox
from splitrig.views.settings.build_offers import OfferRow
from splitrig.views.settings.build_rows import BuildRow
from splitrig.views.settings.page import SettingsPage
from splitrig.views.theme import Theme
from splitrig.wiring.builds import wire_builds

LINUX = Machine(os="linux", arch="x64")
LEFT = Qt.MouseButton.LeftButton
PATIENCE_MS = 20_000


class BuildsWindow(QObject):
    """Real page, bridge, jobs and processes; only the machine is chosen by the test.

    Attributes:
        seen: Share of the archives that was here, at each news of a download.
        notes: What stood beside the bar each time.
    """

    def __init__(self, theme: Theme, qtbot: QtBot, github: GitHub) -> None:
        super().__init__()
        self.qtbot = qtbot
        self.machine = LINUX
        self.engine_runs = False
        self.settings = Settings()
        self.mailbox = Mailbox()
        self.pump = Pump(self.mailbox, interval_ms=5)
        self.engines = Engines(self.mailbox, self.settings.engine)
        self.bridge = ReleasesBridge(
            self.pump,
            self.mailbox,
            api=github.api,
            machine=lambda: self.machine,
            engine_runs=lambda: self.engine_runs,
        )
        self.page = SettingsPage(theme, self.settings)
        self.section = self.page.builds
        wire_builds(self.bridge, self.section)
        self.page.changed.connect(self._on_settings)
        self.bridge.changed.connect(self._on_changed)
        self.bridge.progressed.connect(self._on_progress)
        self.seen: list[float] = []
        self.notes: list[str] = []
        qtbot.addWidget(self.page)
        self.page.resize(948, 640)
        self.page.show()
        qtbot.waitExposed(self.page)
        self.page.activateWindow()
        qtbot.waitUntil(self.page.isActiveWindow)
        self.pump.start()

    def close(self) -> None:
        """End everything that runs."""
        self.bridge.close()
        self.pump.stop()

    @Slot(object)
    def _on_settings(self, settings: Settings) -> None:
        self.settings = settings
        self.bridge.choose(settings.engine.llama_server)
        self._on_changed()

    @Slot()
    def _on_changed(self) -> None:
        self.engines.use(self.settings.engine)

    @Slot(object, object)
    def _on_progress(self, _progress: object, _bytes_s: object) -> None:
        step = self.section.steps.steps[0]
        if step.progress is not None:
            self.seen.append(step.progress)
            self.notes.append(step.note)

    # What a user does

    def until(self, condition: Callable[[], object]) -> None:
        self.qtbot.waitUntil(lambda: bool(condition()), timeout=PATIENCE_MS)

    def click(self, widget: QWidget, at: QPoint | None = None) -> None:
        """Press a widget that can be seen and pressed."""
        self.until(lambda: widget.isVisible() and widget.isEnabled())
        QTest.mouseClick(widget, LEFT, pos=at if at is not None else widget.rect().center())

    def press(self, text: str) -> None:
        """Press the button of the section with this text."""
        found = [
            button
            for button in self.section.findChildren(QPushButton)
            if button.isVisible() and text in (button.text(), button.accessibleName())
        ]
        assert len(found) == 1, (text, [b.text() for b in found])
        self.click(found[0])

    def look(self) -> None:
        """Look for builds, until there are some."""
        self.click(self.section.look)
        self.until(self.section.offers.isVisible)

    def idle(self) -> None:
        """Until nothing is done and the list is complete and tells what is on the disk."""
        self.until(lambda: self.bridge.job is None)
        self.until(lambda: {e.id for e in installed()} == self._downloaded)
        self.until(lambda: all(r.build.asked or r.build.damaged for r in self.section.rows.rows))

    def open_folds(self) -> None:
        """Show what is folded away."""
        for fold in (self.section.offers.kinds, self.section.offers.builds):
            if not fold.head.isChecked() and fold.isVisible():
                self.click(fold.head)

    # What a user sees

    @property
    def _downloaded(self) -> set[str | None]:
        builds = [row.build for row in self.section.rows.rows]
        return {build.id for build in builds if build.id is not None and not build.damaged}

    @property
    def ids(self) -> list[str | None]:
        """The builds listed."""
        return [row.build.id for row in self.section.rows.rows]

    def row(self, engine_id: str) -> BuildRow:
        row = self.section.rows.row(engine_id)
        assert row is not None, self.ids
        return row

    def offer(self, engine_id: str) -> OfferRow:
        return next(r for r in self.section.offers.rows if r.offer.choice.asset.id == engine_id)

    def said(self) -> str:
        """The notice; empty while there is none."""
        notice = self.section.notice
        return f"{notice.title} {notice.detail}".strip() if notice.isVisible() else ""

    def texts(self) -> list[str]:
        """Every text of the section that can be seen."""
        return [label.text() for label in self.section.findChildren(QLabel) if label.isVisible()]

    @property
    def used(self) -> Path:
        """The llama-server that would be started now."""
        server: LlamaServer = self.engines.llama_server()
        return server.path
