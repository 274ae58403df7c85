"""Ray clusters for the window: what one holds, and its head on this machine."""

from PySide6.QtCore import QObject, Signal, Slot

from splitrig.bridge.pump import Pump
from splitrig.core.vllm import Cluster
from splitrig.services.engines.engines import Engines
from splitrig.services.engines.helpers import Kept
from splitrig.services.engines.ray_jobs import RayJobs, RayNews
from splitrig.services.mailbox import Mailbox


class RayBridge(QObject):
    """Asks clusters in the background.

    Signals:
        told: `Cluster, RayState | None, SplitRigError | None, bool`: what a cluster holds, or why
            it cannot be asked, and whether its head was started here and runs.
    """

    told = Signal(object, object, object, bool)

    def __init__(
        self, pump: Pump, mailbox: Mailbox, engines: Engines, kept: Kept | None = None
    ) -> None:
        super().__init__()
        self._jobs = RayJobs(mailbox, engines.vllm, kept)
        pump.listen(RayNews, self._on_news)

    @Slot(object)
    def look(self, cluster: Cluster) -> None:
        """Ask what a cluster holds; returns at once."""
        self._jobs.look(cluster)

    @Slot(object, object)
    def start_head(self, cluster: Cluster, devices: tuple[str, ...]) -> None:
        """Start a cluster's head here with these devices; returns at once."""
        self._jobs.start_head(cluster, devices)

    @Slot()
    def stop_head(self) -> None:
        """End the head that was started here; returns at once."""
        self._jobs.stop_head()

    def close(self) -> None:
        """End the head; blocks until it is gone."""
        self._jobs.close()

    def _on_news(self, news: RayNews) -> None:
        self.told.emit(news.cluster, news.state, news.error, news.has_head)
