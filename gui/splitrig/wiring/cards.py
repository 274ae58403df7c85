"""Reads the cards, tells the pages of them, and asks the engines which devices they are."""

from PySide6.QtCore import QObject, Slot

from splitrig.core.advice import advise
from splitrig.core.devices import DeviceMap, backend_of
from splitrig.core.engine import EngineKind, EngineStatus
from splitrig.core.engine_load import bytes_by_card
from splitrig.core.errors import EngineMissingError, SplitRigError
from splitrig.core.gpu import Rig
from splitrig.core.settings import Settings
from splitrig.core.verify import FirstReadings, verify
from splitrig.services.engines.engines import DevicesFound, Engines
from splitrig.services.mailbox import Mailbox
from splitrig.services.models.demo import demo_model
from splitrig.services.report_facts import report_facts
from splitrig.services.telemetry.demo import DemoSource
from splitrig.services.telemetry.sampler import Sampler, default_sources
from splitrig.wiring.conversation import Conversation
from splitrig.wiring.machines import Machines
from splitrig.wiring.parts import Bridges, Pages
from splitrig.wiring.preferences import Preferences


class Cards(QObject):
    """Joins telemetry and the engines' own lists of devices with the pages."""

    def __init__(
        self,
        pages: Pages,
        bridges: Bridges,
        *,
        mailbox: Mailbox,
        engines: Engines,
        preferences: Preferences,
        machines: Machines,
        conversation: Conversation,
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        self._pages, self._bridges = pages, bridges
        self._mailbox, self._engines, self._preferences = mailbox, engines, preferences
        self._machines, self._conversation = machines, conversation
        self._sampler: Sampler | None = None
        self._demo: DemoSource | None = None
        self._first_readings = FirstReadings()
        self._told_missing = ""
        self._wire()

    def _wire(self) -> None:
        pages, rig, engine = self._pages, self._bridges.rig, self._bridges.engine
        for listener in (
            pages.strip.show_rig,
            pages.rig.show_rig,
            pages.side.show_rig,
            pages.launch.show_rig,
            self._on_sampled,
        ):
            rig.sampled.connect(listener)
        rig.changed.connect(self._on_changed)
        for page in (pages.rig, pages.side, pages.launch):
            rig.history_changed.connect(page.show_history)
        pages.rig.demo_requested.connect(self._on_demo)
        pages.rig.look_again_requested.connect(self._on_look_again)
        pages.launch.demo_requested.connect(self._on_demo)
        pages.launch.engine_wanted.connect(self._on_engine_wanted)
        pages.launch.builds_requested.connect(self._on_builds_wanted)
        engine.devices_found.connect(self._on_devices)
        engine.told.connect(self._on_told)
        engine.engines_changed.connect(self._load_demo)
        self._conversation.activity_changed.connect(self._load_demo)
        self._preferences.changed.connect(self._on_settings)
        self._bridges.builds.changed.connect(self.look_for_engines)

    # Reading

    def start(self, *, demo: bool) -> None:
        """Read the cards from now on, real ones or the demo rig's."""
        self.close()
        sources = default_sources(demo=demo)
        self._demo = next((s for s in sources if isinstance(s, DemoSource)), None)
        interval_s = self._preferences.settings.telemetry.interval_s
        self._sampler = Sampler(self._mailbox, sources, interval_s)
        self._sampler.start()

    def close(self) -> None:
        """Stop reading; blocks until the thread is gone."""
        if self._sampler is not None:
            self._sampler.close()

    @Slot()
    def _on_demo(self) -> None:
        self.start(demo=True)

    @Slot()
    def _on_look_again(self) -> None:
        if self._sampler is not None:
            self._sampler.refresh()

    @Slot(object, object)
    def _on_settings(self, before: Settings, settings: Settings) -> None:
        if self._sampler is not None:
            self._sampler.interval_s = settings.telemetry.interval_s
        if settings.engine != before.engine:
            self._bridges.builds.choose(settings.engine.llama_server)
            self.look_for_engines()

    @Slot(object)
    def _on_told(self, status: EngineStatus) -> None:
        self._first_readings.follow(status)

    @Slot(object)
    def _on_sampled(self, rig: Rig) -> None:
        pages, engine = self._pages, self._bridges.engine
        status = engine.status
        self._first_readings.add(rig, engine.running)
        if (after := self._first_readings.of(status.slot)) is not None:
            before = self._first_readings.before(status.slot) or engine.before(status.slot)
            notes = verify(status, before, rig, status.pids, after=after)
            pages.launch.show_findings(notes)
        pages.rig.show_notes(advise(rig, pages.launch.plan, self._bridges.rig.links))

    @Slot()
    def _load_demo(self) -> None:
        """The demo rig's made-up readings follow the engines."""
        if self._demo is None:
            return
        held: dict[str, int] = {}
        busy: set[str] = set()
        for status in self._bridges.engine.running:
            on_cards = bytes_by_card(status)
            for gpu_id, n_bytes in on_cards.items():
                held[gpu_id] = held.get(gpu_id, 0) + n_bytes
            if status.slot == self._conversation.answering_slot:
                busy.update(on_cards)
        self._demo.set_engine_load(held, busy=busy)

    # Which device of an engine is which card

    @Slot()
    def look_for_engines(self) -> None:
        """Engines came, went or were chosen: look for them anew, and ask the one in use."""
        self._engines.use(self._preferences.settings.engine)
        self._pages.launch.forget_engine_error()
        self._ask()

    @Slot(object)
    def _on_changed(self, _rig: Rig) -> None:
        self._ask()

    @Slot(object)
    def _on_engine_wanted(self, _kind: EngineKind) -> None:
        self._ask()

    def _ask(self) -> None:
        """Ask the engine again which of its devices is which card."""
        rig = self._bridges.rig.rig
        if rig is None:
            return
        self._pages.logs.set_report_facts(report_facts(rig))
        self._engines.discover(self._pages.launch.planner.engine, rig, demo_model())

    @Slot(object)
    def _on_devices(self, found: DevicesFound) -> None:
        """Cards the engine cannot use are told of, with the reason."""
        pages = self._pages
        pages.launch.show_engine_found(found.kind, found.build, found.error, found.options)
        if found.kind is EngineKind.LLAMA_CPP and found.device_map is not None:
            self._machines.show_lendable(found.device_map)
        if found.error is None and pages.window.notice.title == self._told_missing != "":
            self._told_missing = ""
            pages.window.notice.hide()
        if found.kind is not pages.launch.planner.engine:
            return
        if found.device_map is not None:
            self._show_matches(found.device_map)
        else:  # what another engine could not use says nothing of this one
            pages.launch.show_device_notes({})
        # there it stands beside the engine's name, and here beside the build's
        with_it = {"launch", "settings"} if found.kind is EngineKind.LLAMA_CPP else {"launch"}
        if found.error is not None and pages.window.current_page not in with_it:
            self._show_engine_error(found.error)

    def _show_matches(self, device_map: DeviceMap) -> None:
        launch, rig = self._pages.launch, self._bridges.rig.rig
        demo = rig is not None and rig.demo
        launch.show_device_notes({} if demo else device_map.unmatched_gpus)
        launch.show_device_names({m.gpu_id: m.device.name for m in device_map.matches})
        launch.show_backends({m.gpu_id: backend_of(m.device.name) for m in device_map.matches})

    def _show_engine_error(self, error: SplitRigError) -> None:
        """Why an engine cannot be used; where there is none at all, with the way to one."""
        window = self._pages.window
        if not isinstance(error, EngineMissingError):
            window.show_error(error)
            return
        self._told_missing = error.message
        window.show_notice(
            "danger",
            error.message,
            error.hint,
            action="Get llama.cpp",
            on_action=self._on_builds_wanted,
        )

    @Slot()
    def _on_builds_wanted(self) -> None:
        self._pages.window.show_page("settings")
        self._pages.settings.show_builds()
