"""Lists the official llama.cpp releases that GitHub has."""

import time
from dataclasses import replace
from datetime import datetime
from urllib.parse import urlsplit

from splitrig.core.engine_choice import Choice, choose_asset, newest_choice
from splitrig.core.engine_fit import Machine
from splitrig.core.engine_release import (
    Release,
    is_build_tag,
    is_version_tag,
    parse_pointer,
    parse_releases,
)
from splitrig.core.errors import EngineError, NetError, StatusError
from splitrig.services.net.http import Cancelled, Http, never

API = "https://api.github.com/repos/ggml-org/llama.cpp/releases"
PAGE = 30
"""Releases asked for at once: some days' worth, 2 MB."""
STABLE = "stable"
"""Stands for the newest version, such as v0.5.0, which points at a build."""
_MOST_LIST_BYTES = 32 * 1024**2
_MOST_POINTER_BYTES = 4096
_HEADERS = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
_IDLE_S = 15.0


class Releases:
    """The releases of llama.cpp.

    Args:
        api: Address of the list; another server may answer like GitHub's.
        cancelled: Asked while it waits.
    """

    def __init__(self, api: str = API, *, cancelled: Cancelled = never) -> None:
        self._api = api.rstrip("/")
        self._files_host = "github.com" if self._api == API else urlsplit(self._api).hostname
        self._cancelled = cancelled

    def newest(self) -> tuple[Release, ...]:
        """The newest releases; blocks for about a second.

        Raises:
            NetError: GitHub cannot be reached, or wants to be left alone for a while.
            EngineError: Its answer cannot be understood.
            CancelledError: It was given up.
        """
        return tuple(
            sorted(self._ask(f"?per_page={PAGE}"), key=lambda r: r.build or 0, reverse=True)
        )

    def choose(
        self, machine: Machine, build: str | None = None, wanted: str | None = None
    ) -> Choice:
        """The build for this machine; blocks for one to three requests.

        Args:
            machine: What it has to run on.
            build: `b11118`, a version such as `v0.5.0`, `stable`, or `None` for the newest.
            wanted: A backend or flavour to take instead of the best one.

        Raises:
            NetError: GitHub cannot be reached, or has no such release.
            EngineError: There is no build for this machine.
            CancelledError: It was given up.
        """
        if build is None:
            return newest_choice(self.newest(), machine, wanted)
        return choose_asset(self.find(build), machine, wanted)

    def find(self, name: str) -> Release:
        """The release of this name, with its builds.

        Raises:
            EngineError: This is no name of a release, or it has no builds.
            NetError: GitHub cannot be reached, or has none of this name.
            CancelledError: It was given up.
        """
        if name == STABLE:
            path = "/latest"
        elif is_build_tag(name) or is_version_tag(name):
            path = f"/tags/{name}"
        else:
            raise EngineError(
                f"'{name[:80]}' is no llama.cpp build.",
                "Name one such as b11118, a version such as v0.5.0, or 'stable'.",
            )
        release = self._one(path, name)
        if release.pointer_url is not None:
            tag = parse_pointer(self._read(release.pointer_url, _MOST_POINTER_BYTES))
            release = self._one(f"/tags/{tag}", tag)
        return release

    def _one(self, path: str, name: str) -> Release:
        try:
            found = self._ask(path)
        except StatusError as error:
            if error.status != 404:
                raise
            raise NetError(
                f"There is no llama.cpp release {name}.", "'splitrig engines available' lists some."
            ) from error
        if not found:
            raise EngineError(f"The llama.cpp release {name} has no builds.", "Name another one.")
        return found[0]

    def _ask(self, path: str) -> tuple[Release, ...]:
        releases = parse_releases(self._read(self._api + path, _MOST_LIST_BYTES))
        return tuple(self._only_ours(release) for release in releases)

    def _only_ours(self, release: Release) -> Release:
        """Leave out files that lie on another server than those of releases do."""

        def fine(url: str | None) -> bool:
            return url is not None and urlsplit(url).hostname == self._files_host

        return replace(
            release,
            assets=tuple(asset for asset in release.assets if fine(asset.url)),
            runtimes=tuple(asset for asset in release.runtimes if fine(asset.url)),
            pointer_url=release.pointer_url if fine(release.pointer_url) else None,
        )

    def _read(self, url: str, most_bytes: int) -> bytes:
        with Http(cancelled=self._cancelled, idle_s=_IDLE_S) as http:
            try:
                return http.read(url, most_bytes=most_bytes, headers=_HEADERS)
            except StatusError as error:
                raise _limited(error) or error from error


def _limited(error: StatusError) -> NetError | None:
    """GitHub's 'not so often', which its headers tell apart from other refusals."""
    if error.status not in {403, 429}:
        return None
    wait = error.headers.get("retry-after", "")
    reset = error.headers.get("x-ratelimit-reset", "")
    if error.headers.get("x-ratelimit-remaining") == "0" and reset.isdigit():
        moment = min(int(reset), int(time.time()) + 86_400)
    elif wait.isdigit():
        moment = int(time.time()) + min(int(wait), 86_400)
    else:
        return None
    clock = datetime.fromtimestamp(moment).astimezone().strftime("%H:%M")
    return NetError(
        "GitHub answers no more questions from this address for now: it allows 60 an hour.",
        f"Try again after {clock}; engines that are here can be used meanwhile.",
    )
