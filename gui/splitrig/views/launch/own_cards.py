"""The cards of this machine: which take part, and what was said of them."""

from collections.abc import Mapping

from splitrig.core.footprint import Backend
from splitrig.core.gpu import GpuInfo, GpuSample, Rig
from splitrig.core.link import Link, missing_lanes, telling_link
from splitrig.views.launch.card_choice import CardChoice


class OwnCards:
    """All of them with the user's switches.

    Attributes:
        blocked: Those the engine cannot use, by id, with the reason.
        backends: Which part of the engine drives a card; it decides how rows are padded.
        names: What the engine calls them, by id, where it said so.
    """

    def __init__(self) -> None:
        self.blocked: Mapping[str, str] = {}
        self.backends: Mapping[str, Backend] = {}
        self.names: Mapping[str, str] = {}
        self._off: set[str] = set()
        self._in_use: Mapping[str, str] = {}
        self._shared: set[str] = set()

    def choices(self, rig: Rig) -> tuple[CardChoice, ...]:
        """The cards of a reading, in its order."""
        return tuple(
            self._card(number, gpu, rig.samples.get(gpu.id)) for number, gpu in enumerate(rig.gpus)
        )

    def switch(self, gpu_id: str, *, on: bool) -> None:
        """Use a card or leave it out; one that another engine uses only if the user says so."""
        (self._off.discard if on else self._off.add)(gpu_id)
        (self._shared.add if on and gpu_id in self._in_use else self._shared.discard)(gpu_id)

    def set_in_use(self, users: Mapping[str, str]) -> None:
        """Cards that other engines use, by id, with who does."""
        self._in_use = dict(users)
        self._shared.intersection_update(users)

    def _is_on(self, gpu_id: str) -> bool:
        return gpu_id not in self._off and (gpu_id not in self._in_use or gpu_id in self._shared)

    def _card(self, number: int, gpu: GpuInfo, sample: GpuSample | None) -> CardChoice:
        total = gpu.vram_total_bytes
        free = None
        if sample is not None:
            total = sample.vram_total_bytes if sample.vram_total_bytes is not None else total
            free = sample.vram_free_bytes
        reason = self.blocked.get(gpu.id, "")
        if sample is not None and sample.lost:
            reason = "it stopped answering"
        elif not reason and (free is None or not total):
            reason = "its free memory is not reported"
        link = Link() if sample is None else telling_link(gpu, sample)
        note = self._in_use.get(gpu.id, "")
        if not note and missing_lanes(gpu, link):
            note = f"PCIe ×{link.lanes}"
        elif not note and gpu.integrated:
            note = "integrated"
        return CardChoice(
            id=gpu.id,
            number=number,
            name=gpu.short_name,
            free_bytes=free,
            total_bytes=total,
            on=self._is_on(gpu.id),
            reason=reason,
            note=note,
        )
