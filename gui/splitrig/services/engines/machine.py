"""What of this machine decides which llama.cpp build runs on it."""

import os
import platform
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from splitrig.core.engine_fit import Machine, Version, machine_cards
from splitrig.core.gpu import GpuInfo

_ROCM_VERSION = Path("/opt/rocm/.info/version")


def this_machine(
    gpus: Sequence[GpuInfo], *, cuda: Version | None = None, rocm_file: Path = _ROCM_VERSION
) -> Machine:
    """This machine with these cards; reads a file at most.

    Args:
        gpus: The cards that were detected.
        cuda: What the NVIDIA driver offers (`telemetry.cuda.cuda_version`).
        rocm_file: Where ROCm on Linux says its version.
    """
    systems = {"win32": "windows", "darwin": "macos"}
    name = platform.machine().lower()
    return Machine(
        os=systems.get(sys.platform, "linux"),
        arch={"amd64": "x64", "x86_64": "x64", "aarch64": "arm64"}.get(name, name),
        cards=machine_cards(gpus),
        cuda=cuda,
        rocm=_rocm(rocm_file),
        glibc=_glibc(),
    )


def _glibc() -> Version | None:
    """Version of the C library; `None` where it is another one."""
    name, text = platform.libc_ver() if sys.platform == "linux" else ("", "")
    return _version(text) if name == "glibc" else None


def _rocm(file: Path) -> Version | None:
    """Version of ROCm: a file on Linux, the installer's variable on Windows."""
    if sys.platform == "win32":
        # such as C:\\Program Files\\AMD\\ROCm\\7.1\\
        return _version(Path(os.environ.get("HIP_PATH", "")).name)
    else:  # noqa: RET505 - mypy calls the lines unreachable on Windows otherwise
        try:
            return _version(file.read_text(encoding="utf-8")[:40])
        except (OSError, UnicodeDecodeError):
            return None


def _version(text: str) -> Version | None:
    """The first two numbers of a version."""
    match = re.match(r"(\d{1,4})\.(\d{1,4})", text)
    return (int(match[1]), int(match[2])) if match else None
