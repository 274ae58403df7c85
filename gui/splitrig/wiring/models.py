"""Reads the model files the Launch page asks for, and remembers which were used."""

from pathlib import Path

from PySide6.QtCore import QObject, Slot

from splitrig.core.engine import EngineKind
from splitrig.core.errors import SplitRigError
from splitrig.core.hf_model import HfModel
from splitrig.core.model import Model
from splitrig.core.ollama_model import ServedModel
from splitrig.services.engines.engines import DevicesFound
from splitrig.services.models.demo import demo_model
from splitrig.views.launch.wording import model_name
from splitrig.wiring.parts import Bridges, Pages
from splitrig.wiring.preferences import Preferences


class Models(QObject):
    """Joins the Launch page with the reader of model files."""

    def __init__(
        self, pages: Pages, bridges: Bridges, preferences: Preferences, parent: QObject
    ) -> None:
        super().__init__(parent)
        self._pages, self._reader, self._preferences = pages, bridges.models, preferences
        reader, launch = bridges.models, pages.launch
        launch.model_chosen.connect(reader.read)
        launch.stored_chosen.connect(lambda model: reader.read(model.path, model.name))
        reader.model_read.connect(self._on_model)
        reader.read_failed.connect(self._on_failed)
        reader.folder_read.connect(self._on_folder)
        launch.served_chosen.connect(self._on_served)
        panel = launch.editor.model
        reader.store_listed.connect(panel.offer_stored)
        reader.served_listed.connect(panel.offer_served)
        panel.list_wanted.connect(self._list)
        bridges.engine.devices_found.connect(self._on_found)
        self._wire_companions()

    def _wire_companions(self) -> None:
        """Files that are loaded beside the model are read like the model itself."""
        more, reader = self._pages.launch.more, self._reader
        more.draft_chosen.connect(reader.read_draft)
        more.projector_chosen.connect(reader.read_projector)
        reader.draft_read.connect(more.show_draft)
        reader.draft_failed.connect(more.show_draft_error)
        reader.projector_read.connect(more.show_projector)
        reader.projector_failed.connect(more.show_projector_error)
        reader.projectors_found.connect(more.show_projectors)

    def open_first(self, named: Path | None) -> None:
        """Open the model named, else the one used last, else the demo model."""
        demo = demo_model()
        recent = [path for path in self._preferences.settings.recent_models if path.exists()]
        self._pages.launch.set_demo_model(demo)
        self._pages.launch.show_recent(recent)
        first = named or next(iter(recent), demo)
        if first is not None:
            self._reader.read(first)
        self._list()

    @Slot()
    def _list(self) -> None:
        """Look for the models that are offered by name, wherever the engine chosen has them."""
        self._reader.list_store()
        if self._pages.launch.planner.engine is EngineKind.OLLAMA_ATTACHED:
            self._reader.list_served()

    @Slot(object)
    def _on_found(self, found: DevicesFound) -> None:
        """An Ollama that runs was asked whether it is there: ask for its models as well."""
        if found.kind is EngineKind.OLLAMA_ATTACHED:
            self._reader.list_served()

    @Slot(object)
    def _on_served(self, model: ServedModel) -> None:
        """A model that is known by its name only."""
        self._pages.strip.show_model(Path(model.name), model.name)

    @Slot(object, str)
    def _on_model(self, model: Model, name: str = "") -> None:
        self._pages.launch.show_model(model, name)
        shown = name or model_name(model.path, model.quantization)
        self._pages.strip.show_model(model.path, shown)
        if model.path != demo_model() and not name:
            self._remember(model.path)

    @Slot(object)
    def _on_folder(self, model: HfModel) -> None:
        self._pages.launch.show_folder(model)
        self._pages.strip.show_model(model.path, model.name)
        self._remember(model.path)

    @Slot(object, object)
    def _on_failed(self, _path: Path, error: SplitRigError) -> None:
        self._pages.launch.show_model_error(error)

    def _remember(self, model: Path) -> None:
        self._preferences.keep(self._preferences.settings.with_recent(model))
        self._pages.launch.show_recent(self._preferences.settings.recent_models)
