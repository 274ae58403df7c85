"""llama.cpp builds as the window lists them: those that are here, and what is done to them."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from splitrig.core.engine import EngineDevice
from splitrig.core.errors import SplitRigError


class Source(StrEnum):
    """Where a llama-server comes from."""

    CHOSEN = "chosen"
    DOWNLOADED = "downloaded"
    BUNDLED = "bundled"
    PATH = "path"


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """One llama-server of this machine; `None` means not known, or not yet.

    Attributes:
        path: Its binary; the folder of a damaged download.
        source: Where it comes from; `CHOSEN` only when it is none of the others.
        id: Name of a downloaded one, `b11118-cuda-13.4`.
        flavour: What a downloaded one computes with, `cuda-13.4`.
        build: Which build, `b11118`.
        asked: It was run and said what it is, or did not start.
        devices: The cards it sees; `None` until it was asked for them.
        error: Why it does not start.
        size_bytes: Room that a downloaded one takes, bytes.
        checked: Its archives have the checksums that GitHub names.
        chosen: It is the one named in the settings.
        used: It is the one that would be started.
        damaged: It is a download that is not whole and can only be removed.
    """

    path: Path
    source: Source
    id: str | None = None
    flavour: str | None = None
    build: str | None = None
    asked: bool = False
    devices: tuple[EngineDevice, ...] | None = None
    error: SplitRigError | None = None
    size_bytes: int | None = None
    checked: bool | None = None
    chosen: bool = False
    used: bool = False
    damaged: bool = False


class JobKind(StrEnum):
    """What is done in the background."""

    LOOK = "look"
    INSTALL = "install"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Something that is done in the background, to the build `id` unless it looks for builds."""

    kind: JobKind
    id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A build is installed and has run once.

    Attributes:
        id: Its name, `b11118-cuda-13.4`.
        path: Its llama-server.
        devices: The cards it sees.
        n_cards: How many cards it was chosen for.
        fresh: It was installed just now; else it was here already.
        checked: Its archives have the checksums that GitHub names.
    """

    id: str
    path: Path
    devices: tuple[EngineDevice, ...]
    n_cards: int
    fresh: bool
    checked: bool

    @property
    def blind(self) -> bool:
        """It runs and sees none of the cards it was chosen for."""
        return self.n_cards > 0 and not self.devices
