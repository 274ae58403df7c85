"""Arguments for llama-server that the user adds by hand: read, and checked against its options.

What opens the engine to others or takes from SplitRig what it controls is refused with the place
where the same can be set; what only changes the figures of the plan is passed on with a word.
"""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from splitrig.core.argument_rules import (
    BY_NAME,
    BY_TEXT,
    HARMLESS,
    REACH,
    REFUSED,
    WARNED,
    Rule,
)
from splitrig.core.errors import ArgumentError
from splitrig.core.server_options import Option, Options, plain_name

OUT = "Take it out."
_CACHE_IN_RAM = frozenset({"-nkvo", "--no-kv-offload"})
_NUMBER = re.compile(r"-\d+(\.\d+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """What is to be said of one argument.

    Attributes:
        message: One sentence.
        hint: The way out; may be empty.
    """

    message: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedArguments:
    """Arguments with what is to be said of them.

    Attributes:
        arguments: As they were given, with nothing added.
        refused: Why they cannot be passed on; empty when they can.
        warnings: What they change about the plan.
        names: Every option that is given, under all the names it has.
    """

    arguments: tuple[str, ...] = ()
    refused: tuple[Remark, ...] = ()
    warnings: tuple[Remark, ...] = ()
    names: frozenset[str] = frozenset()

    @property
    def keeps_cache_in_ram(self) -> bool:
        """The KV cache is not to lie on the cards."""
        return bool(_CACHE_IN_RAM & set(self.arguments))

    def demand(self) -> tuple[str, ...]:
        """The arguments.

        Raises:
            ArgumentError: They cannot be passed on.
        """
        if self.refused:
            raise ArgumentError(self.refused[0].message, self.refused[0].hint)
        return self.arguments


def split_line(text: str, *, windows: bool = False) -> tuple[str, ...]:
    """The words of a line as a shell would find them.

    Args:
        text: What was typed.
        windows: A backslash is part of a path, and protects nothing.

    Raises:
        ArgumentError: A quotation mark is open, or a character stands in no command line.
    """
    if any(ord(c) < ord(" ") and c not in "\t\n" for c in text):
        raise ArgumentError("The extra arguments hold a control character.", "Type them anew.")
    words = shlex.shlex(text, posix=True, punctuation_chars=False)
    words.whitespace_split = True
    words.commenters = ""
    if windows:
        words.escape = ""
    try:
        return tuple(words)
    except ValueError as error:
        if "quotation" in str(error):
            raise ArgumentError(
                "A quotation mark in the extra arguments is not closed.", "Add the second one."
            ) from error
        raise ArgumentError(
            "The extra arguments end in a backslash, which protects nothing.", "Take it away."
        ) from error


def check_line(text: str, options: Options, *, windows: bool = False) -> CheckedArguments:
    """The same for a line as it was typed; one that cannot be read is refused."""
    try:
        return check_arguments(split_line(text, windows=windows), options)
    except ArgumentError as error:
        return CheckedArguments(refused=(Remark(message=error.message, hint=error.hint),))


def check_arguments(arguments: Sequence[str], options: Options) -> CheckedArguments:
    """What is to be said of these.

    Args:
        arguments: One word each.
        options: Of the binary that is to take them; without any, words are judged by the names
            known here alone.
    """
    refused: list[Remark] = []
    warnings: list[Remark] = []
    names: set[str] = set()
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        given, equals, _ = word.partition("=")
        if not word.startswith("-") or word == "-" or _NUMBER.fullmatch(word):
            refused.append(Remark(message=f"'{word}' belongs to no option.", hint=_STRAY))
            continue
        option = options.find(given) or _unlisted(given, options)
        if option is None:
            refused.append(_unknown(given, options))
            continue
        values, problem = ([], None) if equals else _values(option, given, rest, options)
        names.update(option.names)
        rule = _refusing(option, values)
        if rule is not None:
            refused.append(
                Remark(message=f"{given} is not taken: {rule.why}.", hint=rule.instead or OUT)
            )
        elif option.removed:
            refused.append(Remark(message=f"{given} is gone from this engine: {option.text}."))
        elif equals:
            refused.append(_joined(option, given))
        elif problem is not None:
            refused.append(problem)
        elif (rule := _first(WARNED, option, given, values)) is not None:
            warnings.append(Remark(message=f"With {given} {rule.why}.", hint=rule.instead))
    return CheckedArguments(
        arguments=tuple(arguments),
        refused=tuple(dict.fromkeys(refused)),
        warnings=tuple(dict.fromkeys(warnings)),
        names=frozenset(names),
    )


_STRAY = "Options begin with a dash; text with spaces needs quotation marks."


def _unlisted(word: str, options: Options) -> Option | None:
    """An option of a binary whose help is not known."""
    return None if options.by_name else Option(names=(plain_name(word),))


def _unknown(word: str, options: Options) -> Remark:
    known = [Option(names=(plain_name(word),))]
    rule = next((r for o in known if (r := _refusing(o, ())) is not None), None)
    if rule is not None:
        return Remark(message=f"{word} is not taken: {rule.why}.", hint=rule.instead or OUT)
    near = options.nearest(word)
    hint = f"Did you mean {near}?" if near else "'llama-server --help' lists its options."
    return Remark(message=f"This llama-server has no option {word}.", hint=hint)


def _values(
    option: Option, word: str, rest: list[str], options: Options
) -> tuple[list[str], Remark | None]:
    """Take the values of an option off the rest, and say what is wrong with them."""
    if not options.by_name:
        # its help is not known: whatever does not look like an option is a value
        values = []
        while rest and (not rest[0].startswith("-") or _NUMBER.fullmatch(rest[0])):
            values.append(rest.pop(0))
        return values, None
    values = []
    for _ in range(option.n_values):
        if not rest or options.find(rest[0]) is not None:
            needs = option.value
            return values, Remark(
                message=f"{word} needs a value ({needs})." if len(needs) < _SHORT
                else f"{word} needs a value.",
                hint=f"'{rest[0]}' is another option." if rest else "",
            )  # fmt: skip
        values.append(rest.pop(0))
    return values, None


_SHORT = 24


def _joined(option: Option, given: str) -> Remark:
    if not option.n_values:
        return Remark(message=f"{given} takes no value.", hint=f"Write {given} alone.")
    return Remark(
        message=f"llama-server does not understand {given}=….",
        hint=f"Write the value as a word of its own: {given} {option.value}.",
    )


def _refusing(option: Option, values: Sequence[str]) -> Rule | None:
    """Why an option is not passed on; `None` when it is."""
    rule = _first(REFUSED, option, "", values)
    if rule is not None:
        return rule
    if any(r.names.fullmatch(n) for r in REFUSED for n in option.names):
        return None  # known, and harmless with these values
    by_text = next((rule for words, rule in BY_TEXT if words in option.text), None)
    if by_text is not None:
        return by_text
    known = any(r.names.fullmatch(n) for r in WARNED for n in option.names)
    about_reach = any(REACH.fullmatch(n) and not HARMLESS.fullmatch(n) for n in option.names)
    return BY_NAME if about_reach and not known else None


def _first(rules: Sequence[Rule], option: Option, word: str, values: Sequence[str]) -> Rule | None:
    """The first rule for an option by any of its names."""
    for rule in rules:
        if not any(rule.names.fullmatch(name) for name in option.names):
            continue
        if rule.only is not None and not rule.only.fullmatch(plain_name(word)):
            continue
        if rule.unless is not None and rule.unless(values):
            return None
        return rule
    return None
