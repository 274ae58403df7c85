"""What an engine does otherwise than it was asked to, and goes on: read from its log, and told."""

from dataclasses import dataclass
from enum import StrEnum

from splitrig.core.gpu import Note, Severity


class RemarkKind(StrEnum):
    """What a remark is about."""

    DRAFT_UNUSED = "draft-unused"
    CONFIG_FILE = "config-file"


@dataclass(frozen=True, slots=True)
class Remarked:
    """The engine goes on, but not as it was asked; `subject` is the file it names."""

    kind: RemarkKind
    subject: str = ""


_WORDS = (
    (RemarkKind.DRAFT_UNUSED, "the target and draft vocabs are not compatible"),
    (RemarkKind.CONFIG_FILE, "using config file: "),
)


def read_remark(line: str) -> Remarked | None:
    """What a line of llama-server's log remarks (common/speculative.cpp, common/arg.cpp)."""
    for kind, words in _WORDS:
        _, found, rest = line.partition(words)
        if found:
            return Remarked(kind, rest.strip())
    return None


def note_of(remark: Remarked) -> Note:
    """A remark in words."""
    match remark.kind:
        case RemarkKind.DRAFT_UNUSED:
            return Note(
                id=remark.kind,
                severity=Severity.WARNING,
                message="The draft model is loaded, but not used: it has other tokens.",
                detail="It takes its memory all the same. Choose one of the model's own family, "
                "or none.",
            )
        case RemarkKind.CONFIG_FILE:
            return Note(
                id=remark.kind,
                severity=Severity.INFO,
                message=f"The engine also takes settings from {remark.subject}.",
                detail="What SplitRig sets itself counts more; anything else in there is in force.",
            )
