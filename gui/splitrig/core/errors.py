"""Expected failures: a sentence that says what happened and one that says what to do."""

from collections.abc import Mapping


class SplitRigError(Exception):
    """A failure the user can understand and act on.

    Attributes:
        message: One sentence: what happened, with its number or name.
        hint: What the user can do next; may be empty.
        details: Raw material for the 'Details' fold, such as the last log lines.
    """

    def __init__(self, message: str, hint: str = "", *, details: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class ModelFileError(SplitRigError):
    """The model file cannot be read or is no GGUF file."""


class SplitError(SplitRigError):
    """The split does not describe a share for each card."""


class TelemetryError(SplitRigError):
    """A driver or tool did not deliver readings."""


class EngineError(SplitRigError):
    """An engine could not be found, started or reached."""


class ArgumentError(EngineError):
    """An extra argument for an engine cannot be passed on."""


class DevicesUnknownError(EngineError):
    """An engine was not asked yet what it calls the cards; nothing is wrong."""


class EngineMissingError(EngineError):
    """No engine of this kind was found at all; the window offers to get one."""


class ChatError(SplitRigError):
    """A request to a running engine failed."""


class StoreError(SplitRigError):
    """The program's own files cannot be read or written."""


class ArchiveError(StoreError):
    """An archive is damaged, or holds what could do harm."""


class NetError(SplitRigError):
    """A server could not be reached, or did not deliver."""


class BrokenOffError(NetError):
    """A connection ended too early; the same may work at the next attempt."""


class StatusError(NetError):
    """A server answered with an error.

    Attributes:
        status: The HTTP status code.
        headers: Its headers, names in lower case.
    """

    def __init__(
        self, message: str, hint: str = "", *, status: int, headers: Mapping[str, str]
    ) -> None:
        super().__init__(message, hint)
        self.status = status
        self.headers = dict(headers)


class CancelledError(SplitRigError):
    """The user gave it up; nothing is wrong."""

    def __init__(self, message: str = "It was cancelled.", hint: str = "") -> None:
        super().__init__(message, hint)
