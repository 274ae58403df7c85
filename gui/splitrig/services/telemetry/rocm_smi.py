"""AMD cards through rocm-smi: slow, so rarely and in a thread of its own."""

import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from splitrig.core.errors import TelemetryError
from splitrig.core.gpu import GpuInfo, GpuSample, Note, Severity
from splitrig.core.specs import SpecTable
from splitrig.services.telemetry.drm import AMD, DRM_ROOT, devices_of
from splitrig.services.telemetry.rocm_smi_json import RocmCards, parse_rocm_smi
from splitrig.services.telemetry.source import SourceFailedError
from splitrig.services.telemetry.tool import Ending, Run, Tool

ARGUMENTS = (
    "--showproductname",
    "--showmeminfo",
    "vram",
    "--showuse",
    "--showtemp",
    "--showpower",
    "--showbus",
    "--json",
)
_USUAL_PLACE = Path("/opt/rocm/bin/rocm-smi")


class RocmSmiSource:
    """Every AMD card rocm-smi lists; one run takes seconds and yields everything.

    Args:
        specs: The table of cards.
        command: The program; by default the one on PATH or in ROCm's usual place.
        interval_s: Shortest time between two runs, seconds.
        timeout_s: Longest run, seconds.
        drm_root: Where the kernel lists its cards, to tell 'no card' from 'no tool'.
    """

    name = "rocm-smi"

    def __init__(
        self,
        specs: SpecTable,
        *,
        command: Path | None = None,
        interval_s: float = 5.0,
        timeout_s: float = 10.0,
        drm_root: Path = DRM_ROOT,
    ) -> None:
        self.interval_s = interval_s
        self.limit_s = timeout_s
        self._specs = specs
        self._command = command
        self._timeout_s = timeout_s
        self._drm_root = drm_root
        self._tool: Tool | None = None
        self._closed = False
        self._state: Note | None = None
        self._ids: tuple[str, ...] = ()
        self._changed = True
        self._last: RocmCards | None = None
        self._last_s = 0.0

    @property
    def notes(self) -> tuple[Note, ...]:
        """Why there are no AMD cards, if there are none."""
        return () if self._state is None else (self._state,)

    @property
    def needs_probe(self) -> bool:
        """The last run failed, found nothing, or listed other cards than before."""
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
            self._state = _missing_note(kernel_lists_amd=bool(devices_of(self._drm_root, AMD)))
            return ()
        self._tool = Tool([str(command), *ARGUMENTS], self._timeout_s)
        if self._closed:
            self._tool.stop()
        cards = self._fresh()
        self._ids = tuple(info.id for info in cards.infos)
        self._changed = False
        if not self._ids:
            self._state = _note("empty", Severity.INFO, "rocm-smi lists no AMD card")
        return cards.infos

    def sample(self) -> Mapping[str, GpuSample]:
        """The readings of the last run, if it is young enough, else of a new one.

        Raises:
            SourceFailedError: As in `probe`.
        """
        if self._tool is None or not self._ids:
            return {}
        cards = self._fresh()
        self._changed = tuple(info.id for info in cards.infos) != self._ids
        return {s.id: s for s in cards.samples if s.id in self._ids}

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

    def _fresh(self) -> RocmCards:
        if self._last is not None and time.monotonic() - self._last_s < 0.9 * self.interval_s:
            return self._last
        if self._tool is None:
            raise TelemetryError("rocm-smi was not looked for yet.")
        run = self._tool.run()
        self._last = None
        try:
            self._last = self._read(run)
        except SourceFailedError:
            self._changed = True
            raise
        self._last_s = time.monotonic()
        return self._last

    def _read(self, run: Run) -> RocmCards:
        """The cards of a run; what a failing run still printed in full counts."""
        if run.ending in (Ending.DONE, Ending.FAILED):
            cards = parse_rocm_smi(run.output, self._specs)
            if cards is not None:
                return cards
            # On a machine without an AMD card it prints nothing, or an empty object.
            if run.output.strip() in ("", "{}") and not devices_of(self._drm_root, AMD):
                return RocmCards((), ())
        raise SourceFailedError(self._failure(run))

    def _failure(self, run: Run) -> Note:
        warning = Severity.WARNING
        again = "It is asked again every few seconds; try it in a terminal."
        if run.ending is Ending.TIMED_OUT:
            message = f"rocm-smi did not answer within {self._timeout_s:g} s"
            return _note("hangs", warning, message, "The AMD driver may hang. " + again)
        if run.ending is Ending.NOT_STARTED:
            return _note("failed", warning, f"rocm-smi cannot be started: {run.problem}", again)
        if run.ending is Ending.STOPPED:
            return _note("stopped", Severity.INFO, "rocm-smi was stopped")
        if run.ending is Ending.FAILED:
            return _note("failed", warning, f"rocm-smi ended with code {run.exit_code}", again)
        if not run.output.strip():
            return _note("empty", warning, "rocm-smi printed nothing", again)
        message = "rocm-smi printed something else than readings"
        return _note("garbage", warning, message, "AMD cards are left out. " + again)


def _missing_note(*, kernel_lists_amd: bool) -> Note:
    if kernel_lists_amd:
        return _note(
            "missing",
            Severity.WARNING,
            "An AMD card is built in, but rocm-smi was not found",
            "Install it (package rocm-smi, or ROCm) so that the card's readings can be shown.",
        )
    return _note(
        "missing",
        Severity.INFO,
        "No AMD card was found",
        "The kernel lists none, and rocm-smi is not installed.",
    )


def _note(kind: str, severity: Severity, message: str, detail: str = "") -> Note:
    return Note(id=f"rocm-smi-{kind}", severity=severity, message=message, detail=detail)
