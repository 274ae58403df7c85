"""A card as the Launch page offers it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class CardChoice:
    """A card as the page offers it.

    Attributes:
        id: Its key.
        number: The number of its chip.
        name: Its short name.
        free_bytes: Memory the engine may use; `None` if not reported.
        total_bytes: All memory; `None` if not reported.
        on: The user wants it.
        reason: Why it cannot be used; empty when it can.
        note: What else is worth a word, such as 'PCIe ×4'.
    """

    id: str
    number: int
    name: str
    free_bytes: int | None
    total_bytes: int | None
    on: bool
    reason: str = ""
    note: str = ""

    @property
    def used(self) -> bool:
        """It takes part in the split."""
        return self.on and not self.reason
