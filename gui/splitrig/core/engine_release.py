"""Official llama.cpp releases as GitHub lists them: which ready-made builds one of them offers.

Names of the files changed often; `tests/recorded/llama_cpp_releases/README.md` has the eras. What
is not understood is left out, so that a new kind of build never hides the known ones.
"""

import json
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from splitrig.core.errors import EngineError

MOST_ASSET_BYTES = 16 * 1024**3
"""No build comes near it; a size beyond it is nonsense."""
POINTER = "nightly-tag.txt"
"""The one file of a release such as v0.5.0: the tag of the build that it stands for."""

_BUILD_TAG = re.compile(r"b(\d{1,9})")
_VERSION_TAG = re.compile(r"v\d{1,4}(\.\d{1,4}){1,3}")
_NAME = re.compile(
    r"(?P<runtime>cudart-)?llama-(?:b(?P<build>\d{1,9})-)?bin-(?P<os>win|ubuntu|macos)-"
    r"(?P<rest>[a-z0-9.-]{1,60}?)(?P<ending>\.zip|\.tar\.gz)"
)
_SYSTEMS = {"win": "windows", "ubuntu": "linux", "macos": "macos"}
_ARCHITECTURES = ("x64", "arm64", "s390x")
_SHA256 = re.compile(r"sha256:([0-9a-fA-F]{64})")


class BuildBackend(StrEnum):
    """What a ready-made build computes with."""

    CPU = "cpu"
    CUDA = "cuda"
    VULKAN = "vulkan"
    ROCM = "rocm"
    SYCL = "sycl"
    OPENVINO = "openvino"
    OPENCL = "opencl"
    METAL = "metal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """One file of a release.

    Attributes:
        name: Its file name.
        build: Number of the build, 11118 for b11118.
        os: `windows`, `linux` or `macos`.
        arch: `x64`, `arm64` or `s390x`.
        backend: What it computes with.
        flavour: Backend with what tells it from others of its kind: `cuda-12.4`, `hip-radeon`.
        version: Version of the toolkit it was built with, (12, 4) for CUDA 12.4.
        runtime: It holds only the CUDA libraries that a build for CUDA needs beside it.
        size_bytes: Size of the file.
        url: Where it is.
        sha256: Its checksum in hexadecimal digits; `None` when GitHub names none.
    """

    name: str
    build: int
    os: str
    arch: str
    backend: BuildBackend
    flavour: str
    version: tuple[int, ...] | None = None
    runtime: bool = False
    size_bytes: int
    url: str
    sha256: str | None = None

    @property
    def id(self) -> str:
        """What it is called once it is installed: `b11118-cuda-13.4`."""
        return f"b{self.build}-{self.flavour}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """One release.

    Attributes:
        tag: Its name: `b11118`, or `v0.5.0` for one that only points at such a build.
        published: When, as GitHub writes it: `2026-09-21T10:02:11Z`; `None` when not told.
        assets: The builds it offers, whole and ready to be fetched.
        runtimes: The CUDA libraries that go with some of them.
        pointer_url: Where the name of the build stands that a `v…` release points at.
    """

    tag: str
    published: str | None = None
    assets: tuple[Asset, ...] = ()
    runtimes: tuple[Asset, ...] = ()
    pointer_url: str | None = None

    @property
    def build(self) -> int | None:
        """Number of the build; `None` for a release that only points at one."""
        match = _BUILD_TAG.fullmatch(self.tag)
        return int(match[1]) if match else None

    def companions(self, asset: Asset) -> tuple[Asset, ...]:
        """What must lie beside this build: the CUDA libraries of the same version."""
        if asset.backend is not BuildBackend.CUDA:
            return ()
        return tuple(
            runtime
            for runtime in self.runtimes
            if (runtime.os, runtime.arch, runtime.version) == (asset.os, asset.arch, asset.version)
        )


def parse_releases(text: bytes | str) -> tuple[Release, ...]:
    """The releases of an answer of `/repos/OWNER/REPO/releases`, in its order, drafts left out.

    A single release (`/releases/tags/TAG`) is a list of one.

    Raises:
        EngineError: The answer is no list of releases.
    """
    try:
        found = json.loads(text)
        entries = found if isinstance(found, list) else [found]
        releases = [_release(entry) for entry in entries]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise EngineError(
            "The list of llama.cpp releases cannot be understood.",
            "GitHub may have changed it; look for a newer SplitRig.",
            details=f"{type(error).__name__}: {error}"[:500],
        ) from error
    return tuple(release for release in releases if release is not None)


def parse_pointer(text: bytes) -> str:
    """The tag in a `nightly-tag.txt`.

    Raises:
        EngineError: It holds something else.
    """
    tag = text[:64].decode("ascii", errors="replace").strip()
    if not is_build_tag(tag):
        raise EngineError(
            "The release does not say which build it stands for.", "Name a build, such as b11118."
        )
    return tag


def is_build_tag(tag: str) -> bool:
    """Whether this is the name of a build, such as `b11118`."""
    return _BUILD_TAG.fullmatch(tag) is not None


def is_version_tag(tag: str) -> bool:
    """Whether this is the name of a version, such as `v0.5.0`."""
    return _VERSION_TAG.fullmatch(tag) is not None


def _release(entry: Any) -> Release | None:
    """One entry of the list; `None` for a draft or one of another kind.

    Raises:
        TypeError, KeyError, ValueError: It is no release.
    """
    tag, assets, published = entry["tag_name"], entry["assets"], entry.get("published_at")
    if not isinstance(tag, str) or not isinstance(assets, list):
        raise TypeError(type(tag).__name__)
    match = _BUILD_TAG.fullmatch(tag)
    if entry.get("draft") or (match is None and not is_version_tag(tag)):
        return None
    if published is not None and not isinstance(published, str):
        raise TypeError(type(published).__name__)
    known, pointer = [], None
    for asset in assets:
        if asset["name"] == POINTER:
            pointer = _url(asset)
        elif match is not None and (found := _asset(asset, int(match[1]))) is not None:
            known.append(found)
    return Release(
        tag=tag,
        published=published[:40] if published is not None else None,
        assets=tuple(asset for asset in known if not asset.runtime),
        runtimes=tuple(asset for asset in known if asset.runtime),
        pointer_url=pointer,
    )


def _asset(entry: Any, build: int) -> Asset | None:
    """One file; `None` when it is of no known kind, of another build or still being uploaded.

    Raises:
        TypeError, KeyError, ValueError: It is no file of a release.
    """
    name = entry["name"]
    if not isinstance(name, str):
        raise TypeError(type(name).__name__)
    match = _NAME.fullmatch(name)
    if match is None or entry.get("state", "uploaded") != "uploaded":
        return None
    if match["build"] is not None and int(match["build"]) != build:
        return None
    *words, arch = match["rest"].split("-")
    kind = _kind(words, match["os"], arch) if arch in _ARCHITECTURES else None
    if kind is None:
        return None
    backend, flavour, version = kind
    size = entry["size"]
    if type(size) is not int or not 0 < size <= MOST_ASSET_BYTES:
        raise ValueError(f"{name}: size {size!r}")
    digest = entry.get("digest")
    checksum = _SHA256.fullmatch(digest) if isinstance(digest, str) else None
    return Asset(
        name=name,
        build=build,
        os=_SYSTEMS[match["os"]],
        arch=arch,
        backend=backend,
        flavour=flavour,
        version=version,
        runtime=match["runtime"] is not None,
        size_bytes=size,
        url=_url(entry),
        sha256=checksum[1].lower() if checksum else None,
    )


def _url(entry: Any) -> str:
    """Where a file is.

    Raises:
        ValueError: That is no address on the web.
    """
    url = entry["browser_download_url"]
    if not isinstance(url, str) or len(url) > 2000 or not url.isprintable():
        raise ValueError("address")
    parts = urlsplit(url)
    if parts.scheme not in {"https", "http"} or not parts.hostname:
        raise ValueError("address")
    return url


_Kind = tuple[BuildBackend, str, tuple[int, ...] | None]
"""Backend, flavour and version."""


def _kind(words: list[str], system: str, arch: str) -> _Kind | None:
    """What the words between system and architecture say."""
    match words:
        case []:
            metal = system == "macos" and arch == "arm64"
            backend = BuildBackend.METAL if metal else BuildBackend.CPU
            return backend, backend.value, None
        case ["cpu" | "avx2"]:
            return BuildBackend.CPU, "cpu", None
        case ["vulkan" | "sycl" as name]:
            return BuildBackend(name), name, None
        case ["hip", "radeon"]:
            return BuildBackend.ROCM, "hip-radeon", None
        case ["sycl", "fp16" | "fp32"] | ["opencl", "adreno"]:
            return BuildBackend(words[0]), "-".join(words), None
        case ["cuda" | "rocm" | "openvino" as name, number]:
            return _versioned(name, number)
        case [number] if number.startswith("cu") and system == "win":
            return _versioned("cuda", number)  # cudart-llama-bin-win-cu12.4-x64.zip
        case _:
            return None


def _versioned(name: str, number: str) -> _Kind | None:
    """A kind whose name ends with the version of a toolkit: `cuda-12.4`, earlier `cuda-cu12.4`."""
    plain = number.removeprefix("cu") if name == "cuda" else number
    if not re.fullmatch(r"\d{1,4}(\.\d{1,4}){0,3}", plain):
        return None
    version = tuple(int(part) for part in plain.split("."))
    return BuildBackend(name), f"{name}-{plain}", version
