"""Small pieces of sentences."""

from collections.abc import Sequence


def listed(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`; empty without any."""
    if not words:
        return ""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def counted(names: Sequence[str]) -> str:
    """Equal ones counted: `2 × RTX 3090 and RTX 4090`."""
    return listed(
        [
            name if names.count(name) == 1 else f"{names.count(name)} × {name}"
            for name in dict.fromkeys(names)
        ]
    )


def ordinal(number: int) -> str:
    """`1st`, `2nd`, `3rd`, `4th`, `11th`, `21st`."""
    if number % 100 in (11, 12, 13):
        return f"{number}th"
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th') }"
