"""Server-sent events from bytes in any chunking (WHATWG HTML, section 9.2)."""

import codecs
from dataclasses import dataclass

from splitrig.core.errors import ChatError

MAX_EVENT_CHARS = 8 * 1024 * 1024
"""An engine's event is a few hundred characters; what grows beyond this is no event stream."""


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event.

    Attributes:
        data: Its `data` lines, joined by newlines.
        event: Its `event` field; `message` when it has none.
    """

    data: str
    event: str = "message"


class EventParser:
    """Turns chunks of bytes into events; a chunk may end anywhere, even inside a character.

    Lines end with LF, CRLF or CR; comments, `id` and `retry` are skipped; bytes that are no
    UTF-8 become U+FFFD. Events without data are none.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._line: list[str] = []
        self._line_chars = 0
        self._data: list[str] = []
        self._data_chars = 0
        self._event = ""
        self._first = True
        self._after_cr = False

    def feed(self, chunk: bytes) -> list[ServerEvent]:
        """Events completed by `chunk`.

        Raises:
            ChatError: A line or an event is longer than `MAX_EVENT_CHARS`.
        """
        return self._take(self._decoder.decode(chunk))

    def close(self) -> list[ServerEvent]:
        """What the stream held when it ended.

        The standard drops an event without its closing blank line; engines that end their last
        line and hang up are common enough to take it.
        """
        rest = self._take(self._decoder.decode(b"", final=True) + "\n\n")
        self._after_cr = False
        return rest

    def _take(self, text: str) -> list[ServerEvent]:
        if self._first and text:
            text = text.removeprefix("\ufeff")
            self._first = False
        if self._after_cr and text:
            # The LF of a CRLF that was cut in two.
            text = text.removeprefix("\n")
            self._after_cr = False
        if text.endswith("\r"):
            self._after_cr = True
        lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        found: list[ServerEvent] = []
        for line in lines[:-1]:
            self._line.append(line)
            self._end_line(found)
        self._line.append(lines[-1])
        self._line_chars += len(lines[-1])
        if self._line_chars > MAX_EVENT_CHARS:
            raise _too_long()
        return found

    def _end_line(self, found: list[ServerEvent]) -> None:
        line = "".join(self._line)
        self._line.clear()
        self._line_chars = 0
        if not line:
            if self._data:
                found.append(ServerEvent("\n".join(self._data), self._event or "message"))
            self._data = []
            self._data_chars = 0
            self._event = ""
            return
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
            self._data_chars += len(value)
            if self._data_chars > MAX_EVENT_CHARS:
                raise _too_long()
        elif name == "event":
            self._event = value


def _too_long() -> ChatError:
    return ChatError(
        f"The engine sent one event of more than {MAX_EVENT_CHARS // 1024**2} MiB.",
        "Look at its log; it may not speak the chat protocol.",
    )
