"""Expected failures: a sentence that says what happened and one that says what to do."""


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


class ChatError(SplitRigError):
    """A request to a running engine failed."""


class StoreError(SplitRigError):
    """The program's own files cannot be read or written."""
