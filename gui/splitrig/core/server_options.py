"""The options of one llama-server binary, as its own `--help` lists them.

Names and values drift between builds, so nothing is assumed: one paragraph of the help is one
option with all its names, what stands behind them is its value, the rest its text
(`common_arg::to_string` in common/arg.cpp).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

from splitrig.core.words import listed

_NAME = r"-{1,2}[A-Za-z0-9][\w.-]*"
_HEAD = re.compile(rf"({_NAME}(?:, +{_NAME})*)(?: (\S.*?))?(?: {{2,}}(.*))?")
_TWO_VALUES = re.compile(r"[A-Z]+ [A-Z]+")
_REMOVED = "the argument has been removed"
_MODES = re.compile(r"\{([a-z,]+)\}")
_TYPES = re.compile(r"allowed values: ((?:\w+, )*\w+)")
_CLOSE = 0.6
"""How alike two names must be for one to be proposed instead of the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option under all its names.

    Attributes:
        names: Short, long and negated ones, such as `-kvo`, `--kv-offload`, `--no-kv-offload`.
        value: What the help says of its value, such as `N`; empty when it takes none.
        text: What it does.
    """

    names: tuple[str, ...]
    value: str = ""
    text: str = field(default="", repr=False)

    @property
    def n_values(self) -> int:
        """Words that belong to it."""
        return 2 if _TWO_VALUES.fullmatch(self.value) else int(bool(self.value))

    @property
    def removed(self) -> bool:
        """It is listed only to say that it is gone."""
        return self.text.startswith(_REMOVED)


@dataclass(frozen=True, slots=True)
class Options:
    """All options of a binary.

    Attributes:
        by_name: Every name with its option; empty where the help could not be read.
    """

    by_name: Mapping[str, Option] = field(default_factory=dict, repr=False)

    def find(self, word: str) -> Option | None:
        """The option a word of a command line names; underscores count as dashes in long ones."""
        return self.by_name.get(plain_name(word))

    def first_of(self, *names: str) -> str:
        """The first of these names that this binary takes; empty if it takes none of them."""
        return next((n for n in names if n in self.by_name and not self.by_name[n].removed), "")

    def nearest(self, word: str) -> str:
        """The name most like a word that is none; empty if nothing is like it."""
        return next(iter(get_close_matches(plain_name(word), self.by_name, 1, _CLOSE)), "")

    @property
    def split_modes(self) -> tuple[str, ...]:
        """What `--split-mode` takes; empty where the help does not tell."""
        option = self.find("--split-mode")
        modes = _MODES.fullmatch(option.value) if option is not None else None
        return tuple(modes[1].split(",")) if modes else ()

    @property
    def cache_types(self) -> tuple[str, ...]:
        """What `--cache-type-k` takes; empty where the help does not tell."""
        option = self.find("--cache-type-k")
        types = _TYPES.search(option.text) if option is not None else None
        return tuple(types[1].split(", ")) if types else ()


def options_named(names: Iterable[str]) -> Options:
    """Options of which only the names are known."""
    return Options({name: Option(names=(name,)) for name in names})


def plain_name(word: str) -> str:
    """A name as the engine compares it (`common_params_parse_ex` in common/arg.cpp)."""
    return word.replace("_", "-") if word.startswith("--") else word


def parse_help(text: str) -> Options:
    """Read an output of `--help`."""
    by_name: dict[str, Option] = {}
    names: Sequence[str] = ()
    value, words = "", [""]

    def close() -> None:
        option = Option(names=tuple(names), value=value, text=" ".join(filter(None, words)))
        by_name.update(dict.fromkeys(names, option))

    for line in text.splitlines():
        head = _HEAD.fullmatch(line.rstrip())
        if head is not None:
            close()
            names, value = re.split(r", +", head[1]), head[2] or ""
            words = [head[3] or ""]
        elif line.startswith(" "):
            words.append(line.strip())
    close()
    return Options(by_name)


def lacks(what: str, has: Sequence[str]) -> str:
    """The end of a sentence on something a binary does not take, and what it takes instead."""
    return f"{what}; it has {listed(has)}." if has else f"{what}."
