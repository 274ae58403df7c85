"""NVML's error codes as sentences with a way out."""

from splitrig.core.gpu import Note, Severity

# Values of nvmlReturn_t in nvml.h.
UNINITIALIZED = 1
NOT_SUPPORTED = 3
NO_PERMISSION = 4
NOT_FOUND = 6
DRIVER_NOT_LOADED = 9
LIBRARY_NOT_FOUND = 12
FUNCTION_NOT_FOUND = 13
GPU_IS_LOST = 15
RESET_REQUIRED = 16
VERSION_MISMATCH = 18
ARGUMENT_VERSION_MISMATCH = 25
UNKNOWN = 999

LOST = frozenset({GPU_IS_LOST, RESET_REQUIRED})
"""The card is gone until the machine or the card restarts."""
NEVER = frozenset({NOT_SUPPORTED, NO_PERMISSION, FUNCTION_NOT_FOUND, ARGUMENT_VERSION_MISMATCH})
"""This card, driver or user will never get the value; asking again is of no use."""
FATAL = frozenset({UNINITIALIZED, DRIVER_NOT_LOADED, LIBRARY_NOT_FOUND, VERSION_MISMATCH})
"""The whole driver is gone, not one value."""

NORMAL = frozenset({LIBRARY_NOT_FOUND, NOT_FOUND})
"""Machines without an NVIDIA card answer so."""

_WORDS: dict[int, tuple[str, Severity, str, str]] = {
    LIBRARY_NOT_FOUND: (
        "nvml-missing",
        Severity.INFO,
        "No NVIDIA driver was found",
        "Without an NVIDIA card nothing is missing; with one, install its driver.",
    ),
    NOT_FOUND: (
        "nvml-no-card",
        Severity.INFO,
        "The NVIDIA driver sees no card",
        "If one is built in, check its power cables and its seat, then restart the machine.",
    ),
    DRIVER_NOT_LOADED: (
        "nvml-no-driver",
        Severity.WARNING,
        "The NVIDIA driver is installed but not loaded",
        "Restart the machine; if that does not help, install the driver for this kernel again.",
    ),
    VERSION_MISMATCH: (
        "nvml-mismatch",
        Severity.DANGER,
        "The NVIDIA driver was updated, the old one is still loaded",
        "Restart the machine; the cards are then seen again.",
    ),
    NO_PERMISSION: (
        "nvml-permission",
        Severity.WARNING,
        "This user may not talk to the NVIDIA driver",
        "Add the user to the group that owns /dev/nvidiactl (often video) and log in again.",
    ),
    GPU_IS_LOST: (
        "nvml-lost",
        Severity.DANGER,
        "The NVIDIA driver lost a card and answers for none",
        "Restart the machine; if it happens again, check the card's power cables and riser.",
    ),
    UNKNOWN: (
        "nvml-error",
        Severity.WARNING,
        "The NVIDIA driver fails without saying why (error 999)",
        "This often follows a sleep of the machine; restart it.",
    ),
}


def note_for(code: int, text: str = "") -> Note:
    """The note for an error of the whole driver.

    Args:
        code: `nvmlReturn_t`.
        text: What the library calls it; shown for codes without words of their own.
    """
    named = f"The NVIDIA driver answers with error {code} ({text or 'no text'})"
    note_id, severity, message, way_out = _WORDS.get(
        code, ("nvml-error", Severity.WARNING, named, "Restart the machine; then look again.")
    )
    return Note(id=note_id, severity=severity, message=message, detail=way_out)


def driver_missing_note() -> Note:
    """The note for a card the kernel lists while the driver's library is not there."""
    return Note(
        id="nvml-missing",
        severity=Severity.WARNING,
        message="An NVIDIA card is built in, but its driver was not found",
        detail="Install NVIDIA's own driver (nouveau shows no readings and runs no CUDA), then "
        "restart the machine.",
    )


def incomplete_note(gpu_id: str, name: str, code: int) -> Note:
    """The note for a card that answers, but fails on some calls for no reason of its own."""
    return Note(
        id="card-incomplete",
        severity=Severity.WARNING,
        message=f"{name} does not report all of its readings (error {code})",
        detail="The driver fails on some of its calls. If it stays so, restart the machine.",
        gpu_ids=(gpu_id,),
    )


def lost_note(gpu_id: str, name: str) -> Note:
    """The note for a known card that stopped answering."""
    return Note(
        id="card-lost",
        severity=Severity.DANGER,
        message=f"{name} no longer answers",
        detail="The other cards go on. Stop what runs on it and restart the machine; if it happens "
        "again, check the card's power cables and riser.",
        gpu_ids=(gpu_id,),
    )


def unnamed_note(n_silent: int, n_cards: int) -> Note:
    """The note for cards that never answered, so that not even their names are known."""
    return Note(
        id="card-unreadable",
        severity=Severity.DANGER,
        message=f"{n_silent} of {n_cards} NVIDIA cards do not answer"
        if n_silent > 1
        else f"1 of {n_cards} NVIDIA cards does not answer",
        detail="Restart the machine; if it happens again, check power cables and risers.",
    )
