"""What of this machine decides about builds."""

import platform
import sys
from pathlib import Path

import pytest

from splitrig.core.gpu import GpuInfo, Vendor
from splitrig.services.engines.machine import this_machine


def test_this_machine() -> None:
    card = GpuInfo(id="0", name="RTX 4090", vendor=Vendor.NVIDIA, source="test")
    own = GpuInfo(id="1", name="Radeon", vendor=Vendor.AMD, integrated=True, source="test")
    machine = this_machine([own, card], cuda=(13, 0))
    assert machine.os == {"linux": "linux", "win32": "windows", "darwin": "macos"}[sys.platform]
    assert machine.arch == {"x86_64": "x64", "AMD64": "x64", "aarch64": "arm64"}.get(
        platform.machine(), platform.machine()
    )
    assert machine.cards == (card,)
    assert machine.cuda == (13, 0)
    if platform.libc_ver()[0] == "glibc":
        assert machine.glibc is not None
        assert machine.glibc >= (2, 28)


@pytest.mark.skipif(sys.platform == "win32", reason="ROCm says its version elsewhere on Windows")
@pytest.mark.parametrize(
    ("text", "version"), [("7.2.1-81\n", (7, 2)), ("10.0.0", (10, 0)), ("", None), ("rocm", None)]
)
def test_the_version_of_rocm(tmp_path: Path, text: str, version: object) -> None:
    (tmp_path / "version").write_text(text)
    assert this_machine([], rocm_file=tmp_path / "version").rocm == version


def test_no_rocm(tmp_path: Path) -> None:
    assert this_machine([], rocm_file=tmp_path / "none").rocm is None
