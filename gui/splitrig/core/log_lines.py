"""An engine's raw line as level, time and text, whichever engine wrote it.

llama.cpp marks its lines `0.00.518.546 I ` (common/log.cpp: minutes, seconds, ms, µs since its
start, then the level), Ollama writes Go's slog and gin lines between those of llama.cpp, vLLM and
uvicorn write those of Python's logging.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

OWN = "SplitRig: "
"""Begins what this program itself has to say among an engine's lines."""
FILE_ENDED = OWN + "the log file ends here"
"""Begins the one own line that says that nothing more is written to the file."""
_FILE_ENDED_SHOWN = "The log file ends here"
TIME_CHARS = 8
"""Longest `LogLine.time`."""
TAB = "    "


class Level(IntEnum):
    """How much a line matters; the order is that of the filters."""

    DEBUG = 0
    PLAIN = 1
    """The engine gave no level, and nothing in the words does."""
    INFO = 2
    WARNING = 3
    ERROR = 4
    NOTE = 5
    """Said by this program about the log, such as how much of it is not shown."""

    @property
    def letter(self) -> str:
        """One letter for it, so that colour is never all there is."""
        return "D IWE–"[self]


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line as it is shown.

    Attributes:
        level: What it matters.
        text: Without time, level and control characters.
        source: Name of the engine, such as 'llama.cpp 1'; empty where there is only one.
        time: `h:mm:ss` of the day or `m:ss.mmm` since the start of the engine, at most
            `TIME_CHARS` characters; `None` where the engine does not say.
    """

    level: Level
    text: str
    source: str = ""
    time: str | None = None


_LETTERS = {"D": Level.DEBUG, "I": Level.INFO, "W": Level.WARNING, "E": Level.ERROR}
_WORDS = {
    "TRACE": Level.DEBUG,
    "DEBUG": Level.DEBUG,
    "INFO": Level.INFO,
    "NOTICE": Level.INFO,
    "WARN": Level.WARNING,
    "WARNING": Level.WARNING,
    "ERROR": Level.ERROR,
    "CRITICAL": Level.ERROR,
    "FATAL": Level.ERROR,
}
_LLAMA = re.compile(r"(\d+)\.(\d\d)\.(\d{3})\.\d{3} ([DIWE]) ?(.*)")
_LLAMA_SHORT = re.compile(r"([DIWE]) (\w{2,4} +\w+: .*)")
_SLOG = re.compile(
    r"time=\S*?T?(\d\d:\d\d:\d\d)\S* level=([A-Z]+)\S* (?:source=(\S+) )?"
    r'msg=("(?:[^"\\]|\\.)*"|\S*) ?(.*)'
)
_GIN = re.compile(r"\[GIN\] \S+ - (\d\d:\d\d:\d\d) \| *(\d{3}) \| *(.*)")
_GIN_DEBUG = re.compile(r"\[GIN-debug\] (?:\[([A-Z]+)\] )?(.*)")
_GO = re.compile(r"\d{4}/\d\d/\d\d (\d\d:\d\d:\d\d) ([\w.]+:\d+: )?(?:([A-Z]{4,8}) )?(.*)")
_GLOG = re.compile(r"(\[rank\d+\]:)?\[([IWEF])\d{4} (\d\d:\d\d:\d\d)\S* ([^\]]*)\] ?(.*)")
_PROCESS = re.compile(r"\([\w.]+(?: rank=\d+)? pid=\d+(?:, ip=[\w.:]+)?\) ")
_PYTHON = re.compile(
    r"(TRACE|DEBUG|INFO|WARNING|ERROR|CRITICAL|FATAL)(?:: *| (?:\d\d-\d\d (\d\d:\d\d:\d\d) )?)(.*)"
)
_HINTS = re.compile(
    "error|fatal|excepti|failed|abort|fault|dumped|of memory|panic|assert|warn|deprec"
)
"""What a line with one of the words below has at least; spares the others two long searches."""
_ERROR = re.compile(
    r"\b(?:fatal|failed|abort(?:ed|ing)?|segmentation fault|core dumped|out of memory|panic"
    r"|ggml_assert|[a-z.]*(?:error|exception))\b"
)
_WARNING = re.compile(r"\b(?:[a-z.]*warning|warn|deprecated)\b")
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])?")
_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ufeff\u202a-\u202e\u2066-\u2069]")
_TRACEBACK = "Traceback (most recent call last)"


def clean(text: str) -> str:
    """One printable line: no colours of a terminal, no control or direction marks, no tabs.

    Of a line that overwrites itself (a progress bar) the last state stays, as on a terminal.
    """
    text = _ESCAPE.sub("", text).rstrip("\r\n")
    if "\r" in text:
        text = next((part for part in reversed(text.split("\r")) if part.strip()), "")
    return _CONTROL.sub("\ufffd", text.replace("\t", TAB))


def guessed_level(text: str) -> Level:
    """The level of a line that names none, by its words."""
    lowered = text.lower()
    if _HINTS.search(lowered) is None:
        return Level.PLAIN
    if _ERROR.search(lowered) is not None:
        return Level.ERROR
    return Level.WARNING if _WARNING.search(lowered) is not None else Level.PLAIN


def file_ended(line: LogLine) -> bool:
    """It is the one that says that nothing more is written to the file."""
    return line.level is Level.NOTE and line.text.startswith(_FILE_ENDED_SHOWN)


def not_shown(n_lines: int, *, in_file: bool) -> str:
    """What stands in place of lines that came faster than they can be shown."""
    lines = f"{n_lines:,} {'line' if n_lines == 1 else 'lines'} not shown"
    if not in_file:
        return lines
    return f"{lines}; {'it is' if n_lines == 1 else 'they are'} in the file"


class LineReader:
    """Reads the lines of one engine in their order; what follows a line may belong to it.

    The lines of a Python traceback are errors, and an unmarked line between marked ones of
    llama.cpp continues the one before it.
    """

    def __init__(self, source: str = "") -> None:
        self._source = source
        self._before: Level | None = None
        self._in_traceback: set[str] = set()

    def read_all(self, raw: Iterable[str]) -> list[LogLine]:
        """The lines as they are shown; the dots of a progress bar are none."""
        return [self.read(line) for line in raw if not line or line.strip(".")]

    def read(self, raw: str) -> LogLine:
        """One line as it is shown."""
        if not raw.isprintable():
            raw = clean(raw)
        match = _LLAMA.match(raw)
        if match is not None:
            minutes, seconds, millis, letter, text = match.groups()
            self._before = level = _LETTERS[letter]
            time = f"{minutes}:{seconds}.{millis}"[:TIME_CHARS].rstrip(".")
            return LogLine(level, text, self._source, time)
        first = raw[:1]
        if first == "S" and raw.startswith(OWN):
            text = raw.removeprefix(OWN)
            return LogLine(Level.NOTE, text[:1].upper() + text[1:], self._source)
        process = ""
        if first == "(" and (prefix := _PROCESS.match(raw)) is not None:
            process = prefix[0]
            raw = raw[len(process) :]
            first = raw[:1]
        level_there, text, at = _marked(first, raw)
        if level_there is None:
            return LogLine(self._unmarked(process, raw), process + raw, self._source)
        self._in_traceback.discard(process)
        self._before = None
        return LogLine(level_there, process + text, self._source, at)

    def _unmarked(self, process: str, text: str) -> Level:
        """The level of a line without one, by what stood before it and by its words."""
        if _TRACEBACK in text:
            self._in_traceback.add(process)
            return Level.ERROR
        if process in self._in_traceback:
            # The stack is indented; the line that is not names the exception and ends it.
            if text and not text[0].isspace():
                self._in_traceback.discard(process)
            return Level.ERROR
        level = guessed_level(text)
        if level is Level.PLAIN and self._before is not None:
            return self._before
        return level


def _marked(first: str, raw: str) -> tuple[Level | None, str, str | None]:
    """Level, text and time of a line that names its level; `None`, the line and `None` if not."""
    if first in "DICTWEF" and first:
        if (match := _PYTHON.match(raw)) is not None:
            return _WORDS[match[1]], match[3], match[2]
        if (match := _LLAMA_SHORT.match(raw)) is not None:
            return _LETTERS[match[1]], match[2], None
    elif first == "t" and (match := _SLOG.match(raw)) is not None:
        at, word, where, message, rest = match.groups()
        if message.startswith('"'):
            message = message[1:-1].replace('\\"', '"')
        text = "  ".join(part for part in (message, rest, f"({where})" if where else "") if part)
        return _WORDS.get(word, Level.INFO), text, at
    elif first == "[":
        return _bracketed(raw)
    elif first == "2" and (match := _GO.match(raw)) is not None:
        at, where, word, text = match.groups()
        return _WORDS.get(word or "", Level.INFO), (where or "") + text, at
    return None, raw, None


def _bracketed(raw: str) -> tuple[Level | None, str, str | None]:
    """Lines of gin (Ollama's requests) and of glog (PyTorch)."""
    if (match := _GIN.match(raw)) is not None:
        code = int(match[2])
        level = Level.ERROR if code >= 500 else Level.WARNING if code >= 400 else Level.INFO
        return level, f"{code}  {match[3]}", match[1]
    if (match := _GIN_DEBUG.match(raw)) is not None:
        return _WORDS.get(match[1] or "", Level.DEBUG), match[2], None
    if (match := _GLOG.match(raw)) is not None:
        level = _LETTERS.get(match[2], Level.ERROR)
        return level, f"{match[1] or ''}[{match[4]}] {match[5]}", match[3]
    return None, raw, None
