"""Joins the part for Ray with what is known of the cluster."""

from PySide6.QtCore import QObject, Signal, Slot

from splitrig.core.engine import EngineKind
from splitrig.core.errors import SplitRigError
from splitrig.core.ray import RayState
from splitrig.core.vllm import Cluster
from splitrig.views.launch.planner import Planner
from splitrig.views.launch.ray_part import RayPart


class RayControl(QObject):
    """What the user does with Ray, and what comes back.

    Signals:
        look_wanted: `Cluster` to look at; answer with `show_news`.
        start_wanted: `Cluster, tuple[str, ...]`: its head is to be started here, with these of the
            engine's devices; answer with `show_news`.
        stop_wanted: The head that was started here is to end.
        changed: The plan may be another one.
    """

    look_wanted = Signal(object)
    start_wanted = Signal(object, object)
    stop_wanted = Signal()
    changed = Signal()

    def __init__(self, planner: Planner, part: RayPart, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._planner = planner
        self._part = part
        part.look_wanted.connect(self.look_wanted)
        part.start_wanted.connect(self._on_start)
        part.stop_wanted.connect(self.stop_wanted)
        part.switched.connect(self._on_switched)

    @Slot(object, object, object, bool)
    def show_news(
        self,
        cluster: Cluster,
        state: RayState | None,
        error: SplitRigError | None,
        has_head: bool,  # noqa: FBT001 - the signal's own argument
    ) -> None:
        """Take over what was found at a head, or why nothing was."""
        self._planner.ray.show(cluster, state)
        self._part.show_news(cluster, state, error, has_head=has_head)
        self._planner.settle()
        self.changed.emit()

    def refresh(self) -> None:
        """Show the part for the engine that uses it."""
        self._part.setVisible(self._planner.engine is EngineKind.VLLM)

    @Slot(object)
    def _on_start(self, cluster: Cluster) -> None:
        self.start_wanted.emit(cluster, self._planner.own_device_names)

    @Slot(bool)
    def _on_switched(self, on: bool) -> None:  # noqa: FBT001 - the signal's own argument
        self._planner.ray.on = on
        self._planner.settle()
        self.changed.emit()
