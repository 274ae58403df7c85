"""AMD cards through rocm-smi: slow, so rarely; between its runs through the files of the driver."""

import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from splitrig.core.gpu import GpuInfo, GpuSample, Note, Severity
from splitrig.core.link import is_busy
from splitrig.core.specs import SpecTable
from splitrig.core.units import GIB
from splitrig.services.telemetry import amdgpu_sysfs as sysfs
from splitrig.services.telemetry.drm import AMD, DRM_ROOT, devices_of
from splitrig.services.telemetry.merge import filled
from splitrig.services.telemetry.rocm_smi_json import RocmCards, parse_rocm_smi
from splitrig.services.telemetry.source import SourceFailedError
from splitrig.services.telemetry.tool import Ending, Run, Tool

ARGUMENTS = (
    "--showproductname",
    "--showid",
    "--showuniqueid",
    "--showbus",
    "--showdriverversion",
    "--showmeminfo",
    "vram",
    "--showuse",
    "--showtemp",
    "--showpower",
    "--showmaxpower",
    "--showfan",
    "--showclocks",
    "--json",
)
"""It prints only what it is asked for."""
_USUAL_PLACE = Path("/opt/rocm/bin/rocm-smi")
_CARD_FROM_BYTES = 4 * GIB
"""With less memory it is a processor's own graphics, which nobody misses."""
_KEPT_RUNS = 3
"""While runs fail, the cards stay for this many of their intervals and one run to its limit."""


class RocmSmiSource:
    """Every AMD card rocm-smi lists; one run takes seconds and yields everything.

    Between two runs memory, load, power and temperature come from the driver's files. A card that
    sleeps is left alone and keeps its readings; while all of them sleep rocm-smi, which would wake
    them, is not run either.

    Args:
        specs: The table of cards.
        command: The program; by default the one on PATH or in ROCm's usual place.
        run_every_s: Shortest time between two runs, seconds; a look for cards is one more.
        timeout_s: Longest run, seconds.
        drm_root: Where the kernel lists its cards.
    """

    name = "rocm-smi"
    interval_s = 1.0

    def __init__(
        self,
        specs: SpecTable,
        *,
        command: Path | None = None,
        run_every_s: float = 30.0,
        timeout_s: float = 10.0,
        drm_root: Path = DRM_ROOT,
    ) -> None:
        self.limit_s = timeout_s
        self._specs = specs
        self._command = command
        self._run_every_s = run_every_s
        self._kept_s = _KEPT_RUNS * run_every_s + timeout_s
        self._drm_root = drm_root
        self._tool: Tool | None = None
        self._closed = False
        self._state: Note | None = None
        self._ids: tuple[str, ...] = ()
        self._changed = True
        self._started_s = 0.0
        self._done_s = 0.0
        self._of_run: dict[str, GpuSample] = {}
        self._latest: dict[str, GpuSample] = {}
        self._devices: dict[str, Path] = {}

    @property
    def notes(self) -> tuple[Note, ...]:
        """Why there are no AMD cards, if there are none, or that the last run failed."""
        return () if self._state is None else (self._state,)

    @property
    def needs_probe(self) -> bool:
        """No card was found, or the last run listed others than before."""
        return self._changed or not self._ids

    def probe(self) -> tuple[GpuInfo, ...]:
        """Run rocm-smi and list its cards; a missing tool is no error.

        Raises:
            SourceFailedError: It hangs, fails, or prints something else than its JSON.
        """
        self._state = None
        self._changed = True
        command = self._find()
        if command is None:
            self._ids = ()
            self._state = self._missing_note()
            return ()
        self._tool = Tool([str(command), *ARGUMENTS], self.limit_s)
        if self._closed:
            self._tool.stop()
        cards = self._run(self._tool)
        self._ids = tuple(info.id for info in cards.infos)
        self._changed = False
        if not self._ids:
            self._state = _note("empty", Severity.INFO, "rocm-smi lists no AMD card")
        return cards.infos

    def sample(self) -> Mapping[str, GpuSample]:
        """The readings of the last run, or of a new one when it is due, and of the files now.

        Raises:
            SourceFailedError: A run failed just now, or all have failed for too long.
        """
        if self._tool is None or not self._ids:
            return {}
        if not self._all_asleep():
            self._run_if_due(self._tool)
        self._read_files()
        return {gpu_id: s for gpu_id, s in self._latest.items() if gpu_id in self._ids}

    def close(self) -> None:
        """End a run in progress."""
        self._closed = True
        tool = self._tool
        if tool is not None:
            tool.stop()

    def _find(self) -> Path | None:
        if self._command is not None:
            return self._command
        if sys.platform != "win32":  # ROCm has no such tool on Windows
            found = shutil.which("rocm-smi")
            if found is not None:
                return Path(found)
            if _USUAL_PLACE.is_file():
                return _USUAL_PLACE
        return None

    def _run_if_due(self, tool: Tool) -> None:
        now_s = time.monotonic()
        if now_s - self._started_s >= self._run_every_s:
            cards = self._run(tool)
            self._changed = tuple(info.id for info in cards.infos) != self._ids
        elif self._state is not None and now_s - self._done_s > self._kept_s:
            raise SourceFailedError(self._state)

    def _run(self, tool: Tool) -> RocmCards:
        self._started_s = time.monotonic()
        try:
            cards = self._cards_of(tool.run())
        except SourceFailedError as error:
            self._state = error.note
            raise
        self._state = None
        self._done_s = time.monotonic()
        self._of_run = {sample.id: sample for sample in cards.samples}
        self._latest = dict(self._of_run)
        self._devices = self._devices_of(cards.infos)
        return cards

    def _devices_of(self, infos: tuple[GpuInfo, ...]) -> dict[str, Path]:
        """Folder of each card; partitions of one card share its files, which tell of them all."""
        found = sysfs.devices_by_pci(self._drm_root)
        addresses = [info.pci for info in infos]
        return {
            info.id: found[info.pci]
            for info in infos
            if info.pci in found and addresses.count(info.pci) == 1
        }

    def _all_asleep(self) -> bool:
        return all(
            gpu_id in self._devices and sysfs.is_suspended(self._devices[gpu_id])
            for gpu_id in self._ids
        )

    def _read_files(self) -> None:
        for gpu_id, device in self._devices.items():
            if sysfs.is_suspended(device):
                continue
            sample = filled(sysfs.read_sample(gpu_id, device), self._latest[gpu_id])
            if is_busy(sample) and not is_busy(self._of_run[gpu_id]):
                # What a run read at idle says nothing about a card at work.
                sample = replace(
                    sample, pcie_gen=None, pcie_lanes=None, clock_sm_mhz=None, clock_memory_mhz=None
                )
            self._latest[gpu_id] = sample

    def _cards_of(self, run: Run) -> RocmCards:
        """The cards of a run; what a failing run still printed in full counts.

        Raises:
            SourceFailedError: It told nothing, or of no card although the kernel lists one.
        """
        if run.ending in (Ending.DONE, Ending.FAILED):
            cards = parse_rocm_smi(run.output, self._specs)
            # On a machine without an AMD card it prints nothing, or an empty object.
            crashed = run.exit_code is not None and run.exit_code < 0
            if cards is None and run.output.strip() in ("", "{}") and not crashed:
                cards = RocmCards((), ())
            if cards is not None and (cards.infos or not self._card_is_built_in()):
                return cards
        raise SourceFailedError(self._failure(run))

    def _failure(self, run: Run) -> Note:
        warning = Severity.WARNING
        again = "It is asked again every half minute; try it in a terminal."
        if run.ending is Ending.TIMED_OUT:
            message = f"rocm-smi did not answer within {self.limit_s:g} s"
            return _note("hangs", warning, message, "The AMD driver may hang. " + again)
        if run.ending is Ending.NOT_STARTED:
            return _note("failed", warning, f"rocm-smi cannot be started: {run.problem}", again)
        if run.ending is Ending.STOPPED:
            return _note("stopped", Severity.INFO, "rocm-smi was stopped")
        if run.ending is Ending.FAILED:
            return _note("failed", warning, f"rocm-smi ended with code {run.exit_code}", again)
        if not run.output.strip():
            return _note("empty", warning, "rocm-smi printed nothing", again)
        if parse_rocm_smi(run.output, self._specs) is not None:
            message = "rocm-smi lists no card, although an AMD card is built in"
            return _note("empty", warning, message, again)
        message = "rocm-smi printed something else than readings"
        return _note("garbage", warning, message, "AMD cards are left out. " + again)

    def _card_is_built_in(self) -> bool:
        devices = devices_of(self._drm_root, AMD)
        return any((sysfs.vram_total_bytes(d) or 0) >= _CARD_FROM_BYTES for d in devices)

    def _missing_note(self) -> Note:
        if self._card_is_built_in():
            return _note(
                "missing",
                Severity.WARNING,
                "An AMD card is built in, but rocm-smi was not found",
                "Install it (package rocm-smi, or ROCm) so that the card's readings can be shown.",
            )
        if devices_of(self._drm_root, AMD):
            return _note(
                "missing",
                Severity.INFO,
                "The only AMD graphics is the processor's own",
                "Its readings would need rocm-smi, which is not installed.",
            )
        return _note(
            "missing",
            Severity.INFO,
            "No AMD card was found",
            "The kernel lists none, and rocm-smi is not installed.",
        )


def _note(kind: str, severity: Severity, message: str, detail: str = "") -> Note:
    return Note(id=f"rocm-smi-{kind}", severity=severity, message=message, detail=detail)
