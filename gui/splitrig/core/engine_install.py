"""How far the installation of an engine is."""

from dataclasses import dataclass
from enum import StrEnum


class Step(StrEnum):
    """What an installation does at the moment."""

    DOWNLOAD = "download"
    UNPACK = "unpack"
    TRY = "try"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far an installation is.

    Attributes:
        id: What is installed: `b11118-vulkan`.
        step: What it does.
        file: The archive at hand; empty while it is tried.
        done_bytes: Here of all archives together, bytes.
        total_bytes: Size of all archives together, bytes.
        fetched_bytes: Came over the network in this run, bytes; what was here before is not in it.
    """

    id: str
    step: Step
    file: str = ""
    done_bytes: int
    total_bytes: int
    fetched_bytes: int = 0
