"""Fetches one file: goes on where it broke off, checks its checksum, leaves no half file behind.

While it grows it is `NAME.part`, readable by its owner alone, beside a note of what it is a part
of; it gets its name when all of it is there and its checksum is right.
"""

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from splitrig.core.errors import BrokenOffError, CancelledError, NetError, StatusError
from splitrig.services.net.http import IDLE_S, Cancelled, Http, never, status_error
from splitrig.services.store.disk import is_full, store_error

if TYPE_CHECKING:
    import httpx

WAITS_S = (1.0, 2.0, 5.0, 10.0)
"""Pauses before the next attempts after a break; it starts anew whenever something arrived."""
_BLOCK = 1024 * 1024
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")
_PASSING = frozenset({500, 502, 503, 504})
PART, NOTE = ".part", ".part.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A file to fetch.

    Attributes:
        url: Where it is.
        size_bytes: How long it is.
        sha256: Its checksum, hexadecimal; `None` when nobody tells.
    """

    url: str
    size_bytes: int
    sha256: str | None


def download(
    wanted: Wanted,
    target: Path,
    *,
    on_start: Callable[[int], None] = lambda _: None,
    on_bytes: Callable[[int], None] = lambda _: None,
    cancelled: Cancelled = never,
    idle_s: float = IDLE_S,
    waits_s: Sequence[float] = WAITS_S,
) -> str:
    """Fetch a file to `target`; blocks until it is there.

    A file that is there already, whole and right, is not fetched again. After a break, also one
    of the program, the next call goes on where this one stopped.

    Args:
        wanted: What to fetch.
        target: Where it goes; the folder exists.
        on_start: Called before bytes flow with the number of those that are here already; again
            after each break, and then it may be less.
        on_bytes: Called with the number of bytes that are here, often.
        cancelled: Asked while it waits.
        idle_s: Longest silence of the server, seconds.
        waits_s: Pauses between attempts, seconds.

    Returns:
        Its SHA-256 in hexadecimal digits.

    Raises:
        NetError: It could not be fetched, or is not what was wanted.
        StoreError: It could not be written.
        CancelledError: It was given up; what is here is kept.
    """
    transfer = _Transfer(wanted, target, on_start, on_bytes)
    try:
        checksum = transfer.finished()
        if checksum is None:
            with Http(cancelled=cancelled, idle_s=idle_s) as http:
                transfer.run(http, cancelled, waits_s)
            checksum = transfer.finish()
    except OSError as error:
        if is_full(error):
            transfer.forget()
        raise store_error(error, target.parent) from error
    return checksum


def discard(target: Path) -> None:
    """Remove what a broken download of `target` left."""
    for path in (target.with_name(target.name + PART), target.with_name(target.name + NOTE)):
        path.unlink(missing_ok=True)


def file_sha256(path: Path) -> str:
    """Checksum of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Transfer:
    """One download; what is here lies in the part file."""

    def __init__(
        self,
        wanted: Wanted,
        target: Path,
        on_start: Callable[[int], None],
        on_bytes: Callable[[int], None],
    ) -> None:
        self._wanted = wanted
        self._target = target
        self._part = target.with_name(target.name + PART)
        self._note = target.with_name(target.name + NOTE)
        self._on_start = on_start
        self._on_bytes = on_bytes

    def finished(self) -> str | None:
        """Checksum of the target if it is already there as wanted."""
        try:
            if self._target.stat().st_size != self._wanted.size_bytes:
                return None
        except FileNotFoundError:
            return None
        checksum = file_sha256(self._target)
        return checksum if checksum == self._wanted.sha256 else None

    def run(self, http: Http, cancelled: Cancelled, waits_s: Sequence[float]) -> None:
        """Fetch until all is here."""
        left = list(waits_s)
        while True:
            before = self._have()
            try:
                self._attempt(http)
            except (BrokenOffError, StatusError) as error:
                if isinstance(error, StatusError) and error.status not in _PASSING:
                    raise
                if self._have() > before:
                    left = list(waits_s)
                if not left:
                    raise
                _pause(left.pop(0), cancelled)
            else:
                return

    def finish(self) -> str:
        """Check the part and give it its name."""
        checksum = file_sha256(self._part)
        if self._wanted.sha256 not in {None, checksum}:
            self.forget()
            raise NetError(
                f"{self._target.name} does not have the checksum it should have: it was damaged "
                "or replaced on the way.",
                "It was removed. Try again; if this happens twice, do not trust the network.",
                details=f"expected {self._wanted.sha256}\nreceived {checksum}",
            )
        self._part.replace(self._target)
        self.forget()
        return checksum

    def forget(self) -> None:
        """Remove what is here."""
        discard(self._target)

    def _have(self) -> int:
        try:
            return self._part.stat().st_size
        except FileNotFoundError:
            return 0

    def _attempt(self, http: Http) -> None:
        """One request, for what is still missing."""
        have, etag = self._resumable()
        if have == self._wanted.size_bytes:
            return
        headers = {"Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
            if etag is not None:
                headers["If-Range"] = etag
        with http.stream(self._wanted.url, headers) as response:
            start = self._start(response, have, etag)
            if start is None:
                self.forget()
                raise BrokenOffError("The file on the server has changed.", "Try again.")
            self._receive(http, response, start)

    def _resumable(self) -> tuple[int, str | None]:
        """How much of this very file is here, and which version of it the server said it was."""
        have = self._have()
        try:
            note = json.loads(self._note.read_text(encoding="utf-8"))
            same = (note["size"], note["sha256"]) == (self._wanted.size_bytes, self._wanted.sha256)
            etag = note["etag"] if isinstance(note["etag"], str) else None
        except (OSError, ValueError, KeyError, TypeError):
            same, etag = False, None
        # Without a checksum only the server's word tells that two halves belong together.
        usable = same and (etag is not None or self._wanted.sha256 is not None)
        if not usable or have > self._wanted.size_bytes:
            self.forget()
            return 0, None
        return have, etag

    def _start(self, response: "httpx.Response", have: int, etag: str | None) -> int | None:
        """Where the answer's body goes; `None` when the old part is of no use.

        Raises:
            StatusError: The server refuses.
            NetError: It offers another file than the wanted one.
        """
        match response.status_code:
            case 200:
                self._check_length(response.headers.get("content-length"))
                return 0
            case 206:
                found = _RANGE.fullmatch(response.headers.get("content-range", ""))
                if found is None or int(found[1]) != have:
                    return None
                self._check_length(found[2])
                return None if etag not in {None, response.headers.get("etag")} else have
            case 416 if have:
                return None
            case _:
                raise status_error(response)

    def _check_length(self, length: str | None) -> None:
        if length is not None and length != str(self._wanted.size_bytes):
            raise NetError(
                f"{self._target.name} is {length[:20]} bytes long on the server instead of "
                f"{self._wanted.size_bytes}.",
                "Try again later, or take another release.",
            )

    def _receive(self, http: Http, response: "httpx.Response", start: int) -> None:
        """Write the body behind what is here."""
        self._remember(response.headers)
        self._on_start(start)
        done = start
        with _open_private(self._part) as file:
            file.truncate(start)
            file.seek(start)
            for chunk in http.chunks(response, self._wanted.url):
                done += len(chunk)
                if done > self._wanted.size_bytes:
                    raise NetError(
                        f"The server sent more than the {self._wanted.size_bytes} bytes of "
                        f"{self._target.name}.",
                        "Try again later.",
                    )
                file.write(chunk)
                self._on_bytes(done)
        if done < self._wanted.size_bytes:
            raise BrokenOffError(
                f"The server ended {self._target.name} after {done} of "
                f"{self._wanted.size_bytes} bytes.",
                "Try again.",
            )

    def _remember(self, headers: Mapping[str, str]) -> None:
        """Note what the part is a part of. A weak tag does not promise the same bytes."""
        etag = headers.get("etag")
        note = {
            "url": self._wanted.url,
            "size": self._wanted.size_bytes,
            "sha256": self._wanted.sha256,
            "etag": None if etag is None or etag.startswith("W/") else etag,
        }
        with _open_private(self._note) as file:
            file.truncate(0)
            file.write(json.dumps(note).encode())


def _open_private(path: Path) -> IO[bytes]:
    """Open for writing, from its first moment readable by its owner alone."""
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
    handle = os.open(path, flags, 0o600)
    with suppress(OSError):  # one left by an older umask
        path.chmod(0o600)
    return os.fdopen(handle, "r+b", buffering=_BLOCK)


def _pause(seconds: float, cancelled: Cancelled) -> None:
    """Wait, unless given up.

    Raises:
        CancelledError: It was given up.
    """
    deadline = time.monotonic() + seconds
    while True:
        if cancelled():
            raise CancelledError
        left = deadline - time.monotonic()
        if left <= 0:
            return
        time.sleep(min(left, 0.05))
